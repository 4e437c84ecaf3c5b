"""Priors that a user sets: whole, or one entry of a table, by flag, spec file or Python; and the command that says the same."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from populace.core.domain import find_domain
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.spec import Spec, as_command, parse_settings, read_spec_file

BILLS = {"utilities": 0.0, "telecom": 0.5, "insurance": 0.0}


def bills(settings: dict) -> dict:
    return make_plan(Spec("finance", settings=settings)).priors("bill.count")


def test_an_entry_of_a_table_is_set_alone(tmp_path: Path):
    usual = find_domain("finance").priors("bill.count")
    assert bills({"bill.count.telecom": "0.5"}) == {**usual, "telecom": 0.5}
    assert bills({f"bill.count.{k}": v for k, v in BILLS.items()}) == BILLS
    file = tmp_path / "run.toml"
    file.write_text('domain = "finance"\n[set]\nbill.count = { utilities = 0.0, telecom = 0.5, insurance = 0.0 }\n')
    assert bills(read_spec_file(file)["set"]) == BILLS
    with pytest.raises(UserError, match=r"bill.count is .*, outside its range 0.0 to 1.0"):
        bills({"bill.count.telecom": "2"})


def test_the_command_of_a_spec_sets_what_the_spec_does():
    brief = {"size": 40, "end": "2025-01-15"}
    spec = Spec(
        "finance", **brief, settings={"bill.count": BILLS, "purchase.weekday": [1.0] * 7, "fraud.rate": "0.002"}
    )
    words = shlex.split(as_command(spec, "out"))
    told = parse_settings([words[n + 1] for n, word in enumerate(words) if word == "--set"])
    assert make_plan(Spec("finance", **brief, settings=told)).describe()["set"] == make_plan(spec).describe()["set"]
