"""A table that a user hands in: a frame, or a file read as it is, with what is wrong with it said in one line."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from pathlib import Path
from typing import Any

import polars as pl

from .errors import UserError
from .files import as_pattern
from .tables import ROW, Table

SEPARATORS = ",;\t|"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "compressed by bzip2",
    b"\xfd7zX": "compressed by xz",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"SQLi": "a database",
}


def read_table(data: Any) -> Table:
    """A polars frame from a polars or pandas DataFrame, or the path of a CSV (also compressed) or Parquet file.

    A CSV may be separated by commas, semicolons, tabs or bars, and be UTF-8 or UTF-16. Raises UserError for anything else, for columns of
    the same name, for names that have another meaning here, for lines of another length than the header, and for a file without rows.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if not isinstance(data, (str, os.PathLike)):
        return with_names(data if isinstance(data, pl.DataFrame) else _from_pandas(data), "the table")
    path = Path(data)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"table {path}: cannot be read: {error.strerror}") from None
    for sign, kind in _FOREIGN.items():
        if start.startswith(sign):
            raise UserError(f"table {path}: is {kind}; expected CSV (plain, gzip or zstd) or Parquet")
    try:
        table = pl.read_parquet(as_pattern(path)) if start == _PARQUET else _read_csv(path, start)
    except (pl.exceptions.PolarsError, OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"table {path}: {_fault(path, start, error)}") from None
    if not table.height:
        raise UserError(f"table {path}: has no rows")
    # whole numbers that fit no 64 bits are names of things: card numbers, IBANs without letters
    return with_names(table, f"table {path}").with_columns(pl.col(pl.Int128, pl.UInt128).cast(pl.String))


def with_names(table: Table, what: str) -> Table:
    """The table, with a name for each column that has none, such as the index that pandas writes. Raises UserError for names that would be read as a
    pattern of other columns', or as the address of a row."""
    for name in table.columns:
        if name in ("*", ROW) or (name.startswith("^") and name.endswith("$")):
            raise UserError(f"{what}: a column named '{name}' would be taken for something else. Give it another name")
    if "" not in table.columns:
        return table
    name = f"column_{table.columns.index('') + 1}"
    while name in table.columns:
        name += "_"
    return table.rename({"": name})


def _read_csv(path: Path, start: bytes) -> Table:
    source: str | io.BytesIO = as_pattern(path)
    if start[:2] in _UTF16:
        source = io.BytesIO(path.read_text("utf-16").encode())
    # no line holds this separator, so each is one field: the first lines as they are, whatever the compression
    lines = pl.read_csv(
        source,
        has_header=False,
        separator="\x01",
        quote_char=None,
        infer_schema=False,
        n_rows=50,
        truncate_ragged_lines=True,
    ).to_series()
    if isinstance(source, io.BytesIO):
        source.seek(0)
    separator = _separator(lines[0] or "")
    names = next(csv.reader([lines[0] or ""], delimiter=separator))
    _refuse_doubles(path, names)
    decimal = rf"(^|{re.escape(separator)})-?\d+,\d+({re.escape(separator)}|$)"
    comma = separator != "," and bool(lines[1:].str.contains(decimal).any())
    # the whole file decides a column's type: the first rows of real tables mislead
    table = pl.read_csv(
        source, separator=separator, decimal_comma=comma, infer_schema_length=None, try_parse_dates=True
    )
    # quotes within a name come as they are written, twice
    told = dict(zip(table.columns, names, strict=False)) if len(names) == table.width else {}
    return table.rename({old: new for old, new in told.items() if '"' in old and new not in table.columns})


def _separator(header: str) -> str:
    """The separator that the header has most of, outside quotes; a comma where there is none."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=lambda s: (bare.count(s), -SEPARATORS.index(s)))


def _refuse_doubles(path: Path, names: list[str]) -> None:
    for name in names:
        if name and names.count(name) > 1:
            raise UserError(f"table {path}: has more than one column '{name}'")


def _fault(path: Path, start: bytes, error: Exception) -> str:
    """What is wrong with the file, with the line where it can be found."""
    said = str(error).splitlines()[0]
    if start == _PARQUET or start[:2] in _UTF16:
        return f"cannot be read: {said}"
    with gzip.open(path, "rb") if start[:2] == _GZIP else path.open("rb") as file:
        try:
            content = file.read()
        except (OSError, EOFError) as broken:
            return f"cannot be read: {broken}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = content.count(b"\n", 0, bad.start) + 1
        return f"is not UTF-8 text: byte 0x{content[bad.start]:02x} in line {line}. Save it as UTF-8"
    if "\r" in text and "\n" not in text:
        return "its lines end with a carriage return alone. Save it with line feeds"
    rows = csv.reader(io.StringIO(text), delimiter=_separator(text.partition("\n")[0]))
    try:
        header = next(rows, [])
        for row in rows:
            if len(row) > len(header):
                return f"line {rows.line_num} has {len(row)} fields, the header has {len(header)}"
    except csv.Error as broken:
        return f"line {rows.line_num} is not CSV: {broken}"
    return f"is neither CSV nor Parquet that can be read: {said}"


def _from_pandas(data: Any) -> Table:
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        raise UserError(f"a table is a DataFrame or the path of a file, not {type(data).__name__}")
    double = data.columns[data.columns.duplicated()]
    if len(double):
        raise UserError(f"the table has more than one column '{double[0]}'")
    columns = []
    for name in data.columns:
        try:
            columns.append(pl.from_pandas(data[name], nan_to_null=True).alias(str(name)))
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UserError(f"column '{name}': cannot be read as one type: {error}") from None
    return pl.DataFrame(columns)
