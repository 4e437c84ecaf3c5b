"""Fraud on accounts: somebody else acts as the customer."""

from __future__ import annotations

import numpy as np
import polars as pl

from ....core.samplers.text import Email, Name, Phone
from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW
from ..calendar import DAY
from ..identifiers import other_ibans
from ..people import sample
from ..reports import claims
from .staging import (
    adapted,
    difficulty,
    members_here,
    parties,
    repeat,
    start_of,
    strange_devices,
    transfer_columns,
    whole_seconds,
)  # fmt: skip

ROUND = 500
"""Minor units that amounts are rounded to when people choose them."""


def account_takeover(scene: Scene) -> list[Edit]:
    """New device, changed contact, new payee, then transfers to it: in this order."""
    victims = members_here(scene, "victim")
    instance = victims["instance"].to_numpy()
    if not len(instance):
        return []
    start = start_of(scene, victims["instance"], margin=35 * DAY)
    one = scene.address("takeover", instance, 0)
    u = scene.stream.child("pace").uniform(join_rows(one[:, None], np.arange(3)))
    changed = start + whole_seconds(np.maximum(300, 60 * scene["change"] * u[:, 0]))
    span = scene["hours"] * 3_600
    added = changed + whole_seconds(60 + scene["payee"] * span * u[:, 1])
    device, payee = (scene.address(kind, instance, 0) for kind in ("device", "payee"))
    country = np.where(victims["currency"].cast(pl.String).to_numpy() == "EUR", "DE", "GB")
    german = country == "DE"
    name = sample(Name, scene.stream.child("name"), payee, german)
    mail = Email().sample(name.with_columns(pl.Series(ROW, payee)), scene.stream)["email"]
    phone = sample(lambda locale: Phone("phone", locale), scene.stream, payee, german)["phone"]
    contact = pl.DataFrame(
        {
            ROW: victims["customer_id"].cast(pl.UInt64),
            "instance": instance,
            "email": mail,
            "phone": phone,
            "contact_changed_at": changed,
        }
    )
    new_payee = pl.DataFrame(
        {
            ROW: payee,
            "instance": instance,
            "customer_id": victims["customer_id"],
            "kind": ["person"] * len(instance),
            "name": name["name"],
            "iban": other_ibans(scene.stream.child("iban"), country, payee),
            "added_at": added,
        }
    )
    who, n = repeat(victims, scene["transfers"])
    nth = who["victim"].to_numpy()
    rows = scene.address("drain", who["instance"].to_numpy(), n)
    part = scene.stream.child("part").uniform(rows)
    at = added[nth] + whole_seconds(120 + 0.95 * (1 - scene["payee"]) * span * (n + part) / scene["transfers"])
    share = scene["drain"] / scene["transfers"] * (0.6 + 0.8 * scene.stream.child("share").uniform(rows))
    window, p = scene.block.window, scene.block.priors
    began = (start - window.start) / (window.end - window.start)
    hidden = difficulty(scene, began)
    anyone = np.log(100) + p("transfer.log_mean") + p("transfer.log_sigma") * scene.stream.child("like").normal(rows)
    whole = np.log(np.maximum(who["opening_balance_minor"].to_numpy() * share, 1))
    amount = np.floor(np.minimum(np.exp((1 - hidden[nth]) * whole + hidden[nth] * anyone), np.exp(whole) * 1.2))
    even = scene.stream.child("even").uniform(rows) < p("laundering.round_share")
    amount = np.where(even & (amount > 4 * ROUND), np.floor(amount / ROUND) * ROUND, amount)
    drains = pl.DataFrame(
        {
            ROW: rows,
            "instance": who["instance"],
            "account_id": who["account_id"],
            "device_row": device[nth],
            "counterparty_row": payee[nth],
            **transfer_columns(scene, who, "ICDT/ESCT", at, amount, scene.stream.child("clear").uniform(rows)),
        }
    )
    reported = claims(scene.block, drains, p("report.share")["card"], cards=False)
    return [
        *parties(scene),
        *strange_devices(scene, "victim", victims.with_columns(pl.Series(ROW, device), pl.Series("at", start))),
        scene.edit("update", "customer", contact, "victim", "contact-change"),
        scene.edit("insert", "counterparty", new_payee, "victim", "new-payee"),
        scene.edit("insert", "transaction", drains, "victim", "drain"),
        scene.edit("insert", "fraud_report", reported, "victim", "report"),
        *adapted(scene, "victim", victims, began),
    ]
