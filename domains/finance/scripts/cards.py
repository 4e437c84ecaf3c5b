"""Fraud on cards."""

from __future__ import annotations

import numpy as np
import polars as pl

from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW
from ..calendar import DAY, HOUR
from ..draws import keep
from .staging import SECOND, card_on, members_here, probit, repeat, start_of


def card_testing(scene: Scene) -> list[Edit]:
    """Tests in a burst, then purchases; all online, at merchants that sell to everyone."""
    block, p = scene.block, scene.block.priors
    victims = members_here(scene, "victim")
    merchant = block.reference["merchant"]
    shops = merchant.filter("online")["merchant_id"].to_numpy()
    start = start_of(scene, victims["instance"], margin=10 * DAY)
    edits = []
    for effect, times in (("test", scene["attempts"]), ("purchase", scene["purchases"])):
        who, n = repeat(victims, times)
        if not who.height:
            continue
        instance, member = who["instance"].to_numpy(), who["member"].to_numpy()
        rows = scene.address(effect, instance, join_rows(member, n))
        u = {
            name: scene.stream.child(effect, name).uniform(rows) for name in ("at", "amount", "answer", "code", "clear")
        }
        begin = start[who["victim"].to_numpy()]
        if effect == "test":
            # one merchant for the whole attack, one card after the other, seconds between two tries
            shop = scene.stream.child("shop").integers(instance.astype(np.uint64), len(shops))
            at = begin + member * 600 * SECOND + (n * 25 + np.floor(u["at"] * 20).astype(np.int64)) * SECOND
            amount = np.ceil(u["amount"] * scene["test"] * 100)
            refused = u["answer"] < scene["declined"]
        else:
            shop = scene.stream.child("shop", "later").integers(rows, len(shops))
            at = begin + 6 * HOUR + np.floor(u["at"] * 5 * DAY / SECOND).astype(np.int64) * SECOND
            amount = np.floor(scene["amount"] * 100 * np.exp(scene["spread"] * probit(u["amount"])))
            refused = u["answer"] < p("purchase.declined")["05"] * p("purchase.declined_online_factor")
        shop = shops[shop]
        code = np.where(refused, np.where(u["code"] < scene["wrong_code"], "82", "05"), "00")
        delay = -np.log2(u["clear"]) * p("purchase.clearing_hours")["online"]
        edits.append(
            scene.edit(
                "insert",
                "transaction",
                pl.DataFrame(
                    {
                        ROW: rows,
                        "instance": instance,
                        "account_id": who["account_id"],
                        "card_id": card_on(block, scene, who, at),
                        "merchant_id": shop,
                        "channel": ["card-not-present"] * who.height,
                        "type": ["CCRD/POSD"] * who.height,
                        "direction": ["DBIT"] * who.height,
                        "mcc": merchant["mcc"].gather(shop),
                        "amount_minor": np.maximum(amount, 1).astype(np.int64),
                        "currency": who["currency"],
                        "authorised_at": at,
                        "cleared_at": keep(at + np.floor(delay * 3_600).astype(np.int64) * SECOND, ~refused),
                        "response_code": code,
                        "entry_mode": ["81"] * who.height,
                        "country": merchant["country"].gather(shop),
                    }
                ),
                "victim",
                effect,
            )
        )
    return edits
