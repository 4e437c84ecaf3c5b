"""Money that moves along a declared graph: one script for every typology of transfers.

A scenario's `arguments` says who pays whom, in which order, when and how much; the script walks through it. Amounts are in major units,
times in hours; wherever a number stands, the name of a parameter may stand instead.

    [arguments]
    quiet = ["account"]             # roles whose accounts lie still before their first flow (optional)
    opens = ["mule"]                # roles that play on an account opened for the purpose: see `onboarding` (optional)
    withheld = ["employee"]         # roles whose pay stops when the instance begins (optional)
    lead = 0.5                      # share of the window that passes before an instance may begin (optional)

    [arguments.outside.shop]             # parties with accounts at other banks: they are made, not cast
    size = 3
    kind = "company"                # company or person
    abroad = true                   # their bank is abroad (optional)

    [[arguments.flow]]                   # flows follow each other: a party pays on once it has been paid
    effect = "hop"
    from = "mule"                   # a role, or a party outside
    to = "mule"
    links = "ring"                  # all, match, enter, leave, next, ring, walk
    times = 3                       # payments on each link, or steps of a walk (optional)
    every = 168                     # hours between the payments on one link (optional)
    hours = 24                      # the flow's payments begin within this span
    delay = 18                      # and wait on average this long after the payer was paid
    amount = "amount"               # median of a log-normal draw, with `spread`, of an instance that does not hide at all; or
    below = "threshold"             # just under a threshold, by `margin` at most; or
    fee = "fee"                     # what the payer holds, less this share at most
    factor = 1.3                    # multiplies the amount (optional)
    above = 2.0                     # at least so many times what the payee has been paid in earlier flows (optional)
    growth = 1.2                    # multiplies it again with each payment on one link (optional)
    some = 0.5                      # played in this share of instances only (optional); who was not paid does not pay on
    unless = "relay"                # played where the flow of this effect is not (optional)
    through = "relay"               # a party outside, by whom the `share` of the payments go: in at once, and on to the payee (optional;
    share = 0.5                     # effects `hop-out` and `hop-in`)

`all` links every payer with every payee, `match` the n-th with the n-th (the shorter list again from its start), `enter` every payer with the
first payee, `leave` the last payer with every payee, `next` each member with the one after it, `ring` the last with the first too, and `walk`
steps from member to member at random. The last three are sequences: each payment waits for
the one before it and passes on what that one brought.

Some payments are stopped and made again; some are recalled and sent back, in whole or in part (`laundering.stopped`, `.returned` and `.recovered` in
the priors; effects `stopped`, `recalled`, `partly-recovered`). How the groups of one operator share members and machines: see `groups`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.samplers.text import Company, Name
from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW, alike, filled, is_there, picked
from ..draws import keep
from ..identifiers import abroad, other_ibans
from ..parties import holder_names
from ..people import sample
from .groups import POOL, groups_each, in_groups, lent, machines, of_operators
from .onboarding import onboarded, openings
from .setbacks import reported, setbacks
from .silence import silence, withheld
from .staging import adapted, strange_devices, value_of, whole_seconds
from .staging import parties as cast_accounts
from .walk import Walk, outside

PARTY = {
    **dict.fromkeys(("instance", "n", "who", "unit", "customer_id", "account_id"), pl.Int64),
    **dict.fromkeys(("iban", "currency", "name", "party", "kind"), pl.String),
}
"""What is known of a party."""


def motif(scene: Scene) -> list[Edit]:
    """Payments of every flow, the payees they go to, and what was removed to let an account lie still."""
    scene, each = onboarded(scene), groups_each(scene)
    return _played(scene, 1) if each == 1 else of_operators(_played(in_groups(scene, each), each), each)


def _played(scene: Scene, each: int) -> list[Edit]:
    """The edits of instances, `each` of one operator."""
    walk = Walk(scene, each)
    for flow in scene.use.scenario.arguments["flow"]:
        walk.pay(flow)
    moves = walk.told()
    parties = _parties(scene, each)
    moves = pl.concat([moves, *setbacks(scene, moves)])
    return [
        *openings(scene, moves),
        *silence(scene, parties, moves),
        *withheld(scene, parties, moves),
        *_edits(walk, parties, moves, each),
        *_adapted(walk),
    ]


def _parties(scene: Scene, each: int) -> pl.DataFrame:
    """Everyone who can pay or be paid: party, instance, number `n`, `who` they are among all of their operator's, and what others see of them; `account_id` is
    null outside."""
    cast, columns = scene.cast, {name: list[Any]() for name in PARTY}
    units = np.concatenate([members["unit"].to_numpy() for members in cast.values()]).astype(np.uint64)
    columns["name"] += holder_names(scene.block, units)["name"].to_list()
    for role, members in cast.items():
        columns["party"] += [role] * members.height
        columns["kind"] += ["person"] * members.height
        columns["n"] += members["member"].to_list()
        columns["who"] += members[POOL if POOL in members.columns else "member"].to_list()
        columns["currency"] += members["currency"].cast(pl.String).to_list()
        for name in ("instance", "unit", "customer_id", "account_id", "iban"):
            columns[name] += members[name].to_list()
    first = next(iter(cast.values()))
    of, place = np.unique(first["instance"].to_numpy(), return_index=True)
    currency = np.array(first["currency"].cast(pl.String).to_list())[place]
    for name, spec in outside(scene).items():
        size = int(value_of(scene, spec["size"]))
        instance, n = np.repeat(of, size), np.tile(np.arange(size), len(of))
        german = np.repeat(currency == "EUR", size)
        rows = scene.address(f"outside {name}", instance, n)
        stream = scene.stream.child("outside", name)
        away = abroad(scene.block, stream.child("country").uniform(rows))
        country = np.where(spec.get("abroad", False), away, np.where(german, "DE", "GB"))
        if spec["kind"] == "company":
            names = sample(lambda locale: Company("company", locale), stream, rows, german)["company"]
        else:
            names = sample(Name, stream, rows, german)["name"]
        made = {
            "party": [name] * len(rows),
            "instance": instance.tolist(),
            "n": n.tolist(),
            "who": (instance % each * size + n).tolist(),
            "currency": np.repeat(currency, size).tolist(),
            "iban": other_ibans(stream.child("iban"), country, rows).to_list(),
            "name": names.to_list(),
            "kind": [spec["kind"]] * len(rows),
        }
        for column, values in columns.items():
            values += made.get(column, [None] * len(rows))
    return pl.DataFrame([pl.Series(name, values, PARTY[name]) for name, values in columns.items()])


def _adapted(walk: Walk) -> list[Edit]:
    found = []
    for role, members in walk.scene.cast.items():
        began = walk.start[np.searchsorted(walk.instance, members["instance"].to_numpy())] / walk.span
        found += adapted(walk.scene, role, members, began)
    return found


def _edits(walk: Walk, parties: pl.DataFrame, moves: pl.DataFrame, each: int) -> list[Edit]:
    """Rows for the ledger of whoever banks here: the payer's if both do."""
    scene, instance = walk.scene, moves["instance"].to_numpy()
    payer, payee = _standing(walk, parties, moves)
    here = is_there(parties["account_id"])
    inward = ~here[payer]
    own, other = np.where(inward, payee, payer), np.where(inward, payer, payee)
    role = picked(parties["party"], own)
    # one entry on a customer's list for each party, whichever way the money goes
    address = join_rows(_pairs(scene, parties, own, other), instance // each) | np.uint64(1 << 63)
    at = moves["at"].to_numpy()
    party, nth, whose = np.unique(address, return_index=True, return_inverse=True)
    first = np.full(len(party), np.iinfo(np.int64).max)
    np.minimum.at(first, whose, at)
    order = np.argsort(nth)
    party, first, nth = party[order], first[order], nth[order]
    # most payees are new, some have been on the list for long: more of them where it hides well
    hidden = walk.hidden[np.searchsorted(walk.instance, instance[nth])]
    age = scene.stream.child("known").uniform(party) ** (4 - 3 * hidden) * 90 * 86_400
    known = pl.DataFrame(
        {
            ROW: party,
            "instance": instance[nth],
            "role": picked(role, nth),
            "customer_id": picked(parties["customer_id"], own[nth]),
            **{c: picked(parties[c], other[nth]) for c in ("kind", "name", "iban")},
            "added_at": first - whole_seconds(300 + age),
            "effect": alike("new-payee", len(nth)),
        }
    )
    clear = scene.stream.child("clear").uniform(moves[ROW].to_numpy())
    hours = scene.block.priors("transfer.clearing_hours")
    # every customer's first device was seen before the window
    unit, customer = (filled(parties[c], 0)[own] for c in ("unit", "customer_id"))
    away = lent(scene, role, moves["i"].to_numpy()) & ~inward
    machine = machines(scene, instance, each)
    device = np.where(away, join_rows(machine, customer), join_rows(unit, 0))
    used = pl.DataFrame(
        {"customer_id": customer, "instance": instance, "at": at, "machine": machine, "role": role, ROW: device}
    )[np.flatnonzero(away)]
    payments = pl.DataFrame(
        {
            ROW: moves[ROW],
            "instance": instance,
            "role": role,
            "effect": moves["effect"],
            "account_id": picked(parties["account_id"], own),
            # nobody's own device brings money in
            "device_row": keep(device, ~inward),
            "counterparty_row": address,
            "counterparty_account_id": picked(parties["account_id"], other),
            "channel": alike("transfer", moves.height),
            "type": np.where(inward, "RCDT/ESCT", np.where(here[other], "ICDT/BOOK", "ICDT/ESCT")),
            "direction": np.where(inward, "CRDT", "DBIT"),
            "amount_minor": moves["amount_minor"],
            "currency": picked(parties["currency"], own),
            "authorised_at": at,
            "cleared_at": keep(at + whole_seconds(1 + clear**4 * hours * 3_600), moves["cleared"].to_numpy()),
        }
    )
    return [
        *cast_accounts(scene),
        *(
            e
            for (whose,), part in (used.group_by("role", maintain_order=True) if used.height else ())
            for e in strange_devices(scene, str(whose), part)
        ),
        Edit("insert", "counterparty", known),
        Edit("insert", "transaction", payments),
        *reported(scene, payments),
    ]


def _standing(walk: Walk, parties: pl.DataFrame, moves: pl.DataFrame) -> list[NDArray[np.int64]]:
    """Where among the parties the payer and the payee of each payment stand."""
    widest, names = max(walk.sizes.values()), {name: n for n, name in enumerate(walk.sizes)}
    instance = np.searchsorted(walk.instance, moves["instance"].to_numpy())

    def number(party: pl.Series, among: NDArray, nth: pl.Series) -> NDArray[np.int64]:
        return (np.array([names[p] for p in party]) * len(walk.instance) + among) * widest + nth.to_numpy()

    of = np.full(len(names) * len(walk.instance) * widest, -1)
    among = np.searchsorted(walk.instance, parties["instance"].to_numpy())
    of[number(parties["party"], among, parties["n"])] = np.arange(parties.height)
    return [of[number(moves[side], instance, moves[n])] for side, n in (("payer", "i"), ("payee", "j"))]


def _pairs(scene: Scene, parties: pl.DataFrame, own: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for who banks here and who is at the other end, the same for the same two of every group of an operator."""
    names = [f"{party} {who}" for party, who in zip(parties["party"], parties["who"], strict=True)]
    bits: dict[tuple[str, str], np.uint64] = {}
    for a, b in zip(own.tolist(), other.tolist(), strict=True):
        pair = names[a], names[b]
        if pair not in bits:
            bits[pair] = scene.stream.child("party", *pair).bits(np.zeros(1, np.uint64))[0]
    return np.array([bits[names[a], names[b]] for a, b in zip(own.tolist(), other.tolist(), strict=True)], np.uint64)
