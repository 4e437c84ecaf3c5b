"""`populace explain`."""

from __future__ import annotations

import json
from typing import Any

import click

from .request import inputs_of, takes_inputs


@click.command(
    epilog="""\b
Examples:
  populace explain populace-out/finance transaction 2056000048
  populace explain duckdb:///staging.duckdb device 12 --format json"""
)
@click.argument("place", metavar="PATH-OR-URL")
@click.argument("table")
@click.argument("key", type=int)
@click.option("--model", "models", multiple=True, metavar="SLOT=MODEL", help="The model that it was made with.")
@takes_inputs
@click.option("--format", "format_", default="text", metavar="text|json", help="How to print.  [default: text]")
def explain(place: str, table: str, key: int, models: tuple[str, ...], format_: str, **flags: Any) -> None:
    """Say why a row exists and why it has these values: steps, priors with their sources, scenarios, models."""
    from ...core.domain import find_domain
    from ...core.errors import unknown
    from ...core.explain import explain_stored
    from ...core.inputs import extend
    from ...core.source import domain_of
    from ...core.spec import parse_settings

    if format_ not in ("text", "json"):
        raise unknown("format", format_, ("text", "json"), "--format")
    wide, inputs = extend(find_domain(domain_of(place)), inputs_of(flags))
    found = explain_stored(wide, place, table, key, parse_settings(models, "--model"), inputs)
    click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if format_ == "json" else found.text())
