"""`populace unseed`."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  populace unseed postgresql://user@host/staging
  populace unseed duckdb:///staging.duckdb"""
)
@click.argument("url")
def unseed(url: str) -> None:
    """Remove what populace made in a database, and only that."""
    from ...core.address import redact
    from ...core.sinks.database import unseed as remove

    removed = remove(url)
    for name, rows in removed.items():
        click.echo(f"  {name:<22}{rows:>14,} rows")
    click.echo(f"removed: {len(removed)} tables from {redact(url)}")
