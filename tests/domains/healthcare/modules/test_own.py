"""The modules that come with populace: each number has its source, each rate comes out as its source says, and they know of the population's diagnoses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from patients import YEAR, make_people

from populace.app.cli import run_command
from populace.core.stream import Stream
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.modules.library import check_library, read_library
from populace.domains.healthcare.modules.machine import Run
from populace.domains.healthcare.modules.people import ALIVE, Known, People, Visits
from populace.domains.healthcare.modules.program import Program
from populace.domains.healthcare.modules.records import records
from populace.domains.healthcare.modules.sources import origins, unsourced
from populace.domains.healthcare.modules.values import Code
from populace.domains.healthcare.own import OWN

PEOPLE = 3_000
MEASURED = (
    "appendicitis", "asthma_attack", "atrial_fibrillation", "breast_cancer", "coronary_disease", "diabetic_albuminuria", "diabetic_neuropathy",
    "diabetic_retinopathy", "gerd", "hypothyroidism", "migraine", "prostate_cancer",
)  # fmt: skip
"""Modules whose risks the sources give as such."""
DIABETES = Code("SNOMED-CT", "44054006", "Diabetes mellitus type 2 (disorder)")
ASTHMA = Code("SNOMED-CT", "195967001", "Asthma (disorder)")
DIAGNOSED = 40
"""Years: the age at which everyone of the test falls ill."""


def test_each_module_is_sound_and_each_of_its_numbers_has_a_source():
    library, problems = check_library(OWN)
    assert not problems
    assert list(unsourced(library)) == []
    said = [r for s in origins(library) for r in s.sources]
    assert {n for r in said for n in re.findall(r"prior `([\w.]+)`", r)} <= set(DOMAIN.priors)
    # what no source gives is marked, and is the smaller part
    assert 10 * sum(not s.sources for s in origins(library)) < sum(bool(s.sources) for s in origins(library))
    assert len(library.modules) >= 50
    assert {m.path for m in library.every()} == {f.stem for f in OWN.glob("*.json")}


def test_a_number_without_a_source_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    module = json.loads((OWN / "appendicitis.json").read_text("utf-8"))
    del module["states"]["Man"]["remarks"]
    (tmp_path / "appendicitis.json").write_text(json.dumps(module))
    assert run_command(["modules", "check", str(tmp_path), "--sources"]) == 1
    assert "module appendicitis, state 'Man': shares 0.086, 0.914" in capsys.readouterr().out
    assert run_command(["modules", "check", str(tmp_path)]) == 0


def old_people() -> People:
    """People who all live to 100 within the record, and of whom each gets diabetes and asthma at one age."""
    people = make_people(PEOPLE, seed=4)
    birth = np.full(PEOPLE, int(-45 * YEAR))
    patient = np.repeat(np.arange(PEOPLE), 100)
    start = birth[patient] + (np.tile(np.arange(100), PEOPLE) * YEAR + YEAR / 3).astype(np.int64)
    visits = Visits(patient, start, start + int(YEAR / 17_532))
    everyone = np.arange(PEOPLE)
    at = birth + int(DIAGNOSED * YEAR)
    who, code = np.repeat(everyone, 2), np.tile([0, 1], PEOPLE)
    known = Known(who, at[who], code, np.ones(2 * PEOPLE, bool))
    never = np.full(PEOPLE, ALIVE)
    return replace(people, birth=birth, death=never, end=birth + int(100 * YEAR), visits=visits, known=known)


@pytest.fixture(scope="module")
def lives() -> tuple[People, dict[str, pl.DataFrame]]:
    people = old_people()
    run = Run(Program(read_library(OWN, MEASURED).knowing((DIABETES, ASTHMA))), people, Stream.root(5))
    run.run()
    return people, records(run)


RISKS = [
    # appendicitis: lifetime risks of Addiss 1990
    ("74400008", "M", 100, 0.086),
    ("74400008", "F", 100, 0.067),
    # of diabetics within fifteen years, by the yearly rates of their sources
    ("1551000119108", None, DIAGNOSED + 15, 1 - np.exp(-0.0243 * 15)),
    ("90781000119102", None, DIAGNOSED + 15, 0.38),
    # of those who live so long, by 85: five years each at the rates of the Rotterdam study and those between them
    # neuropathy at diagnosis or within thirteen years (ADDITION-Denmark)
    ("368581000119106", None, DIAGNOSED + 13, 0.131 + 0.869 * 0.1),
    # lifetime risks of SEER and of Stewart 2008, prevalence of SEER; 0.41 % and 0.06 % a year, 4.5 in 1,000 person-years
    ("254837009", "F", 95, 0.123),
    ("399068003", "M", 85, 0.1484),
    ("37796009", "F", 60, 0.43),
    ("37796009", "M", 60, 0.18),
    ("40930008", "F", 85, 1 - np.exp(-0.0041 * 65)),
    ("40930008", "M", 85, 1 - np.exp(-0.0006 * 65)),
    ("235595009", None, 85, 1 - np.exp(-0.0045 * 67)),
    # infarctions of men by 75, at the rates of the source
    ("22298006", "M", 75, 1 - np.exp(-(15 * 23 + 1600 + 3070 + 5300) * 265 / 222e5)),
    ("49436004", None, 85, 1 - np.exp(-5 * (1.1 + 1.98 + 3.56 + 6.4 + 11.5 + 20.7) / 1000)),
]


@pytest.mark.parametrize(("code", "sex", "age", "risk"), RISKS)
def test_rates_come_out_as_the_sources_say(
    lives: tuple[People, dict[str, pl.DataFrame]], code: str, sex: str | None, age: int, risk: float
):
    people, made = lives
    who = np.ones(PEOPLE, bool) if sex is None else np.asarray(people.attributes["gender"]) == sex
    found = made["condition"].filter(pl.col("code") == code)
    at = (found["start"].to_numpy() - people.birth[found["patient"].to_numpy()]) / YEAR
    # those whom a check-up finds are found up to a year later
    ill = found["patient"].to_numpy()[at < age + 0.5 * (sex is None)]
    share = np.isin(np.flatnonzero(who), ill).mean()
    assert abs(share - risk) < 4 * np.sqrt(risk * (1 - risk) / who.sum()) + 0.006


def test_as_many_have_an_attack_in_a_year_as_the_source_says(lives: tuple[People, dict[str, pl.DataFrame]]):
    people, made = lives
    found = made["condition"].filter(pl.col("code") == "708038006")
    years = len(people) * (100 - DIAGNOSED)
    # one year in which an attack may be follows the other, and each attack takes a week of its own
    share = found.height / (years - found.height * 7 / 365.25)
    assert abs(share - 0.404) < 0.01


STAYS = [
    # cause, least age, age that is too old, stays of 10,000 people a year as the remarks of `hospital_stays` cite them
    ("Diverticulitis", 45, 65, 12.6),
    ("Diverticulitis", 65, 105, 27.2),
    ("Transient Ischemia", 45, 65, 6.5),
    ("Transient Ischemia", 65, 85, 24.5),
    ("Transient Ischemia", 85, 105, 61.9),
    ("Aspiration", 65, 105, 30.9),
    ("Poisoning", 50, 105, 6.2),
    ("Vertebral Fracture", 65, 105, 13.9),
    ("Clostridioides", 65, 105, 22.8),
    ("Seizure", 0, 105, 8.8),
    ("Head Injury", 0, 105, 8.9),
    ("Pancreatitis", 18, 105, 8.2),
    ("Gastrointestinal Bleeding", 0, 105, 16.0),
    ("Intestinal Obstruction", 0, 105, 11.9),
    ("Cholecystitis", 0, 105, 6.9),
    ("Cerebral Hemorrhage", 0, 105, 4.0),
    ("Syncope", 0, 105, 5.0),
    ("Hypertensive Crisis", 0, 105, 2.7),
]
AGAIN = 1 / (1 - 0.14)
"""Stays for one, with those of people who come again."""


def test_causes_of_hospital_stays_stand_to_each_other_as_published():
    """Each stands for others of its kind, so that it is more frequent than published: all by the same number, within a quarter."""
    shares = DOMAIN.priors("population.age")
    people = np.repeat(np.add(shares["female"], shares["male"]) / 5, 5)
    age = np.arange(len(people))
    chances = pl.read_csv(OWN / "lookup_tables" / "hospital_stays.csv")
    low = chances["age"].str.split("-").list.first().cast(pl.Int64).to_numpy()
    row = np.searchsorted(low, age, "right") - 1
    times = {}
    for cause, least, old, value in STAYS:
        here = (age >= least) & (age < old)
        found = 1e4 * AGAIN * np.average(chances[cause].to_numpy()[row[here]], weights=people[here])
        times[cause, least] = found / value
    middle = np.median(list(times.values()))
    assert not {k: v for k, v in times.items() if abs(v / middle - 1) > 0.25}


def test_nobody_has_a_complication_before_the_disease(lives: tuple[People, dict[str, pl.DataFrame]]):
    people, made = lives
    found = made["condition"].filter(pl.col("code").is_in(["1551000119108", "90781000119102"]))
    age = (found["start"].to_numpy() - people.birth[found["patient"].to_numpy()]) / YEAR
    assert age.min() > DIAGNOSED + 0.99
    # what modules are told of, they do not record
    assert not (made["condition"]["code"] == DIABETES.code).any()
