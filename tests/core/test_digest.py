"""A digest depends on the values, on all of them, and on nothing else."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from polars.testing.parametric import column, dataframes

from populace.core.digest import Digest, digest

FRAME = pl.DataFrame(
    {
        "i": [1, 2, None, 4],
        "f": [0.1, -0.0, None, float("inf")],
        "s": ["", "a", None, "ä\u0000b"],
        "b": [True, False, None, True],
        "d": [dt.date(2024, 2, 29), dt.date(1899, 1, 1), None, dt.date(2200, 1, 1)],
        "t": pl.Series([0, -1, None, 2**50]).cast(pl.Datetime("us", "UTC")),
        "e": pl.Series(["x", "y", None, "x"], dtype=pl.Enum(["y", "x"])),
    }
)

frames = dataframes(
    cols=[
        column("i", dtype=pl.Int64, allow_null=True),
        column("f", dtype=pl.Float64, allow_null=True),
        column("s", dtype=pl.String, allow_null=True),
        column("b", dtype=pl.Boolean, allow_null=True),
    ],
    max_size=30,
)


@given(frames, st.integers(0, 30))
def test_parts_add_up_in_any_order(frame: pl.DataFrame, at: int):
    parts = [frame.head(at), frame.slice(at)]
    assert digest(parts[1]) + digest(parts[0]) == digest(frame)
    assert digest(frame.reverse()) == digest(frame)


@given(frames)
def test_a_row_more_is_another_digest(frame: pl.DataFrame):
    assert digest(frame.head(frame.height - 1)) != digest(frame) or not frame.height
    assert digest(frame).rows == frame.height


@pytest.mark.parametrize("name", FRAME.columns)
@pytest.mark.parametrize("row", range(4))
def test_every_single_value_counts(name: str, row: int):
    other = FRAME[name].shift(1).fill_null(FRAME[name][0])[row]
    if other == FRAME[name][row]:
        other = None
    changed = FRAME.with_columns(
        pl.when(pl.int_range(4) == row).then(pl.lit(other, FRAME.schema[name])).otherwise(pl.col(name)).alias(name)
    )
    assert digest(changed) != digest(FRAME)


def test_values_belong_to_their_row_and_column():
    swapped = FRAME.with_columns(pl.col("i").reverse())
    renamed = FRAME.rename({"i": "j"})
    crossed = pl.DataFrame({"a": [1, 2], "b": [2, 1]})
    assert len({str(digest(f)) for f in (FRAME, swapped, renamed)}) == 3
    assert digest(crossed) != digest(pl.DataFrame({"a": [2, 1], "b": [2, 1]}))
    assert digest(crossed) != digest(pl.DataFrame({"a": [1, 1], "b": [2, 2]}))


def test_neither_column_order_nor_physical_type_matters():
    same = FRAME.select(reversed(FRAME.columns)).with_columns(
        pl.col("e").cast(pl.String), pl.col("i").cast(pl.Int32), pl.col("b").cast(pl.Int8), pl.col("t").cast(pl.Int64)
    )
    assert digest(same) == digest(FRAME)


@pytest.mark.parametrize("suffix", ["parquet", "ipc"])
def test_file_formats_do_not_matter(suffix: str, tmp_path: Path):
    path = tmp_path / f"x.{suffix}"
    getattr(FRAME, f"write_{suffix}")(path)
    assert digest(getattr(pl, f"read_{suffix}")(path)) == digest(FRAME)


def test_empty_frames_have_the_empty_digest():
    assert digest(FRAME.clear()) == Digest(0, 0, 0)


def test_negative_zero_is_zero():
    assert digest(pl.DataFrame({"f": [0.0]})) == digest(pl.DataFrame({"f": [-0.0]}))


def test_texts_that_repeat_are_digested_like_any_other():
    """Few different texts are looked up, many are not: a row's part of the digest is the same either way."""
    words = ["", "a", "good", "ä\u0000b", "late"]
    texts = pl.Series("s", [words[n % 5] for n in range(9_000)] + [None])
    each = [digest(pl.DataFrame({"s": texts.slice(at, 1_000)})) for at in range(0, 9_001, 1_000)]
    assert digest(pl.DataFrame({"s": texts})) == sum(each[1:], each[0])
    assert digest(pl.DataFrame({"s": texts.cast(pl.Categorical)})) == sum(each[1:], each[0])


@pytest.mark.parametrize("first", ["text", "number"])
def test_texts_that_stay_the_same_for_long_are_digested_like_any_other(first: str):
    """Wherever runs begin and pieces end, and whether the column comes first."""
    words = pl.Series(["gateway-outage", "drift", "", "é" * 13])
    frame = pl.DataFrame(
        {"text": words.gather(np.repeat([0, 1, 0, 2, 3], [30_000, 7_000, 1, 40_000, 999])), "number": range(78_000)}
    ).select(first, pl.exclude(first))
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert digest(frame) == digest(mixed) == digest(frame[:33_333]) + digest(frame[33_333:])


def test_columns_that_hardly_change_are_digested_like_any_other():
    many = pl.DataFrame({"k": [7] * 70_000, "x": np.arange(70_000) % 9, "f": [0.0] * 69_999 + [-0.0]})
    each = [digest(many.slice(at, 1)) for at in (0, 1, 69_999)]
    assert digest(many) == sum((digest(many.slice(at, 10)) for at in range(0, 70_000, 10)), Digest())
    assert len({str(d) for d in each}) == 3


def test_a_column_of_zeros_is_not_one_that_is_not_there():
    without = pl.DataFrame({"x": [3, 4]})
    for zero in (0, 0.0, False, ""):
        assert digest(without.with_columns(z=pl.lit(zero))) != digest(without)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_texts_differ_by_any_of_their_letters(one: str, other: str, last: str):
    """Also where they differ in the last byte of eight alone, in two columns at once."""
    pairs = {
        (one, other),
        (other, one),
        (one + last, other),
        (one, other + last),
        (one + "a", other + "b"),
        (one + "b", other + "a"),
    }
    assert len({str(digest(pl.DataFrame({"a": [a], "b": [b]}))) for a, b in pairs}) == len(pairs)


def test_numbers_with_a_point_differ_by_their_upper_bits_alone():
    halves = np.arange(-64, 64) / 2
    pairs = pl.DataFrame({"a": np.repeat(halves, 128), "b": np.tile(halves, 128)})
    assert len({str(digest(row)) for row in pairs.sample(2_000, seed=1).iter_slices(1)}) == 2_000
