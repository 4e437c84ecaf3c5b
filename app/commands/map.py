"""`populace map`."""

from __future__ import annotations

import click


@click.command(
    "map",
    epilog="""\b
Examples:
  populace map sqlite:///shop.db finance --out shop.sql
  populace map postgresql://user@host/staging healthcare > staging.sql""",
)
@click.argument("url")
@click.argument("domain")
@click.option("--out", metavar="FILE.sql", help="Where to write the mapping.  [default: standard output]")
def map_(url: str, domain: str, out: str | None) -> None:
    """Draft how a domain's tables fill those that a database has already: views to be read, changed, and given to generate --map."""
    from pathlib import Path

    from ...core.domain import find_domain
    from ...core.errors import UserError
    from ...core.files import write_atomic
    from ...core.mapping.draft import draft
    from ...core.mapping.target import reflect

    chosen = find_domain(domain)
    if out and Path(out).exists():
        raise UserError(f"--out {out} exists already; nothing is overwritten")
    text = draft(reflect(url), chosen)
    if out is None:
        click.echo(text)
        return
    write_atomic(Path(out), text.encode())
    click.echo(f"written: {out}")
