"""What the documentation says is so: commands exist, links lead somewhere, the reference lists everything, examples run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from populace.app.cli import cli
from populace.core.domain import find_domain
from populace.core.priors import load_priors
from populace.core.scenario import _load, load_scenarios
from populace.core.schema import load_schema
from populace.core.spec import read_spec_file

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


COMMANDS = sorted(
    {
        line.split(" > ")[0]
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.splitlines()
        if line.startswith("populace ")
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_is_one_that_the_program_takes(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    assert name in cli.commands
    cli.commands[name].make_context(name, arguments, resilient_parsing=False)


def test_every_command_is_shown_somewhere() -> None:
    assert {shlex.split(line)[1] for line in COMMANDS} >= set(cli.commands) - {"demo", "schema"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    # code is no prose: a formula in it may look like a link
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if place.parent == DOCS / "reference":
            assert f"reference/{place.name}" in generated().pages(), target
            continue
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}, target


def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_lists_every_command_option_prior_scenario_and_column() -> None:
    module = generated()
    pages = module.pages()
    for name, command in cli.commands.items():
        assert f"## populace {name}" in pages["reference/command-line.md"]
        for option in (o for p in command.params for o in p.opts if o.startswith("--")):
            assert option in pages["reference/command-line.md"]
    for domain in module.domains():
        assert all(f"`{p}`" in pages[f"reference/{domain}-priors.md"] for p in load_priors(domain).entries)
        assert all(
            module._cell(p.source) in pages[f"reference/{domain}-priors.md"]
            for p in load_priors(domain).entries.values()
        )
        assert all(f"## {s}\n" in pages[f"reference/{domain}-scenarios.md"] for s in load_scenarios(domain))
        for table in load_schema(domain).tables.values():
            assert all(f"`{c}`" in pages[f"reference/{domain}-schema.md"] for c in table.columns)


def test_the_scenario_and_spec_files_shown_are_read(tmp_path: Path) -> None:
    (shown,) = blocks(DOCS / "how-to/add-a-scenario.md", "toml")
    scenario = _load("shown", "finance", shown)
    assert scenario.roles[0].apart
    assert scenario.expect
    (spec,) = blocks(DOCS / "how-to/reproduce-a-run.md", "toml")
    (tmp_path / "run.toml").write_text(spec, "utf-8")
    assert read_spec_file(tmp_path / "run.toml")["set"] == {"purchase.void": 0.05}
    for page in DOCS.rglob("*.md"):
        for block in blocks(page, "toml"):
            tomllib.loads(block)


RUNNABLE = ["tutorials/first-dataset.md", "how-to/load-a-staging-database.md"]


@pytest.mark.parametrize("page", RUNNABLE)
def test_examples_run_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        find_domain("finance")
    except (ImportError, AttributeError) as error:
        pytest.skip(f"finance is not here: {error}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert blocks(DOCS / page, "python")
    for block in blocks(DOCS / page, "python"):
        exec(compile(block, page, "exec"), names)


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/reference/command-line.html").exists()
    assert not re.findall(
        r'<(?:script|link|img)[^>]+(?:src|href)="https?://', (tmp_path / "site/index.html").read_text()
    )
