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
from ..parties import addresses
from ..people import sample
from .staging import members_here, repeat, start_of, transfer_columns, whole_seconds


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
    system = scene.stream.child("os").integers(device, 3)
    german = country == "DE"
    name = sample(Name, scene.stream.child("name"), payee, german)
    mail = Email().sample(name.with_columns(pl.Series(ROW, payee)), scene.stream)["email"]
    phone = sample(lambda locale: Phone("phone", locale), scene.stream, payee, german)["phone"]
    new_device = pl.DataFrame(
        {
            ROW: device,
            "instance": instance,
            "customer_id": victims["customer_id"],
            "type": np.array(["phone", "phone", "computer"])[system],
            "os": np.array(["android", "ios", "windows"])[system],
            "ip": addresses(scene.stream.child("ip"), device),
            "first_seen_at": start,
        }
    )
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
    amount = np.floor(who["opening_balance_minor"].to_numpy() * share)
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
    return [
        scene.edit("insert", "device", new_device, "victim", "new-device"),
        scene.edit("update", "customer", contact, "victim", "contact-change"),
        scene.edit("insert", "counterparty", new_payee, "victim", "new-payee"),
        scene.edit("insert", "transaction", drains, "victim", "drain"),
    ]
