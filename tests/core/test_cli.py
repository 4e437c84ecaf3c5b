"""The command line: bad input gets one clear message, exit code 2, and nothing written; good input does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from populace.app.cli import cli, run_command
from populace.core.domain import domain_names, find_domain
from populace.core.sinks.database import open_database


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


SPECS = {
    "not-toml.toml": "size = 10\nseed = = 3\n",
    "unknown.toml": 'domain = "finance"\n\nsise = 10\n',
    "wrong-type.toml": 'domain = "finance"\nsize = "ten"\n',
    "bad-scenario.toml": '[[scenario]]\nname = "card-testing"\n\n[[scenario]]\nnome = "mule-ring"\n',
    "target.toml": 'domain = "finance"\nto = [1]\n',
    "other-domain.toml": 'domain = "iot"\n',
}
BAD: dict[str, tuple[list[str], str]] = {
    "unknown command": (["generat", "finance"], "unknown command 'generat'. Did you mean 'generate'?"),
    "no domain": (["generate"], "which domain?"),
    "unknown domain": (["generate", "finanse"], "unknown domain 'finanse'. Did you mean 'finance'?"),
    "unknown scenario": (["generate", "finance", "--scenario", "mulering"], "Did you mean 'mule-ring'?"),
    "scenario by another name": (["scenarios", "finance", "cycle"], "unknown scenario 'cycle'. It is spoken of in: chargeback-cycle, mule-ring."),
    "unknown parameter, of few": (["generate", "finance", "--scenario", "structuring:amount=5"], "Did you mean 'count'? Known: count, every, from, margin, rate, threshold, times."),
    "unknown parameter": (["generate", "finance", "--scenario", "mule-ring:hop=5"], "unknown parameter 'hop'. Did you mean 'hops'?"),
    "parameter out of range": (["generate", "finance", "--scenario", "mule-ring:hops=2"], "hops is 2, outside its range 4 to 12"),
    "parameter of another type": (["generate", "finance", "--scenario", "mule-ring:hops=few"], "hops is 'few', expected int"),
    "parameter without a value": (["generate", "finance", "--scenario", "mule-ring:hops"], "'hops' is not key=value"),
    "count and rate": (["generate", "finance", "--scenario", "mule-ring:count=1,rate=0.1"], "count or rate, not both"),
    "count of zero": (["generate", "finance", "--scenario", "mule-ring:count=0"], "count is 0"),
    "a cast too large": (["generate", "finance", "--size", "5", "--scenario", "mule-ring:count=9"], "are eligible"),
    "unknown prior": (["generate", "finance", "--set", "purchas.share=1"], "unknown prior 'purchas.share'"),
    "unknown entry of a prior": (["generate", "finance", "--set", "bill.count.telecon=1"], "--set bill.count: unknown entry 'telecon'. Did you mean 'telecom'?"),
    "an infinite prior": (["generate", "finance", "--set", "account.fee_minor=1e999"], "account.fee_minor is '1e999', expected finite numbers"),
    "entries of another kind": (["generate", "finance", "--set", 'purchase.weekday=["a","b","c","d","e","f","g"]'], "expected entries such as ["),
    "a setting without a value": (["generate", "finance", "--set", "x"], "expected NAME=VALUE"),
    "unknown format": (["generate", "finance", "--format", "parkett"], "unknown format 'parkett'. Did you mean 'parquet'?"),
    "unknown scheme": (["generate", "finance", "--to", "duckdbb:///x"], "Did you mean 'duckdb'?"),
    "a url without a file": (["generate", "finance", "--to", "duckdb:x"], "names no file"),
    "the same target twice": (["generate", "finance", "--to", "a", "--to", "./a"], "named twice"),
    "no size": (["generate", "finance", "--size", "0"], "--size is 0, expected a whole number from 1"),
    "negative size": (["generate", "finance", "--size", "-3"], "--size is -3"),
    "absurd size": (["generate", "finance", "--size", "99999999999"], "--size is 99999999999"),
    "size that is no number": (["generate", "finance", "--size", "ten"], "'ten' is not a valid integer"),
    "negative seed": (["generate", "finance", "--seed", "-1"], "--seed is -1"),
    "no date": (["generate", "finance", "--start", "tomorrow"], "--start is 'tomorrow', expected a date"),
    "a day that is not": (["generate", "finance", "--start", "2025-02-29"], "--start is '2025-02-29'"),
    "end before start": (["generate", "finance", "--start", "2025-03-01", "--end", "2025-02-01"], "--end is 2025-02-01, which is not after"),
    "absurd date": (["generate", "finance", "--end", "9999-01-01"], "--end is 9999-01-01, outside"),
    "no workers": (["generate", "finance", "--workers", "-1"], "--workers is -1"),
    "unknown slot": (["generate", "finance", "--model", "credit=x"], "unknown model slot 'credit'"),
    "no model file": (["generate", "finance", "--model", "customer-credit=none.model"], "none.model"),
    "no spec file": (["generate", "--spec", "none.toml"], "none.toml: cannot be read"),
    "malformed spec file": (["generate", "--spec", "not-toml.toml"], "not-toml.toml:2:"),
    "unknown setting in a spec file": (["generate", "--spec", "unknown.toml"], "unknown.toml:3: unknown setting 'sise'. Did you mean 'size'?"),
    "wrong type in a spec file": (["generate", "--spec", "wrong-type.toml"], "wrong-type.toml:2: 'size' is 'ten'"),
    "a target in a spec file that is no text": (["generate", "--spec", "target.toml"], "target.toml:2: 'to' holds 1, expected texts"),
    "an unknown code": (["generate", "healthcare", "--scenario", "stroke:condition=I63.8"], "unknown code of condition.code 'I63.8'. Did you mean 'I63.9'?"),
    "a value that is no number": (["generate", "healthcare", "--scenario", "stroke:values=8480-6=high"], "'8480-6=high' is not CODE=NUMBER"),
    "bad scenario in a spec file": (["generate", "finance", "--spec", "bad-scenario.toml"], "bad-scenario.toml:4:"),
    "spec file of another domain": (["generate", "finance", "--spec", "other-domain.toml"], "is for 'iot'"),
    "unknown option": (["generate", "finance", "--seeed", "1"], "--seeed"),
    "unknown form of schema": (["schema", "finance", "--as", "sq"], "Did you mean 'sql'?"),
    "schema of nothing": (["schema", "financ"], "Did you mean 'finance'?"),
    "unknown scenario to show": (["scenarios", "finance", "mule-rings"], "Did you mean 'mule-ring'?"),
    "nothing to validate": (["validate", "finance", "nowhere"], "no such folder"),
    "unknown report format": (["validate", "finance", "nowhere", "--format", "xml"], "unknown format 'xml'"),
    "no table to fit": (["fit", "none.csv", "--model", "empirical"], "none.csv"),
    "no model to sample": (["sample", "none.model", "-n", "3"], "none.model"),
    "a corrupt model": (["sample", "corrupt.model", "-n", "3"], "corrupt.model"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message_and_nothing_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, text in SPECS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "corrupt.model").write_bytes(b"\x00\xff" * 50)
    before = sorted(tmp_path.rglob("*"))
    arguments, message = BAD[case]
    assert run_command(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("populace: ")
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_target_that_exists_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["generate", "healthcare", "--size", "5"]
    assert run_command(command) == 0
    assert run_command(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert run_command([*command, "--resume"]) == 0


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        run_command(
            ["generate", "finance", "--size", "12345", "--seed", "9", "--scenario", "mule-ring:hops=7", "--dry-run"]
        )
        == 0
    )
    plan = json.loads(capsys.readouterr().out)
    assert (plan["size"], plan["seed"], plan["scenarios"][0]["hops"]) == (12345, 9, 7)
    assert list(tmp_path.iterdir()) == []


def test_flags_win_over_the_spec_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec = 'domain = "finance"\nsize = 77\nseed = 5\nstart = 2025-02-01\nscenario = ["mule-ring:hops=5"]\n'
    (tmp_path / "spec.toml").write_text(spec)
    assert run_command(["generate", "--spec", "spec.toml", "--seed", "6", "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["size"], plan["seed"], plan["start"]) == (77, 6, "2025-02-01")
    assert plan["scenarios"][0]["hops"] == 5


@pytest.mark.parametrize("name", domain_names())
def test_generate_says_what_it_wrote_and_validate_agrees(name: str, capsys: pytest.CaptureFixture[str]):
    domain = find_domain(name)
    size = str(3 * domain.per_unit if domain.per_unit > 1 else 20)
    assert run_command(["generate", name, "--size", size, "--to", "out", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "written: out" in shown
    assert all(table in shown for table in domain.schema.tables)
    assert run_command(["validate", name, "out", "--format", "json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["valid"]
    assert verdict["rows"][domain.root] == int(size)


def test_generate_says_which_instances_left_no_label(capsys: pytest.CaptureFixture[str]):
    """Of a scenario whose rows are in tables that were not asked for."""
    assert run_command(["generate", "finance", "--size", "20", "--only", "customer", "--scenario", "card-testing"]) == 0
    assert (
        "scenario card-testing: 2 of 2 instance(s) left no label: their rows are in other tables"
        in capsys.readouterr().err
    )


def test_validate_exits_1_and_lists_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_command(["generate", "finance", "--size", "8", "--to", "out", "--workers", "1", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    part = tmp_path / "out/customer/part-00000.parquet"
    frame = pl.read_parquet(part)
    pl.concat([frame, frame.head(1)]).write_parquet(part)
    assert run_command(["validate", "finance", "out"]) == 1
    assert "customer.key: 2 row(s) of customer" in capsys.readouterr().out


@pytest.mark.parametrize("name", domain_names())
def test_scenarios_and_schema_are_told_in_full(name: str, capsys: pytest.CaptureFixture[str]):
    domain = find_domain(name)
    assert len(domain.scenarios) >= 3
    assert run_command(["scenarios", name]) == 0
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    for scenario in domain.scenarios.values():
        assert [scenario.name, scenario.title] in listed
        assert run_command(["scenarios", name, scenario.name]) == 0
        shown = capsys.readouterr().out
        assert scenario.source in shown
        assert all(f"{p}=" in shown for p in scenario.parameters)
    for form in ("markdown", "sql", "json-schema", "arrow"):
        assert run_command(["schema", name, "--as", form]) == 0
        assert all(table in capsys.readouterr().out for table in [domain.root])


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]):
    assert run_command([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"populace {command}" in shown.split("Examples:")[1]


def test_it_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "populace.app.cli", "generate", "nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("stdout", "code", "said"), [("gone", 0, ""), ("/dev/full", 2, "No space left on device")])
def test_standard_output_that_takes_nothing_is_no_violation(stdout: str, code: int, said: str):
    if stdout == "gone":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(stdout, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-m", "populace.app.cli", "scenarios"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{n % 60 + 18},{'F' if n % 3 else 'M'},{n * 7 % 13 / 2}" for n in range(400)]
    (tmp_path / "people.csv").write_text("age,sex,score\n" + "\n".join(rows))
    return tmp_path / "people.csv"


@pytest.mark.parametrize("model", ["gaussian-copula", "empirical"])
def test_fit_and_sample(model: str, table: Path, capsys: pytest.CaptureFixture[str]):
    assert run_command(["fit", str(table), "--model", model, "--out", "m.model"]) == 0
    assert "m.model" in capsys.readouterr().out
    command = ["sample", "m.model", "-n", "50", "--seed", "4", "--where", "sex=M"]
    assert run_command(command) == 0
    first = capsys.readouterr().out
    assert run_command(command) == 0
    assert capsys.readouterr().out == first
    assert [line.split(",")[1] for line in first.splitlines()] == ["sex"] + ["M"] * 50
    assert run_command(["fit", str(table), "--model", model, "--out", "m.model"]) == 2


@pytest.mark.parametrize("target", [None, "csv", "ndjson", "sqlite:///s.db", "duckdb:///d.db"])
def test_spans_of_time_can_be_sampled_into_every_form(target: str | None, tmp_path: Path):
    spans = pl.DataFrame({"wait": pl.Series([86_405_000_000, 1, None] * 9, dtype=pl.Duration("us")), "n": range(27)})
    spans.write_parquet(tmp_path / "t.parquet")
    assert run_command(["fit", "t.parquet", "--model", "empirical", "--out", "m.model"]) == 0
    form = ["--format", target] if target in ("csv", "ndjson") else []
    assert run_command(["sample", "m.model", "-n", "9", *(["--to", target] if target else []), *form]) == 0


@pytest.mark.parametrize("target", ["twin", "duckdb:///twin.db", "sqlite:///twin.db"])
def test_samples_go_where_they_are_told_with_a_manifest(target: str, table: Path, tmp_path: Path):
    assert run_command(["fit", str(table), "--model", "empirical", "--out", "m.model"]) == 0
    assert run_command(["sample", "m.model", "-n", "50", "--to", target]) == 0
    assert run_command(["sample", "m.model", "-n", "50", "--to", target]) == 2
    if target == "twin":
        assert pl.read_parquet(tmp_path / "twin/sample/part-00000.parquet").height == 50
        manifest = json.loads((tmp_path / "twin/manifest.json").read_text())
    else:
        scheme = target.partition(":")[0]
        (rows,) = open_database(f"{scheme}:///{tmp_path / 'twin.db'}").read("sample")
        assert rows.height == 50
        manifest = open_database(f"{scheme}:///{tmp_path / 'twin.db'}").manifest()
    assert manifest["populace"]["model"]["model"] == "empirical"
    assert manifest["populace"]["tables"]["sample"]["rows"] == 50
