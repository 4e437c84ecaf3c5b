"""`populace demo`."""

from __future__ import annotations

from pathlib import Path

import click

from .request import cores


@click.command(
    epilog="""\b
Examples:
  populace demo
  populace demo --real data/credit_default/train.csv.gz --to demo-out"""
)
@click.option(
    "--real",
    metavar="PATH",
    help="A real table (credit_default's columns): customers' credit columns are then drawn by a model fitted to it.",
)
@click.option("--to", "folder", default="populace-out/demo", metavar="FOLDER", help="[default: populace-out/demo]")
def demo(real: str | None, folder: str) -> None:
    """The main job from end to end: all three domains, a staging database, a fitted model, validation, and a page to look at."""
    from ..demo import run_demo

    run_demo(Path(folder), Path(real) if real else None, cores(), click.echo)
