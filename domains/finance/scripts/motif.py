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

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.errors import unknown
from ....core.samplers.text import Company, Name
from ....core.scenario import Edit, Scene
from ....core.stream import F64, join_rows
from ....core.tables import ROW
from ..calendar import HOUR
from ..draws import keep
from ..identifiers import abroad, other_ibans
from ..parties import holder_names
from ..people import sample
from .groups import POOL, groups_each, in_groups, lent, machines, of_operators
from .onboarding import onboarded, openings
from .setbacks import reported, setbacks
from .silence import silence, withheld
from .staging import adapted, clock, difficulty, probit, strange_devices, value_of, whole_seconds
from .staging import parties as cast_accounts

SEQUENCES = ("next", "ring", "walk")
LINKS = ("all", "match", "enter", "leave", *SEQUENCES)
ROUND, LEAST = 500, 1_000
"""Minor units that amounts are rounded to when people choose them; and the least that is worth the trouble."""


def motif(scene: Scene) -> list[Edit]:
    """Payments of every flow, the payees they go to, and what was removed to let an account lie still."""
    scene, each = onboarded(scene), groups_each(scene)
    return _played(scene, 1) if each == 1 else of_operators(_played(in_groups(scene, each), each), each)


def _played(scene: Scene, each: int) -> list[Edit]:
    """The edits of instances, `each` of one operator."""
    walk = _Walk(scene, each)
    for flow in scene.use.scenario.arguments["flow"]:
        walk.pay(flow)
    moves = walk.told()
    parties = _parties(scene, each)
    moves = pl.concat([moves, *setbacks(scene, moves)])
    began = pl.DataFrame({"instance": walk.instance, "began": walk.start / walk.span, "hidden": walk.hidden})
    return [
        *openings(scene, moves),
        *silence(scene, parties, moves),
        *withheld(scene, parties, moves),
        *_edits(scene, parties, moves, began, each),
        *_adapted(scene, began),
    ]


def sizes(scene: Scene) -> dict[str, int]:
    """How many there are of each role and of each kind of party outside."""
    roles = {r.name: scene.use.size(r) for r in scene.use.scenario.roles}
    return roles | {name: int(value_of(scene, o["size"])) for name, o in _outside(scene).items()}


class _Walk:
    """The state of every instance while its flows are played: what each party holds, and since when. All arrays are instances × parties."""

    def __init__(self, scene: Scene, each: int) -> None:
        self.scene, self.sizes = scene, sizes(scene)
        first = next(iter(scene.cast.values()))
        self.instance = first["instance"].unique().sort().to_numpy()
        self.currency = first.unique("instance", maintain_order=True).sort("instance")["currency"]
        self.moves: list[pl.DataFrame] = []
        flows, window = scene.use.scenario.arguments["flow"], scene.block.window
        self.span = (window.end - window.start) / HOUR
        lead = float(value_of(scene, scene.use.scenario.arguments.get("lead", 0.0))) * self.span
        room = max(self.span - lead - min(sum(map(self._length, flows)), self.span / 2), 1.0)
        u = scene.stream.child("start").uniform(self.instance.astype(np.uint64))
        start = self.start = lead + room * (self.instance % each + u) / each
        self.hidden = difficulty(scene, start / self.span)
        self.ready = {p: np.repeat(start[:, None], n, axis=1) for p, n in self.sizes.items()}
        self.held, self.received = (
            {p: np.zeros((len(self.instance), n)) for p, n in self.sizes.items()} for _ in range(2)
        )

    def _number(self, flow: Mapping[str, Any], name: str, default: float = 0.0) -> float:
        return float(value_of(self.scene, flow.get(name, default)))

    def _length(self, flow: Mapping[str, Any]) -> float:
        links = self._links(flow)[0].shape[1] if flow["links"] in SEQUENCES else 1
        repeats = 1 if flow["links"] == "walk" else self._number(flow, "times", 1)
        return (
            links * 2 * self._number(flow, "delay")
            + self._number(flow, "hours")
            + (repeats - 1) * self._number(flow, "every")
        )

    def _links(self, flow: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Who pays whom, by number, in each instance."""
        payers, payees = self.sizes[flow["from"]], self.sizes[flow["to"]]
        kind = flow["links"]
        if kind == "walk":
            steps = int(self._number(flow, "times"))
            rows = join_rows(self.instance[:, None], np.arange(steps))
            # each step goes to any member but the one that stands here
            jump = 1 + self.scene.stream.child(flow["effect"], "walk").integers(rows, payees - 1)
            at = np.concatenate((np.zeros((len(self.instance), 1), np.int64), np.cumsum(jump, axis=1)), axis=1) % payees
            return at[:, :-1], at[:, 1:]
        if kind == "all":
            one, other = np.divmod(np.arange(payers * payees), payees)
        elif kind == "match":
            n = np.arange(max(payers, payees))
            one, other = n % payers, n % payees
        elif kind == "enter":
            one, other = np.arange(payers), np.zeros(payers, np.int64)
        elif kind == "leave":
            one, other = np.full(payees, payers - 1), np.arange(payees)
        elif kind in ("next", "ring"):
            one = np.arange(payers - (kind == "next"))
            other = (one + 1) % payees
        else:
            raise unknown("links", kind, LINKS, self.scene.use.scenario.name)
        return tuple(np.broadcast_to(x, (len(self.instance), len(x))) for x in (one, other))  # type: ignore[return-value]

    def pay(self, flow: Mapping[str, Any]) -> None:
        """Play one flow: log its payments, move what is held, and note when."""
        scene, effect = self.scene, flow["effect"]
        payer, payee = self._links(flow)
        times = 1 if flow["links"] == "walk" else int(self._number(flow, "times", 1))
        links = payer.shape[1]
        n = np.repeat(np.arange(times), links)
        payer, payee = (np.tile(x, times) for x in (payer, payee))
        rows = join_rows(self.instance[:, None], np.arange(links * times))
        u = {
            k: scene.stream.child(effect, k).uniform(rows) for k in ("at", "wait", "every", "amount", "round", "share")
        }
        row = np.arange(len(self.instance))[:, None]
        here, there = flow["from"], flow["to"]

        # an hour at least passes in most chains; nobody waits more than five times the mean
        delay = self._number(flow, "delay") * np.clip(-np.log(u["wait"]), 0.05, 5.0)
        apart = self._number(flow, "every") * (n + 0.4 * (u["every"] - 0.5) * (n > 0))
        if flow["links"] in SEQUENCES:
            at = self.ready[here][row, payer[:, :1]] + np.cumsum(delay, axis=1) + apart
        else:
            at = self.ready[here][row, payer] + u["at"] * self._number(flow, "hours") + delay + apart
        amount = (
            self._amounts(flow, payer, u) * self._number(flow, "factor", 1.0) * self._number(flow, "growth", 1.0) ** n
        )
        if "above" in flow:
            amount = np.maximum(amount, self._number(flow, "above") * self.received[there][row, payee])
        fee = self._number(flow, "fee")
        even = (u["round"] < scene.block.priors("laundering.round_share")) & (
            ("fee" not in flow) | (amount * fee > 400)
        )
        # what is passed on is rounded where that takes less than the fee does, so that less comes out of every hand than went in
        unit = np.where((amount * fee > 4 * ROUND) | ("fee" not in flow), ROUND, 100)
        amount = np.where(even & (amount > 4 * ROUND), np.floor(amount / unit) * unit, np.floor(amount))
        amount = np.maximum(amount, 1)
        paid = self._paid(flow, payer)
        amount, until = np.where(paid, amount, 0), np.where(paid, at, 0.0)

        for party, at_party, sign in ((here, payer, -1), (there, payee, 1)):
            np.add.at(self.held[party], (row, at_party), sign * amount)
            np.maximum.at(self.ready[party], (row, at_party), until)
        np.add.at(self.received[there], (row, payee), amount)
        np.maximum(self.held[here], 0.0, out=self.held[here])
        moves = pl.DataFrame(
            {
                "instance": np.repeat(self.instance, links * times),
                "payer": np.full(rows.size, here),
                "payee": np.full(rows.size, there),
                "i": payer.ravel(),
                "j": payee.ravel(),
                ROW: scene.address(effect, self.instance[:, None], np.arange(links * times)).ravel(),
                "hours": at.ravel(),
                "amount_minor": amount.ravel().astype(np.int64),
                "effect": np.full(rows.size, effect),
                "cleared": np.ones(rows.size, bool),
            },
            schema_overrides={ROW: pl.UInt64},
        ).filter(pl.Series(paid.ravel()))
        self.moves.append(self._through(flow, moves) if "through" in flow else moves)

    def _through(self, flow: Mapping[str, Any], moves: pl.DataFrame) -> pl.DataFrame:
        """The payments with a share of them made in two: to an account at another bank, and from there, before anyone pays on."""
        rows, effect, relay = moves[ROW].to_numpy(), flow["effect"], flow["through"]
        stream = self.scene.stream.child(effect, "through")
        aside = pl.Series(stream.uniform(rows) < self._number(flow, "share"))
        # nobody waits less than a twentieth of the mean
        wait = 0.04 * max(self._number(flow, "delay"), 0.1)
        by = pl.Series(stream.child("relay").integers(rows, self.sizes[relay]))
        second = pl.Series(ROW, join_rows(rows, 3) | np.uint64(1 << 63))
        there = moves.with_columns(payee=pl.lit(relay), j=by, effect=pl.lit(f"{effect}-out"))
        back = moves.with_columns(
            second, pl.col("hours") + wait, payer=pl.lit(relay), i=by, effect=pl.lit(f"{effect}-in")
        )
        return pl.concat([moves.filter(~aside), there.filter(aside), back.filter(aside)])

    def _paid(self, flow: Mapping[str, Any], payer: NDArray) -> NDArray[np.bool_]:
        """Which payments are made at all: not those of a flow that an instance leaves out, nor of who has nothing to pass on."""
        played = self._plays(flow)
        for other in self.scene.use.scenario.arguments["flow"]:
            if other["effect"] == flow.get("unless"):
                played &= ~self._plays(other)
        paid = np.repeat(played[:, None], payer.shape[1], axis=1)
        if "amount" in flow or "below" in flow or flow["links"] in SEQUENCES:
            return paid
        return paid & (self.held[flow["from"]][np.arange(len(self.instance))[:, None], payer] > 0)

    def _plays(self, flow: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which instances play a flow."""
        u = self.scene.stream.child(flow["effect"], "some").uniform(self.instance.astype(np.uint64))
        return u < self._number(flow, "some", 1.0)

    def told(self) -> pl.DataFrame:
        """Every payment with its moment `at`. What would take longer than the window has left happens faster, in the same order."""
        moves = pl.concat(self.moves)
        at = moves.select(pl.col("instance").rank("dense") - 1).to_series().to_numpy()
        end = moves.group_by("instance").agg(pl.col("hours").max()).sort("instance")["hours"].to_numpy()
        pace = np.minimum(1.0, (0.99 * self.span - self.start) / np.maximum(end - self.start, 1e-9))
        hours = self.start[at] + (moves["hours"].to_numpy() - self.start[at]) * pace[at]
        return moves.drop("hours").with_columns(at=pl.Series(clock(self.scene, hours, self.currency.gather(at))))

    def _amounts(self, flow: Mapping[str, Any], payer: NDArray, u: Mapping[str, F64]) -> F64:
        """Amounts in minor units, before rounding."""
        row = np.arange(len(self.instance))[:, None]
        fee = self._number(flow, "fee")
        if "below" in flow:
            return self._number(flow, "below") * 100 * (1 - self._number(flow, "margin", 0.2) * u["amount"]) - 1
        drawn = None
        if "amount" in flow:
            # a payment varies by half of the typology's own variance, an instance by the rest: between what the typology asks for and what
            # anyone pays, nearer to the latter the better it hides
            hidden, p, own = self.hidden[:, None], self.scene.block.priors, self._number(flow, "spread")
            group = self.scene.stream.child("size").uniform(self.instance.astype(np.uint64))[:, None]
            median = (1 - hidden) * np.log(self._number(flow, "amount")) + hidden * p("transfer.log_mean")
            whole = (1 - hidden) * own + hidden * p("transfer.log_sigma")
            shared = np.sqrt(np.maximum(whole**2 - own**2 / 2, own**2 / 2))
            drawn = 100 * np.exp(median + shared * probit(group) + np.sqrt(0.5) * own * probit(u["amount"]))
            drawn = np.maximum(drawn, LEAST)
            if flow["links"] not in SEQUENCES:
                return drawn
        kept = 1 - fee * (0.25 + 0.75 * u["share"])
        held = self.held[flow["from"]]
        if flow["links"] in SEQUENCES:
            first = held[row, payer[:, :1]] * kept[:, :1] if drawn is None else drawn[:, :1]
            return first * np.cumprod(np.concatenate((np.ones_like(first), kept[:, 1:]), axis=1), axis=1)
        weight = 0.6 + 0.8 * u["amount"]
        whole = np.zeros_like(held)
        np.add.at(whole, (row, payer), weight)
        # the payer's own fee is that of its first payment
        return held[row, payer] * (1 - fee * (0.25 + 0.75 * u["share"][:, :1])) * weight / whole[row, payer]


def _outside(scene: Scene) -> Mapping[str, Any]:
    return scene.use.scenario.arguments.get("outside", {})


def _parties(scene: Scene, each: int) -> pl.DataFrame:
    """Everyone who can pay or be paid: party, instance, number `n`, `who` they are among all of their operator's, and what others see of them; `account_id` is
    null outside."""
    parts = []
    for role, members in scene.cast.items():
        name = holder_names(scene.block, members["unit"].to_numpy().astype(np.uint64))["name"]
        parts.append(
            members.select(
                pl.lit(role).alias("party"), "instance", n="member", who=POOL if POOL in members.columns else "member", unit="unit", customer_id="customer_id",
                account_id="account_id", currency=pl.col("currency").cast(pl.String), iban="iban",
                name=name, kind=pl.lit("person"),
            )
        )  # fmt: skip
    known = parts[0].select("instance", "currency").unique(maintain_order=True).sort("instance")
    for name, spec in _outside(scene).items():
        size = int(value_of(scene, spec["size"]))
        instance, n = np.repeat(known["instance"].to_numpy(), size), np.tile(np.arange(size), known.height)
        german = np.repeat(known["currency"].to_numpy() == "EUR", size)
        rows = scene.address(f"outside {name}", instance, n)
        stream = scene.stream.child("outside", name)
        away = abroad(scene.block, stream.child("country").uniform(rows))
        country = np.where(spec.get("abroad", False), away, np.where(german, "DE", "GB"))
        if spec["kind"] == "company":
            names = sample(lambda locale: Company("company", locale), stream, rows, german)["company"]
        else:
            names = sample(Name, stream, rows, german)["name"]
        parts.append(
            pl.DataFrame(
                {
                    "party": np.full(len(rows), name),
                    "instance": instance,
                    "n": n,
                    "who": instance % each * size + n,
                    "currency": known["currency"].gather(np.repeat(np.arange(known.height), size)),
                    "iban": other_ibans(stream.child("iban"), country, rows),
                    "name": names,
                    "kind": np.full(len(rows), spec["kind"]),
                }
            )
        )
    return pl.concat(parts, how="diagonal_relaxed")


def _adapted(scene: Scene, began: pl.DataFrame) -> list[Edit]:
    found = []
    for role, members in scene.cast.items():
        each = members.join(began, on="instance", how="left", maintain_order="left")
        found += adapted(scene, role, each, each["began"].to_numpy())
    return found


def _edits(scene: Scene, parties: pl.DataFrame, moves: pl.DataFrame, began: pl.DataFrame, each: int) -> list[Edit]:
    """Rows for the ledger of whoever banks here: the payer's if both do."""
    sides = {}
    for side, number in (("payer", "i"), ("payee", "j")):
        keyed = parties.rename({c: f"{side}_{c}" for c in parties.columns if c not in ("party", "instance", "n")})
        sides[side] = keyed.rename({"party": side, "n": number})
    rows = moves.join(sides["payer"], on=["payer", "instance", "i"], how="left", maintain_order="left")
    rows = rows.join(sides["payee"], on=["payee", "instance", "j"], how="left", maintain_order="left")
    inward = rows["payer_account_id"].is_null()
    own, other = (
        rows.select(
            pl.when(pl.Series(inward if side == "own" else ~inward)).then(pl.col(f"payee_{c}")).otherwise(pl.col(f"payer_{c}")).alias(c)
            for c in ("unit", "customer_id", "account_id", "currency", "iban", "name", "kind")
        )
        for side in ("own", "other")
    )  # fmt: skip
    role = rows.select(pl.when(pl.Series(inward)).then(pl.col("payee")).otherwise(pl.col("payer"))).to_series()
    # one entry on a customer's list for each party, whichever way the money goes
    label, theirs = (
        rows.select(pl.when(pl.Series(inward if s == "own" else ~inward)).then(pl.format("{} {}", "payee", "payee_who")).otherwise(pl.format("{} {}", "payer", "payer_who"))).to_series()
        for s in ("own", "other")
    )  # fmt: skip
    pair = pl.DataFrame({"instance": rows["instance"], "own": label, "other": theirs})
    names = {
        pair: scene.stream.child("party", *pair).bits(np.zeros(1, np.uint64))[0]
        for pair in zip(label, theirs, strict=True)
    }
    key = np.array([names[p] for p in zip(label, theirs, strict=True)], np.uint64)
    party = join_rows(key, pair["instance"].to_numpy() // each) | np.uint64(1 << 63)
    at = rows["at"].to_numpy()
    first = pl.DataFrame({ROW: party, "at": at}).group_by(ROW).agg(pl.col("at").min())
    known = pl.DataFrame(
        {
            ROW: party, "instance": rows["instance"], "role": role, "customer_id": own["customer_id"], "kind": other["kind"],
            "name": other["name"], "iban": other["iban"],
        }
    ).unique(ROW, keep="first", maintain_order=True).join(first, on=ROW, how="left", maintain_order="left")  # fmt: skip
    # most payees are new, some have been on the list for long: more of them where it hides well
    hidden = known.select("instance").join(began, on="instance", how="left", maintain_order="left")["hidden"]
    age = scene.stream.child("known").uniform(known[ROW].to_numpy()) ** (4 - 3 * hidden.to_numpy()) * 90 * 86_400
    known = known.with_columns(
        pl.Series("added_at", known["at"].to_numpy() - whole_seconds(300 + age)), effect=pl.lit("new-payee")
    ).drop("at")
    clear = scene.stream.child("clear").uniform(rows[ROW].to_numpy())
    hours = scene.block.priors("transfer.clearing_hours")
    issued = np.where(other["account_id"].is_null().to_numpy(), "ICDT/ESCT", "ICDT/BOOK")
    # every customer's first device was seen before the window
    device = join_rows(own["unit"].to_numpy(), 0)
    away = lent(scene, role, rows["i"].to_numpy()) & ~inward.to_numpy()
    machine = machines(scene, rows["instance"].to_numpy(), each)
    device = np.where(away, join_rows(machine, own["customer_id"].to_numpy()), device)
    used = own.select(
        "customer_id", instance=rows["instance"], at=at, machine=machine, role=role, **{ROW: device}
    ).filter(away)
    payments = pl.DataFrame(
        {
            ROW: rows[ROW],
            "instance": rows["instance"],
            "role": role,
            "effect": rows["effect"],
            "account_id": own["account_id"],
            # nobody's own device brings money in
            "device_row": keep(device, ~inward.to_numpy()),
            "counterparty_row": party,
            "counterparty_account_id": other["account_id"],
            "channel": ["transfer"] * rows.height,
            "type": np.where(inward.to_numpy(), "RCDT/ESCT", issued),
            "direction": np.where(inward.to_numpy(), "CRDT", "DBIT"),
            "amount_minor": rows["amount_minor"],
            "currency": own["currency"],
            "authorised_at": at,
            "cleared_at": pl.select(
                pl.when(rows["cleared"]).then(pl.Series(at + whole_seconds(1 + clear**4 * hours * 3_600)))
            ).to_series(),
        }
    )
    return [
        *cast_accounts(scene),
        *(
            e
            for (whose,), part in used.group_by("role", maintain_order=True)
            for e in strange_devices(scene, str(whose), part)
        ),
        Edit("insert", "counterparty", known),
        Edit("insert", "transaction", payments),
        *reported(scene, payments),
    ]
