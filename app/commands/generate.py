"""`populace generate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from .request import spec_of, takes_spec, workers_of


@click.command(
    epilog="""\b
Examples:
  populace generate finance
  populace generate healthcare --size 2000 --seed 7 --to fhir+ndjson:out/fhir --to out/tables
  populace generate iot --scenario stuck-at:count=3 --scenario gateway-outage --to duckdb:///staging.duckdb
  populace generate finance --size 2000 --to postgresql://user@host/staging --mode append
  populace generate healthcare --to fhir+https://fhir.example/r4 --resume
  populace generate finance --to sqlite:///shop.db --map shop.sql
  populace generate finance --scenario fraud --balance label=0.1
  populace generate healthcare --from imported --size 2000 --scenario duplicate-registration
  populace generate healthcare --engine synthea --jar synthea-with-dependencies.jar --size 100 --to fhir+ndjson:out
  populace generate finance --set purchase.void=0.01 --dry-run"""
)
@takes_spec
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Folder or URL, with an optional view before it.  [default: populace-out/DOMAIN]",
)
@click.option("--format", "format_", metavar="F", help="parquet, csv, ndjson or json.  [default: parquet]")
@click.option(
    "--mode",
    metavar="M",
    help="For databases: create; append what a larger size adds; replace what populace made.  [default: create]",
)
@click.option(
    "--map", "mapping", metavar="FILE.sql", help="Fill a database's own tables, by views over ours (see populace map)."
)
@click.option(
    "--engine", metavar="E", help="healthcare: populace, or synthea (needs Java and --jar).  [default: populace]"
)
@click.option("--jar", metavar="PATH", help="Synthea's jar, which you have.")
@click.option(
    "--synthea",
    "further",
    multiple=True,
    metavar="OPTION",
    help="What to hand to Synthea too, such as Texas or --exporter.years_of_history=5.",
)
@click.option("--workers", type=int, metavar="N", help="Processes.  [default: one for each core]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def generate(
    targets: tuple[str, ...],
    format_: str | None,
    mode: str | None,
    mapping: str | None,
    engine: str | None,
    jar: str | None,
    further: tuple[str, ...],
    workers: int | None,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Generate a domain's tables, with scenarios, into files, databases or documents."""
    from tempfile import TemporaryDirectory

    from ...core.errors import UserError, unknown

    if engine not in (None, "populace", "synthea"):
        raise unknown("engine", engine, ("populace", "synthea"), "--engine")
    if engine != "synthea":
        if jar or further:
            raise UserError("--jar and --synthea go with --engine synthea")
        _generate(targets, format_, mode, mapping, workers, resume, dry_run, quiet, flags)
        return
    if jar is None:
        raise UserError("--engine synthea: give the jar that you have with --jar PATH")
    with TemporaryDirectory(prefix="populace-synthea-") as work:
        flags = _by_synthea(flags, jar, further, work, dry_run, quiet)
        if not dry_run:
            _generate(targets, format_, mode, mapping, workers, resume, dry_run, quiet, flags)


def _by_synthea(
    flags: dict[str, Any], jar: str, further: tuple[str, ...], work: str, dry_run: bool, quiet: bool
) -> dict[str, Any]:
    """Let Synthea make the records; the flags with which ours are made of them."""
    from pathlib import Path

    from ...core.domain import find_domain
    from ...domains.healthcare.imports.synthea import command, run_synthea

    spec, _ = spec_of(flags)
    domain = find_domain(spec.domain)
    if domain.imports is None:
        raise click.UsageError(f"--engine synthea makes patients; {spec.domain} has none")
    modules, only = spec.inputs.get("modules"), spec.inputs.get("module", ())
    output, made = Path(work) / "output", Path(work) / "records"
    size = domain.size if spec.size is None else spec.size
    words = command(jar, output, size, spec.seed, spec.end, modules, only, further)
    if dry_run:
        click.echo(json.dumps({"engine": "synthea", "command": words}, indent=2))
        return flags
    found = run_synthea(domain, words, output, made)
    if not quiet:
        click.echo(f"synthea: {sum(found.read.values()):,} resources of {found.tables['patient'].height:,} patients")
        for (kind, why), number in sorted(found.left_out.items()):
            click.echo(f"  {kind:<26}{number:>12,} {why}")
    return {**flags, "size": None, "start": None, "end": None, "modules": None, "module": (), "from": str(made)}


def _generate(
    targets: tuple[str, ...],
    format_: str | None,
    mode: str | None,
    mapping: str | None,
    workers: int | None,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    flags: dict[str, Any],
) -> None:
    from ...core.address import redact
    from ...core.errors import UserError
    from ...core.plan import make_plan
    from ...core.run import run
    from ...core.sinks import Sink, for_targets, open_targets
    from ...core.sinks.mapped import mapped_sinks

    spec, written = spec_of(flags)
    plan = make_plan(spec)
    form = format_ or written.get("format", "parquet")
    places = list(targets) or written.get("to") or [f"populace-out/{spec.domain}"]
    processes = workers_of(workers, written)
    sinks: Sequence[Sink]
    if mapping:
        if plan.domain.part_of:
            raise UserError("--map takes all tables: leave --only out")
        if format_:
            raise UserError("--map fills tables that stand already: --format has no meaning with it")
        sinks = mapped_sinks(places, plan.domain, mapping, mode or "create")
    else:
        plan = for_targets(plan, places)
        sinks = open_targets(places, plan.domain, form, plan.breaks, mode or "create")
    if dry_run:
        click.echo(json.dumps({**plan.describe(), "to": [redact(p) for p in places], "format": form}, indent=2))
        return
    outcome = run(plan, sinks, workers=processes, resume=resume, quiet=quiet)
    if not quiet:
        _summarise(outcome)


def _summarise(outcome: Any) -> None:
    from ...core.labels import GONE, SHARED, UNSEEN

    body = outcome.manifest["populace"]
    if outcome.resumed:
        click.echo(f"resumed: {outcome.resumed} of {body['spec']['blocks']} blocks were there already")
    for name, entry in body["tables"].items():
        click.echo(f"  {name:<22}{entry['rows']:>14,} rows  {entry['digest']}")
    for entry in body["scenarios"]:
        scenario, asked = f"scenario {entry['name']}:", entry["instances"]
        click.echo(f"  {scenario} {asked} instance(s), {entry['labelled_rows']:,} rows labelled")
        if left := asked - entry["labelled_instances"]:
            why = "left no label: their rows are in other tables" if body["spec"].get("only") else GONE
            click.echo(f"{scenario} {left} of {asked} instance(s) {why}", err=True)
        if entry["shared_rows"]:
            click.echo(f"{scenario} {entry['shared_rows']:,} {SHARED}", err=True)
        for table, count in entry.get("truth", {}).items():
            if count["unseen"]:
                click.echo(f"{scenario} {count['unseen']} of {count['rows']} {table} row(s) {UNSEEN}", err=True)
    if told := body.get("balance"):
        click.echo(
            f"balance: {told['share']:.4g} of {told['table']} rows labelled ({told['asked']:g} asked for), {told['natural']:.6f}"
            f" without --balance; a weight of {told['weight']:.6f} on each labelled row undoes it"
        )
    for place in outcome.written:
        click.echo(f"written: {place}")
