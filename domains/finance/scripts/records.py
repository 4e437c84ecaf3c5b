"""Edge cases: single records of a declared shape, for fixtures.

A scenario's `arguments` lists records. Each is a row of the cast account's customer: `values` says what its columns hold, whatever the checks think
of it; the rest is as in any such row.

    [[arguments.record]]
    effect = "verification"
    table = "transaction"           # transaction, counterparty, customer or card
    after = 2.0                     # hours after the first record (transaction, counterparty)
    channel = "card-not-present"    # or transfer, to the party that a counterparty record made
    settled = 12.0                  # hours to clearing; not cleared where it is not given
    undone = 48.0                   # hours to reversal (optional)
    early = 1                       # days before the account was opened, instead of `after` (optional)
    values = { amount_minor = 0, response_code = "00" }

Transactions and counterparties are inserted; a customer's or a card's row is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW
from ..calendar import DAY
from ..draws import keep
from ..identifiers import other_ibans
from ..parties import CARDS
from .staging import card_on, members_here, start_of, whole_seconds


def records(scene: Scene) -> list[Edit]:
    """Every declared record, once in each instance."""
    (role,) = scene.cast
    holders = members_here(scene, role)
    if not holders.height:
        return []
    wanted = scene.use.scenario.arguments["record"]
    span = max(abs(float(r.get(k, 0))) for r in wanted for k in ("after", "settled", "undone"))
    start = start_of(scene, holders["instance"], margin=int((2 * span + 24) * 3_600) * 1_000_000)
    make = {"transaction": _payment, "counterparty": _party, "customer": _changed, "card": _changed}
    return [make[r["table"]](scene, role, holders, start, n, r) for n, r in enumerate(wanted)]


def _values(record: Mapping[str, Any]) -> dict[str, pl.Expr]:
    return {name: pl.lit(value) for name, value in record.get("values", {}).items()}


def _payment(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    instance, height = who["instance"].to_numpy(), who.height
    rows = scene.address("record", instance, n)
    at = start + whole_seconds(np.full(height, float(record.get("after", 0)) * 3_600))
    if "early" in record:
        at = (who["opened_on"].to_physical().to_numpy().astype(np.int64) - int(record["early"])) * DAY
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
    for name, column in (("settled", "cleared_at"), ("undone", "reversed_at")):
        if name in record:
            columns[column] = at + whole_seconds(np.full(height, float(record[name]) * 3_600))
    if record["channel"] == "transfer":
        columns["type"] = ["ICDT/ESCT"] * height
        columns["device_row"] = join_rows(who["unit"].to_numpy(), 0 * instance)
        columns["counterparty_row"] = scene.address("payee", instance, 0)
    else:
        online = record["channel"] == "card-not-present"
        shops = scene.block.reference["merchant"].filter(pl.col("online") == online)
        shop = shops[scene.stream.child("shop").integers(instance.astype(np.uint64), shops.height)]
        columns |= {
            "type": ["CCRD/POSD"] * height,
            "card_id": card_on(scene.block, scene, who, at),
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


def _changed(scene: Scene, role: str, who: pl.DataFrame, start: np.ndarray, n: int, record: Mapping[str, Any]) -> Edit:
    """The customer's own row, or that of the account's oldest card."""
    key = who["customer_id"] if record["table"] == "customer" else who["account_id"] * CARDS
    frame = pl.DataFrame({ROW: key.cast(pl.UInt64), "instance": who["instance"]}).with_columns(**_values(record))
    return scene.edit("update", record["table"], frame, role, record["effect"])
