"""Several tables: links are found or told, references that lead nowhere are counted, and what holds between tables is measured apart from what holds within."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp
from shops import shop

from populace.app.cli import run_command
from populace.app.report import render_report
from populace.core.errors import UserError
from populace.core.evaluate import Evaluation, evaluate
from populace.core.evaluate.links import Link, find_links, parse_links

Named = dict[str, pl.DataFrame]


REAL, TWIN = shop(1), shop(2)


@pytest.fixture(scope="module")
def twin() -> Evaluation:
    return evaluate(REAL, TWIN, only=["diagnostics", "fidelity"])


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finance") / "real"
    assert run_command(["generate", "finance", "--size", "12", "--seed", "2", "--to", str(folder)]) == 0
    return folder


def test_links_are_found_by_names_and_values():
    assert find_links(REAL) == [Link("orders", ("customer_id",), "customers", ("id",))]
    staff = pl.DataFrame({"EmployeeId": [1, 2, 3], "ReportsTo": [None, 1, 1], "BossEmployeeId": [None, 1, 2]})
    assert find_links({"Employee": staff}) == [Link("Employee", ("BossEmployeeId",), "Employee", ("EmployeeId",))]
    # a value that is nobody's key: the name alone makes no link
    odd = {**REAL, "orders": REAL["orders"].with_columns(customer_id=pl.col("customer_id") + 1)}
    assert find_links(odd) == []


def test_links_are_told_in_words():
    told = parse_links(["orders.customer_id=customers.id"], REAL)
    assert told == [Link("orders", ("customer_id",), "customers", ("id",))]
    assert parse_links(["orders.order_id+paid=customers.id+segment"], REAL)[0].keys == ("id", "segment")
    for wrong, said in [
        ("orders.customer=customers.id", "Did you mean 'customer_id'"),
        ("order.customer_id=customers.id", "Did you mean 'orders'"),
        ("orders.customer_id", "is not CHILD.COLUMN=PARENT.KEY"),
        ("orders.order_id+paid=customers.id", "is not CHILD.COLUMN=PARENT.KEY"),
    ]:
        with pytest.raises(UserError, match=said):
            parse_links([wrong], REAL)


def test_an_independent_twin_reaches_the_floor(twin: Evaluation):
    found = twin
    assert found["diagnostics.foreign_keys"] == 1
    assert found["diagnostics.tables"] == 1
    for name in ("fidelity.cardinality", "fidelity.cross_table", "fidelity.quality"):
        metric = next(m for m in found.metrics if m.name == name)
        assert metric.floor is not None
        assert metric.value > metric.floor - 0.03
    assert "customers.segment" in found.kinds
    assert set(found.tables) == {"customers", "orders"}
    # keys are no numbers to compare
    assert found.tables["orders"].kinds["customer_id"] == "key"


def test_a_reference_that_leads_nowhere_is_counted_with_examples():
    lost = TWIN["orders"].with_columns(
        customer_id=pl.when(pl.int_range(pl.len()) < 20).then(9_999_999).otherwise("customer_id")
    )
    found = evaluate(REAL, {**TWIN, "orders": lost}, only=["diagnostics"])
    metric = next(m for m in found.metrics if m.name == "diagnostics.foreign_keys")
    assert metric.value == pytest.approx(1 - 20 / lost.height)
    assert metric.detail[0]["lead nowhere"] == 20
    assert "9999999" in str(metric.detail[0]["such as"])
    assert {v.use: v.answer for v in found.verdicts()}["fixtures"] == "no"


def test_children_dealt_to_random_parents_are_seen_only_between_the_tables(twin: Evaluation):
    draw = np.random.default_rng(5)
    dealt = TWIN["orders"].with_columns(customer_id=pl.Series(draw.permutation(TWIN["orders"]["customer_id"])))
    whole, torn = twin, evaluate(REAL, {**TWIN, "orders": dealt}, only=["fidelity"])
    assert torn["fidelity.cross_table"] < whole["fidelity.cross_table"] - 0.03
    worst = next(m for m in torn.metrics if m.name == "fidelity.cross_table").detail[0]
    assert worst["columns"] == "orders.amount × customers.segment"
    assert torn["fidelity.quality"] == pytest.approx(whole["fidelity.quality"], abs=0.002)
    assert torn["fidelity.cardinality"] == whole["fidelity.cardinality"]


def test_the_number_of_children_is_judged_by_its_distribution():
    even = TWIN["orders"].with_columns(customer_id=pl.Series(np.arange(TWIN["orders"].height) % 1_500 + 1_000))
    found = evaluate(REAL, {**TWIN, "orders": even}, only=["fidelity"])

    def children(data: Named) -> np.ndarray:
        counts = dict(data["orders"]["customer_id"].value_counts().iter_rows())
        return np.array([counts.get(k, 0) for k in data["customers"]["id"]])

    expected = 1 - ks_2samp(children(REAL), children({**TWIN, "orders": even})).statistic
    assert found["fidelity.cardinality"] == pytest.approx(expected)


def test_a_target_is_foretold_with_its_parents_columns():
    found = evaluate(REAL, TWIN, target="orders.amount", only=["utility"])
    # within the order nothing tells its amount: the customer's segment does
    assert found["utility.tstr"] > 0.5
    with pytest.raises(UserError, match="Did you mean 'amount'"):
        evaluate(REAL, TWIN, target="orders.amont")


def test_the_worst_table_counts_for_privacy():
    found = evaluate(REAL, {**TWIN, "orders": REAL["orders"]}, shop(3), only=["privacy"])
    metric = next(m for m in found.metrics if m.name == "privacy.dcr_share")
    assert metric.note == "the worst table: orders"
    assert metric.value > 0.8


def test_composite_keys_join():
    lines = pl.DataFrame({"order": [1, 1, 2, 2], "line": [1, 2, 1, 2], "item": ["a", "b", "a", "c"]})
    parcel = pl.DataFrame({"order": [1, 2, 2], "line": [2, 1, 3], "weight": [1.0, 2.0, 3.0]})
    found = evaluate(
        {"lines": lines, "parcel": parcel.head(2)},
        {"lines": lines, "parcel": parcel},
        only=["diagnostics"],
        relations=["parcel.order+line=lines.order+line"],
    )
    assert found["diagnostics.foreign_keys"] == pytest.approx(2 / 3)


def test_folders_and_databases_say_the_same(twin: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, data in (("real", REAL), ("twin", TWIN)):
        (tmp_path / name).mkdir()
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            for table, frame in data.items():
                frame.write_csv(tmp_path / name / f"{table}.csv")
                marks = ", ".join("?" * frame.width)
                key = ', FOREIGN KEY ("customer_id") REFERENCES "customers" ("id")' if table == "orders" else ""
                kind = {c: "TEXT" if t == pl.String else "REAL" if t.is_float() else "INTEGER" for c, t in frame.schema.items()}  # fmt: skip
                columns = ", ".join(f'"{c}" {k}' for c, k in kind.items())
                connection.execute(f'CREATE TABLE "{table}" ({columns}{key})')
                connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', frame.rows())
    parts = ["diagnostics", "fidelity"]
    folders = evaluate(tmp_path / "real", tmp_path / "twin", only=parts)
    databases = evaluate(f"sqlite:///{tmp_path}/real.db", f"sqlite:///{tmp_path}/twin.db", only=parts)
    assert folders.values() == pytest.approx(twin.values())
    assert databases.values() == pytest.approx(twin.values())
    html = tmp_path / "out.html"
    command = ["evaluate", str(tmp_path / "real"), str(tmp_path / "twin"), "--only", "diagnostics"]
    assert run_command([*command, "--report", str(html), "--relation", "orders.customer_id=customers.id"]) == 0
    assert "orders.customer_id → customers.id" in html.read_text()
    capsys.readouterr()
    assert run_command(["evaluate", str(tmp_path / "real"), str(tmp_path / "twin" / "orders.csv")]) == 2
    assert "a file goes with a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "database",
    ["duckdb", "postgresql", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mysql", "sqlite"))],
    indirect=True,
)
def test_a_staged_dataset_is_compared_and_judged_where_it_stands(database: str, staged: Path):
    assert run_command(["generate", "finance", "--size", "12", "--seed", "1", "--to", database]) == 0
    found = evaluate(staged, database, only=["diagnostics"])
    assert found["diagnostics.tables"] == 1
    assert found["diagnostics.foreign_keys"] == 1
    assert found["diagnostics.rules"] == 1
    told = {str(link) for link in found.links}
    assert {"account.customer_id → customer.customer_id", "transaction.account_id → account.account_id"} <= told
    alone = evaluate(database)
    assert alone["diagnostics.rules"] == 1
    assert alone["realism.met"] > 0.5


def test_each_table_has_a_place_on_the_page(twin: Evaluation):
    page = render_report(twin, "real", "twin")
    assert '<section id="tables"' in page
    assert all(f"<summary>{name} " in page for name in ("customers", "orders"))
