"""`populace generate`."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from ...core.errors import UserError
from .inputs import inputs_of, takes_inputs


@click.command(
    epilog="""\b
Examples:
  populace generate finance
  populace generate healthcare --size 2000 --seed 7 --to fhir+ndjson:out/fhir --to out/tables
  populace generate iot --scenario stuck-at:count=3 --scenario gateway-outage --to duckdb:///staging.duckdb
  populace generate finance --size 2000 --to postgresql://user@host/staging --mode append
  populace generate finance --set fraud.rate=0.002 --dry-run"""
)
@click.argument("domain", required=False)
@click.option("--size", type=int, metavar="N", help="Root entities: patients, customers or devices.")
@click.option("--seed", type=int, metavar="S", help="Same seed, same bytes.  [default: 0]")
@click.option("--start", metavar="DATE", help="First day of the time window.")
@click.option("--end", metavar="DATE", help="The day after the last.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="Cast a scenario; count= or rate= says how many.",
)
@click.option("--set", "settings", multiple=True, metavar="PRIOR=VALUE", help="Override a prior.")
@click.option(
    "--model", "models", multiple=True, metavar="SLOT=MODEL", help="Let a fitted model draw the columns of a slot."
)
@takes_inputs
@click.option("--spec", "spec_file", metavar="FILE.toml", help="Read settings from a file; flags win over it.")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Folder or URL, with an optional view before it.  [default: populace-out/DOMAIN]",
)
@click.option("--format", "format_", metavar="F", help="parquet, csv or ndjson.  [default: parquet]")
@click.option(
    "--mode",
    metavar="M",
    help="For databases: create; append what a larger size adds; replace what populace made.  [default: create]",
)
@click.option("--workers", type=int, metavar="N", help="Processes.  [default: one for each core]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def generate(domain: str | None, spec_file: str | None, dry_run: bool, resume: bool, quiet: bool, **flags: Any) -> None:
    """Generate a domain's tables, with scenarios, into files, databases or documents."""
    from ...core.plan import make_plan
    from ...core.run import run
    from ...core.scenario import parse_request
    from ...core.sinks import open_targets
    from ...core.sinks.address import redact
    from ...core.spec import Spec, parse_settings, read_spec_file

    written = read_spec_file(spec_file) if spec_file else {}
    if domain and written.get("domain", domain) != domain:
        raise UserError(f"--spec {spec_file} is for '{written['domain']}', the command says '{domain}'")
    name = domain or written.get("domain")
    if name is None:
        from ...core.domain import domain_names

        raise UserError(f"which domain? One of: {', '.join(domain_names())}")

    def chosen(flag: str, default: Any = None, key: str | None = None) -> Any:
        return flags[flag] if flags[flag] is not None else written.get(key or flag, default)

    spec = Spec(
        name,
        chosen("size"),
        chosen("seed", 0),
        chosen("start"),
        chosen("end"),
        tuple(written.get("scenario", ())) + tuple(parse_request(s) for s in flags["scenarios"]),
        {**written.get("set", {}), **parse_settings(flags["settings"])},
        {**written.get("models", {}), **parse_settings(flags["models"], "--model")},
        {**written.get("inputs", {}), **inputs_of(flags)},
    )
    plan = make_plan(spec)
    format_ = chosen("format_", "parquet", "format")
    targets = list(flags["targets"]) or written.get("to") or [f"populace-out/{name}"]
    workers = chosen("workers") or cores()
    if workers < 1:
        raise UserError(f"--workers is {workers}, expected at least 1")
    sinks = open_targets(targets, plan.domain, format_, plan.breaks, chosen("mode", "create"))
    if dry_run:
        click.echo(json.dumps({**plan.describe(), "to": [redact(t) for t in targets], "format": format_}, indent=2))
        return
    outcome = run(plan, sinks, workers=workers, resume=resume, quiet=quiet)
    if not quiet:
        _summarise(outcome)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _summarise(outcome: Any) -> None:
    body = outcome.manifest["populace"]
    if outcome.resumed:
        click.echo(f"resumed: {outcome.resumed} of {body['spec']['blocks']} blocks were there already")
    for name, entry in body["tables"].items():
        click.echo(f"  {name:<22}{entry['rows']:>14,} rows  {entry['digest']}")
    for entry in body["scenarios"]:
        click.echo(
            f"  scenario {entry['name']}: {entry['instances']} instance(s), {entry['labelled_rows']:,} rows labelled"
        )
    for place in outcome.written:
        click.echo(f"written: {place}")
