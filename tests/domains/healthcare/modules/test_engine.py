"""The engine against a plain interpreter that shares no code with it: who reaches which state, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lives import differences, entered, run_engine, run_oracle
from module_oracle import Files
from numpy.typing import NDArray
from patients import make_people

from populace.core.stream import Stream
from populace.domains.healthcare.modules.library import read_library
from populace.domains.healthcare.modules.machine import Run
from populace.domains.healthcare.modules.program import Program
from populace.domains.healthcare.modules.records import records

FEW = ("ear_infections", "hypertension", "female_reproduction", "gout")


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    return real_data / "healthcare" / "synthea_modules"


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    return Files(folder)


@pytest.mark.parametrize("name", FEW)
def test_a_module_agrees_with_the_plain_interpreter(name: str, folder: Path, files: Files) -> None:
    people = make_people(400)
    engine = entered(run_engine(read_library(folder, [name]), people))
    plain = run_oracle(files, [name], make_people(40), 1)
    assert not differences(engine, plain, 400, 40)


@pytest.mark.slow
def test_every_module_agrees_with_the_plain_interpreter(folder: Path, files: Files) -> None:
    people, some = make_people(1500), make_people(150, 1500)
    failed: list[str] = []
    for name in read_library(folder).modules:
        engine = entered(run_engine(read_library(folder, [name]), people))
        failed += differences(engine, run_oracle(files, [name], some, 2), 1500, 150)
    assert not failed


@pytest.mark.slow
def test_all_modules_together_agree_with_the_plain_interpreter(folder: Path, files: Files) -> None:
    library = read_library(folder)
    engine = entered(run_engine(library, make_people(600)))
    plain = run_oracle(files, list(library.modules), make_people(60, 600), 3)
    assert not differences(engine, plain, 600, 60)


def entries_of(run: Run, p: int) -> list[tuple[int, ...]]:
    kept = run.entries["patient"][: run.entries.height] == p
    columns = (run.entries["form"], run.entries["start"], run.entries["stop"])
    made = zip(*(c[: run.entries.height][kept].tolist() for c in columns), strict=True)
    codes = [run.codes.values[c] for c in run.entries["code"][: run.entries.height][kept]]
    return sorted((*m, c) for m, c in zip(made, codes, strict=True))  # type: ignore[misc]


def test_a_patient_s_life_depends_on_nobody_else(folder: Path) -> None:
    library = read_library(folder, ["ear_infections", "sinusitis", "hypertension", "pregnancy", "female_reproduction"])
    whole, part = run_engine(library, make_people(40)), run_engine(library, make_people(15, 10))
    for p in range(15):
        assert entries_of(whole, p + 10) == entries_of(part, p)


def test_another_module_does_not_change_what_it_does_not_touch(folder: Path) -> None:
    alone = entered(run_engine(read_library(folder, ["gout"]), make_people(60)))
    beside = entered(run_engine(read_library(folder, ["gout", "cerebral_palsy"]), make_people(60)))
    mine: NDArray[np.float64] = np.array(sorted(alone["gout", "Initial"].values()))
    assert len(mine) == 60
    assert {k: v for k, v in beside.items() if k[0] == "gout"}.keys() == {k for k in alone if k[0] == "gout"}


def test_nothing_happens_after_death_or_the_end(folder: Path) -> None:
    """Modules run ahead of one another, so that one may have gone on when another has brought death: of that nothing is recorded."""
    run = run_engine(read_library(folder), make_people(6))
    last = np.minimum(run.stop, run.people.end)
    frames = records(run)
    for name, moment in [("condition", "start"), ("medication", "start"), ("procedure", "at"), ("observation", "at")]:
        frame = frames[name]
        assert frame.height > 0
        assert (frame[moment].to_numpy() <= last[frame["patient"].to_numpy()]).all()


def test_what_comes_of_modules_does_not_depend_on_which_goes_first(folder: Path) -> None:
    """Modules that have nothing in common overtake one another; in the framework's own order the same comes of them."""
    names = [
        "covid19",
        "female_reproduction",
        "hypertension",
        "injuries",
        "metabolic_syndrome_care",
        "pregnancy",
        "sepsis",
    ]
    program, people = Program(read_library(folder, names)), make_people(4)
    roots = np.arange(len(program.roots))
    free = Run(program, people, Stream.root(1))
    free.run()
    assert any(len(earlier) + len(later) < len(roots) - 1 for earlier, later in program.before)
    program.before = [(roots[:r], roots[r + 1 :]) for r in roots]
    strict = Run(program, people, Stream.root(1))
    strict.run()
    assert (strict.death == free.death).all()
    numbers = ("entry", "medication_entry", "encounter", "reason", "report", "allergy", "state")
    found = records(free)
    assert found["observation"].height > 50
    for name, frame in records(strict).items():
        kept = [c for c in frame.columns if c not in numbers]
        assert frame.select(kept).sort(kept).equals(found[name].select(kept).sort(kept)), name


def test_records_hang_together(folder: Path) -> None:
    """Every row lies in its encounter, observations with their report, a reason is a condition of the same patient."""
    names = [
        "congestive_heart_failure",
        "hypertension",
        "sepsis",
        "lupus",
        "injuries",
        "metabolic_syndrome_care",
        "allergies",
    ]
    run = run_engine(read_library(folder, names), make_people(30))
    frames = records(run)
    encounters = (
        frames["encounter"]
        .with_row_index("encounter")
        .select(
            pl.col("encounter").cast(pl.Int64),
            pl.col("patient").alias("whose"),
            pl.col("start").alias("begin"),
            pl.col("stop").alias("end"),
        )
    )
    for name in ("procedure", "observation", "report", "condition", "medication", "administration", "imaging"):
        frame = frames[name]
        assert frame.height > 0
        moment = "at" if "at" in frame.columns else "start"
        inside = frame.join(encounters, on="encounter")
        assert inside.filter((pl.col("whose") != pl.col("patient")) | (pl.col(moment) < pl.col("begin"))).is_empty()
        assert inside.filter(pl.col(moment) > pl.col("end")).is_empty()
        assert frame["code"].null_count() == 0
        if "stop" in frame.columns:
            assert frame.filter(pl.col("stop") < pl.col(moment)).is_empty()
    conditions = (
        frames["condition"]
        .drop("reason")
        .with_row_index("reason")
        .select(pl.col("reason").cast(pl.Int64), pl.col("patient").alias("whose"), pl.col("code").alias("of"))
    )
    for name in ("medication", "procedure", "careplan"):
        reasons = frames[name].join(conditions, on="reason")
        assert reasons.filter(
            (pl.col("whose") != pl.col("patient")) | (pl.col("of") != pl.col("reason_code"))
        ).is_empty()
    reports = (
        frames["report"]
        .with_row_index("report")
        .select(pl.col("report").cast(pl.Int64), pl.col("patient").alias("whose"), pl.col("at").alias("then"))
    )
    grouped = frames["observation"].join(reports, on="report")
    assert grouped.height > 0
    assert grouped.filter((pl.col("whose") != pl.col("patient")) | (pl.col("then") != pl.col("at"))).is_empty()
