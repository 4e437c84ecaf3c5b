"""A planted violation of each kind is found, and named; valid data is valid in every form it is kept in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from populace.core.checks import check_names
from populace.core.dataset import Dataset, generate
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.sinks.stage import read_manifest
from populace.core.spec import ScenarioRequest, Spec
from populace.core.validate import validate
from toy import TOY

FORMS = ["parquet", "csv", "ndjson", "duckdb", "sqlite"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    requests = (ScenarioRequest("ring"), ScenarioRequest("splurge"))
    return generate(make_plan(Spec("toy", scenarios=requests), TOY))


def write(data: Dataset, form: str, folder: Path) -> str:
    database = form in ("duckdb", "sqlite")
    place = f"{form}:///{folder / 'toy.db'}" if database else str(folder / "toy")
    data.write(place, format="parquet" if database else form)
    return place


@pytest.mark.parametrize("form", FORMS)
def test_our_own_data_is_valid_in_every_form(data: Dataset, form: str, tmp_path: Path):
    verdict = validate(TOY, write(data, form, tmp_path))
    assert verdict.listed() == []
    assert verdict.rows["sale"] == data.frames["sale"].height
    assert verdict.declared["check"].to_list() == ["sale.small"]


def test_some_of_the_tables_are_valid_by_themselves(tmp_path: Path):
    requests = (ScenarioRequest("ring"), ScenarioRequest("splurge"))
    data = generate(make_plan(Spec("toy", scenarios=requests, only=("sale",)), TOY))
    assert set(data.frames) == {"sale", "label"}
    assert data.validate().is_empty()
    data.write(str(tmp_path / "toy"))
    verdict = validate(TOY, str(tmp_path / "toy"))
    assert verdict.listed() == []
    assert verdict.declared["check"].to_list() == ["sale.small"]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_without_rows_is_valid_in_every_form(form: str, tmp_path: Path):
    plain = generate(make_plan(Spec("toy"), TOY))
    assert plain.frames["label"].is_empty()
    assert validate(TOY, write(plain, form, tmp_path)).listed() == []


def alter(table: str, **columns: pl.Expr) -> Callable[[Path], None]:
    """Change the first row of a table on disk."""

    def change(folder: Path) -> None:
        (part,) = (folder / table).glob("*.parquet")
        frame = pl.read_parquet(part)
        first = pl.int_range(pl.len()) == 0
        frame.with_columns(
            pl.when(first).then(e).otherwise(pl.col(c).cast(pl.String) if c == "kind" else pl.col(c)).alias(c)
            for c, e in columns.items()
        ).write_parquet(part)

    return change


def without(table: str, rows: pl.Expr) -> Callable[[Path], None]:
    """Take rows out of a table on disk."""

    def change(folder: Path) -> None:
        (part,) = (folder / table).glob("*.parquet")
        pl.read_parquet(part).filter(~rows).write_parquet(part)

    return change


PLANTED: dict[str, Callable[[Path], None]] = {
    "sale.key": alter("sale", sale_id=pl.col("sale_id").shift(-1)),
    "sale.shopper_id.reference": alter("sale", shopper_id=pl.lit(10**9)),
    "sale.shopper_id.each": without("sale", pl.col("shopper_id") == 0),
    "sale.amount_minor.min": alter("sale", amount_minor=pl.lit(0, pl.Int64)),
    "sale.amount_minor.null": alter("sale", amount_minor=pl.lit(None, pl.Int64)),
    "sale.sold_at.null": alter("sale", sold_at=pl.lit(None)),
    "sale.one-payee": alter("sale", payee_id=pl.lit(1, pl.Int64), shop_id=pl.lit(1, pl.Int64)),
    "sale.small": alter("sale", amount_minor=pl.lit(100_000, pl.Int64)),
    "paid-recomputes": alter("sale", paid_minor=pl.col("paid_minor") + 1),
    "shop.kind.codes": alter("shop", kind=pl.lit("bazaar")),
    "shopper.score.max": alter("shopper", score=pl.lit(1.5)),
    "shopper.score.min": alter("shopper", score=pl.lit(-0.5)),
    "shopper.score.finite": alter("shopper", score=pl.lit(float("nan"))),
    "shopper.name.pattern": alter("shopper", name=pl.lit("ann")),
    "shopper.born_on.min": alter("shopper", born_on=pl.lit("1899-12-31").str.to_date()),
    "label.scenario": alter("label", scenario=pl.lit("no-such")),
    "label.role": alter("label", role=pl.lit("no-such")),
    "label.row_key": alter("label", row_key=pl.lit(10**12)),
    "manifest.digest": alter("shopper", loyal=~pl.col("loyal")),
}


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_violation_is_found_and_named(data: Dataset, check: str, tmp_path: Path):
    place = write(data, "parquet", tmp_path)
    PLANTED[check](Path(place))
    verdict = validate(TOY, place)
    assert not verdict.valid
    assert check in verdict.found["check"].to_list()
    if not check.startswith(("label", "manifest")):
        assert check in check_names(TOY)


@pytest.mark.parametrize(
    ("column", "value"),
    [("sold_at", "yesterday"), ("amount_minor", "12.5"), ("amount_minor", "many"), ("shop_id", "x")],
)
def test_a_value_of_another_type_is_found_and_named(data: Dataset, column: str, value: str, tmp_path: Path):
    place = Path(write(data, "csv", tmp_path))
    part = place / "sale/part-00000.csv"
    frame = pl.read_csv(part, infer_schema=False)
    frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 2).then(pl.lit(value)).otherwise(column).alias(column)
    ).write_csv(part)
    found = validate(TOY, str(place)).listed()
    (entry,) = [e for e in found if e["check"] == f"sale.{column}.type"]
    assert entry["rows"] == 1
    assert value in entry["detail"]
    assert entry["examples"] == [int(frame["sale_id"][2])]


def test_an_identical_dataset_without_a_manifest_is_judged_on_its_rows_alone(data: Dataset, tmp_path: Path):
    place = Path(write(data, "parquet", tmp_path))
    (place / "manifest.json").unlink()
    assert validate(TOY, str(place)).valid


def test_a_missing_column_is_found(data: Dataset, tmp_path: Path):
    place = Path(write(data, "csv", tmp_path))
    part = place / "shopper/part-00000.csv"
    pl.read_csv(part).drop("loyal").write_csv(part)
    assert "shopper.loyal.missing" in validate(TOY, str(place)).found["check"].to_list()


@pytest.mark.parametrize("place", ["nowhere", "duckdb:///nowhere.db", "empty", "broken", "sqlite:///broken/x.db"])
def test_where_there_is_nothing_to_judge_it_says_so(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken/sale").mkdir(parents=True)
    (tmp_path / "broken/x.db").write_bytes(b"no database" * 100)
    (tmp_path / "broken/sale/part-00000.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=place.split("///")[-1]):
        validate(TOY, place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "null",
        "[" * 100_000,
        '{"populace": 1}',
        '{"populace": {"tables": 5}}',
        '{"populace": {"tables": {"a": {"rows": 1}}}}',
    ],
    ids=["empty", "list", "null", "deep", "number", "tables", "table"],
)
def test_a_manifest_that_is_none_is_said(tmp_path: Path, text: str):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest of populace"):
        read_manifest(tmp_path / "manifest.json")
