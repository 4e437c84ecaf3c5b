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
    own = true                      # the holder does it: from an own device, and where the holder buys (optional)
    amount = "amount"               # median of a log-normal draw, with `spread`; or
    most = "test"                   # anything up to this much
    dearer = true                   # what hides is dearer than what anyone pays, by the prior `fraud.dearer` (optional)
    round = 50                      # multiples of this (optional)
    declined = 0.75                 # share that is declined; the issuer's usual share where it is not given
    code = "82"                     # answer for `code_share` of the declines that do not hide; the others are refused as anyone's are
    entry = "90"                    # how the card is read at a terminal: as anyone's where it is not given
    undone = 0.9                    # share that is refunded or charged back, within `undone_days` (optional)
    disputed = true                 # what its holder made and is undone is claimed back as fraud, not sent back (optional)
    borne = "bank"                  # nothing is charged back: no merchant is liable for who holds the card (optional)

Beside the phases: `blocked = ["41", "43"]` says how the issuer answers from the first report of a card on, which is cancelled then and replaced days later, `shared_phone = true` gives all holders of an instance one telephone number, `new_contact = true` changes a holder's when the instance begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.samplers.text import Phone
from ....core.scenario import Edit, Scene
from ....core.stream import F64, join_rows
from ....core.tables import ROW, alike, is_there, only, picked, plain
from ..calendar import DAY, HOUR
from ..draws import choose, keep
from ..payments import half_lives, machine_limit
from ..people import sample
from ..reports import claims
from .reissue import reissue
from .staging import (
    adapted,
    card_on,
    clock,
    difficulty,
    members_here,
    paid_on,
    parties,
    probit,
    repeat,
    strange_devices,
    value_of,
    whole_seconds,
)  # fmt: skip

TYPES = {"card-present": "CCRD/POSD", "card-not-present": "CCRD/POSD", "atm": "CCRD/CWDL"}
DELAYS = {"card-present": "present", "card-not-present": "online", "atm": "cash"}


def cards(scene: Scene) -> list[Edit]:
    """Payments of each phase, on each card in turn, and the devices that strangers make them from."""
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
    hidden = difficulty(scene, start / window)
    made = [_phase(scene, role, holders, start, pace, hidden, f) for f in phases if _number(scene, f, "times")]
    told = _blocked(scene, role, holders, [edit for edits in made for edit in edits]) + adapted(
        scene, role, holders, start / window
    )
    return [*parties(scene), *_contacts(scene, role, holders, start), *told]


def _blocked(scene: Scene, role: str, holders: pl.DataFrame, edits: list[Edit]) -> list[Edit]:
    """What is tried on a card after the first report of it is refused for that, and not reported in its turn; its holder gets another."""
    codes = scene.use.scenario.arguments.get("blocked")
    if not codes:
        return edits
    told = pl.concat(
        [e.rows.select("account_id", "instance", "reported_at") for e in edits if e.table == "fraud_report"]
    )
    first = (
        told.group_by("account_id", "instance").agg(since=pl.col("reported_at").min()).sort("instance", "account_id")
    )
    known = holders.select("account_id", "instance", "currency")
    replaced = reissue(scene, role, first.join(known, on=["account_id", "instance"], maintain_order="left"))
    drawn = scene.stream.child("blocked").integers(first["account_id"].to_numpy(), len(codes))
    first = first.with_columns(code=pl.Series([codes[n] for n in drawn.tolist()], dtype=pl.String))
    late, found = set[int](), list[Edit]()
    for edit in (e for e in edits if e.table == "transaction"):
        rows = edit.rows.join(first, on=["account_id", "instance"], how="left", maintain_order="left")
        after = (rows["authorised_at"] > rows["since"]).fill_null(False)
        late.update(rows.filter(after)[ROW].to_list())
        rows = rows.with_columns(
            *(pl.when(~after).then(c).alias(c) for c in ("cleared_at", "reversed_at")),
            pl.when(after).then("code").otherwise("response_code").alias("response_code"),
        )
        found.append(replace(edit, rows=rows.drop("since", "code")))
    kept = (
        e if e.table != "fraud_report" else replace(e, rows=e.rows.filter(~pl.col("transaction_row").is_in(list(late))))
        for e in edits
    )
    return [*replaced, *(e for e in kept if e.table != "transaction"), *found]


def _contacts(scene: Scene, role: str, holders: pl.DataFrame, start: F64) -> list[Edit]:
    """Telephone numbers that one group shares, or that a thief puts in the place of the holder's."""
    shared, new = (scene.use.scenario.arguments.get(k, False) for k in ("shared_phone", "new_contact"))
    if not shared and not new:
        return []
    member = holders["member"].to_numpy() * (not shared)
    rows = scene.address("phone", holders["instance"].to_numpy(), member)
    german = (holders["currency"].cast(pl.String) == "EUR").to_numpy() & (not shared)
    phone = sample(lambda locale: Phone("phone", locale), scene.stream, rows, german)["phone"]
    owner = holders["customer_id"].cast(pl.UInt64)
    frame = pl.DataFrame({ROW: owner, "instance": holders["instance"], "phone": phone})
    if shared:
        return [scene.edit("update", "customer", frame, role, "shared-phone")]
    at = clock(scene, start + 1.0, holders["currency"])
    frame = frame.with_columns(pl.Series("contact_changed_at", at))
    return [scene.edit("update", "customer", frame, role, "contact-change")]


def _number(scene: Scene, phase: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    return float(value_of(scene, phase.get(name, default)))


def _phase(
    scene: Scene, role: str, holders: pl.DataFrame, start: F64, pace: float, hidden: F64, phase: Mapping[str, Any]
) -> list[Edit]:
    block, effect, channel = scene.block, phase["effect"], phase["channel"]
    p, stream = block.priors, scene.stream.child(phase["effect"])
    who, n = repeat(holders, int(_number(scene, phase, "times")))
    nth = who["victim"].to_numpy()
    instance, member = who["instance"].to_numpy(), who["member"].to_numpy()
    rows = scene.address(effect, instance, join_rows(member, n))
    draws = ("at", "amount", "answer", "code", "clear", "undo", "back", "hide", "device", "entry", "again", "wait")
    u = {name: stream.child(name).uniform(rows) for name in draws}
    hide = u["hide"] < hidden[nth]

    # the cards of one instance begin at one moment by one clock, whatever country their holders live in
    after = start + _number(scene, phase, "after") * pace
    begin = clock(scene, after, pl.Series(["EUR"] * len(start)))[nth]
    if "burst" in phase:
        step, turn = _number(scene, phase, "burst"), _number(scene, phase, "turn")
        at = begin + whole_seconds(member * turn + n * step + np.floor(u["at"] * step * 0.8))
    else:
        hours = after[nth] + u["at"] * _number(scene, phase, "hours") * pace
        at = clock(scene, hours, who["currency"], shopping=True)
        begun = clock(scene, after[nth], who["currency"], shopping=True)
        again = u["again"] < p("purchase.burst")
        at = _set_off(scene, who, at, begun, again, u["wait"], bool(phase.get("own", False)))
    shop = _shops(scene, phase, who, rows, hide)

    if "most" in phase:
        amount = np.ceil(u["amount"] * _number(scene, phase, "most") * 100)
    else:
        amount = _amounts(scene, phase, shop, hidden[nth], probit(u["amount"]))
    unit = 100 * _number(scene, phase, "round", 10.0 if channel == "atm" else 0.0)
    amount = np.maximum(np.round(amount / unit) * unit, unit) if unit else np.maximum(np.floor(amount), 1)
    if channel == "atm":
        euro = (who["currency"].cast(pl.String) == "EUR").to_numpy().astype(np.int64)
        # whoever asks for more than the limit says that it was lifted
        amount = np.minimum(amount, np.maximum(machine_limit(block)[euro], 100 * _number(scene, phase, "amount")))

    if phase.get("entry") == "07":
        # who does not know the PIN pays no more than goes without one
        most = p("purchase.contactless_most_minor")
        euro = (who["currency"].cast(pl.String) == "EUR").to_numpy()
        amount = _without_pin(amount, np.where(euro, most["DE"], most["GB"]), stream.child("no pin").uniform(rows))

    usual = p("purchase.declined_online" if channel == "card-not-present" else "purchase.declined")
    refused = u["answer"] < _number(scene, phase, "declined", sum(usual.values()))
    why = np.array(list(usual))[choose(stream.child("why").uniform(rows), usual.values())]
    why = np.where((u["code"] < _number(scene, phase, "code_share")) & ~hide, phase.get("code", "05"), why)
    half = p("purchase.clearing_hours")[DELAYS[channel]]
    delay = half_lives(u["clear"], half, p("purchase.presented_days")) * half
    cleared = at + whole_seconds(delay * 3_600)
    undone = ~refused & (u["undo"] < _number(scene, phase, "undone"))
    back = cleared + DAY + whole_seconds(u["back"] * _number(scene, phase, "undone_days", 30.0) * 86_400)
    modes = p("purchase.entry_mode")
    usual_entry = np.array(list(modes))[choose(u["entry"], modes.values())]
    told = "81" if channel == "card-not-present" else phase.get("entry")
    entry = np.full(who.height, told) if told else usual_entry
    # nobody enters a PIN without contact
    entry = np.where(refused & (why == "55") & (entry == "07"), "05", entry)
    # a bank recognises as many devices as it does for anyone; a thief's is new unless the holder was made to lend theirs
    seen = (channel == "card-not-present") & (u["device"] >= p("purchase.unseen_device"))
    own = hide | bool(phase.get("own", False))
    theirs = scene.address(f"device {effect}", instance, member)
    # every customer's first device was seen before the window
    device = np.where(own, join_rows(who["unit"].to_numpy(), 0 * member), theirs)
    merchant = block.reference["merchant"]
    made = pl.DataFrame(
        {
            ROW: rows,
            "instance": instance,
            "account_id": who["account_id"],
            "card_id": card_on(block, scene, who, at),
            "device_row": keep(device, seen),
            "merchant_id": shop,
            "channel": alike(channel, who.height),
            "type": alike(TYPES[channel], who.height),
            "direction": alike("DBIT", who.height),
            "mcc": picked(merchant["mcc"], shop),
            "amount_minor": amount.astype(np.int64),
            "currency": who["currency"],
            "authorised_at": at,
            "cleared_at": keep(cleared, ~refused),
            "reversed_at": keep(back, undone),
            "response_code": np.where(refused, why, "00"),
            "entry_mode": entry,
            "country": picked(merchant["country"], shop),
        }
    )
    share = p("report.share")["card"]
    # what holders do themselves the bank hears of only where they claim it back, and does not always believe
    if phase.get("own"):
        told = 1.0 if phase.get("disputed") else 0.0
        reported = claims(block, made, np.where(undone, told, 0.0), upheld=1 - p("report.unfounded"))
        denied = reported.filter(outcome="refused")["transaction_row"]
        made = made.with_columns(pl.when(~pl.col(ROW).is_in(denied.implode())).then("reversed_at").alias("reversed_at"))
    else:
        reported = claims(block, made, np.full(who.height, share), cards=phase.get("borne") != "bank")
    used = only(who.hstack([pl.Series(ROW, theirs), pl.Series("at", at)]), seen & ~own)
    return [
        *strange_devices(scene, role, used),
        scene.edit("insert", "transaction", made, role, effect),
        scene.edit("insert", "fraud_report", reported, role, "report"),
    ]


def _without_pin(amount: F64, most: NDArray[np.int64], u: F64) -> F64:
    """The amounts, those beyond a limit anywhere in its upper half: nobody asks for what the terminal would refuse."""
    return np.where(amount > most, np.floor(most * (1 - u / 2)), amount)


def _set_off(
    scene: Scene, who: pl.DataFrame, at: NDArray[np.int64], begun: NDArray, again: NDArray[np.bool_], u: F64, own: bool
) -> NDArray[np.int64]:
    """The moments, of which those `again` are brought forward to some minutes after the payment before on the account: one purchase leads to another for
    whoever makes them. What holders do themselves follows their other payments too."""
    minutes = scene.block.priors("purchase.burst_minutes")
    account, when = who["account_id"].to_numpy(), at
    if own:
        paid = scene.tables["transaction"]
        theirs = paid_on(scene, account)
        theirs = theirs[is_there(paid["card_id"])[theirs]]
        account = np.append(account, paid["account_id"].to_numpy()[theirs])
        when = np.append(when, paid["authorised_at"].to_numpy()[theirs])
    # each moment asks for the last of all before it: at one moment, what asks stands first
    account, when = np.append(who["account_id"].to_numpy(), account), np.append(at, when)
    asks = np.arange(len(when)) < len(at)
    order = np.lexsort((~asks, when, account))
    last = np.maximum.accumulate(np.where(asks[order], -1, np.arange(len(order))))
    found = (last >= 0) & (account[order][last] == account[order])
    earlier = np.full(len(at), -1)
    mine = asks[order]
    earlier[order[mine]] = np.where(found, when[order][last], -1)[mine]
    soon = earlier + 1_000_000 + whole_seconds(-np.log(u) * minutes * 60)
    return np.where(again & (earlier >= begun), np.minimum(soon, at), at)


def _amounts(scene: Scene, phase: Mapping[str, Any], shop: NDArray[np.int64], hidden: F64, z: F64) -> F64:
    """Minor units: between what the typology asks for and what anyone pays at such a shop, nearer to the latter the better it hides."""
    p = scene.block.priors
    category = scene.block.reference["merchant"]["category"]
    kinds, which = category.dtype.categories, plain(category)[shop]  # type: ignore[attr-defined]
    mean, sigma = (np.array([p(f"purchase.log_{x}").get(c, 0.0) for c in kinds])[which] for x in ("mean", "sigma"))
    asked = np.log(_number(scene, phase, "amount"))
    dearer = np.log(p("fraud.dearer")) if phase.get("dearer") else 0.0
    median = (1 - hidden) * asked + hidden * (mean + dearer)
    spread = (1 - hidden) * _number(scene, phase, "spread") + hidden * sigma
    return 100 * np.exp(median + spread * z)


def _shops(
    scene: Scene, phase: Mapping[str, Any], who: pl.DataFrame, rows: NDArray[np.uint64], hide: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The merchant of each payment: as popular as for anyone, in the customer's country unless it says abroad; what hides is not of the typology's
    category, and of what holders do themselves it is where they have been before."""
    p, channel, merchant = scene.block.priors, phase["channel"], scene.block.reference["merchant"]
    countries, categories = (list(merchant[c].dtype.categories) for c in ("country", "category"))  # type: ignore[attr-defined]
    country, category = (plain(merchant[c]) for c in ("country", "category"))
    share = p("purchase.share")
    weight = merchant["popularity"].to_numpy() * np.array([share.get(c, 0.0) for c in categories])[category]
    fits = (category == categories.index("cash")) == (channel == "atm")
    if channel != "atm":
        fits &= merchant["online"].to_numpy() == (channel == "card-not-present")
    one = phase["merchant"] == "one"
    stream = scene.stream.child("shop" if one else phase["effect"], "merchant")
    draw = who["instance"].to_numpy().astype(np.uint64) if one else rows
    u = stream.uniform(draw)
    euro = (who["currency"].cast(pl.String) == "EUR").to_numpy()
    british, german = (country == countries.index(c) for c in ("GB", "DE"))
    # one merchant for cards of both countries is one that anyone could go to
    places = [~(british | german)] if phase.get("abroad") else [british | german] if one else [british, german]

    def picked(such: NDArray[np.bool_]) -> NDArray[np.int64]:
        found = []
        for place in places:
            pool = np.flatnonzero(fits & place & such)
            upto = np.cumsum(weight[pool])
            at = np.minimum(np.searchsorted(upto / upto[-1], u), len(pool) - 1)
            found.append(merchant["merchant_id"].to_numpy()[pool[at]])
        return np.where(euro, found[-1], found[0])

    shop = picked(np.ones(len(fits), bool))
    if "category" in phase:
        shop = np.where(hide & ~np.bool_(one), shop, picked(category == categories.index(phase["category"])))
    if phase.get("own") and not one:
        been, known = _habits(scene, channel, who, stream.child("habit").uniform(rows))
        shop = np.where(hide & known, been, shop)
    return shop


def _habits(scene: Scene, channel: str, who: pl.DataFrame, u: F64) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A merchant that the holder has paid, picked among the holder's payments of the channel, and whether there is any."""
    paid, account = scene.tables["transaction"], who["account_id"].to_numpy()
    code = paid["channel"].dtype.categories.to_list().index(channel)  # type: ignore[attr-defined]
    theirs = paid_on(scene, account)
    theirs = theirs[plain(paid["channel"])[theirs] == code]
    of, row = paid["account_id"].to_numpy()[theirs], paid[ROW].to_numpy()[theirs]
    order = np.lexsort((row, of))
    of, shop = of[order], paid["merchant_id"].gather(theirs[order]).fill_null(0).to_numpy()
    first = np.searchsorted(of, account)
    count = np.searchsorted(of, account, side="right") - first
    at = first + np.floor(u * np.maximum(count, 1)).astype(np.int64)
    return np.append(shop, 0)[np.minimum(at, len(shop))], count > 0
