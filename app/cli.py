"""The command line. Thin: it reads flags into a spec, calls the core, and prints what was written and where."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..core.errors import InvalidData, UserError

EPILOG = {
    "generate": """\b
Examples:
  populace generate finance
  populace generate healthcare --size 2000 --seed 7 --to fhir+ndjson:out/fhir --to out/tables
  populace generate iot --scenario stuck-at:count=3 --scenario gateway-outage --to duckdb:///staging.duckdb
  populace generate finance --set fraud.rate=0.002 --dry-run""",
    "validate": """\b
Examples:
  populace validate finance populace-out/finance
  populace validate iot duckdb:///staging.duckdb --format json""",
    "scenarios": """\b
Examples:
  populace scenarios
  populace scenarios finance mule-ring""",
    "schema": """\b
Examples:
  populace schema healthcare
  populace schema finance --as sql > finance.sql""",
    "fit": """\b
Examples:
  populace fit customers.csv
  populace fit customers.csv --time 10s --out customers.model
  populace fit readings.parquet --model empirical --seed 3""",
    "sample": """\b
Examples:
  populace sample customers.model -n 1000 --seed 2
  populace sample customers.model -n 500 --where sex=F --where age=18..30 --to twin/
  populace sample customers.model -n 500 --balance churned=yes:0.5
  populace sample customers.model --given sketch.csv""",
    "models": """\b
Examples:
  populace models""",
    "evaluate": """\b
Examples:
  populace evaluate real.csv twin.parquet
  populace evaluate train.csv twin.csv --holdout held.csv --target income --sensitive sex,race --report report.html
  populace evaluate real.csv twin.csv --only fidelity --require "fidelity.quality>=0.95" """,
    "modules": """\b
Examples:
  populace modules check my-modules/
  populace modules draw hypertension --modules my-modules/ --to hypertension.svg""",
    "check": """\b
Examples:
  populace modules check my-modules/""",
    "draw": """\b
Examples:
  populace modules draw hypertension --modules my-modules/
  populace modules draw medications/statin --modules my-modules/ --to statin.svg""",
    "demo": """\b
Examples:
  populace demo
  populace demo --real data/credit_default/train.csv.gz --to demo-out""",
}


class _ReaderGone(Exception):
    """Nobody reads standard output any more, as after `| head`. Not an OSError, for which click would exit with 1: "there are violations"."""


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from ..core.errors import unknown

        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="populace")
def cli() -> None:
    """Synthetic healthcare, finance and IoT data: sourced priors, labelled scenarios, one seed that reproduces everything."""


@cli.command(epilog=EPILOG["generate"])
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
@click.option("--spec", "spec_file", metavar="FILE.toml", help="Read settings from a file; flags win over it.")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Folder or URL, with an optional view before it.  [default: populace-out/DOMAIN]",
)
@click.option("--format", "format_", metavar="F", help="parquet, csv or ndjson.  [default: parquet]")
@click.option("--workers", type=int, metavar="N", help="Processes.  [default: one for each core]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def generate(domain: str | None, spec_file: str | None, dry_run: bool, resume: bool, quiet: bool, **flags: Any) -> None:
    """Generate a domain's tables, with scenarios, into files, databases or documents."""
    from ..core.plan import make_plan
    from ..core.run import run
    from ..core.scenario import parse_request
    from ..core.sinks import open_targets
    from ..core.spec import Spec, parse_settings, read_spec_file

    written = read_spec_file(spec_file) if spec_file else {}
    if domain and written.get("domain", domain) != domain:
        raise UserError(f"--spec {spec_file} is for '{written['domain']}', the command says '{domain}'")
    name = domain or written.get("domain")
    if name is None:
        from ..core.domain import domain_names

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
    )
    plan = make_plan(spec)
    format_ = chosen("format_", "parquet", "format")
    targets = list(flags["targets"]) or written.get("to") or [f"populace-out/{name}"]
    workers = chosen("workers") or _cores()
    if workers < 1:
        raise UserError(f"--workers is {workers}, expected at least 1")
    sinks = open_targets(targets, plan.domain, format_, plan.breaks)
    if dry_run:
        click.echo(json.dumps({**plan.describe(), "to": targets, "format": format_}, indent=2))
        return
    outcome = run(plan, sinks, workers=workers, resume=resume, quiet=quiet)
    if not quiet:
        _summarise(outcome)


@cli.command(epilog=EPILOG["validate"])
@click.argument("domain")
@click.argument("place", metavar="PATH-OR-URL")
@click.option("--format", "format_", default="text", metavar="text|json", help="How to print.  [default: text]")
def validate(domain: str, place: str, format_: str) -> int:
    """Check a dataset. Exit 0: valid; 1: violations, listed; 2: it could not look."""
    from ..core.domain import find_domain
    from ..core.errors import unknown
    from ..core.validate import validate as judge

    if format_ not in ("text", "json"):
        raise unknown("format", format_, ("text", "json"), "--format")
    verdict = judge(find_domain(domain), place)
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
        click.echo(f"{place}: {rows}{verdict.checks} checks, {verdict.found.height} violations{declared}")
    return 0 if verdict.valid else 1


@cli.command(epilog=EPILOG["scenarios"])
@click.argument("domain", required=False)
@click.argument("name", required=False)
def scenarios(domain: str | None, name: str | None) -> None:
    """List the scenarios: what each does, its parameters, its source."""
    from ..core.domain import domain_names, find_domain
    from ..core.errors import unknown

    if name is None:
        for each in [domain] if domain else domain_names():
            click.echo(each)
            for scenario in find_domain(each).scenarios.values():
                click.echo(f"  {scenario.name:<26}{scenario.title}")
        return
    known = find_domain(domain or "").scenarios
    if name not in known:
        raise unknown("scenario", name, known)
    scenario = known[name]
    click.echo(f"{scenario.name}: {scenario.title}\n\n{scenario.doc}\n\nsource: {scenario.source}\nroles:")
    for role in scenario.roles:
        click.echo(f"  {role.name}: {role.size} {role.table}(s) where {role.where}")
    click.echo("parameters:")
    for p in scenario.parameters.values():
        limits = f" ({p.min} to {p.max})" if p.min is not None or p.max is not None else ""
        limits = f" ({', '.join(map(str, p.choices))})" if p.choices else limits
        click.echo(f"  {p.name}={p.default}{limits}: {p.doc}")
    click.echo(f"  count={scenario.count}: instances; or rate=: instances per root entity")
    click.echo(f"breaks: {', '.join(scenario.breaks) or 'nothing'}")
    if scenario.may_break:
        click.echo(f"may break: {', '.join(scenario.may_break)}")
    for expect in scenario.expect:
        click.echo(f"expects of each labelled {expect.table}: {expect.sql}")


@cli.command(epilog=EPILOG["schema"])
@click.argument("domain")
@click.option(
    "--as", "as_", default="markdown", metavar="FORM", help="markdown, sql, json-schema or arrow.  [default: markdown]"
)
def schema(domain: str, as_: str) -> None:
    """Print a domain's schema: tables, columns, types, constraints."""
    from ..core.domain import find_domain
    from ..core.errors import unknown
    from ..core.schema_text import FORMS

    if as_ not in FORMS:
        raise unknown("form", as_, FORMS, "--as")
    click.echo(FORMS[as_](find_domain(domain).schema))


@cli.command(epilog=EPILOG["models"])
def models() -> None:
    """List the models that can be fitted: family, data, privacy, source."""
    from ..core.model_kinds import MODELS

    for kind in MODELS.values():
        private = "differentially private" if kind.private else "not differentially private"
        click.echo(f"{kind.name:<18}{kind.family}; {kind.shape}; {private}\n{'':<18}{kind.doc}\n{'':<18}{kind.paper}")
    click.echo(f"{'auto':<18}the default: picks one of these by the table's shape and --time, and says why")


@cli.command(epilog=EPILOG["fit"])
@click.argument("table")
@click.option(
    "--model", default="auto", metavar="NAME", help="What to fit; `populace models` lists them.  [default: auto]"
)
@click.option("--time", "time_", metavar="60s", help="For auto: about how many CPU-seconds fitting may take.")
@click.option("--out", metavar="MODEL", help="The model file.  [default: TABLE's name with .model]")
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same model.  [default: 0]")
def fit(table: str, model: str, time_: str | None, out: str | None, seed: int) -> None:
    """Learn a model of a CSV or Parquet table."""
    from ..core.choose_model import parse_seconds
    from ..core.files import check_place
    from ..core.models import fit as learn
    from ..core.models import save_model

    path = Path(out) if out else Path(Path(table).name.split(".")[0] + ".model")
    if path.exists():
        raise UserError(f"--out {path} exists already; nothing is overwritten")
    check_place(path, "model")
    seconds = None if time_ is None else parse_seconds(time_, "--time")
    fitted = learn(Path(table), model=model, seed=seed, seconds=seconds)
    save_model(fitted, path)
    if why := fitted.card.get("why"):
        click.echo(f"auto: {fitted.name}. {why}")
    click.echo(f"{fitted.name} of {len(fitted.sampler.columns)} columns written to {path}")


@cli.command(epilog=EPILOG["sample"])
@click.argument("model")
@click.option("-n", "rows", type=int, metavar="N", help="Rows.  [with --given: as many as it has]")
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same rows.  [default: 0]")
@click.option(
    "--where",
    "where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Condition on a value, a set A|B or a range LOW..HIGH; met exactly.",
)
@click.option(
    "--balance", multiple=True, metavar="COLUMN=VALUE:SHARE", help="Give a value exactly this share of the rows."
)
@click.option("--given", metavar="TABLE", help="A CSV or Parquet table of some columns: each row is completed.")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="A folder or a database.  [default: CSV on standard output]",
)
@click.option(
    "--format",
    "format_",
    default="parquet",
    metavar="F",
    help="parquet, csv or ndjson, for a folder.  [default: parquet]",
)
def sample(
    model: str,
    rows: int | None,
    seed: int,
    where: tuple[str, ...],
    balance: tuple[str, ...],
    given: str | None,
    targets: tuple[str, ...],
    format_: str,
) -> None:
    """Draw rows from a fitted model."""
    from ..core.conditions import parse_balance
    from ..core.manifest import sample_manifest
    from ..core.models import load_model
    from ..core.sinks.folder import as_text
    from ..core.sinks.table import NAME, write_table
    from ..core.spec import parse_settings
    from ..core.user_table import read_table

    if rows is None and given is None:
        raise UserError("how many rows? Say -n N, or --given TABLE to complete its rows")
    fitted, told, shares = load_model(Path(model)), parse_settings(where, "--where"), parse_balance(balance)
    table = None if given is None else read_table(Path(given))
    frame = fitted.sample_frame(rows, seed=seed, where=told, balance=shares, given=table)
    if not targets:
        click.echo(as_text(frame).write_csv(), nl=False)
    asked = {"rows": frame.height, "seed": seed, "where": told, "balance": shares, "given": given and Path(given).name}
    for target in targets:
        place = write_table(frame, target, lambda form: sample_manifest(frame, NAME, asked, fitted.card, form), format_)
        click.echo(f"{frame.height:,} rows written to {place}")


@cli.command(epilog=EPILOG["evaluate"])
@click.argument("real")
@click.argument("synth")
@click.option("--holdout", metavar="REAL2", help="Real rows that no model learnt from: most privacy figures need them.")
@click.option("--target", metavar="C", help="A column to foretell: measures usefulness.")
@click.option(
    "--sensitive", default="", metavar="C,...", help="Columns whose disclosure or unequal treatment would harm."
)
@click.option("--only", multiple=True, metavar="PART", help="diagnostics, fidelity, utility, privacy or fairness.")
@click.option("--report", metavar="FILE", help="Write a page to look at.")
@click.option("--json", "json_", metavar="FILE", help="Write the figures for machines.")
@click.option("--baseline", metavar="FILE", help="An earlier --json: what got better, what worse.")
@click.option("--require", default="", metavar="FIGURE>=X,...", help="Exit with 1 unless all hold.")
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same figures.  [default: 0]")
def evaluate(
    real: str,
    synth: str,
    holdout: str | None,
    target: str | None,
    sensitive: str,
    only: tuple[str, ...],
    report: str | None,
    json_: str | None,
    baseline: str | None,
    require: str,
    seed: int,
) -> int:
    """Say how faithful, useful, private and fair a synthetic table is beside the real one."""
    from ..core.evaluate import evaluate as measure
    from ..core.evaluate import parse_requirements, read_baseline
    from ..core.files import check_place, write_whole
    from .report import figures_text, render_report

    for place, what in ((json_, "figures"), (report, "report")):
        if place:
            check_place(place, what)

    needed, before = parse_requirements(require), read_baseline(baseline) if baseline else None
    columns = [c.strip() for c in sensitive.split(",") if c.strip()]
    found = measure(real, synth, holdout, target, columns, only, seed)
    click.echo(figures_text(found, before))
    click.echo(f"\n{found.summary()}")
    if json_:
        click.echo(f"written: {write_whole(json_, found.to_json().encode(), 'figures')}")
    if report:
        html = render_report(found, Path(real).name, Path(synth).name, before)
        click.echo(f"written: {write_whole(report, html.encode(), 'report')}")
    verdict = found.judge(needed)
    for requirement in (*verdict.failed, *verdict.open):
        value = found.values().get(requirement.metric)
        said = "was not measured" if value is None or value != value else f"is {value:.4f}"
        click.echo(f"not met: {requirement}: {requirement.metric} {said}", err=True)
    return 1 if verdict.failed or verdict.open else 0


@cli.group(cls=_Group, epilog=EPILOG["modules"])
def modules() -> None:
    """Disease modules in the Generic Module Framework's JSON: check and draw them."""


@modules.command(epilog=EPILOG["check"])
@click.argument("folder", metavar="DIR")
def check(folder: str) -> int:
    """Say what is wrong with the modules of a folder, with file, line and state. Exit 0: nothing; 1: problems, listed."""
    from ..domains.healthcare.modules.library import check_library

    library, problems = check_library(Path(folder))
    for problem in problems:
        click.echo(str(problem))
    states = sum(len(m.states) for m in library.every())
    click.echo(
        f"{folder}: {len(library.modules)} modules, {len(library.submodules)} submodules, {len(library.lookups)} lookup tables, "
        f"{states:,} states, {len(problems)} problems"
    )
    return 1 if problems else 0


@modules.command(epilog=EPILOG["draw"])
@click.argument("name")
@click.option("--modules", "folder", required=True, metavar="DIR", help="The folder that holds the module.")
@click.option("--to", "target", metavar="FILE.svg", help="[default: standard output]")
def draw(name: str, folder: str, target: str | None) -> None:
    """The state chart of a module or submodule, as SVG."""
    from ..core.errors import unknown
    from ..core.files import write_whole
    from ..domains.healthcare.modules.draw import draw as chart
    from ..domains.healthcare.modules.library import read_library

    known = {m.path: m for m in read_library(Path(folder)).every()}
    if name not in known:
        raise unknown("module", name, known, f"--modules {folder}")
    if target is None:
        click.echo(chart(known[name]), nl=False)
        return
    if Path(target).exists():
        raise UserError(f"--to {target} exists already; nothing is overwritten")
    write_whole(target, chart(known[name]).encode(), "chart")
    click.echo(f"written: {target}")


@cli.command(epilog=EPILOG["demo"])
@click.option(
    "--real",
    metavar="PATH",
    help="A real table (credit_default's columns): customers' credit columns are then drawn by a model fitted to it.",
)
@click.option("--to", "folder", default="populace-out/demo", metavar="FOLDER", help="[default: populace-out/demo]")
def demo(real: str | None, folder: str) -> None:
    """The main job from end to end: all three domains, a staging database, a fitted model, validation, and a page to look at."""
    from .demo import run_demo

    run_demo(Path(folder), Path(real) if real else None, _cores(), click.echo)


def main() -> None:
    """Run the command line: user errors on one line with exit code 2, invalid data with 1, an interruption with 130."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what a user did wrong is told on standard error."""
    try:
        return cli(list(arguments), standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort:
        return _say("interrupted; --resume goes on from here", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except UserError as error:
        return _say(str(error), 2)
    except InvalidData as error:
        return _say(str(error), 1)
    except _ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # what no part of the program could foresee: standard output on a full disk, a working folder that is gone
        return _say(f"the system refuses: {error}", 2)


def _say(message: str, code: int) -> int:
    click.echo(f"populace: {message}", err=True)
    return code


def _cores() -> int:
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


if __name__ == "__main__":
    main()
