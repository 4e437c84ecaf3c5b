"""`populace import`."""

from __future__ import annotations

import json

import click


@click.command(
    name="import",
    epilog="""\b
Examples:
  populace import healthcare synthea/output/fhir --to imported
  populace import healthcare export.ndjson --to duckdb:///records.duckdb
  populace import healthcare https://fhir.example/r4 --to imported --to omop:imported-omop
  populace validate healthcare imported""",
)
@click.argument("domain")
@click.argument("place", metavar="DIR-OR-URL")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Folder or URL, with an optional view before it.  [default: populace-out/DOMAIN-imported]",
)
@click.option("--format", "format_", default="parquet", metavar="F", help="parquet, csv or ndjson.  [default: parquet]")
@click.option("--mode", default="create", metavar="M", help="For databases: create or replace.  [default: create]")
@click.option("--report", metavar="FILE.json", help="Write there what was read and what had no place.")
@click.option("--strict", is_flag=True, help="Exit with 1 where anything had no place.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def import_(
    domain: str,
    place: str,
    targets: tuple[str, ...],
    format_: str,
    mode: str,
    report: str | None,
    strict: bool,
    quiet: bool,
) -> int:
    """Read records of others (FHIR R4: bundles, NDJSON, a server) into a domain's tables. What has no place is counted and told."""
    from ...core.address import redact
    from ...core.domain import find_domain
    from ...core.errors import UserError
    from ...core.files import check_place, write_whole
    from ...core.imports import write_imported

    found_domain = find_domain(domain)
    if found_domain.imports is None:
        raise UserError(f"{domain} does not import records; healthcare does")
    if report:
        check_place(report, "--report")
    found = found_domain.imports(found_domain, place)
    written, bad = write_imported(found, targets or (f"populace-out/{domain}-imported",), format_, mode)
    rows = {name: table.height for name, table in found.tables.items()}
    left = [{"type": t, "why": w, "number": n} for (t, w), n in sorted(found.left_out.items())]
    if report:
        told = {"read": dict(found.read), "rows": rows, "left_out": left, "violations": bad.height}
        write_whole(report, json.dumps(told, indent=2).encode(), "report")
    if not quiet:
        click.echo(f"{redact(place)}: {sum(found.read.values()):,} resources, {found.start} to {found.end}")
        for kind, number in sorted(found.read.items()):
            click.echo(f"  {kind:<26}{number:>12,} read")
        for entry in left:
            click.echo(f"  {entry['type']:<26}{entry['number']:>12,} {entry['why']}")
        for name, number in rows.items():
            click.echo(f"  {name:<26}{number:>12,} rows")
        if bad.height:
            click.echo(f"  {bad.height:,} violations: populace validate {domain} lists them")
        for target in written:
            click.echo(f"written: {target}")
    return 1 if strict and left else 0
