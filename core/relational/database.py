"""A database that was learnt: what is known of each table, and how it is kept in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from ..conditions import conditioned
from ..evaluate.links import Link
from ..samplers import Sampler
from ..samplers.statistical.marginal import Marginal, dtype_of
from ..samplers.statistical.regenerate import rebuild_rules, rule_state
from ..stream import Stream
from ..tables import ROW, Table
from .shape import Reference, TableShape
from .steps import Step, rebuild_steps

POSITION = "←"
"""The column that says how many siblings stand before."""


@dataclass(frozen=True, eq=False)
class Part:
    """A model of `made` columns given `given` ones, of the kind `model`."""

    model: str
    sampler: Sampler
    given: tuple[str, ...]
    made: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def marginals(self) -> dict[str, Marginal]:
        return {m.name: m for m in getattr(self.sampler, "marginals", ())}

    def draw(self, given: Table, stream: Stream, known: Table, wanted: Mapping[str, Any]) -> Table:
        """The columns made, for rows that are given; those of `known` are as they are there, and ranges and sets that are `wanted` are met."""
        told = given.select(ROW, *self.given)
        told = told.with_columns(known.select(c for c in known.columns if c in self.made).get_columns())
        sampler = conditioned(self.sampler, self.marginals, set(told.columns) - {ROW}, wanted)
        frame = sampler.sample(told, stream).select(self.made)
        for step in self.steps:
            frame = step.restored(frame, given)
        return frame


@dataclass(frozen=True, eq=False)
class Learnt:
    """A table: its shape, the columns that count its children, of each reference the columns that say what kind of row it names, and the models of
    rows that come first and of those after."""

    shape: TableShape
    counts: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]
    first: Part | None
    later: Part | None

    @property
    def kind(self) -> str:
        """The models of its rows, first and later."""
        return ", ".join(dict.fromkeys(p.model for p in (self.first, self.later) if p)) or "none: its keys say all"


@dataclass(frozen=True, eq=False)
class LearntDatabase:
    """Tables in the order they are made: parents first."""

    tables: tuple[Learnt, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{t.shape.name}.{c}" for t in self.tables for c in t.shape.columns)

    @cached_property
    def unit(self) -> str:
        """The table whose rows are counted: of those without an owner the one with the most rows below it, itself among them."""
        below = {t.shape.name: t.shape.rows for t in self.tables}
        for t in reversed(self.tables):
            if t.shape.owner:
                below[t.shape.owner.parent] += below[t.shape.name]
        return max((t.shape.name for t in self.tables if t.shape.owner is None), key=lambda n: below[n])

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(
            k for t in self.tables for k in ([t.shape.owner] if t.shape.owner else []) + [r.link for r in t.shape.references]
        )  # fmt: skip

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = [], {}
        for n, table in enumerate(self.tables):
            shape = asdict(table.shape) | {"rules": [rule_state(r) for r in table.shape.rules]}
            held: dict[str, Any] = {"shape": shape, "counts": table.counts, "kinds": dict(table.kinds)}
            for name in ("first", "later"):
                part: Part | None = getattr(table, name)
                if part is not None:
                    own, theirs = part.sampler.state()  # type: ignore[attr-defined]
                    held[name] = {"model": part.model, "given": part.given, "made": part.made, "steps": [vars(s) for s in part.steps], "state": own}  # fmt: skip
                    arrays |= {f"{n}.{name}.{key}": a for key, a in theirs.items()}
            plain.append(held)
        return {"tables": plain}, arrays


def rebuild_database(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> LearntDatabase:
    """The inverse of `LearntDatabase.state`. Raises ValueError for what is no database: a walk over tables, columns and parents must end and find them."""
    made: list[Learnt] = []
    for n, held in enumerate(plain["tables"]):
        raw = dict(held["shape"])
        owner = None if raw["owner"] is None else _link(raw["owner"])
        references = tuple(Reference(**(r | {"link": _link(r["link"])})) for r in raw["references"])
        rules, columns = rebuild_rules(raw["rules"]), dict(raw["columns"])
        shape = TableShape(**(raw | {"rules": rules, "owner": owner, "references": references, "learnt": tuple(raw["learnt"])}))  # fmt: skip
        linked = [c for k in ([owner] if owner else []) + [r.link for r in references] for c in k.columns]
        if sorted([*linked, *(r.column for r in rules), *shape.learnt]) != sorted(columns):
            raise ValueError(f"the columns of table '{shape.name}' are not those that it makes")
        for text in columns.values():
            if text not in ("Enum", "Categorical"):
                dtype_of(text)
        if not (isinstance(shape.name, str) and isinstance(shape.rows, int) and shape.rows > 0) or any(
            shape.name == t.shape.name for t in made
        ):
            raise ValueError("its tables have no names or rows")
        parts = {name: _part(held[name], {k[len(f"{n}.{name}.") :]: a for k, a in arrays.items() if k.startswith(f"{n}.{name}.")}) for name in ("first", "later") if name in held}  # fmt: skip
        made.append(Learnt(shape, tuple(held["counts"]), {k: tuple(v) for k, v in held["kinds"].items()}, parts.get("first"), parts.get("later")))  # fmt: skip
    _check(made)
    return LearntDatabase(tuple(made))


def _check(made: list[Learnt]) -> None:
    """Parents are there, made before where they must be, and have the columns that are named."""
    known = {t.shape.name: t for t in made}
    seen: set[str] = set()
    if not made or all(t.shape.owner for t in made):
        raise ValueError("it has no table to begin with")
    for t in made:
        owner = [(t.shape.owner, False)] if t.shape.owner else []
        for link, late in [*owner, *((r.link, r.late or r.itself) for r in t.shape.references)]:
            if link.child != t.shape.name or link.parent not in (known if late else seen):
                raise ValueError(f"{link}: its tables are not there")
            if len(link.columns) != len(link.keys) or not set(link.keys) <= set(known[link.parent].shape.columns):
                raise ValueError(f"{link}: its columns are not there")
        seen.add(t.shape.name)


def _link(raw: Mapping[str, Any]) -> Link:
    return Link(str(raw["child"]), tuple(raw["columns"]), str(raw["parent"]), tuple(raw["keys"]))


def _part(held: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Part:
    from ..model_kinds import MODELS

    kind = MODELS[held["model"]]
    if kind.shape != "one table":
        raise ValueError(f"'{kind.name}' is no model of one table")
    sampler = kind.rebuild(held["state"], arrays)
    given, made = tuple(held["given"]), tuple(held["made"])
    if set(sampler.columns) != {*given, *made}:
        raise ValueError("a table's model has other columns than its table")
    return Part(kind.name, sampler, given, made, rebuild_steps(held["steps"]))
