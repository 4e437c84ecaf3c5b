"""What the scenarios do. Every draw is addressed by instance, member and number, so that all blocks play one scene."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.text import Email, Name, Phone
from ...core.scenario import Edit, Scene
from ...core.stream import F64, join_rows
from ...core.tables import ROW
from .calendar import DAY, HOUR
from .draws import keep
from .identifiers import other_ibans
from .parties import CARDS, addresses, holder_names
from .people import sample

SECOND = 1_000_000


def card_testing(scene: Scene) -> list[Edit]:
    """Tests in a burst, then purchases; all online, at merchants that sell to everyone."""
    block, p = scene.block, scene.block.priors
    victims = _here(scene, "victim")
    merchant = block.reference["merchant"]
    shops = merchant.filter("online")["merchant_id"].to_numpy()
    start = _start(scene, victims["instance"], margin=10 * DAY)
    edits = []
    for effect, times in (("test", scene["attempts"]), ("purchase", scene["purchases"])):
        who, n = _repeat(victims, times)
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
            amount = np.floor(scene["amount"] * 100 * np.exp(scene["spread"] * _probit(u["amount"])))
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
                        "card_id": _card(block, scene, who, at),
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


def account_takeover(scene: Scene) -> list[Edit]:
    """New device, changed contact, new payee, then transfers to it: in this order."""
    victims = _here(scene, "victim")
    instance = victims["instance"].to_numpy()
    if not len(instance):
        return []
    start = _start(scene, victims["instance"], margin=35 * DAY)
    one = scene.address("takeover", instance, 0)
    u = scene.stream.child("pace").uniform(join_rows(one[:, None], np.arange(3)))
    changed = start + _seconds(np.maximum(300, 60 * scene["change"] * u[:, 0]))
    span = scene["hours"] * 3_600
    added = changed + _seconds(60 + scene["payee"] * span * u[:, 1])
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
    who, n = _repeat(victims, scene["transfers"])
    nth = who["victim"].to_numpy()
    rows = scene.address("drain", who["instance"].to_numpy(), n)
    part = scene.stream.child("part").uniform(rows)
    at = added[nth] + _seconds(120 + 0.95 * (1 - scene["payee"]) * span * (n + part) / scene["transfers"])
    share = scene["drain"] / scene["transfers"] * (0.6 + 0.8 * scene.stream.child("share").uniform(rows))
    amount = np.floor(who["opening_balance_minor"].to_numpy() * share)
    drains = pl.DataFrame(
        {
            ROW: rows,
            "instance": who["instance"],
            "account_id": who["account_id"],
            "device_row": device[nth],
            "counterparty_row": payee[nth],
            **_transfer(scene, who, "ICDT/ESCT", at, amount, scene.stream.child("clear").uniform(rows)),
        }
    )
    return [
        scene.edit("insert", "device", new_device, "victim", "new-device"),
        scene.edit("update", "customer", contact, "victim", "contact-change"),
        scene.edit("insert", "counterparty", new_payee, "victim", "new-payee"),
        scene.edit("insert", "transaction", drains, "victim", "drain"),
    ]


def mule_ring(scene: Scene) -> list[Edit]:
    """Each member pays the next, the last pays the first. Every block that has a member plays the whole ring."""
    ring = scene.cast["mule"].sort("instance", "member")
    hops = scene["hops"]
    instance, member = ring["instance"].to_numpy(), ring["member"].to_numpy()
    at_next = np.arange(ring.height) - member + (member + 1) % hops
    payee = ring[at_next]
    rows = scene.address("hop", instance, member)
    party = scene.address("party", instance, member)
    u = {name: scene.stream.child(name).uniform(rows) for name in ("fee", "delay", "clear")}
    # the first hop draws the size and the start; the others follow from it
    kept = np.where(member == 0, 1.0, 1.0 - scene["fee"] * (0.25 + 0.75 * u["fee"]))
    kept = np.exp(np.cumsum(np.log(kept).reshape(-1, hops), axis=1)).ravel()
    size = scene.stream.child("amount").uniform(instance.astype(np.uint64))
    amount = np.floor(scene["amount"] * 100 * np.exp(scene["spread"] * _probit(size)) * kept)
    wait = np.where(member == 0, 0.0, 1_800 - np.log(u["delay"]) * scene["delay"] * 3_600)
    wait = _seconds(np.minimum(wait, 20 * scene["delay"] * 3_600))
    wait = np.cumsum(wait.reshape(-1, hops), axis=1).ravel()
    margin = np.minimum(
        _seconds(np.array(hops * 3 * scene["delay"] * 3_600)), (scene.block.window.end - scene.block.window.start) // 2
    )
    at = _start(scene, ring["instance"], margin=int(margin)) + wait
    name = holder_names(scene.block, payee["unit"].to_numpy().astype(np.uint64))["name"]
    parties = pl.DataFrame(
        {
            ROW: party,
            "instance": instance,
            "customer_id": ring["customer_id"],
            "kind": ["person"] * ring.height,
            "name": name,
            "iban": payee["iban"],
            "added_at": at - 300 * SECOND,
        }
    )
    transfers = pl.DataFrame(
        {
            ROW: rows,
            "instance": instance,
            "account_id": ring["account_id"],
            # every customer's first device was seen before the window
            "device_row": join_rows(ring["unit"].to_numpy(), 0 * member),
            "counterparty_row": party,
            "counterparty_account_id": payee["account_id"],
            **_transfer(scene, ring, "ICDT/BOOK", at, amount, u["clear"]),
        }
    )
    return [
        scene.edit("insert", "counterparty", parties, "mule", "new-payee"),
        scene.edit("insert", "transaction", transfers, "mule", "hop"),
    ]


SCRIPTS = {"card_testing": card_testing, "account_takeover": account_takeover, "mule_ring": mule_ring}


def _transfer(scene: Scene, who: pl.DataFrame, kind: str, at: NDArray, amount: F64, clear: F64) -> dict[str, object]:
    """The columns that a transfer made online has like any other."""
    hours = scene.block.priors("transfer.clearing_hours")
    return {
        "channel": ["transfer"] * who.height,
        "type": [kind] * who.height,
        "direction": ["DBIT"] * who.height,
        "amount_minor": np.maximum(amount, 1).astype(np.int64),
        "currency": who["currency"],
        "authorised_at": at,
        "cleared_at": at + _seconds(1 + clear**4 * hours * 3_600),
    }


def _here(scene: Scene, role: str) -> pl.DataFrame:
    """The members that live in this block, numbered: rows about one customer concern no other block."""
    here = pl.col("unit").is_between(scene.block.first, scene.block.last - 1)
    return scene.cast[role].filter(here).with_row_index("victim")


def _repeat(frame: pl.DataFrame, times: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Every row `times` over, and which time it is."""
    at = np.repeat(np.arange(frame.height), times)
    return frame[at], np.tile(np.arange(times), frame.height)


def _start(scene: Scene, instance: pl.Series, margin: int) -> NDArray[np.int64]:
    """When each instance begins: anywhere in the window that leaves room for what follows."""
    window = scene.block.window
    room = max(window.end - window.start - min(margin, (window.end - window.start) // 2), SECOND)
    u = scene.stream.child("start").uniform(instance.to_numpy().astype(np.uint64))
    return window.start + _seconds(u * room / SECOND)


def _card(block: Block, scene: Scene, who: pl.DataFrame, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The card in use on the day."""
    card = scene.tables["card"]
    oldest = card.filter(pl.col("card_id") % CARDS == 0).select("account_id", "issued_on")
    issued = who.join(oldest, on="account_id", how="left", maintain_order="left")["issued_on"].to_physical().to_numpy()
    valid = int(block.priors("card.validity_years") * 365.25)
    return who["account_id"].to_numpy() * CARDS + (at // DAY - issued) // valid


def _seconds(values: NDArray) -> NDArray[np.int64]:
    return np.floor(values).astype(np.int64) * SECOND


def _probit(u: F64) -> F64:
    from scipy.special import ndtri

    return ndtri(u)
