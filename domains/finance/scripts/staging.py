"""What scripts share: who plays in this block, when an instance begins, and the columns that a payment has like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.domain import Block
from ....core.places import places
from ....core.scenario import Edit, Scene
from ....core.stream import F64
from ....core.tables import ROW, only, picked, plain
from ..calendar import DAY, HOUR, curve, instants
from ..holdings import CARDS, addresses, fingerprint, valid_days
from ..identifiers import home_ibans

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


def clock(scene: Scene, hours: F64, currency: pl.Series, shopping: bool = False) -> NDArray[np.int64]:
    """Moments so many hours into the window by the clock of people's days: order is kept, and nights are as quiet as anyone's;
    `shopping`: and weekdays too. The first axis of `hours` goes with `currency`."""
    window, p = scene.block.window, scene.block.priors
    ticking = curve(window, p("purchase.hour"), p("purchase.weekday") if shopping else [1.0] * 7)
    zone = (currency.cast(pl.String).to_numpy() == "EUR").astype(np.int64).reshape(-1, *[1] * (hours.ndim - 1))
    part = hours * HOUR / (window.end - window.start)
    over = np.floor(part)
    at = instants(ticking, np.broadcast_to(zone, hours.shape), part - over)
    return at + over.astype(np.int64) * (window.end - window.start)


def difficulty(scene: Scene, began: F64) -> F64:
    """How well instances hide, 0 to 1, that begin when such a share of the window has passed: better once they have adapted."""
    p = scene.block.priors
    return np.where(began >= p("fraud.adapts_after"), p("fraud.adapted_difficulty"), p("fraud.difficulty"))


def adapted(scene: Scene, role: str, members: pl.DataFrame, began: F64) -> list[Edit]:
    """Labels the accounts of instances that play by the tactics of after the change."""
    late = only(members, began >= scene.block.priors("fraud.adapts_after"))
    return [scene.edit("update", "account", _accounts(late), role, "adapted")] if late.height else []


def parties(scene: Scene) -> list[Edit]:
    """Labels every cast account with its role."""
    return [scene.edit("update", "account", _accounts(members), role, "party") for role, members in scene.cast.items()]


def _accounts(members: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([members["account_id"].cast(pl.UInt64).alias(ROW), members["instance"]])


def strange_devices(scene: Scene, role: str, used: pl.DataFrame) -> list[Edit]:
    """Devices that the bank sees for the first time: `used` has a row for each payment (`ROW` is the device's address, `at` when, and `machine` which machine
    it is, where several customers' devices are one)."""
    if not used.height:
        return []
    each = used.sort("at").unique(ROW, keep="first", maintain_order=True)
    rows = each[ROW].to_numpy()
    machine = each["machine"].to_numpy() if "machine" in each.columns else rows
    kind = scene.stream.child("os").integers(machine, 3)
    before = scene.stream.child("signed in").uniform(rows) * 3_600
    frame = pl.DataFrame(
        {
            ROW: rows,
            "instance": each["instance"],
            "customer_id": each["customer_id"],
            "type": np.array(["phone", "phone", "computer"])[kind],
            "os": np.array(["android", "ios", "windows"])[kind],
            "ip": addresses(scene.stream.child("ip"), machine),
            "fingerprint": fingerprint(scene.block, machine),
            "first_seen_at": each["at"].to_numpy() - whole_seconds(60 + before),
        }
    )
    return [scene.edit("insert", "device", frame, role, "new-device")]


def value_of(scene: Scene, value: Any) -> Any:
    """A setting of `arguments`: a number, or the parameter that a text names."""
    return scene[value] if isinstance(value, str) else value


def members_here(scene: Scene, role: str) -> pl.DataFrame:
    """The members that live in this block, numbered: rows about one customer concern no other block."""
    unit = scene.cast[role]["unit"].to_numpy()
    here = only(scene.cast[role], (unit >= scene.block.first) & (unit < scene.block.last))
    return here.with_row_index("victim")


def repeat(frame: pl.DataFrame, times: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Every row `times` over, and which time it is."""
    at = np.repeat(np.arange(frame.height), times)
    return only(frame, at), np.tile(np.arange(times), frame.height)


def start_of(scene: Scene, instance: pl.Series, margin: int) -> NDArray[np.int64]:
    """When each instance begins: anywhere in the window that leaves room for what follows."""
    window = scene.block.window
    room = max(window.end - window.start - min(margin, (window.end - window.start) // 2), SECOND)
    u = scene.stream.child("start").uniform(instance.to_numpy().astype(np.uint64))
    return window.start + whole_seconds(u * room / SECOND)


def card_on(block: Block, scene: Scene, who: pl.DataFrame, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The card in use on the day."""
    card, account = scene.tables["card"], who["account_id"].to_numpy()
    oldest = np.flatnonzero(card["card_id"].to_numpy() % CARDS == 0)
    at_card = oldest[places(picked(card["account_id"], oldest), account)]
    issued = plain(card["issued_on"])[at_card]
    return account * CARDS + (at // DAY - issued) // valid_days(block)


def paid_on(scene: Scene, account: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the payments stand that some accounts made or received as their own."""
    own, first = scene.tables["transaction"]["account_id"].to_numpy(), int(account.min())
    # a mark for each number that an account may have: looking it up takes a tenth of searching
    mark = np.zeros(int(account.max()) - first + 3, bool)
    mark[account - first + 1] = True
    return np.flatnonzero(mark[np.clip(own - first + 1, 0, len(mark) - 1)])


def whole_seconds(values: NDArray) -> NDArray[np.int64]:
    return np.floor(values).astype(np.int64) * SECOND


def probit(u: F64) -> F64:
    from scipy.special import ndtri

    return ndtri(u)


def ibans_of(scene: Scene, who: pl.DataFrame) -> pl.Series:
    """The numbers of accounts at this bank, by `account_id` and `currency`."""
    german = (who["currency"].cast(pl.String) == "EUR").to_numpy()
    return home_ibans(scene.block.stream, german, who["account_id"].to_numpy())


def opened(scene: Scene, who: pl.DataFrame, opened_on: pl.Series, balance: int) -> pl.DataFrame:
    """Rows of current accounts that a scenario opens: `who` has `account_id`, `customer_id`, `currency` and `instance`; `balance` in minor units."""
    return who.select(
        "instance", "account_id", "customer_id", "currency",
        pl.col("account_id").cast(pl.UInt64).alias(ROW),
        type=pl.lit("current"),
        iban=ibans_of(scene, who),
        opened_on=opened_on,
        overdraft_limit_minor=pl.lit(0, pl.Int64),
        opening_balance_minor=pl.lit(balance, pl.Int64),
    )  # fmt: skip
