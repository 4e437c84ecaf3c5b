"""Casting: which entities play in which scenario. Eligible rows are found block by block; each instance takes those with the
lowest named uniforms, so the choice depends on neither blocks nor workers, and one scenario's cast not on another's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .domain import Block, Step, taken
from .errors import UserError
from .narrow import besides, leading_to, sooner
from .plan import Plan
from .scenario import Edit, Role, Use, with_values
from .tables import Table, Tables, only

_DRAW = "_draw"
_KEPT, _ROOM = 64, 1 << 24
"""Blocks whose facts are kept from casting on, and bytes of them all."""
Candidates = dict[tuple[int, str], Table]


@dataclass
class Ahead:
    """What a process has done ahead of the blocks that need it."""

    facts: dict[int, tuple[tuple[Step, ...], Tables]] = field(default_factory=dict)
    """By block the steps that casting took, which need not be taken again, and what they made."""
    edits: dict[int, tuple[range, list[Edit] | None]] = field(default_factory=dict)
    """By use the units whose blocks it was played for at once, and what it does to them; None where it looks at them first."""


@dataclass(frozen=True)
class Cast:
    """The members of every role: `members[(use index, role name)]`, columns `instance`, `member`, `unit`, then the row."""

    members: Mapping[tuple[int, str], Table] = field(default_factory=dict)

    def concerning(self, use: int, block: Block) -> dict[str, Table]:
        """The members of those instances that have a member in the block."""
        roles = {role: table for (n, role), table in self.members.items() if n == use}
        instances = {role: table["instance"].to_numpy() for role, table in roles.items()}
        units = {role: table["unit"].to_numpy() for role, table in roles.items()}
        here = [instances[role][(unit >= block.first) & (unit < block.last)] for role, unit in units.items()]
        mine = np.unique(np.concatenate(here)) if here else np.empty(0, np.int64)
        return {role: only(t, np.isin(instances[role], mine)) if len(mine) else t.clear() for role, t in roles.items()}

    def keys(self, plan: Plan) -> dict[str, pl.Series]:
        """The keys of all cast rows by table: rows that other blocks may refer to."""
        found: dict[str, list[pl.Series]] = {}
        for (use, role), table in self.members.items():
            spec = next(r for r in plan.uses[use].scenario.roles if r.name == role)
            found.setdefault(spec.table, []).append(table[plan.whole.schema[spec.table].key])
        return {table: pl.concat(parts).unique() for table, parts in found.items()}


def candidates(plan: Plan, index: int, ahead: Ahead | None = None) -> Candidates:
    """The best candidates of one block for every role: at most as many as could possibly be taken. What was made to find them is put into `ahead`,
    while there is room."""
    block, played = plan.block(index), [role.table for use in plan.uses for role in use.scenario.roles]
    leading = leading_to(plan.whole.steps, played)[0]
    first = sooner(plan.whole.steps, leading)
    facts = taken(first, block, {})
    if ahead and len(ahead.facts) < _KEPT and _size([facts, *(made for _, made in ahead.facts.values())]) <= _ROOM:
        ahead.facts[index] = first, facts
    tables = taken(besides(leading, first), block, facts)
    fits, found = _fits(plan, tables), Candidates()
    for n, use in enumerate(plan.uses):
        most = use.count * sum(use.size(r) for r in use.scenario.roles)
        for role in use.scenario.roles:
            table, key = tables.get(role.table), plan.whole.schema[role.table].key
            if table is None or key not in table.columns:
                raise UserError(
                    f"scenario {use.scenario.name}: role '{role.name}' casts rows of {role.table}, whose key {key} is derived after "
                    f"all scenarios have played. Cast a {plan.domain.root}, and let the script choose among its rows."
                )
            at = fits[role.table][with_values(role.where, use.parameters)]
            found[n, role.name] = _eligible(plan, use, role, table, at, most)
    return found


def _fits(plan: Plan, tables: Tables) -> dict[str, dict[str, NDArray[np.int64]]]:
    """By table and condition which rows meet it: many roles ask for the same."""
    asked: dict[str, dict[str, pl.Expr]] = {}
    for use in plan.uses:
        for role in use.scenario.roles:
            text = with_values(role.where, use.parameters)
            if role.table in tables and text not in asked.setdefault(role.table, {}):
                asked[role.table][text] = pl.sql_expr(text)
    found: dict[str, dict[str, NDArray[np.int64]]] = {}
    for name, conditions in asked.items():
        told = tables[name].with_columns(r.fill_null(False).alias(f"_{n}") for n, r in enumerate(conditions.values()))
        found[name] = {text: np.flatnonzero(told[f"_{n}"].to_numpy()) for n, text in enumerate(conditions)}
    return found


def _size(facts: Iterable[Tables]) -> float:
    return sum(table.estimated_size() for tables in facts for table in tables.values())


def settle(plan: Plan, parts: Iterable[Candidates]) -> Cast:
    """Choose among all blocks' candidates. Raises UserError when a scenario asks for more than there are."""
    found: dict[tuple[int, str], list[Table]] = {}
    for part in parts:
        for place, table in part.items():
            found.setdefault(place, []).append(table)
    pooled = {place: pl.concat(some).sort(_DRAW) if len(some) > 1 else some[0] for place, some in found.items()}
    members = {}
    for n, use in enumerate(plan.uses):
        taken = np.empty(0, np.int64)
        for role in use.scenario.roles:
            size = use.size(role)
            pool = pooled[n, role.name]
            pool = only(pool, ~np.isin(pool["unit"].to_numpy(), taken))
            wanted = use.count * size
            if pool.height < wanted:
                raise UserError(
                    f"scenario {use.scenario.name}: {use.count} instance(s) need {wanted} {role.table}(s) as '{role.name}'"
                    f" where {with_values(role.where, use.parameters)}; {pool.height} are eligible. Ask for fewer, or raise --size."
                )
            chosen, at = pool.head(wanted), np.arange(wanted)
            number = (pl.Series("instance", at // size), pl.Series("member", at % size))
            members[n, role.name] = pl.DataFrame([*number, *(c for c in chosen.iter_columns() if c.name != _DRAW)])
            taken = np.append(taken, chosen["unit"].to_numpy())
    return Cast(members)


def met(plan: Plan, cast: Cast, violations: Table) -> Table:
    """Violations, and where several scenarios were cast on the unit of the row, which: one may undo what another does."""
    if violations.is_empty() or len(plan.uses) < 2:
        return violations
    schema, players = plan.whole.schema, dict[int, set[str]]()
    for (n, _), members in cast.members.items():
        for unit in members["unit"].to_list():
            players.setdefault(unit, set()).add(plan.uses[n].scenario.name)
    several = {unit: ", ".join(sorted(names)) for unit, names in players.items() if len(names) > 1}
    told = []
    for (table,), found in violations.group_by("table", maintain_order=True):
        spec, unit = schema[str(table)], pl.Series("unit", [None] * found.height, dtype=pl.Int64)
        known = found["row_key"].is_not_null()
        if not spec.reference:
            keys = found["row_key"].fill_null(0).to_numpy()
            unit = pl.Series(schema.unit_of(spec.name, keys).astype(np.int64)).set(~known, None)
        while spec.within is not None:
            spec = schema[spec.columns[spec.within].references or ""]
        names = unit.replace_strict(several, default=None, return_dtype=pl.String)
        words = pl.format("; {} {} plays in {}: raise --size, or ask for fewer at once", pl.lit(spec.name), unit, names)
        told.append(found.with_columns(detail=pl.col("detail") + words.fill_null("")))
    return pl.concat(told)


def _eligible(plan: Plan, use: Use, role: Role, table: Table, at: NDArray[np.int64], most: int) -> Table:
    """Of the rows at these places those with the lowest draws, in their order."""
    schema, stream = plan.whole.schema, plan.stream.child(*use.path, "cast", role.name)
    keys = table[schema[role.table].key].to_numpy()[at]
    draws, unit = stream.uniform(keys), schema.unit_of(role.table, keys)
    order = np.argsort(draws, kind="stable")
    if role.apart:
        order = order[np.sort(np.unique(unit[order], return_index=True)[1])]
    order = order[:most]
    chosen = (pl.Series("unit", unit[order]), pl.Series(_DRAW, draws[order]))
    return pl.DataFrame([*chosen, *only(table, at[order]).iter_columns()])
