"""What scripts share: who plays in this block, when an instance begins, and the columns that a payment has like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.domain import Block
from ....core.scenario import Scene
from ....core.stream import F64
from ..calendar import DAY, HOUR, curve, instants
from ..parties import CARDS

SECOND = 1_000_000


def transfer_columns(
    scene: Scene, who: pl.DataFrame, kind: str, at: NDArray, amount: F64, clear: F64
) -> dict[str, object]:
    """The columns that a transfer made online has like any other."""
    hours = scene.block.priors("transfer.clearing_hours")
    return {
        "channel": ["transfer"] * who.height,
        "type": [kind] * who.height,
        "direction": ["DBIT"] * who.height,
        "amount_minor": np.maximum(amount, 1).astype(np.int64),
        "currency": who["currency"],
        "authorised_at": at,
        "cleared_at": at + whole_seconds(1 + clear**4 * hours * 3_600),
    }


def clock(scene: Scene, hours: F64, currency: pl.Series) -> NDArray[np.int64]:
    """Moments so many hours into the window by the clock of people's days: order is kept, and nights are as quiet as anyone's.
    The first axis of `hours` goes with `currency`."""
    window = scene.block.window
    ticking = curve(window, scene.block.priors("purchase.hour"), [1.0] * 7)
    zone = (currency.cast(pl.String).to_numpy() == "EUR").astype(np.int64).reshape(-1, *[1] * (hours.ndim - 1))
    part = hours * HOUR / (window.end - window.start)
    over = np.floor(part)
    at = instants(ticking, np.broadcast_to(zone, hours.shape), part - over)
    return at + over.astype(np.int64) * (window.end - window.start)


def value_of(scene: Scene, value: Any) -> Any:
    """A setting of `arguments`: a number, or the parameter that a text names."""
    return scene[value] if isinstance(value, str) else value


def members_here(scene: Scene, role: str) -> pl.DataFrame:
    """The members that live in this block, numbered: rows about one customer concern no other block."""
    here = pl.col("unit").is_between(scene.block.first, scene.block.last - 1)
    return scene.cast[role].filter(here).with_row_index("victim")


def repeat(frame: pl.DataFrame, times: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Every row `times` over, and which time it is."""
    at = np.repeat(np.arange(frame.height), times)
    return frame[at], np.tile(np.arange(times), frame.height)


def start_of(scene: Scene, instance: pl.Series, margin: int) -> NDArray[np.int64]:
    """When each instance begins: anywhere in the window that leaves room for what follows."""
    window = scene.block.window
    room = max(window.end - window.start - min(margin, (window.end - window.start) // 2), SECOND)
    u = scene.stream.child("start").uniform(instance.to_numpy().astype(np.uint64))
    return window.start + whole_seconds(u * room / SECOND)


def card_on(block: Block, scene: Scene, who: pl.DataFrame, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The card in use on the day."""
    card = scene.tables["card"]
    oldest = card.filter(pl.col("card_id") % CARDS == 0).select("account_id", "issued_on")
    issued = who.join(oldest, on="account_id", how="left", maintain_order="left")["issued_on"].to_physical().to_numpy()
    valid = int(block.priors("card.validity_years") * 365.25)
    return who["account_id"].to_numpy() * CARDS + (at // DAY - issued) // valid


def whole_seconds(values: NDArray) -> NDArray[np.int64]:
    return np.floor(values).astype(np.int64) * SECOND


def probit(u: F64) -> F64:
    from scipy.special import ndtri

    return ndtri(u)
