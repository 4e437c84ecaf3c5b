"""What the libraries below can do at most: the walls to push against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from populace.core.sinks.folder import write_lines

N = 1_000_000


def lognormals(folder: Path) -> float:
    np.random.Generator(np.random.Philox(1)).lognormal(size=5 * N)
    return 5 * N


def _random_table(columns: int) -> pl.DataFrame:
    chance = np.random.Generator(np.random.SFC64(1))
    kinds = (
        lambda: chance.integers(0, 1 << 40, N),
        lambda: chance.random(N),
        lambda: pl.Series(chance.integers(0, 1 << 50, N)).cast(pl.Datetime("us", "UTC")),
        lambda: pl.Series(chance.integers(0, 8, N).astype(np.uint8)).cat.to(pl.Enum([f"code-{n}" for n in range(8)])),
    )
    return pl.DataFrame({f"c{n}": kinds[n % len(kinds)]() for n in range(columns)})


_TABLES: dict[int, pl.DataFrame] = {}


def parquet(columns: int, folder: Path) -> float:
    """Write random columns of four kinds to Parquet."""
    table = _TABLES.setdefault(columns, _random_table(columns))
    table.write_parquet(folder / "x.parquet", compression="snappy")
    return N


def json_text(folder: Path) -> float:
    """JSON lines by column expressions, in bytes."""
    table = _TABLES.setdefault(12, _random_table(12))
    pieces = [pl.concat_str(pl.lit(f'"{c}":"'), pl.col(c).cast(pl.String), pl.lit('",')) for c in table.columns[:8]]
    write_lines(
        [table.select(text=pl.concat_str(pl.lit("{"), *pieces, pl.lit('"end":1}')))["text"]], folder / "x.ndjson"
    )
    return (folder / "x.ndjson").stat().st_size / 1e6


WALLS = {
    "numpy lognormals": lognormals,
    "12 random columns to Parquet": lambda folder: parquet(12, folder),
    "JSON text by expressions": json_text,
}
