"""Cards that were reported: cancelled that day, and replaced some days later by one with another number."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.scenario import Edit, Scene
from ....core.tables import ROW, filled, only, picked, plain
from ..calendar import DAY, working_day
from ..holdings import CARDS, REPLACEMENT, expiry, valid_days
from ..identifiers import pans
from ..reissued import LOST
from .staging import card_on, paid_on


def reissue(scene: Scene, role: str, told: pl.DataFrame) -> list[Edit]:
    """What the bank does about the cards of some accounts from the first report of each on (`told`: `account_id`, `instance`, `currency`, `since`, an instant).
    Their holders pay nothing with them until the new one is there."""
    window = scene.block.window
    told = told.filter(pl.col("since") < window.end)
    if told.is_empty():
        return []
    account, since = told["account_id"].to_numpy(), told["since"].to_numpy()
    old = card_on(scene.block, scene, told, since)
    there = arrives(scene, account, since // DAY, (told["currency"].cast(pl.String) == "EUR").to_numpy())
    dates = pl.Series(since // DAY).cast(pl.Int32).cast(pl.Date)
    cancelled = pl.DataFrame([pl.Series(ROW, old.astype(np.uint64)), told["instance"], dates.alias("cancelled_on")])
    key = account * CARDS + REPLACEMENT
    new = pl.DataFrame(
        {
            ROW: key.astype(np.uint64),
            "instance": told["instance"],
            "card_id": key,
            "account_id": account,
            "pan": pans(scene.block.stream, key),
            "kind": ["debit"] * len(key),
            "form": ["plastic"] * len(key),
            "issued_on": pl.Series(there.astype(np.int32)).cast(pl.Date),
            "expires_on": expiry(there + valid_days(scene.block)),
        }
    )
    return [
        scene.edit("update", "card", cancelled, role, "reported"),
        scene.edit("insert", "card", only(new, there * DAY < window.end), role, "replacement"),
        scene.edit("remove", "card", _renewed(scene, told, old), role, "not-renewed"),
        scene.edit("remove", "transaction", _without_card(scene, told, there * DAY), role, "no-card"),
    ]


def arrives(scene: Scene, account: NDArray, day: NDArray, german: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The working day on which the new card comes by post."""
    days = scene.block.priors("card.replaced_days")
    more = scene.stream.child("replaced").integers(account.astype(np.uint64), days["most"] - days["least"] + 1)
    for n in range(int(days["most"])):
        on = working_day(day + 1, german.astype(np.int64), later=True)
        day = np.where(n < days["least"] + more, on, day)
    return day


def _renewed(scene: Scene, told: pl.DataFrame, old: NDArray[np.int64]) -> pl.DataFrame:
    """Renewals of the cards that were to come later."""
    mine = told.select("instance", "account_id", old=pl.Series(old))
    later = scene.tables["card"].join(mine, on="account_id", maintain_order="left")
    later = later.filter(pl.col("card_id") > pl.col("old"), pl.col("card_id") % CARDS < REPLACEMENT)
    return later.select(pl.col("card_id").cast(pl.UInt64).alias(ROW), "instance")


def _without_card(scene: Scene, told: pl.DataFrame, until: NDArray[np.int64]) -> pl.DataFrame:
    """What would have been paid with the cards in the meantime, but for what merchants try with the old number."""
    paid = scene.tables["transaction"]
    at = paid_on(scene, told["account_id"].to_numpy())
    at = at[filled(picked(paid["card_id"], at), REPLACEMENT) % CARDS < REPLACEMENT]
    order = np.argsort(told["account_id"].to_numpy())
    of = order[np.searchsorted(told["account_id"].to_numpy()[order], plain(picked(paid["account_id"], at)))]
    when = plain(picked(paid["authorised_at"], at)).astype(np.int64)
    tried = picked(paid["response_code"], at).cast(pl.String).is_in(LOST).fill_null(False).to_numpy()
    gone = (when > told["since"].to_numpy()[of]) & (when < until[of]) & ~tried
    return pl.DataFrame([picked(paid[ROW], at[gone]).alias(ROW), picked(told["instance"], of[gone])])
