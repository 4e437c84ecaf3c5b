"""Targets: all or nothing, never over what stands there, the same values in every form."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate, make_cast
from populace.core.digest import digest
from populace.core.errors import UserError
from populace.core.plan import Plan, make_plan
from populace.core.run import _make, run
from populace.core.sinks import open_target, open_targets
from populace.core.sinks.embedded import Embedded
from populace.core.sinks.parquet import write_parquet
from populace.core.source import read_source
from populace.core.spec import ScenarioRequest, Spec
from toy import TOY


def plan(*scenarios: str, size: int = 50) -> Plan:
    return make_plan(Spec("toy", size=size, scenarios=tuple(ScenarioRequest(s) for s in scenarios)), TOY)


def write(p: Plan, *targets: object, format: str = "parquet", **how: bool):
    return run(p, [open_target(str(t), TOY, format, p.breaks) for t in targets], **how)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return generate(plan("ring", "splurge"))


ODD = "C:/it's [1]*?{a,b}=é #%20\""
"""A name that readers of patterns, URLs and SQL would all like to read otherwise."""
TARGETS = {
    "parquet": ODD,
    "csv": ODD,
    "ndjson": ODD,
    "duckdb": f"duckdb:///{ODD.replace('?', '')}/x.db",
    "sqlite": f"sqlite:///{ODD}/x.db",
}


@pytest.mark.parametrize("form", TARGETS)
def test_every_form_holds_the_same_values(form: str, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    target = TARGETS[form]
    outcome = write(plan("ring", "splurge"), target, format=form if form in ("csv", "ndjson") else "parquet")
    source = read_source(TOY, target)
    for name, frame in {**source.tables, "label": source.label}.items():
        assert (
            str(digest(frame))
            == outcome.manifest["populace"]["tables"][name]["digest"]
            == str(digest(data.frames[name]))
        )
    assert source.manifest is not None
    assert source.manifest["populace"]["fingerprint"] == plan("ring", "splurge").fingerprint


def test_a_staging_database_enforces_what_no_scenario_breaks(tmp_path: Path):
    write(plan("splurge"), f"sqlite:///{tmp_path / 'x.db'}")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        assert connection.execute("SELECT count(*) FROM sale WHERE amount_minor > 100000").fetchone() == (1,)
        for bad in (
            "UPDATE sale SET amount_minor = 0",
            "UPDATE sale SET payee_id = 1",
            "UPDATE sale SET shopper_id = -5",
        ):
            with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012 a deferred key is judged when the change is committed
                connection.execute(bad)
                connection.commit()
            connection.rollback()


def test_a_view_is_one_file_of_a_kind_with_the_labels_and_the_manifest(data: Dataset, tmp_path: Path):
    write(plan("ring", "splurge"), f"lines:{tmp_path / 'v'}")
    lines = [json.loads(line) for line in (tmp_path / "v/Sale.ndjson").read_text().splitlines()]
    assert [r["id"] for r in lines] == data.frames["sale"]["sale_id"].to_list()
    assert len((tmp_path / "v/Shop.ndjson").read_text().splitlines()) == 7
    assert pl.read_csv(tmp_path / "v/label.csv").height == data.frames["label"].height
    assert json.loads((tmp_path / "v/manifest.json").read_text())["populace"]["form"] == "lines"


def test_what_stands_there_is_never_overwritten(tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (
        tmp_path / "full",
        tmp_path / "file",
        tmp_path / "link",
        f"duckdb:///{tmp_path / 'file'}",
        tmp_path / "file/below",
    ):
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(UserError, match=r"exists already|not a folder"):
            write(plan(), target)
        assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "full/mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    write(plan(), tmp_path / "empty")
    assert (tmp_path / "empty/manifest.json").exists()


def test_one_refused_target_among_several_stops_all(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError):
        write(plan(), tmp_path / "good", tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.parametrize("other", ["a", "./a", "a/b", "duckdb:///a", "lines:a/b/c"])
def test_targets_in_each_others_way_are_refused(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"named twice|lies inside another"):
        open_targets(["a", other], TOY)
    assert len(open_targets(["a", "a-b", "duckdb:///a.db"], TOY)) == 3


@pytest.mark.parametrize("target", [".", "duckdb:///wh?t.db", "x" * 300, "a\0b", os.fsdecode(b"caf\xe9"), "/dev/shm"])
def test_what_can_never_appear_as_a_whole_is_refused_at_once(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cannot (be written|appear|keep)|exists already"):
        open_target(target, TOY).stage.check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["out", "sqlite:///{}/x.db", "duckdb:///{}/x.db"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(UserError, match="was not written: a file may not grow"):
            write(plan(size=400), target.format(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_progress_keeps_others_out(tmp_path: Path):
    sink = open_target(str(tmp_path / "out"), TOY)
    with sink.stage.opened("x", "parquet", resume=False), pytest.raises(UserError, match="another run"):
        write(plan(), tmp_path / "out")


def test_resume_refuses_another_plan(tmp_path: Path):
    sink = open_target(str(tmp_path / "out"), TOY)
    sink.stage.path.mkdir()
    (sink.stage.path / "plan.json").write_text('{"fingerprint": "of another"}')
    with pytest.raises(UserError, match="another plan"):
        write(plan(), tmp_path / "out", resume=True)
    write(plan(), tmp_path / "out")
    assert write(plan(), tmp_path / "out", resume=True).resumed == plan().blocks


def interrupted(target: Path, *, done: int) -> None:
    """Leave what a run leaves that is killed after so many blocks."""
    p, sink = plan("ring"), open_target(str(target), TOY)
    with suppress(KeyboardInterrupt), sink.stage.opened(p.fingerprint, sink.form, resume=False):
        for index in range(done):
            _make((p, [sink], {}), make_cast(p), index)
        raise KeyboardInterrupt


def test_resume_refuses_another_format(tmp_path: Path):
    interrupted(tmp_path / "out", done=2)
    with pytest.raises(UserError, match="wrote parquet, not csv"):
        write(plan("ring"), tmp_path / "out", format="csv", resume=True)
    assert write(plan("ring"), tmp_path / "out", resume=True).resumed == 2
    with pytest.raises(UserError, match="exists already"):
        write(plan("ring"), tmp_path / "out", format="csv", resume=True)


@pytest.mark.parametrize(
    "lost", ["parts/sale/part-00001.parquet", "done/000001.json", "plan.json", "parts", "cut", "garbled"]
)
def test_what_a_stage_has_lost_is_made_again(lost: str, tmp_path: Path):
    interrupted(tmp_path / "out", done=3)
    stage = tmp_path / ".out.populace"
    if lost == "cut":
        part = stage / "parts/sale/part-00002.parquet"
        part.write_bytes(part.read_bytes()[:-100])
    elif lost == "garbled":
        (stage / "done/000002.json").write_text('{"receipt"')
    elif lost == "parts":
        shutil.rmtree(stage / lost)
    else:
        (stage / lost).unlink()
    assert write(plan("ring"), tmp_path / "out", resume=True).resumed < 3
    write(plan("ring"), tmp_path / "whole")
    made = [
        {str(p.relative_to(f)): p.read_bytes() for p in f.rglob("*.*")} for f in (tmp_path / "out", tmp_path / "whole")
    ]
    assert made[0] == made[1]


def test_text_that_would_upset_a_format_survives(tmp_path: Path):
    assert 'Dee "D"' in set(generate(plan()).frames["shopper"]["name"])
    for form in ("csv", "ndjson"):
        write(plan(), tmp_path / form, format=form)
        assert read_source(TOY, str(tmp_path / form)).tables["shopper"].equals(generate(plan()).frames["shopper"])


def test_what_a_killed_process_left_half_written_is_never_published(tmp_path: Path):
    stage = open_target(str(tmp_path / "out"), TOY).stage

    def die_half_way(path: Path) -> None:
        path.write_bytes(b"half")
        os._exit(1)

    stage.path.mkdir()
    if (child := os.fork()) == 0:
        stage.put_part("sale", 0, "parquet", die_half_way)
    os.waitpid(child, 0)
    assert [p.read_bytes() for p in stage.path.rglob("*") if p.is_file()] == [b"half"]
    write(plan(), tmp_path / "out", resume=True)
    write(plan(), tmp_path / "clean")
    listed = [sorted(str(p.relative_to(f)) for p in f.rglob("*")) for f in (tmp_path / "out", tmp_path / "clean")]
    assert listed[0] == listed[1]


def test_parquet_has_a_dictionary_only_where_values_repeat(tmp_path: Path):
    import pyarrow.parquet

    table = pl.DataFrame(
        {"id": [f"C-{n}" for n in range(9_000)], "kind": ["a", "b", None] * 3_000, "n": range(9_000)},
        schema_overrides={"n": pl.Int64},
    ).with_columns(code=pl.col("kind").cast(pl.Enum(["a", "b"])))
    write_parquet(table, tmp_path / "x.parquet")
    group = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0)
    columns = {table.columns[n]: group.column(n) for n in range(group.num_columns)}
    assert {name for name, column in columns.items() if column.has_dictionary_page} == {"kind", "code"}
    assert (columns["n"].statistics.min, columns["n"].statistics.max) == (0, 8_999)
    assert pl.read_parquet(tmp_path / "x.parquet").equals(table)


def test_parquet_parts_of_which_one_has_gaps_are_read_as_one_by_all(tmp_path: Path):
    """A column is said to have no gap where it has none: of another part, that says nothing."""
    import duckdb
    import pyarrow.dataset
    import pyarrow.parquet

    whole = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.0, 2.0]})
    gaps = pl.DataFrame({"a": [None, 4], "b": ["x", None], "c": [None, 2.0]})
    for n, table in enumerate((whole, gaps)):
        write_parquet(table, tmp_path / f"part-{n}.parquet")
    schemas = [pyarrow.parquet.read_schema(tmp_path / f"part-{n}.parquet") for n in range(2)]
    assert [[field.nullable for field in schema] for schema in schemas] == [[False] * 3, [True] * 3]
    both = pl.concat([whole, gaps])
    assert pl.read_parquet(tmp_path / "*.parquet").equals(both)
    assert (
        pl.scan_parquet(tmp_path / "*.parquet")
        .filter(pl.col("a").is_null())
        .collect()
        .equals(both.filter(pl.col("a").is_null()))
    )
    assert pyarrow.dataset.dataset(tmp_path).to_table().to_pydict() == both.to_dict(as_series=False)
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/*.parquet' WHERE b IS NULL").fetchall() == [(1,)]


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_json_refuses_what_it_cannot_keep(form: str, tmp_path: Path):
    """Written as null, a value would be lost without a word."""
    data = generate(plan())
    shopper = data.frames["shopper"].with_columns(score=pl.lit(float("inf")))
    with pytest.raises(UserError, match=r"column score holds NaN or an infinity, which JSON cannot keep"):
        open_target(str(tmp_path / "out"), TOY, form).write(0, {**data.frames, "shopper": shopper}, {})


def test_a_column_of_sqlite_whose_values_come_late_is_read(tmp_path: Path):
    """The driver looks at a thousand rows for a column's type."""
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE shop (id INTEGER, renamed TEXT)")
        connection.executemany("INSERT INTO shop VALUES (?, ?)", [(k, None) for k in range(5_000)] + [(5_000, "late")])
    (read,) = Embedded("sqlite", path).read("shop")
    assert read.height == 5_001
    assert read["renamed"].drop_nulls().to_list() == ["late"]
