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

Counts follow from two trials: the rows of the first block without scenarios, and the rows that an instance of each scenario labels. They are rounded
so that their sum is right and rare scenarios are not lost on the whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError, unknown
from .scenario import Scenario, ScenarioRequest, Use, resolve
from .tables import ROW, Table

if TYPE_CHECKING:
    from .plan import Plan

TRIAL, TIMES = 600, 2
"""Root entities of the trial in which each scenario plays, and how often it does."""


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
    mixed = expand(plan, mixes)
    uses = (*plan.uses, *(use for use, _, _ in mixed))
    held = np.array([*own, *(False for _ in mixed)])
    table, each = _labelled(plan, uses, mixes[0].table if mixes else None)
    conditions = {id(part): pl.sql_expr(part.where) for _, part, _ in mixed}
    base, scale = _base(plan, table, conditions.values()), plan.units / plan.block(0).units.size
    count = np.array([float(use.count) for use in uses])
    whole = {id(part): sum(part.scenarios.values()) for _, part, _ in mixed}
    here = {part: base.select(condition.sum()).item() for part, condition in conditions.items()}
    for n, (_, part, weight) in enumerate(mixed, len(plan.uses)):
        count[n] = scale * here[id(part)] * plan.priors(part.share) * weight / whole[id(part)] / each[n]
    rows, labels = scale * base.height, count * each
    natural = labels.sum() / (rows + labels.sum())
    if share is not None:
        free, want = labels[~held].sum(), share / (1 - share) * rows - labels[held].sum()
        if want < 0 or (want > 0 and free == 0):
            raise UserError(
                f"{share:g} of the rows of {table} cannot be labelled: scenarios whose count is given label {labels[held].sum():,.0f} of"
                f" {rows:,.0f}. Give no count, or ask for another share."
            )
        count[~held] *= want / max(free, 1e-9)
    wanted = float(count @ each)
    count = np.where(held, count, _rounded(np.where(held, 0.0, count), _uniform(plan)))
    count = _nearest(count, each, held, wanted)
    kept = tuple(replace(use, count=int(n)) for use, n in zip(uses, count, strict=True) if n)
    labels = count @ each
    return kept, Balance(table, float(share or natural), float(natural), float(labels / (rows + labels)))


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


def _base(plan: Plan, table: str, conditions: Iterable[pl.Expr]) -> Table:
    """A table of the first block without scenarios, with what the conditions look at."""
    from .domain import taken
    from .narrow import leading_to

    columns = {plan.whole.schema[table].key, *(name for rule in conditions for name in rule.meta.root_names())}
    steps, _ = leading_to((*plan.whole.steps, *plan.whole.derive), [f"{table}.{name}" for name in columns])
    return taken(steps, plan.block(0), {})[table]


def _labelled(plan: Plan, uses: Sequence[Use], table: str | None) -> tuple[str, NDArray[np.float64]]:
    """The table that is labelled most, unless it is given, and how many of its rows one instance of each use labels, at least one."""
    from .build import play
    from .dataset import make_cast
    from .domain import taken

    tried = tuple(replace(u, count=TIMES) for u in uses)
    trial = replace(plan, size=max(plan.domain.per_unit, TRIAL), uses=tried)
    cast, block = make_cast(trial), trial.block(0)
    facts = taken(plan.domain.steps, block, {})
    _, log = play(trial, block, facts, cast)
    labelled = [edits for edits in log if not edits.removed]
    if table is None:
        of = {name: sum(e.rows.height for e in labelled if e.table == name) for name in {e.table for e in labelled}}
        table = max(of, key=lambda name: (of[name], name))
    known = {}
    for name in {e.scenario for e in labelled}:
        # a row may have several labels, and counts once
        rows = [
            np.stack(
                [e.rows["instance"].to_numpy().astype(np.int64) + e.first, e.rows[ROW].to_numpy().astype(np.int64)]
            )
            for e in labelled
            if e.scenario == name and e.table == table
        ]
        if rows:
            instance, _ = np.unique(np.concatenate(rows, axis=1), axis=1)
            known[name] = len(instance) / len(np.unique(instance))
    return table, np.array([max(known.get(use.scenario.name, 1.0), 1.0) for use in uses])


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
