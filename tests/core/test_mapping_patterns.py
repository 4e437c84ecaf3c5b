"""Checks that say what a text looks like are met in each database's own words: by values made from the pattern, not found by chance."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statements import execute

from populace.core.domain import Window
from populace.core.errors import UserError
from populace.core.mapping.fill import fill
from populace.core.mapping.pattern import distinct_matching, draw_matching
from populace.core.mapping.put import put
from populace.core.mapping.target import reflect
from populace.core.sinks.database import open_database
from populace.core.stream import Stream

CHECKS = {
    "postgresql": {
        "plate": "plate ~ '^[[:upper:]]{2}-[0-9]{3} [a-z]+$'",
        "sku": "sku ~ '^(EU|US)[0-9]{6}$'",
        "mail": "mail LIKE '%@%.example'",
        "hex": "hex IS NULL OR hex ~* '^[0-9a-f]{8}$'",
    },
    "mysql": {
        "plate": "plate REGEXP '^[[:upper:]]{2}-[0-9]{3} [a-z]+$'",
        "sku": "sku REGEXP '^(EU|US)[0-9]{6}$'",
        "mail": "mail LIKE '%@%.example'",
        "hex": "hex IS NULL OR hex REGEXP '^[0-9a-f]{8}$'",
    },
    "duckdb": {
        "plate": "regexp_matches(plate, '^[A-Z]{2}-[0-9]{3} [a-z]+$')",
        "sku": "regexp_full_match(sku, '(EU|US)[0-9]{6}')",
        "mail": "mail LIKE '%@%.example'",
        "hex": "hex IS NULL OR regexp_matches(hex, '^[0-9a-f]{8}$')",
    },
    "sqlite": {
        "plate": "plate GLOB '[A-Z][A-Z]-[0-9][0-9][0-9] [a-z]*'",
        "sku": "sku GLOB '[A-Z]?[0-9][0-9][0-9][0-9][0-9][0-9]'",
        "mail": 'mail LIKE "%@%.example"',  # an old habit of SQLite: no column is called so
        "hex": "hex IS NULL OR length(hex) = 8",
    },
}


def test_a_database_lets_in_what_its_patterns_ask_for(database: str, tmp_path: Path):
    checks = CHECKS[open_database(database).scheme]
    columns = ", ".join(f"{n} VARCHAR(40){'' if n == 'hex' else ' NOT NULL'} CHECK ({c})" for n, c in checks.items())
    execute(database, f"CREATE TABLE thing (id INTEGER PRIMARY KEY, {columns}, UNIQUE (sku))")
    target = reflect(database)
    rows = fill(
        target,
        {"thing": pl.LazyFrame({"_row": np.arange(300)})},
        {},
        Stream.root(3).child("mapping"),
        Window(0, 1_000_000_000_000),
    )
    assert put(database, target, rows, lambda counts: "{}", lambda: None, tmp_path) == {"thing": 300}
    (found,) = open_database(database).read("thing")
    assert found["sku"].n_unique() == 300
    assert found["plate"].n_unique() > 100
    assert all(re.fullmatch(r"[A-Z]{2}-[0-9]{3} [a-z].*", v) for v in found["plate"])


@pytest.mark.parametrize("pattern", [r"^\d{3}-[A-F]{2}$", r"^(a|bc)+x?$", r"z", r"^.{2,5}$", r"[^0-9]{3}"])
def test_drawn_values_match_and_are_the_same_for_the_same_name(pattern: str):
    stream = Stream.root(1).child("t", "c")
    drawn = draw_matching(pattern, np.arange(50, dtype=np.uint64), stream, 0, 12)
    assert all(re.search(pattern, v) and len(v) <= 12 for v in drawn)
    assert drawn == draw_matching(pattern, np.arange(50, dtype=np.uint64), stream, 0, 12)


def test_too_few_values_that_match_are_told():
    assert len(set(distinct_matching("^[a-d]$", 4, Stream.root(1), 0, 9, "t.c"))) == 4
    with pytest.raises(UserError, match=r"t\.c: 5 rows need as many different values; 4 were found that match"):
        distinct_matching("^[a-d]$", 5, Stream.root(1), 0, 9, "t.c")
