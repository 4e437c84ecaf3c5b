"""How money moves along a declared graph: the flows of `motif`, played for all instances at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.errors import unknown
from ....core.scenario import Scene
from ....core.stream import F64, join_rows
from ....core.tables import ROW, alike, only, picked
from ..calendar import HOUR
from .staging import clock, difficulty, probit, value_of

SEQUENCES = ("next", "ring", "walk")
LINKS = ("all", "match", "enter", "leave", *SEQUENCES)
ROUND, LEAST = 500, 1_000
"""Minor units that amounts are rounded to when people choose them; and the least that is worth the trouble."""


def sizes(scene: Scene) -> dict[str, int]:
    """How many there are of each role and of each kind of party outside."""
    roles = {r.name: scene.use.size(r) for r in scene.use.scenario.roles}
    return roles | {name: int(value_of(scene, o["size"])) for name, o in outside(scene).items()}


class Walk:
    """The state of every instance while its flows are played: what each party holds, and since when. All arrays are instances × parties."""

    def __init__(self, scene: Scene, each: int) -> None:
        self.scene, self.sizes = scene, sizes(scene)
        first = next(iter(scene.cast.values()))
        self.instance, place = np.unique(first["instance"].to_numpy(), return_index=True)
        self.currency = picked(first["currency"], place)
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
                "payer": alike(here, rows.size),
                "payee": alike(there, rows.size),
                "i": payer.ravel(),
                "j": payee.ravel(),
                ROW: scene.address(effect, self.instance[:, None], np.arange(links * times)).ravel(),
                "hours": at.ravel(),
                "amount_minor": amount.ravel().astype(np.int64),
                "effect": alike(effect, rows.size),
                "cleared": np.ones(rows.size, bool),
            },
            schema_overrides={ROW: pl.UInt64},
        )
        moves = only(moves, paid.ravel())
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
        at, hours = np.searchsorted(self.instance, moves["instance"].to_numpy()), moves["hours"].to_numpy()
        end = self.start.copy()
        np.maximum.at(end, at, hours)
        pace = np.minimum(1.0, (0.99 * self.span - self.start) / np.maximum(end - self.start, 1e-9))
        hours = self.start[at] + (hours - self.start[at]) * pace[at]
        when = pl.Series("at", clock(self.scene, hours, picked(self.currency, at)))
        return pl.DataFrame([*(moves[c] for c in moves.columns if c != "hours"), when])

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


def outside(scene: Scene) -> Mapping[str, Any]:
    return scene.use.scenario.arguments.get("outside", {})
