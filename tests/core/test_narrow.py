"""Some tables alone: what may be asked for, and what is written and judged then. That their rows are those of the whole is a law."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import populace
from populace.app.cli import run_command
from populace.core.checks import check_names
from populace.core.domain import Step, find_domain
from populace.core.errors import UserError
from populace.core.narrow import leading_to, narrow
from populace.core.plan import make_plan
from populace.core.source import read_source
from populace.core.spec import Spec
from populace.core.validate import validate

ASKED = ["--size", "20", "--end", "2025-01-10", "--only", "account,transaction"]


def test_files_and_databases_hold_these_alone_and_are_judged_as_such(tmp_path: Path):
    database = f"duckdb:///{tmp_path / 'some.duckdb'}"
    assert run_command(["generate", "finance", *ASKED, "--to", str(tmp_path / "files"), "--to", database]) == 0
    assert {p.name for p in (tmp_path / "files").iterdir()} == {"account", "label", "transaction", "manifest.json"}
    for place in (str(tmp_path / "files"), database):
        source = read_source(find_domain("finance"), place)
        assert source.tables.keys() == {"account", "transaction"}
        assert source.notes == []
        verdict = validate(find_domain("finance"), place)
        assert verdict.valid
        assert 0 < verdict.checks < len(check_names(find_domain("finance")))


def test_a_database_grows_by_the_same_tables_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    to = ["--to", f"sqlite:///{tmp_path / 'some.db'}"]
    assert run_command(["generate", "finance", *ASKED, *to]) == 0
    more = [*ASKED[2:], "--size", "40", "--mode", "append", *to]
    assert run_command(["generate", "finance", *more[:2], *more[4:]]) == 2
    assert "only is ['account', 'transaction'] there, None here" in capsys.readouterr().err
    assert run_command(["generate", "finance", *more]) == 0
    assert validate(find_domain("finance"), to[1]).rows["account"] > 40


def test_what_cannot_be_is_told_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UserError, match=r"--only: unknown table 'acount'. Did you mean 'account'\?"):
        populace.generate("finance", size=20, only=["acount"])
    target = f"fhir+ndjson:{tmp_path / 'x'}"
    assert run_command(["generate", "healthcare", "--size", "2", "--only", "patient", "--to", target]) == 2
    assert "the documents of fhir+ndjson take all tables" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    for place in (target, "fhir+http://127.0.0.1:9/x"):
        with pytest.raises(UserError, match="take all tables"):
            populace.generate("healthcare", size=2, only=["patient"]).write(place)


def test_a_manifest_hides_nothing_that_is_there(tmp_path: Path):
    """What it says of tables decides what need not be there, never what is not looked at."""
    place = tmp_path / "whole"
    populace.generate("finance", size=20, end="2025-01-10").write(str(place))
    manifest = json.loads((place / "manifest.json").read_text())
    for only in (["account"], ["nonsense"], "account", 7):
        manifest["populace"]["spec"]["only"] = only
        (place / "manifest.json").write_text(json.dumps(manifest))
        source = read_source(find_domain("finance"), str(place))
        assert source.tables.keys() == find_domain("finance").schema.tables.keys()
        assert source.notes == []


def test_labels_of_some_tables_are_judged_without_the_rest_and_without_a_manifest(tmp_path: Path):
    data = populace.generate("finance", size=60, end="2025-02-01", scenarios=["card-testing"], only=["transaction"])
    data.write(str(tmp_path / "some"))
    (tmp_path / "some" / "manifest.json").unlink()
    assert data.frames["label"].height
    assert validate(find_domain("finance"), str(tmp_path / "some")).rows == {
        "transaction": data.frames["transaction"].height
    }


def test_steps_that_they_do_not_take_are_not_run():
    whole = find_domain("finance")
    part = narrow(whole, ["account"], played=False)
    assert {s.name for s in part.steps} < {s.name for s in whole.steps}
    assert "purchase" not in {s.name for s in part.steps}
    assert part.steps[-1].makes == ("account",)
    assert narrow(whole, ["account"], played=True).steps == whole.steps


def test_a_run_for_a_view_alone_makes_what_the_view_takes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["generate", "finance", "--size", "60", *ASKED[2:4], "--scenario", "mule-ring:count=1"]
    both = ["--to", f"transfers:{tmp_path / 'both'}", "--to", str(tmp_path / "tables")]
    assert run_command([*asked, "--to", f"transfers:{tmp_path / 'alone'}"]) == 0
    assert run_command([*asked, *both]) == 0
    alone, beside = ((tmp_path / n / "transfers.csv").read_bytes() for n in ("alone", "both"))
    assert alone == beside
    spec = json.loads((tmp_path / "alone" / "manifest.json").read_text())["populace"]["spec"]
    assert spec["only"] == ["transfers"]
    assert "ledger" not in spec["steps"]
    assert "only" not in json.loads((tmp_path / "both" / "manifest.json").read_text())["populace"]["spec"]
    capsys.readouterr()
    for place in (str(tmp_path / "x"), f"duckdb:///{tmp_path / 'x.duckdb'}", f"nested+json:{tmp_path / 'x'}"):
        assert run_command(["generate", "finance", *ASKED[:4], "--only", "transfers", "--to", place]) == 2
        assert "takes whole tables; of account there are account_id, customer_id alone" in capsys.readouterr().err
    assert (
        run_command(["generate", "finance", *ASKED[:4], "--only", "transfers", "--to", f"amlworld:{tmp_path / 'x'}"])
        == 2
    )
    assert "amlworld take merchant, account, counterparty" in capsys.readouterr().err


def test_a_step_is_run_for_the_column_that_it_adds_and_for_no_other():
    def step(name: str, makes: str, *needs: str) -> Step:
        return Step(name, (makes,), lambda b, t: t, needs)

    steps = (step("a", "t"), step("b", "t.x", "t.y"), step("c", "t.y", "u"), step("d", "t"), step("e", "t.z", "t"))
    for wanted, names in ((["t.q"], "ad"), (["t.y"], "acd"), (["t.x"], "abd"), (["t"], "abcde"), (["t.z"], "abcde")):
        assert "".join(s.name for s in leading_to(steps, wanted)[0]) == names


def test_the_order_in_which_they_are_named_does_not_matter():
    one, other = (make_plan(Spec("iot", size=2, only=names)) for names in (("site", "device"), ("device", "site")))
    assert one.fingerprint == other.fingerprint != make_plan(Spec("iot", size=2)).fingerprint
