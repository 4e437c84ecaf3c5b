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
    table = table.select(exprs)
    if spec.key and not table[spec.key].is_sorted():
        table = table.sort(spec.key, maintain_order=True)
    # said once, so that no later look need find it out again
    return table.with_columns(pl.col(spec.key).set_sorted()) if spec.key else table


def _expr(column: Column, have: pl.DataType) -> pl.Expr:
    expr = pl.col(column.name)
    if column.type in ("float", "float32") and column.decimals is not None:
        # adding zero turns -0.0 into 0.0
        expr = expr.cast(pl.Float64).round(column.decimals) + 0.0
    elif column.type in ("id", "int", "int32", "money") and have.is_float():
        expr = expr.round(mode="half_to_even")
    return expr if have == column.dtype and expr.meta.is_column() else expr.cast(column.dtype)
