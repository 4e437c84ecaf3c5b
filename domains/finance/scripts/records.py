"""Edge cases: single records of a declared shape, for fixtures.

A scenario's `arguments` lists records. Each is a row of the cast account's customer: `values` says what its columns hold, whatever the checks think
of it; the rest is as in any such row.

    [[arguments.record]]
    effect = "verification"
    table = "transaction"           # transaction, counterparty, customer or card
    after = 2.0                     # hours after the first record (transaction, counterparty)
    channel = "card-not-present"    # or card-present, direct-debit, cash (paid in at a counter); transfer: to the party that a counterparty record made
    settled = 12.0                  # hours to clearing; not cleared where it is not given
    undone = 48.0                   # hours to reversal (optional)
    early = 1                       # days before the account was opened, instead of `after` (optional)
    clock = "23:59:59.5"            # time of day in UTC, on the day that `after` leads to (optional)
    part = 0.4                      # amount as a share of the arranged overdraft, on top of the balance at the start of the window (optional)
    country = "JP"                  # the merchant stands there (optional)
    card = "new"                    # the card that a card record made, instead of the one in use (optional)
    values = { amount_minor = 0, response_code = "00" }

    [[arguments.record]]
    effect = "reissue"
    table = "card"
    issued = -3.0                   # a new card, valid from so many days after the first record
    expires = 1400.0                # and to so many days after it
    digits = 19                     # of its number (optional)
    place = 14                      # among the account's cards, 9 to 15: another one than in other scenarios (optional; 15)

    [[arguments.record]]
    effect = "closed"
    table = "account"
    opened = -400.0                 # a current account beside those that the customer has, opened so many days after the first record
    closed = 1.0                    # and closed so many days after it (optional); records with `account = "new"` are of this account

    [[arguments.record]]
    effect = "deceased"
    table = "customer"              # a date so many days after the first record
    date = "deceased_on"
    days = -3.0

Transactions, counterparties, devices, new accounts and new cards are inserted; a customer's or a card's row is changed. A text may be a parameter's name. `day` in `arguments` says on which day an instance begins:
the first of its kind in the window, or any where the window has none.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from ....core.errors import unknown
from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW, plain
from ..calendar import DAY
from ..draws import keep
from ..holdings import CARDS, addresses
from ..identifiers import other_ibans, pans
from ..loans import ACCOUNTS
from .staging import card_on, members_here, opened, start_of, whole_seconds

SPARE = 15
"""The place of a further card among an account's, where the record does not say another: one that no renewal takes."""
EXTRA = 7
"""The place among a customer's accounts that no product takes."""
OPENING = 50_000
"""What lies on an extra account at the start of the window, minor units: more than any payment of these fixtures that does not say its amount."""


def records(scene: Scene) -> list[Edit]:
    """Every declared record, once in each instance."""
    (role,) = scene.cast
    holders = members_here(scene, role)
    if not holders.height:
        return []
    wanted = scene.arguments["record"]
    span = max(abs(float(r.get(k, 0))) for r in wanted for k in ("after", "settled", "undone"))
    start = start_of(scene, holders["instance"], margin=int((2 * span + 24) * 3_600) * 1_000_000)
    if day := scene.use.scenario.arguments.get("day"):
        start = _on(scene, day, start)
    make = {
        "transaction": _payment,
        "counterparty": _party,
        "device": _device,
        "customer": _changed,
        "account": _opened,
        "card": _changed,
    }
    edits = []
    for n, record in enumerate(wanted):
        who = holders
        if record.get("account") == "new" or record["table"] == "account":
            who = holders.with_columns(account_id=pl.col("customer_id") * ACCOUNTS + EXTRA)
        edits.append((_issued if "issued" in record else make[record["table"]])(scene, role, who, start, n, record))
    return edits


def _on(scene: Scene, kind: str, start: np.ndarray) -> np.ndarray:
    """The first day of a kind in the window, for all; as they were where there is none."""
    if kind not in DAYS:
        raise unknown("day", kind, DAYS, f"scenario {scene.use.scenario.name}")
    window = scene.block.window
    for at in range(-(-window.start // DAY), window.end // DAY - 1):
        if DAYS[kind](dt.date(1970, 1, 1) + dt.timedelta(at)):
            return np.full(len(start), at * DAY)
    return start


def _last_sunday(day: dt.date, month: int) -> bool:
    return day.month == month and day.weekday() == 6 and day.day > 24


DAYS: Mapping[str, Callable[[dt.date], bool]] = {
    "clocks-forward": lambda day: _last_sunday(day, 3),
    "clocks-back": lambda day: _last_sunday(day, 10),
    "leap-day": lambda day: (day.month, day.day) == (2, 29),
    "month-end": lambda day: (day + dt.timedelta(1)).day == 1,
    "saturday": lambda day: day.weekday() == 5,
}
"""Days on which things go wrong: summer time by Directive 2000/84/EC, and the calendar's own."""


def _values(record: Mapping[str, Any]) -> dict[str, pl.Expr]:
    return {name: pl.lit(value) for name, value in record.get("values", {}).items()}


def _payment(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    instance, height = who["instance"].to_numpy(), who.height
    rows = scene.address("record", instance, n)
    at = start + whole_seconds(np.full(height, float(record.get("after", 0)) * 3_600))
    if "clock" in record:
        hour, minute, second = (float(x) for x in str(record["clock"]).split(":"))
        at = at // DAY * DAY + round((hour * 3_600 + minute * 60 + second) * 1_000_000)
    if "early" in record:
        at = (plain(who["opened_on"]).astype(np.int64) - int(record["early"])) * DAY
    columns: dict[str, Any] = {
        ROW: rows,
        "instance": instance,
        "account_id": who["account_id"],
        "channel": [record["channel"]] * height,
        "direction": ["DBIT"] * height,
        "amount_minor": np.floor(scene.stream.child("amount").uniform(rows) * 9_000).astype(np.int64) + 1_000,
        "currency": who["currency"],
        "authorised_at": at,
    }
    if "part" in record:
        share = float(record["part"]) * who["overdraft_limit_minor"].to_numpy()
        columns["amount_minor"] = np.maximum(who["opening_balance_minor"].to_numpy() + np.floor(share), 1).astype(
            np.int64
        )
    for name, column in (("settled", "cleared_at"), ("undone", "reversed_at")):
        if name in record:
            columns[column] = at + whole_seconds(np.full(height, float(record[name]) * 3_600))
    if record["channel"] == "transfer":
        columns["type"] = ["ICDT/ESCT"] * height
        columns["device_row"] = join_rows(who["unit"].to_numpy(), 0 * instance)
        columns["counterparty_row"] = scene.address("payee", instance, 0)
    elif record["channel"] == "cash":
        columns |= {"type": ["CNTR/CDPT"] * height, "direction": ["CRDT"] * height}
    elif record["channel"] == "direct-debit":
        bills = pl.col("category").cast(pl.String).is_in(list(scene.block.priors("bill.count")))
        collects = scene.block.reference["merchant"].filter(bills)
        creditor = collects[scene.stream.child("shop").integers(instance.astype(np.uint64), collects.height)]
        columns |= {
            "type": ["RDDT/ESDD"] * height,
            "merchant_id": creditor["merchant_id"],
            "mcc": creditor["mcc"],
            "country": creditor["country"],
        }
    else:
        online = record["channel"] == "card-not-present"
        shops = scene.block.reference["merchant"].filter(pl.col("online") == online)
        if "country" in record:
            shops = shops.filter(pl.col("country").cast(pl.String) == record["country"])
        shop = shops[scene.stream.child("shop").integers(instance.astype(np.uint64), shops.height)]
        columns |= {
            "type": ["CCRD/POSD"] * height,
            "card_id": who["account_id"] * CARDS + _place(scene)
            if record.get("card") == "new"
            else card_on(scene.block, scene, who, at),
            "merchant_id": shop["merchant_id"],
            "mcc": shop["mcc"],
            "country": shop["country"],
            "response_code": ["00"] * height,
            "entry_mode": ["81" if online else "05"] * height,
        }
    frame = pl.DataFrame(columns).with_columns(**_values(record))
    for name in record.get("without", ()):
        frame = frame.with_columns(keep(frame[name], np.zeros(height, bool)).alias(name))
    return scene.edit("insert", "transaction", frame, role, record["effect"])


def _party(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    instance, height = who["instance"].to_numpy(), who.height
    country = np.where(who["currency"].cast(pl.String).to_numpy() == "EUR", "DE", "GB")
    rows = scene.address("payee", instance, 0)
    frame = pl.DataFrame(
        {
            ROW: rows,
            "instance": instance,
            "customer_id": who["customer_id"],
            "kind": ["person"] * height,
            "name": ["A. N. Other"] * height,
            "iban": other_ibans(scene.stream.child("iban"), country, rows),
            "added_at": start + whole_seconds(np.full(height, float(record.get("after", -1)) * 3_600)),
        }
    )
    return scene.edit("insert", "counterparty", frame.with_columns(**_values(record)), role, record["effect"])


def _device(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    height, rows = (
        who.height,
        scene.address("device", who["instance"].to_numpy(), join_rows(who["member"].to_numpy(), n)),
    )
    frame = pl.DataFrame(
        {
            ROW: rows,
            "instance": who["instance"],
            "customer_id": who["customer_id"],
            "type": ["tablet"] * height,
            "os": ["android"] * height,
            "ip": addresses(scene.stream.child("ip"), who["instance"].to_numpy().astype(np.uint64)),
            "first_seen_at": start + whole_seconds(np.full(height, float(record.get("after", 0)) * 3_600)),
        }
    )
    return scene.edit("insert", "device", frame.with_columns(**_values(record)), role, record["effect"])


def _changed(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    """The customer's own row, or that of the account's oldest card."""
    key = {"customer": who["customer_id"], "card": who["account_id"] * CARDS}
    frame = pl.DataFrame({ROW: key[record["table"]].cast(pl.UInt64), "instance": who["instance"]})
    if "date" in record:
        frame = frame.with_columns(_day(start, record["days"]).alias(record["date"]))
    return scene.edit("update", record["table"], frame.with_columns(**_values(record)), role, record["effect"])


def _day(start: np.ndarray, days: float) -> pl.Series:
    return pl.Series((start // DAY + round(float(days))).astype(np.int32)).cast(pl.Date)


def _issued(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    """A further card of the account, beside those that it has."""
    key = who["account_id"] * CARDS + _place(scene)
    frame = pl.DataFrame(
        {
            ROW: key.cast(pl.UInt64),
            "instance": who["instance"],
            "card_id": key,
            "account_id": who["account_id"],
            "pan": pans(scene.block.stream, key.to_numpy(), int(record.get("digits", 16))),
            "kind": ["debit"] * who.height,
            "form": ["plastic"] * who.height,
            "issued_on": _day(start, record["issued"]),
            "expires_on": _day(start, record["expires"]),
        }
    )
    return scene.edit("insert", "card", frame.with_columns(**_values(record)), role, record["effect"])


def _place(scene: Scene) -> int:
    """Where the scenario's further card stands among those of its account."""
    issued = (r for r in scene.use.scenario.arguments["record"] if "issued" in r)
    return int(next(issued).get("place", SPARE))


def _opened(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    """A current account of its own, that no other scenario was cast on: what happens to it happens to nobody else's records."""
    frame = opened(scene, who, _day(start, record["opened"]), OPENING)
    if "closed" in record:
        frame = frame.with_columns(closed_on=_day(start, record["closed"]))
    return scene.edit("insert", "account", frame.with_columns(**_values(record)), role, record["effect"])
