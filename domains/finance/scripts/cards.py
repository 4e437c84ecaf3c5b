"""Cards in use: one script for every fraud that consists of card payments.

A scenario's `arguments` says in which phases the cast cards are used. Numbers may be the names of parameters; amounts are in major units, times in
hours unless they say otherwise.

    [[arguments.phase]]
    effect = "test"
    channel = "card-not-present"    # card-present, card-not-present or atm
    times = "attempts"              # payments on each card
    after = 6                       # begins so long after the instance does
    hours = 120                     # and spreads over this span; or
    burst = 25                      # seconds between two payments on a card, `turn` seconds between two cards
    merchant = "one"                # one: the same for the whole instance; any: by popularity
    category = "electronics"        # of these merchants only (optional)
    abroad = true                   # outside the customers' two countries (optional)
    amount = "amount"               # median of a log-normal draw, with `spread`; or
    most = "test"                   # anything up to this much
    round = 50                      # multiples of this (optional)
    declined = 0.75                 # share that is declined; the issuer's usual share where it is not given
    code = "82"                     # answer for `code_share` of the declines, the others are not honoured
    entry = "90"                    # how the card is read at a terminal: chip where it is not given
    own_device = true               # made from the customer's own device (optional)
    undone = 0.9                    # share that is refunded or charged back, within `undone_days` (optional)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.scenario import Edit, Scene
from ....core.stream import F64, join_rows
from ....core.tables import ROW
from ..calendar import DAY, HOUR
from ..draws import keep
from .staging import card_on, clock, members_here, probit, repeat, value_of, whole_seconds

TYPES = {"card-present": "CCRD/POSD", "card-not-present": "CCRD/POSD", "atm": "CCRD/CWDL"}
DELAYS = {"card-present": "present", "card-not-present": "online", "atm": "cash"}


def cards(scene: Scene) -> list[Edit]:
    """Payments of each phase, on each card in turn."""
    (role,) = scene.cast
    holders = members_here(scene, role)
    if not holders.height:
        return []
    phases = scene.use.scenario.arguments["phase"]
    length = max(_number(scene, f, "after") + _number(scene, f, "hours") for f in phases)
    window = (scene.block.window.end - scene.block.window.start) / HOUR
    # what would take longer than the window happens faster
    pace = min(1.0, 0.9 * window / max(length, 1e-9))
    room = window - length * pace - 1.0 if pace == 1.0 else 0.05 * window
    start = max(room, 1.0) * scene.stream.child("start").uniform(holders["instance"].to_numpy().astype(np.uint64))
    return [_phase(scene, role, holders, start, pace, phase) for phase in phases if _number(scene, phase, "times")]


def _number(scene: Scene, phase: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    return float(value_of(scene, phase.get(name, default)))


def _phase(scene: Scene, role: str, holders: pl.DataFrame, start: F64, pace: float, phase: Mapping[str, Any]) -> Edit:
    block, effect, channel = scene.block, phase["effect"], phase["channel"]
    p, merchant, stream = block.priors, block.reference["merchant"], scene.stream.child(phase["effect"])
    who, n = repeat(holders, int(_number(scene, phase, "times")))
    nth = who["victim"].to_numpy()
    instance, member = who["instance"].to_numpy(), who["member"].to_numpy()
    rows = scene.address(effect, instance, join_rows(member, n))
    u = {name: stream.child(name).uniform(rows) for name in ("at", "amount", "answer", "code", "clear", "undo", "back")}

    # the cards of one instance begin at one moment by one clock, whatever country their holders live in
    after = start + _number(scene, phase, "after") * pace
    begin = clock(scene, after, pl.Series(["EUR"] * len(start)))[nth]
    if "burst" in phase:
        step, turn = _number(scene, phase, "burst"), _number(scene, phase, "turn")
        at = begin + whole_seconds(member * turn + n * step + np.floor(u["at"] * step * 0.8))
    else:
        hours = after[nth] + u["at"] * _number(scene, phase, "hours") * pace
        at = clock(scene, hours, who["currency"])
    shop = _shops(scene, phase, who, rows)

    if "most" in phase:
        amount = np.ceil(u["amount"] * _number(scene, phase, "most") * 100)
    else:
        z = probit(u["amount"])
        amount = np.floor(_number(scene, phase, "amount") * 100 * np.exp(_number(scene, phase, "spread") * z))
    unit = 100 * _number(scene, phase, "round", 10.0 if channel == "atm" else 0.0)
    amount = np.maximum(np.round(amount / unit) * unit, unit) if unit else np.maximum(amount, 1)

    usual = p("purchase.declined")["05"] * (
        p("purchase.declined_online_factor") if channel == "card-not-present" else 1
    )
    refused = u["answer"] < _number(scene, phase, "declined", usual)
    why = np.where(u["code"] < _number(scene, phase, "code_share"), phase.get("code", "05"), "05")
    delay = -np.log2(u["clear"]) * p("purchase.clearing_hours")[DELAYS[channel]]
    cleared = at + whole_seconds(delay * 3_600)
    undone = ~refused & (u["undo"] < _number(scene, phase, "undone"))
    back = cleared + DAY + whole_seconds(u["back"] * _number(scene, phase, "undone_days", 30.0) * 86_400)
    own = np.full(who.height, bool(phase.get("own_device", False)))
    entry = "81" if channel == "card-not-present" else phase.get("entry", "05")
    made = pl.DataFrame(
        {
            ROW: rows,
            "instance": instance,
            "account_id": who["account_id"],
            "card_id": card_on(block, scene, who, at),
            # every customer's first device was seen before the window
            "device_row": keep(join_rows(who["unit"].to_numpy(), 0 * member), own),
            "merchant_id": shop,
            "channel": [channel] * who.height,
            "type": [TYPES[channel]] * who.height,
            "direction": ["DBIT"] * who.height,
            "mcc": merchant["mcc"].gather(shop),
            "amount_minor": amount.astype(np.int64),
            "currency": who["currency"],
            "authorised_at": at,
            "cleared_at": keep(cleared, ~refused),
            "reversed_at": keep(back, undone),
            "response_code": np.where(refused, why, "00"),
            "entry_mode": [entry] * who.height,
            "country": merchant["country"].gather(shop),
        }
    )
    return scene.edit("insert", "transaction", made, role, effect)


def _shops(scene: Scene, phase: Mapping[str, Any], who: pl.DataFrame, rows: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The merchant of each payment: popular ones more often, in the customer's country unless it says abroad."""
    merchant, channel = scene.block.reference["merchant"], phase["channel"]
    fits = (pl.col("category").cast(pl.String) == "cash") == (channel == "atm")
    if channel != "atm":
        fits &= pl.col("online") == (channel == "card-not-present")
    if "category" in phase:
        fits &= pl.col("category").cast(pl.String) == phase["category"]
    country = pl.col("country").cast(pl.String)
    one = phase["merchant"] == "one"
    draw = who["instance"].to_numpy().astype(np.uint64) if one else rows
    u = scene.stream.child("shop" if one else phase["effect"], "merchant").uniform(draw)
    euro = who["currency"].cast(pl.String).to_numpy() == "EUR"
    # one merchant for cards of both countries is one that anyone could go to
    places = [~country.is_in(["GB", "DE"])] if phase.get("abroad") else [country == "GB", country == "DE"]
    if one and not phase.get("abroad"):
        places = [country.is_in(["GB", "DE"])]
    picked = []
    for place in places:
        pool = merchant.filter(fits & place).select("merchant_id", "popularity")
        share = np.cumsum(pool["popularity"].to_numpy())
        at = np.minimum(np.searchsorted(share / share[-1], u), pool.height - 1)
        picked.append(pool["merchant_id"].to_numpy()[at])
    return np.where(euro, picked[-1], picked[0])
