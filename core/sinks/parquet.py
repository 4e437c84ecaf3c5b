"""Parquet, each type in the encoding that is small and quick for it."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ..places import starts
from ..tables import Table

if TYPE_CHECKING:
    import pyarrow

_FIRST = 4_096
"""Rows that tell what a column is like."""
_BATCH = 1 << 14
"""Values that an encoder is handed at a time: of pyarrow's own thousand, the handing over is a twentieth of the work."""
_RUN = 64
"""From this length on, runs of one value are long."""


def write_parquet(table: Table, path: Path) -> None:
    """Write keys and times by their differences, measures by their bytes, codes and texts that repeat by dictionary; numbers that stay the same
    for long, such as a parent's key, as they are, for pressing leaves nothing of them. What a reader skips by is keys, other whole numbers and
    when a row begins: they alone have statistics. A column without a gap is said to have none, which spares its every value a level."""
    import pyarrow
    import pyarrow.parquet

    skipped_by, repeating, coded, encodings, pressed = [], [], {}, {}, {}
    begins = next((column.name for column in table.iter_columns() if column.dtype.is_temporal()), None)
    for column in table.iter_columns():
        name, kind = column.name, column.dtype
        pressed[name] = "snappy"
        if kind.is_integer() or kind.is_temporal():
            if kind.is_integer() or name == begins:
                skipped_by.append(name)
            stays = _stays(column)
            encodings[name] = "PLAIN" if stays else "DELTA_BINARY_PACKED"
            # differences are packed already: to press them further gains nothing
            pressed[name] = "lz4" if stays else "none"
        elif kind.is_float():
            encodings[name] = "BYTE_STREAM_SPLIT"
        elif kind != pl.String:
            repeating.append(name)
        elif _repeats(column):
            repeating.append(name)
            if (codes := _coded(column)) is not None:
                coded[name] = codes
    # what is coded already need not be written out as texts first
    arrow = table[[name for name in table.columns if name not in coded]].to_arrow(compat_level=pl.CompatLevel.oldest())
    arrays = [coded[name] if name in coded else arrow[name] for name in table.columns]
    fields = [
        pyarrow.field(name, pyarrow.large_string(), False)
        if name in coded
        else arrow.field(name).with_nullable(array.null_count > 0)
        for name, array in zip(table.columns, arrays, strict=True)
    ]
    said = pyarrow.schema(fields)
    given = [f.with_type(a.type) for f, a in zip(fields, arrays, strict=True)]
    with (
        pyarrow.OSFile(str(path), "wb") as file,
        pyarrow.parquet.ParquetWriter(
            file,
            pyarrow.schema(given),
            compression=pressed,  # type: ignore[arg-type]
            use_dictionary=repeating,  # type: ignore[arg-type]
            column_encoding=encodings,
            memory_pool=pyarrow.system_memory_pool(),
            write_statistics=skipped_by,  # type: ignore[arg-type]
            write_batch_size=_BATCH,
            store_schema=False,
        ) as writer,
    ):
        # readers are told the columns' own types: that some texts came by way of a dictionary is nothing to them
        writer.add_key_value_metadata({"ARROW:schema": b64encode(said.serialize().to_pybytes()).decode()})
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(given)))


def _stays(column: pl.Series) -> bool:
    """Whether a long column's values stay the same for long, as far as its beginning, middle and end tell."""
    if len(column) < 3 * _FIRST or column.null_count():
        return False
    parts = (column[at : at + _FIRST].to_physical() for at in (0, len(column) // 2, len(column) - _FIRST))
    return all((part[1:] != part[:-1]).sum() * _RUN < _FIRST for part in parts)


def _repeats(texts: pl.Series) -> bool:
    """Whether a dictionary of the texts is worth trying: it is not, if most of the first few thousand differ."""
    first = texts.head(_FIRST)
    return first.n_unique() * 2 <= len(first)


def _coded(texts: pl.Series) -> pyarrow.DictionaryArray | None:
    """Texts that stay the same for long with their dictionary, which is then looked up for each run and not for each row."""
    import pyarrow

    if texts.null_count() or len(texts) < _FIRST:
        return None
    begins = starts(texts)
    if len(begins) * _RUN > len(texts):
        return None
    of_runs = texts[begins]
    # by hand, and from polars: pyarrow looks for pandas before it takes anything else in, which is 30 MB to load
    words = of_runs.unique(maintain_order=True)
    codes = of_runs.cast(pl.Enum(words)).to_physical().cast(pl.Int32).to_numpy()
    repeated = pl.Series(np.repeat(codes, np.diff(np.append(begins, len(texts)))))
    known, dictionary = (s.to_arrow(compat_level=pl.CompatLevel.oldest()) for s in (repeated, words))
    return pyarrow.DictionaryArray.from_arrays(known, dictionary, safe=False)
