"""How many instances of each scenario: by the share of rows that they shall label.

A mix is a named set of scenarios with the rates at which they occur. Read from `schemas/<domain>/mixes.toml`:

    [fraud]
    title = "Fraud at published rates"
    doc = "…"
    table = "transaction"               # whose rows are counted
    rate = "fraud.rate"                 # prior that, when the user sets it, is the share of all its rows

    [[fraud.part]]
    where = "channel = 'transfer'"      # of these rows
    share = "laundering.rate"           # prior: this share is labelled
    scenarios = { fan-in = 2.0 }        # by these: labelled rows in proportion to these weights

Counts follow from two trials: the rows without scenarios, of the first units and by them of all, and the rows that an instance of each scenario labels, adds and
takes away. They are rounded so that their sum is right and rare scenarios are not lost on the whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError, unknown
from .places import places
from .scenario import Scenario, ScenarioRequest, Use, resolve
from .tables import ROW, Tables

if TYPE_CHECKING:
    from .domain import Block
    from .edits import Log
    from .plan import Plan

TRIAL, TIMES = 600, 2
"""Root entities of the trial in which each scenario plays, and how often it does."""
BLOCKS = 8
"""Blocks that the trial may fill."""
BESIDES, PACED = 2, 600
"""Blocks besides the trial's units in which rows are counted; so many units where `Domain.pace` says what goes with them: their number is then within a
quarter of a per cent."""
REACH = 200_000
"""Units whose rows are reckoned by `Domain.pace`; those of any others are taken to be as many."""


@dataclass(frozen=True)
class Base:
    """How many rows a table has without scenarios, and how many of these meet each condition."""

    rows: float
    where: Mapping[str, float]


@dataclass(frozen=True)
class Each:
    """What an instance of each use does to a table: how many of its rows it labels, at least one, and how many more there are with it."""

    labels: NDArray[np.float64]
    more: NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    where: str
    share: str
    scenarios: Mapping[str, float]


@dataclass(frozen=True)
class Mix:
    name: str
    title: str
    doc: str
    table: str
    rate: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Balance:
    """What a wish for a share of labelled rows did: `natural` is the share that is to be expected without it, `share` the one with it, and a
    `weight` on each labelled row brings the former back. A plan expects, by trials; what was made is counted."""

    table: str
    asked: float
    natural: float
    share: float

    @property
    def weight(self) -> float:
        return self.natural / (1 - self.natural) * (1 - self.share) / self.share if self.share else 1.0

    def describe(self) -> dict[str, object]:
        return {**asdict(self), "weight": self.weight}

    def reached(self, labelled: int, rows: int) -> Balance:
        """The same with the share of these rows of the table that are labelled."""
        return replace(self, share=labelled / rows)


def wished(mixes: Mapping[str, Mix], settings: Mapping[str, object]) -> Mix | None:
    """The mix whose rate the user has set."""
    return next((m for m in mixes.values() if m.rate in settings), None)


def expand(plan: Plan, mixes: Sequence[Mix]) -> list[tuple[Use, Part, float]]:
    """Every scenario of some mixes as a use of no instances yet, its part and its weight in it."""
    seen: dict[str, int] = {}
    for use in plan.uses:
        seen[use.scenario.name] = seen.get(use.scenario.name, 0) + 1
    found = []
    for part in (part for mix in mixes for part in mix.parts):
        for name, weight in part.scenarios.items():
            use = resolve(ScenarioRequest(name), plan.domain.scenarios, plan.size, seen.get(name, 0))
            seen[name] = seen.get(name, 0) + 1
            found.append((use, part, weight))
    return found


def sized(
    plan: Plan, own: Sequence[bool], mixes: Sequence[Mix], share: float | None
) -> tuple[tuple[Use, ...], Balance]:
    """The plan's uses and those of `mixes`, with their counts. `own[i]`: the i-th use of the plan has a count of its own, which stands.

    With `share`, the other counts grow or shrink alike until this share of the rows is labelled. Raises UserError if that cannot be.
    """
    from .domain import taken

    mixed = expand(plan, mixes)
    uses = (*plan.uses, *(use for use, _, _ in mixed))
    held = np.array([*own, *(False for _ in mixed)])
    trial, block = _trial(plan, uses)
    facts = taken(plan.domain.steps, block, {})
    table, each = _played(trial, block, facts, mixes[0].table if mixes else None)
    base = _base(plan, table, [part.where for _, part, _ in mixed], block, facts)
    count = np.array([float(use.count) for use in uses])
    whole = {id(part): sum(part.scenarios.values()) for _, part, _ in mixed}
    for n, (_, part, weight) in enumerate(mixed, len(plan.uses)):
        count[n] = base.where[part.where] * plan.priors(part.share) * weight / whole[id(part)] / each.labels[n]
    natural = _share(base, each, count)
    # rows that are labelled above what is wanted of those that are there: none in sum
    above = each.labels - (share or natural) * each.more
    wanted = (share or natural) * base.rows
    if share is not None:
        free, want = count[~held] @ above[~held], wanted - count[held] @ above[held]
        if want < 0 or (want > 0 and free <= 0):
            given = float(count[held] @ each.labels[held])
            raise UserError(
                f"{share:g} of the rows of {table} cannot be labelled: scenarios whose count is given label {given:,.0f} of"
                f" {base.rows:,.0f}. Give no count, or ask for another share."
            )
        count[~held] *= want / max(free, 1e-9)
    count = np.where(held, count, _rounded(np.where(held, 0.0, count), _uniform(plan)))
    count = _nearest(count, above, held, wanted)
    kept = tuple(replace(use, count=int(n)) for use, n in zip(uses, count, strict=True) if n)
    return kept, Balance(table, share or natural, natural, _share(base, each, count))


def _share(base: Base, each: Each, count: NDArray[np.float64]) -> float:
    labels = float(count @ each.labels)
    return labels / (base.rows + float(count @ each.more))


def _uniform(plan: Plan) -> float:
    return float(plan.stream.child("mix").uniform(np.zeros(1, np.uint64))[0])


def _rounded(count: NDArray[np.float64], u: float) -> NDArray[np.float64]:
    """Whole numbers that differ from these by less than one, each and in sum; any of them is rounded up with the probability that it should."""
    return np.diff(np.floor(np.cumsum(count) + u), prepend=0.0)


def _nearest(
    count: NDArray[np.float64], each: NDArray[np.float64], held: NDArray[np.bool_], wanted: float
) -> NDArray[np.float64]:
    """The counts with an instance more or less here and there, as long as that brings the labelled rows nearer to what is wanted."""
    for _ in range(2 * len(count)):
        step = np.concatenate([np.eye(len(count)), -np.eye(len(count))])
        possible = ~np.tile(held, 2) & ((count + step).min(axis=1) >= 0)
        off = np.where(possible, np.abs((count + step) @ each - wanted), np.inf)
        if off.min() >= abs(count @ each - wanted):
            break
        count = count + step[off.argmin()]
    return count


def _trial(plan: Plan, uses: Sequence[Use]) -> tuple[Plan, Block]:
    """A plan in which each use plays a few times, and all of its units as one block, whatever the blocks that they are cast from."""
    tried = tuple(replace(u, count=TIMES) for u in uses)
    units = min(-(-TRIAL // plan.domain.per_unit), BLOCKS * plan.span)
    trial = replace(plan, size=units * plan.domain.per_unit, uses=tried)
    return trial, replace(trial.block(0), last=trial.units)


def _base(plan: Plan, table: str, conditions: Sequence[str], first: Block, facts: Tables) -> Base:
    """Counted in the units of the trial and a few blocks more, for which `facts` are there as far as they are the trial's; reckoned for all others."""
    from .domain import taken
    from .narrow import besides, leading_to

    rules = {text: pl.sql_expr(text) for text in conditions}
    whose = plan.whole.schema[table].within or plan.whole.schema[table].key
    columns = {whose, *(name for rule in rules.values() for name in rule.meta.root_names())}
    steps, _ = leading_to((*plan.whole.steps, *plan.whole.derive), [f"{table}.{name}" for name in columns])
    ends = [0, first.last] if first.last <= plan.units else [0]
    last = min(first.last + (PACED if plan.domain.pace else BESIDES * plan.span), plan.units)
    while ends[-1] < last:
        ends.append(min(ends[-1] + plan.span, last))
    found = list[NDArray[np.int64]]()
    for begin, end in pairwise(ends):
        block = replace(plan.block(0), first=begin, last=end)
        done = plan.domain.steps if end == first.last else ()
        made = taken(besides(steps, done), block, facts if done else {})[table]
        unit = plan.whole.schema.unit_of_rows(table, made) - begin
        told = made.select(r.fill_null(False).alias(text) for text, r in rules.items())
        met = [np.ones(len(unit), bool), *(told[text].to_numpy() for text in rules)]
        found.append(np.stack([np.bincount(unit[such], minlength=end - begin) for such in met], axis=1))
    counted = np.concatenate(found)
    rows = counted.sum(axis=0) + _others(plan, counted)
    return Base(float(rows[0]), dict(zip(rules, rows[1:].tolist(), strict=True)))


def _others(plan: Plan, counted: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many rows the units make that come after those `counted`: by what goes with it, as far as the domain knows."""
    n, rest = len(counted), plan.units - len(counted)
    if not rest:
        return np.zeros(counted.shape[1])
    block = replace(plan.block(0), last=n + min(rest, REACH))
    pace = plan.domain.pace(block) if plan.domain.pace else np.ones((block.last, 1))
    line = np.linalg.lstsq(pace[:n], counted.astype(float), rcond=None)[0]
    return np.maximum(pace[n:].mean(axis=0) @ line, 0.0) * rest


def _played(trial: Plan, block: Block, facts: Tables, table: str | None) -> tuple[str, Each]:
    """The table that is labelled most, unless it is given, and what an instance of each use does to it."""
    from .build import play
    from .dataset import make_cast

    _, log = play(trial, block, facts, make_cast(trial))
    if table is None:
        of = {
            name: sum(e.rows.height for e in log if e.table == name and not e.removed)
            for name in {e.table for e in log}
        }
        table = max(of, key=lambda name: (of[name], name))
    before = facts[table][ROW if ROW in facts[table].columns else trial.whole.schema[table].key].sort()
    labels, more = np.ones((2, len(trial.uses)))
    for n, use in enumerate(trial.uses):
        mine = [e for e in log if e.table == table and e.scenario == use.scenario.name]
        # a row may have several labels, and counts once
        marked, gone = _different([e for e in mine if not e.removed]), _different([e for e in mine if e.removed])
        if len(marked):
            number = len(np.unique(marked[:, 0]))
            labels[n] = len(marked) / number
            added = places(before, marked[:, 1]) < 0
            more[n] = (np.count_nonzero(added) - len(gone)) / number
    return table, Each(labels, more)


def _different(log: Log) -> NDArray[np.int64]:
    """Instance and row of everything logged, each pair once."""
    rows = [
        np.stack(
            [
                e.rows["instance"].to_numpy().astype(np.int64) + e.first,
                e.rows[ROW].to_numpy().astype(np.uint64).view(np.int64),
            ],
            axis=1,
        )
        for e in log
    ]
    return np.unique(np.concatenate(rows), axis=0) if rows else np.zeros((0, 2), np.int64)


def load_mixes(domain: str, scenarios: Mapping[str, Scenario], package: str = "populace") -> dict[str, Mix]:
    """The mixes of a domain, by name. Raises UserError for a scenario that does not exist."""
    place = f"schemas/{domain}/mixes.toml"
    raw = tomllib.loads((resources.files(package) / "schemas" / domain / "mixes.toml").read_text("utf-8"))
    found = {}
    for name, mix in raw.items():
        parts = tuple(Part(p["where"], p["share"], p["scenarios"]) for p in mix["part"])
        for scenario in (s for part in parts for s in part.scenarios):
            if scenario not in scenarios:
                raise unknown("scenario", scenario, scenarios, f"{place}, {name}")
        found[name] = Mix(name, mix["title"], mix["doc"], mix["table"], mix["rate"], parts)
    return found
