"""Hypothesis strategies: rows that the schema's rules let in, that shrink to what is simple, and datasets that every validator lets in."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from laws.over import DOMAINS

from populace import strategies
from populace.core.checks import row_rules
from populace.core.dataset import Dataset
from populace.core.domain import find_domain
from populace.core.errors import UserError

QUIET = settings(database=None, deadline=None)
TABLES = [(d, t) for d, domain in DOMAINS.items() if d != "toy" for t in domain.schema.tables]


@pytest.mark.parametrize(("domain", "table"), TABLES)
def test_each_row_is_let_in_by_every_rule_of_its_table(domain: str, table: str):
    spec = find_domain(domain).schema[table]
    broken = [r.broken.alias(r.name) for r in row_rules(spec)]
    seen: list[dict[str, Any]] = []

    @settings(max_examples=8, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(getattr(getattr(strategies, domain), table)())
    def collect(row: dict[str, Any]) -> None:
        assert list(row) == list(spec.columns)
        seen.append(row)

    collect()
    found = pl.DataFrame(seen, schema=spec.polars).select(broken)
    assert not [name for name in found.columns if found[name].any()]


def test_rows_shrink_to_the_simplest_that_still_fails():
    changed = find(strategies.exchange(), lambda row: row["amount_minor"] > 1_000, settings=QUIET)
    assert changed["amount_minor"] == 1_001
    assert changed["transaction_id"] == changed["fee_minor"] == 0
    told = find(strategies.fraud_report(), lambda row: row["outcome"] == "refused", settings=QUIET)
    assert told["reported_at"] == dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    assert told["charged_back_at"] is None
    back = find(strategies.fraud_report(), lambda row: row["charged_back_at"] is not None, settings=QUIET)
    assert back["charged_back_at"] >= back["reported_at"], "a check binds the two"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_rows_shrink_to_the_same_whatever_was_found_first(seed: int):
    def least(rows: st.SearchStrategy[Any], fails: Callable[[Any], bool]) -> dict[str, Any]:
        found = find(rows, fails, settings=QUIET, random=Random(seed))
        return {n: v for n, v in found.items() if v}

    paid = least(strategies.transaction(), lambda row: row["amount_minor"] > 1_000)
    assert (paid["amount_minor"], paid["authorised_at"]) == (1_001, dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    assert not {"account_id", "merchant_id", "card_id", "cleared_at", "reversed_at"} & set(paid)
    claimed = least(strategies.claim(), lambda row: row["total"] > 50)
    assert set(claimed) == {"at", "total", "paid_by_patient"}
    assert claimed["total"] == claimed["paid_by_patient"] == 50.01


def test_columns_are_given_as_values_or_strategies_and_rows_are_made_into_objects():
    rows = strategies.claim(as_="pydantic", patient_id=7, total=st.sampled_from([10.0, 20.0]))
    least = find(rows, lambda row: row.total == 20.0, settings=QUIET)
    assert (least.patient_id, type(least).__name__) == (7, "Claim")
    assert abs(least.total - least.paid_by_insurer - least.paid_by_patient) < 0.011


@pytest.mark.parametrize(("domain", "leaf"), [("finance", "card"), ("healthcare", "claim"), ("iot", "anomaly")])
def test_tables_refer_to_one_another(domain: str, leaf: str):
    schema = find_domain(domain).schema

    @settings(max_examples=3, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategies.tables(domain, leaf))
    def judge(tables: dict[str, list[dict[str, Any]]]) -> None:
        for name, rows in tables.items():
            spec = schema[name]
            keys = [row[spec.key] for row in rows]
            assert len(set(keys)) == len(keys)
            for column, target in spec.references.items():
                known = {row[schema[target].key] for row in tables[target]}
                assert {row[column] for row in rows} <= known | ({None} if spec.columns[column].null else set())
            if spec.within:
                assert all(row[spec.key] // spec.fan == row[spec.within] for row in rows)
            frame = pl.DataFrame(rows, schema=spec.polars)
            assert not [r.name for r in row_rules(spec) if frame.select(r.broken.any()).item()]

    judge()


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "leaf"), [("finance", "card"), ("healthcare", "claim"), ("iot", "anomaly")])
def test_tables_shrink_to_a_row_each(domain: str, leaf: str):
    found = find(strategies.tables(domain, leaf), lambda t: bool(t[leaf]), settings=QUIET)
    assert {len(rows) for rows in found.values()} == {1}


def test_datasets_are_valid():
    @settings(QUIET, max_examples=2)
    @given(strategies.dataset("finance", max_size=12, days=(28, 31), scenarios=["card-testing:count=1"]))
    def judge(data: Dataset) -> None:
        assert not data.validate().height
        assert data.frames["customer"].height == data.plan.size <= 12

    judge()
    with pytest.raises(UserError, match="Did you mean 'card-testing'"):
        strategies.dataset("finance", scenarios=["card-tests"])


@pytest.mark.slow
def test_datasets_shrink_to_one_entity_and_no_scenario():
    drawn = strategies.dataset("finance", scenarios=["card-testing:count=1"])
    least = find(drawn, lambda data: True, settings=QUIET)
    assert (least.plan.size, least.plan.spec.seed, least.plan.uses) == (1, 0, ())


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'transaction'"):
        strategies.transactoin()
    with pytest.raises(
        AttributeError, match=r"finance and iot both have a table device: write populace\.strategies\.finance\.device"
    ):
        strategies.device()
    with pytest.raises(AttributeError, match="Did you mean 'patient'"):
        strategies.healthcare.patients()
    with pytest.raises(UserError, match="Did you mean 'amount_minor'"):
        strategies.transaction(amount=3)
    assert {"transaction", "patient", "iot", "dataset"} <= set(dir(strategies))


def test_without_hypothesis_the_import_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None\ntry:\n    import populace.strategies\nexcept ImportError as e:\n    print(e)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'populace[strategies]'" in told
