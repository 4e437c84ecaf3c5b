"""Folders and names of the user's own that widen a domain: what a plan says of them, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from populace.core.dataset import generate
from populace.core.domain import Domain
from populace.core.errors import UserError
from populace.core.inputs import MAX_FILES, Input
from populace.core.plan import Plan, make_plan
from populace.core.run import run
from populace.core.sinks import open_target
from populace.core.spec import Spec
from populace.core.validate import validate
from toy import KINDS, SCHEMA, TOY


def widen(domain: Domain, given: Mapping[str, Any]) -> Domain:
    """Each file of the folder names a further kind of shop; `kind` chooses among them."""
    names = sorted(p.stem for p in given["shops"].iterdir()) if "shops" in given else []
    kinds = (*KINDS, *(n for n in names if n in given.get("kind", names)))
    shop = SCHEMA["shop"]
    columns = {**shop.columns, "kind": replace(shop.columns["kind"], codes=kinds)}
    return replace(
        domain, schema=replace(SCHEMA, tables={**SCHEMA.tables, "shop": replace(shop, columns=columns)}), extend=None
    )


OPEN = replace(
    TOY, inputs={"shops": Input("Further kinds of shop."), "kind": Input("Only these.", folder=False)}, extend=widen
)


def plan(**inputs: Any) -> Plan:
    return make_plan(Spec("toy", inputs=inputs), OPEN)


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    folder = tmp_path / "shops"
    folder.mkdir()
    for kind in ("kiosk", "stall"):
        (folder / f"{kind}.txt").write_text(kind)
    return folder


def test_the_domain_is_wider_in_every_process_and_for_validation(shops: Path, tmp_path: Path):
    wide = plan(shops=str(shops), kind=["stall"])
    assert generate(wide).frames["shop"]["kind"].dtype.categories.to_list() == [*KINDS, "stall"]
    for workers in (1, 2):
        run(wide, [open_target(str(tmp_path / str(workers)), wide.domain)], workers=workers, quiet=True)
        assert validate(wide.domain, str(tmp_path / str(workers))).valid


def test_a_plan_says_what_a_folder_holds_not_where_it_is(shops: Path, tmp_path: Path):
    before = plan(shops=str(shops))
    shops.rename(tmp_path / "moved")
    assert plan(shops=tmp_path / "moved").describe() == before.describe()
    (tmp_path / "moved" / "stall.txt").write_text("another stall")
    assert plan(shops=tmp_path / "moved").fingerprint != before.fingerprint
    assert "inputs" not in plan().describe()


def test_what_cannot_be_taken_is_refused(shops: Path, tmp_path: Path):
    for inputs, said in (
        ({"shop": "x"}, r"--shop: toy does not take it \(it takes --shops, --kind\)"),
        ({"shops": str(tmp_path / "none")}, "there is no such folder"),
        ({"shops": str(shops / "stall.txt")}, "is not a folder"),
        ({"shops": ["a"]}, "expected a folder"),
        ({"kind": []}, "expected names"),
        ({"kind": [1]}, "expected names"),
    ):
        with pytest.raises(UserError, match=said):
            plan(**inputs)


def test_a_folder_of_no_end_is_refused(tmp_path: Path):
    for n in range(MAX_FILES + 1):
        (tmp_path / str(n)).touch()
    with pytest.raises(UserError, match=r"holds 10,001 files, at most 10,000 are read"):
        plan(shops=tmp_path)


def test_the_command_line_has_a_flag_for_whatever_a_domain_takes():
    from populace.app.cli import cli
    from populace.core.domain import domain_names, find_domain

    takes = {f"--{name}" for domain in domain_names() for name in find_domain(domain).inputs}
    for command in ("generate", "stream"):
        assert takes <= {flag for parameter in cli.commands[command].params for flag in parameter.opts}, command
