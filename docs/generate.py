"""An mkdocs hook: the reference is written from what the program itself reads and says, on every build, so it cannot drift."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import click

import populace
from populace.app.cli import cli
from populace.core.priors import Prior, load_priors
from populace.core.scenario import Scenario, load_scenarios
from populace.core.schema import load_schema
from populace.core.schema_text import as_markdown


def on_config(config: Any) -> Any:
    """Put the written pages of the domains, and the generated reference, into the navigation."""
    written = sorted(Path(config["docs_dir"]).glob("domains/*.md"))
    if written:
        config["nav"].append({"Domains": [{p.stem: f"domains/{p.name}"} for p in written]})
    reference: list[Any] = [
        {"Command line": "reference/command-line.md"},
        {"Python": "reference/python.md"},
    ]
    for domain in domains():
        reference.append(
            {domain: [{part: f"reference/{domain}-{part}.md"} for part in ("schema", "priors", "scenarios")]}
        )
    config["nav"].append({"Reference": reference})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, which exist in no folder."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Every generated page by its path."""
    made = {"reference/command-line.md": command_line(), "reference/python.md": python_api()}
    for domain in domains():
        made[f"reference/{domain}-schema.md"] = as_markdown(load_schema(domain))
        made[f"reference/{domain}-priors.md"] = priors_page(domain)
        made[f"reference/{domain}-scenarios.md"] = scenarios_page(domain)
    return made


def domains() -> list[str]:
    """Domains whose data files are here."""
    folders = (resources.files("populace") / "schemas").iterdir()
    return sorted(f.name for f in folders if f.is_dir() and (f / "tables.toml").is_file())


def priors_page(domain: str) -> str:
    """Every number a domain draws from, with its source."""
    lines = [f"# The {domain} priors", "", "Override one with `--set NAME=VALUE`. Each names where it comes from.", ""]
    group = ""
    for prior in load_priors(domain).entries.values():
        first = prior.name.partition(".")[0]
        if first != group:
            group = first
            lines += ["", f"## {group}", "", "| prior | value | unit | range | source |", "|---|---|---|---|---|"]
        lines.append("| " + " | ".join(_cell(c) for c in _prior(prior)) + " |")
    return "\n".join(lines) + "\n"


def _prior(prior: Prior) -> tuple[str, ...]:
    value = json.dumps(prior.value, ensure_ascii=False, default=str)
    shown = value if len(value) <= 90 else f"{value[:80]}… ({len(prior.value)} entries)"
    limits = f"{prior.range[0]} to {prior.range[1]}" if prior.range else ""
    about = f"{prior.doc} " if prior.doc else ""
    return f"`{prior.name}`", f"`{shown}`", prior.unit or "", limits, about + prior.source


def scenarios_page(domain: str) -> str:
    """What each scenario does, whom it casts, and what must hold of its rows."""
    lines = [f"# The {domain} scenarios", ""]
    for scenario in load_scenarios(domain).values():
        lines += _scenario(scenario)
    return "\n".join(lines) + "\n"


def _scenario(s: Scenario) -> Iterator[str]:
    yield from (f"## {s.name}", "", f"**{_flat(s.title)}.** {_flat(s.doc)}", "", f"Source: {_flat(s.source)}", "")
    yield from ("```bash", f"populace generate {s.domain} --scenario {s.name}:count={s.count}", "```", "")
    yield from ("| role | table | who may play it | members per instance |", "|---|---|---|---|")
    for role in s.roles:
        size = f"`{role.size}`" if isinstance(role.size, str) else str(role.size)
        apart = ", all in different units" if role.apart else ""
        yield f"| {role.name} | `{role.table}` | `{_cell(role.where)}` | {size}{apart} |"
    yield ""
    if s.parameters:
        yield from ("| parameter | type | default | limits | what it is |", "|---|---|---|---|---|")
        for p in s.parameters.values():
            limits = f"{p.min} to {p.max}" if p.min is not None or p.max is not None else ", ".join(map(str, p.choices))
            yield f"| `{p.name}` | {p.type} | `{p.default}` | {limits} | {_cell(p.doc)} |"
        yield ""
    yield from (f"Breaks, on purpose: {', '.join(f'`{b}`' for b in s.breaks) or 'nothing'}.", "")
    if s.may_break:
        yield from (f"May break, as its parameters are: {', '.join(f'`{b}`' for b in s.may_break)}.", "")
    for e in s.expect:
        which = " ".join(f"{k} `{v}`" for k, v in (("role", e.role), ("effect", e.effect)) if v)
        yield f"- Of each labelled `{e.table}`{', ' + which if which else ''}: `{e.sql}`. {_flat(e.doc)}"
    yield ""


def command_line() -> str:
    """What `--help` says of every command."""
    lines = ["# The command line", "", _flat(cli.help or ""), ""]
    for name, command in cli.commands.items():
        with click.Context(command, info_name=f"populace {name}", max_content_width=100, terminal_width=100) as context:
            text = command.get_help(context)
        lines += [f"## populace {name}", "", "```text", text, "```", ""]
    lines += ["Exit codes: 0 done; 1 the data is not valid; 2 the request cannot be met; 130 interrupted.", ""]
    return "\n".join(lines)


def python_api() -> str:
    """The public names with their signatures and docstrings."""
    lines = ["# Python", "", "```python", inspect.cleandoc(populace.__doc__ or ""), "```", ""]
    for name in populace.__all__:
        item = getattr(populace, name)
        if callable(item):
            lines += [f"## populace.{name}", "", "```python", f"{name}{_signature(item)}", "```", ""]
            lines += [inspect.getdoc(item) or "", ""]
    from populace.core.dataset import Dataset

    lines += ["## Dataset", "", inspect.getdoc(Dataset) or "", ""]
    for name, member in vars(Dataset).items():
        if not name.startswith("_") and inspect.getdoc(member) and (callable(member) or isinstance(member, property)):
            call = "" if isinstance(member, property) else re.sub(r"\(self(, )?", "(", _signature(member))
            lines += [f"### {name}", "", f"`data.{name}{call}`", "", inspect.getdoc(member) or "", ""]
    return "\n".join(lines)


def _signature(item: Any) -> str:
    """As written: annotations are kept as texts, and would be shown in quotes."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(item)))


def _cell(text: str) -> str:
    return _flat(text).replace("|", "\\|")


def _flat(text: str) -> str:
    return " ".join(str(text).split())
