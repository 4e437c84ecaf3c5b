"""The codes that are met while resources are read: which of a concept's codings a row keeps, and what the lists must hold afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table

TEXT_ONLY = ("race", "ethnicity")
"""Lists whose codes are told by their displays too, where a resource has no coding."""


@dataclass
class Codes:
    """Grows while resources are read. `found`: list, code, (system, display); `measured`: observation, (unit, category)."""

    schema: Schema
    found: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    measured: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    clashes: set[tuple[str, str]] = field(default_factory=set)
    """Lists and codes that stand for two things, in two systems: the first is kept."""

    def of(self, frame: Table, codings: pl.Expr, name: str) -> pl.Series:
        """One code for each row, from an array of codings: one that the list has, else one of the list's system, else the first. Null where
        there is none."""
        own = self.schema.code_lists.get(name)
        known, system = (list(own.codes), own.system) if own else ([], None)
        each = frame.select(codings.alias("c")).with_row_index("row").explode("c").unnest("c")
        each = each.filter(pl.col("code").is_not_null() & (pl.col("code").str.strip_chars() != ""))
        if each.height > each["row"].n_unique():
            rank = pl.when(pl.col("code").is_in(known)).then(0).when(pl.col("system") == system).then(1).otherwise(2)
            each = each.with_columns(rank=rank).sort("row", "rank", maintain_order=True)
            each = each.unique("row", keep="first", maintain_order=True)
        self._note(name, each.select("code", "system", "display").unique("code", keep="first", maintain_order=True))
        rows = pl.DataFrame({"row": pl.arange(0, frame.height, dtype=pl.UInt32, eager=True)})
        return rows.join(each.select("row", "code"), on="row", how="left", maintain_order="left")["code"]

    def concept(self, frame: Table, concept: pl.Expr, name: str) -> pl.Series:
        return self.of(frame, concept.struct.field("coding"), name)

    def first(self, frame: Table, concepts: pl.Expr, name: str) -> pl.Series:
        """Of an array of concepts, the codings of all."""
        return self.of(frame, concepts.list.eval(pl.element().struct.field("coding").explode()), name)

    def coding(self, frame: Table, coding: pl.Expr, name: str) -> pl.Series:
        return self.of(frame, pl.concat_list(coding), name)

    def plain(self, values: pl.Series, name: str) -> pl.Series:
        """Codes that stand without a system: those of FHIR's own lists."""
        own = self.schema.code_lists.get(name)
        system = (own.system if own else None) or ""
        seen = values.drop_nulls().unique(maintain_order=True)
        self._note(name, pl.DataFrame({"code": seen, "system": [system] * len(seen), "display": seen}))
        return values

    def _note(self, name: str, codes: Table) -> None:
        own, found = self.schema.code_lists.get(name), self.found.setdefault(name, {})
        for code, system, display in codes.rows():
            meaning = (system or "", display or code)
            if own and code in own.codes:
                before = own.system_of(code) or ""
            else:
                before = found.setdefault(code, meaning)[0]
            if before != meaning[0] and meaning[0]:
                self.clashes.add((name, code))

    def measure(self, frame: Table) -> None:
        """Note unit and category of observations: columns `code`, `unit`, `category`; the first of each code counts."""
        usual = frame.filter(pl.col("code").is_not_null()).group_by("code", maintain_order=True)
        for code, unit, category in usual.agg(pl.col("unit").drop_nulls().first(), pl.first("category")).rows():
            before = self.measured.get(code, (None, category or "exam"))
            self.measured[code] = (before[0] or unit, before[1])
