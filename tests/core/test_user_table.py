"""A table that a user hands in: every way of writing the same CSV reads as the same table, and what cannot be read is said with its line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from populace.core.errors import UserError
from populace.core.evaluate import evaluate
from populace.core.models import fit
from populace.core.sinks.database import open_database
from populace.core.user_table import read_table

NAMES = st.lists(
    st.text("abcdé _", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=2, max_size=4, unique=True
)


@settings(max_examples=40, deadline=None)
@given(
    NAMES,
    st.lists(st.integers(-999, 999), min_size=1, max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_separators_and_encodings_do_not_matter(tmp_path_factory, names, values, separator, encoding):
    table = pl.DataFrame({n: [k * 10 + v for v in values] for k, n in enumerate(names)})
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(table.write_csv(separator=separator).encode(encoding))
    assert_frame_equal(read_table(path), table)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_name_that_looks_like_a_pattern_is_a_name(form: str, tmp_path: Path):
    table = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    for name in ("t[1]", "t*", "t1"):
        with (tmp_path / f"{name}.{form}").open("wb") as file:
            getattr(table if name == "t[1]" else table.reverse(), f"write_{form}")(file)
    assert_frame_equal(read_table(tmp_path / f"t[1].{form}"), table)


def test_compressed_and_european_and_dated(tmp_path: Path):
    text = "tag;preis;wann\nä;1,5;2024-02-29\nb;-20,25;2024-03-01\n"
    path = tmp_path / "werte.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    table = read_table(path)
    assert table["preis"].to_list() == [1.5, -20.25]
    assert table["wann"].dtype == pl.Date


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\nJos\xe9,3\n", "byte 0xe9 in line 2"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the header has 2"),
        (b"a,a\n1,2\n", "more than one column 'a'"),
        (b"a,b\n", "has no rows"),
        (b"", "empty"),
        (b"PAR1 and then nothing", "cannot be read"),
        (b"\x1f\x8b broken", "cannot be read"),
        (b"a,b\r1,2\r3,4\r", "carriage return"),
        (b"PK\x03\x04 and so on", "a zip archive or a spreadsheet"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_whole_numbers_beyond_64_bits_are_names(tmp_path: Path):
    numbers = [str(2**64 + n) for n in range(9)]
    (tmp_path / "t.csv").write_text("card,n\n" + "".join(f"{c},{n}\n" for n, c in enumerate(numbers)))
    assert read_table(tmp_path / "t.csv")["card"].to_list() == numbers
    assert set(fit(tmp_path / "t.csv", "empirical").sample_frame(20)["card"]) <= set(numbers)


def test_a_folder_and_a_missing_file(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UserError, match="cannot be read"):
            read_table(path)


def test_a_database_file_may_have_any_name(tmp_path: Path):
    import sqlite3

    path = tmp_path / "a?b#c 'd.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    (rows,) = open_database(f"sqlite:///{path}").read("t")
    assert rows.to_dicts() == [{"x": 7}]


@pytest.mark.parametrize("name", ["*", "^a.*$", "_row"])
def test_a_name_that_means_something_else_is_refused(name: str, tmp_path: Path):
    """Such a column would be left out, or stand for others, without a word."""
    table = pl.DataFrame({name: [1, 2], "a": [3, 4]})
    table.write_csv(tmp_path / "t.csv")
    table.write_parquet(tmp_path / "t.parquet")
    for data in (table, table.to_pandas(), tmp_path / "t.csv", tmp_path / "t.parquet"):
        with pytest.raises(UserError, match=rf"a column named '{re.escape(name)}' would be taken"):
            read_table(data)


def test_a_column_without_a_name_gets_one_and_quotes_in_names_stay(tmp_path: Path):
    """pandas writes its index without one."""
    pd.DataFrame({'q"t': [1, 2], "b": ["x", "y"]}).to_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").columns == ["column_1", 'q"t', "b"]


@pytest.mark.parametrize("model", ["empirical", "gaussian-copula", "bayesian-network", "forest", "adversarial-forest"])
def test_names_that_are_used_within_are_as_good_as_others(model: str):
    names = [
        "n",
        "len",
        "count",
        "row",
        "value",
        "literal",
        "index",
        "instance",
        "_draw",
        "at",
        "_n",
        "x.y",
        "sum(a)",
        "1",
        "日",
    ]
    rng = np.random.default_rng(3)
    kinds = (rng.normal(size=60), rng.integers(0, 5, 60), rng.choice(["a", "b", "c"], 60))
    table = pl.DataFrame({name: kinds[n % 3] for n, name in enumerate(names)})
    made = fit(table, model, 1).sample(20, seed=2)
    assert list(made.columns) == names
    assert evaluate(table, made).metrics
