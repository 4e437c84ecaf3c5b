"""SenML and line protocol read back: what was written is found whole, and each planted fault is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from populace.core.dataset import Dataset
from populace.core.validate import validate
from populace.domains.iot import DOMAIN


@pytest.fixture(scope="module")
def written(plain: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The first lines of each form."""
    few = {**plain.frames, "reading": plain.frames["reading"].head(3_000)}
    few.pop("label")
    return {name: DOMAIN.views[name].render(few, {})["reading"]["text"].to_list() for name in ("senml", "influx")}


FILES = {"senml": "reading.ndjson", "influx": "reading.lp"}


def judge(folder: Path, name: str, lines: list[str], rows: int = 3_000) -> dict[str, list[int]]:
    """The lines at fault by check."""
    (folder / FILES[name]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    manifest = {"populace": {"tables": {"reading": {"rows": rows}}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    verdict = validate(DOMAIN, str(folder))
    assert verdict.notes == [f"read as {name}"]
    assert verdict.checks == len(DOMAIN.views[name].rules)
    assert set(verdict.found["check"]) <= set(DOMAIN.views[name].rules)
    return {check: part["row_key"].to_list() for (check,), part in verdict.found.group_by("check")}


@pytest.mark.parametrize("name", FILES)
def test_what_was_written_is_sound(written: dict[str, list[str]], name: str, tmp_path: Path):
    assert judge(tmp_path, name, written[name]) == {}


def changed(line: str, **what: object) -> str:
    """A pack with other entries in its first record; None takes one out."""
    pack = json.loads(line)
    pack[0] = {k: v for k, v in {**pack[0], **what}.items() if v is not None}
    return json.dumps(pack)


@pytest.mark.parametrize(
    ("what", "check"),
    [
        ({"u": "furlong"}, "senml.unit"),
        ({"v": 1e9}, "senml.scale"),
        ({"v": 20.123456789}, "senml.scale"),
        ({"v": None}, "senml.record"),
        ({"v": "20"}, "senml.record"),
        ({"vs": "20"}, "senml.record"),
        ({"bt": "yesterday"}, "senml.record"),
        ({"must_": 1}, "senml.record"),
        ({"n": "_no.such.signal"}, "senml.channel"),
    ],
)
def test_a_record_at_fault_is_named(written: dict[str, list[str]], what: dict, check: str, tmp_path: Path):
    lines = [*written["senml"]]
    lines[7] = changed(lines[7], **what)
    found = judge(tmp_path, "senml", lines)
    assert set(found) == {check}
    assert set(found[check]) == {8}


def test_packs_at_fault(written: dict[str, list[str]], tmp_path: Path):
    lines = [*written["senml"]]
    lines[2], lines[4] = lines[2][:-9], "{}"
    lines.append(lines[0])
    found = judge(tmp_path, "senml", lines)
    assert found["senml.pack"] == [3, 5]
    assert set(found["senml.repeated"]) == {len(lines)}
    assert "senml.lost" in found


@pytest.mark.parametrize(
    ("before", "after", "check"),
    [
        (" ", "  ", "influx.line"),
        ("=", "=NaN", "influx.line"),
        ("room-climate", "no-profile", "influx.channel"),
        (" air-temperature=", " air-temperature=900", "influx.scale"),
        (" air-temperature=", " air-temperature=0.12345", "influx.scale"),
    ],
)
def test_a_line_at_fault_is_named(written: dict[str, list[str]], before: str, after: str, check: str, tmp_path: Path):
    lines = [*written["influx"]]
    at = next(n for n, line in enumerate(lines) if before in line)
    head, _, tail = lines[at].partition(before)
    lines[at] = f"{head}{after}{tail}" if after[-1:].isdigit() is False else f"{head}{after} {tail.partition(' ')[2]}"
    assert judge(tmp_path, "influx", lines) == {check: [at + 1]}


def test_a_line_twice_and_lines_lost(written: dict[str, list[str]], tmp_path: Path):
    lines = written["influx"]
    assert judge(tmp_path, "influx", [*lines, lines[5]]) == {"influx.repeated": [len(lines) + 1]}
    assert judge(tmp_path, "influx", lines[:-1]) == {"influx.lost": [0]}
