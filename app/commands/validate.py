"""`populace validate`."""

from __future__ import annotations

import json
from typing import Any

import click

from .request import inputs_of, takes_inputs


@click.command(
    epilog="""\b
Examples:
  populace validate finance populace-out/finance
  populace validate iot duckdb:///staging.duckdb --format json
  populace validate finance postgresql://user@host/staging"""
)
@click.argument("domain")
@click.argument("place", metavar="PATH-OR-URL")
@takes_inputs
@click.option("--format", "format_", default="text", metavar="text|json", help="How to print.  [default: text]")
def validate(domain: str, place: str, format_: str, **flags: Any) -> int:
    """Check a dataset. Exit 0: valid; 1: violations, listed; 2: it could not look."""
    from ...core.address import redact
    from ...core.domain import find_domain
    from ...core.errors import unknown
    from ...core.inputs import extend
    from ...core.validate import validate as judge

    if format_ not in ("text", "json"):
        raise unknown("format", format_, ("text", "json"), "--format")
    verdict = judge(extend(find_domain(domain), inputs_of(flags))[0], place)
    listed = verdict.listed()
    if format_ == "json":
        click.echo(
            json.dumps(
                {
                    "valid": verdict.valid,
                    "checks": verdict.checks,
                    "rows": dict(verdict.rows),
                    "violations": listed,
                    "declared": verdict.declared.height,
                    "notes": verdict.notes,
                },
                indent=2,
            )
        )
    else:
        for note in verdict.notes:
            click.echo(f"note: {note}")
        for entry in listed:
            keys = ", ".join(str(k) for k in entry["examples"])
            click.echo(f"{entry['check']}: {entry['rows']} row(s) of {entry['table']}: {entry['detail']} (keys {keys})")
        rows = f"{sum(verdict.rows.values()):,} rows in {len(verdict.rows)} tables, " if verdict.rows else ""
        declared = f"; {verdict.declared.height} declared by scenarios" if verdict.declared.height else ""
        click.echo(f"{redact(place)}: {rows}{verdict.checks} checks, {verdict.found.height} violations{declared}")
    return 0 if verdict.valid else 1
