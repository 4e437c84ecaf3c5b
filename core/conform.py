"""Cast to the schema's exact types and quantise, so that the same values are the same bytes on every machine."""

from __future__ import annotations

import polars as pl

from .schema import Column, TableSchema
from .tables import Table


def conform(table: Table, spec: TableSchema) -> Table:
    """The table with the schema's columns, in its order and types, rows in key order. Raises polars' errors for values
    that do not fit their type: a step that makes such a value is wrong."""
    have = table.schema
    exprs = [
        _expr(c, have[c.name]) if c.name in have else pl.lit(None, c.dtype).alias(c.name) for c in spec.columns.values()
    ]
    as_they_are = [e for e in exprs if isinstance(e, str)]
    table = table[as_they_are] if len(as_they_are) == len(exprs) else table.select(exprs)
    if not spec.key or table[spec.key].flags["SORTED_ASC"]:
        return table
    if not table[spec.key].is_sorted():
        table = table.sort(spec.key, maintain_order=True)
    # said once, so that no later look need find it out again
    return pl.DataFrame([c.set_sorted() if c.name == spec.key else c for c in table.iter_columns()])


def _expr(column: Column, have: pl.DataType) -> pl.Expr | str:
    """What makes the column; its name alone, where it stays as it is."""
    if have == column.dtype and column.decimals is None:
        return column.name
    expr = pl.col(column.name)
    if column.type in ("float", "float32") and column.decimals is not None:
        # adding zero turns -0.0 into 0.0
        expr = expr.cast(pl.Float64).round(column.decimals) + 0.0
    elif column.type in ("id", "int", "int32", "money") and have.is_float():
        expr = expr.round(mode="half_to_even")
    return expr.cast(column.dtype)
