"""`populace modules`: disease modules, checked and drawn."""

from __future__ import annotations

from pathlib import Path

import click

from ...core.errors import UserError
from ..group import Group


@click.group(
    cls=Group,
    epilog="""\b
Examples:
  populace modules check my-modules/
  populace modules check own --sources
  populace modules draw appendicitis --to appendicitis.svg""",
)
def modules() -> None:
    """Disease modules in the Generic Module Framework's JSON: check and draw them."""


@modules.command(
    epilog="""\b
Examples:
  populace modules check my-modules/"""
)
@click.argument("folder", metavar="DIR")
@click.option(
    "--sources",
    is_flag=True,
    help="Name each state that draws a number whose source it does not tell, and count assumptions.",
)
def check(folder: str, sources: bool) -> int:
    """Say what is wrong with the modules of a folder (`own`: those of populace), with file, line and state, and where chances do not sum to one, which is told alone.

    Exit 0: nothing; 1: problems, listed."""
    from ...domains.healthcare.modules.library import check_library
    from ...domains.healthcare.modules.sources import origins
    from ...domains.healthcare.own import module_folder

    library, problems = check_library(module_folder(folder))
    for problem in problems:
        click.echo(str(problem))
    for note in library.notes:
        click.echo(f"{note} (no problem)")
    states = sum(len(m.states) for m in library.every())
    click.echo(
        f"{folder}: {len(library.modules)} modules, {len(library.submodules)} submodules, {len(library.lookups)} lookup tables, "
        f"{states:,} states, {len(problems)} problems{f', {len(library.notes)} notes' if library.notes else ''}"
    )
    said = list(origins(library)) if sources else []
    missing = [s for s in said if not s.sources and not s.assumptions]
    for s in missing:
        click.echo(
            f"module {s.module}, state '{s.state}': {s.drawn}: no remark says from where (an address, https://…)"
        )
    if sources:
        assumed = sum(bool(s.assumptions) for s in said)
        click.echo(
            f"{len(said):,} states draw a number: {sum(bool(s.sources) for s in said):,} from a source, {assumed:,} with an assumption"
        )
    return 1 if problems or missing else 0


@modules.command(
    epilog="""\b
Examples:
  populace modules draw hypertension --modules my-modules/
  populace modules draw medications/statin --modules my-modules/ --to statin.svg"""
)
@click.argument("name")
@click.option(
    "--modules", "folder", default="own", metavar="DIR", help="The folder that holds the module.  [default: own]"
)
@click.option("--to", "target", metavar="FILE.svg", help="[default: standard output]")
def draw(name: str, folder: str, target: str | None) -> None:
    """The state chart of a module or submodule, as SVG."""
    from ...core.errors import unknown
    from ...core.files import write_whole
    from ...domains.healthcare.modules.draw import draw as chart
    from ...domains.healthcare.modules.library import read_library
    from ...domains.healthcare.own import module_folder

    known = {m.path: m for m in read_library(module_folder(folder)).every()}
    if name not in known:
        raise unknown("module", name, known, f"--modules {folder}")
    if target is None:
        click.echo(chart(known[name]), nl=False)
        return
    if Path(target).exists():
        raise UserError(f"--to {target} exists already; nothing is overwritten")
    write_whole(target, chart(known[name]).encode(), "chart")
    click.echo(f"written: {target}")
