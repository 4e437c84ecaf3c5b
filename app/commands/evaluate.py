"""`populace evaluate`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  populace evaluate real.csv twin.parquet
  populace evaluate train.csv twin.csv --holdout held.csv --target income --sensitive sex,race --report report.html
  populace evaluate real.csv twin.csv --only fidelity --require "fidelity.quality>=0.95"
  populace evaluate train.csv twin.csv --holdout held.csv --model twin.model --only privacy
  populace evaluate bank/ twin/ --relation loan.account=account.id --target loan.status
  populace evaluate sensors.csv twin.csv --time-column at --entity device
  populace evaluate out/healthcare --report realism.html
  populace evaluate sqlite:///shop.db sqlite:///twin.db --holdout sqlite:///held.db """
)
@click.argument("real")
@click.argument("synth", required=False)
@click.option("--holdout", metavar="REAL2", help="Real rows that no model learnt from: most privacy figures need them.")
@click.option("--target", metavar="C", help="A column to foretell: measures usefulness.")
@click.option(
    "--sensitive", default="", metavar="C,...", help="Columns whose disclosure or unequal treatment would harm."
)
@click.option("--time-column", "time", metavar="C", help="Rows are series in the order of this column.")
@click.option("--entity", metavar="C", help="Whose each row of a series is.")
@click.option(
    "--only", multiple=True, metavar="PART", help="diagnostics, fidelity, utility, privacy, fairness, realism."
)
@click.option("--report", metavar="FILE", help="Write a page to look at.")
@click.option("--json", "json_", metavar="FILE", help="Write the figures for machines.")
@click.option("--baseline", metavar="FILE", help="An earlier --json: what got better, what worse.")
@click.option("--require", default="", metavar="FIGURE>=X,...", help="Exit with 1 unless all hold.")
@click.option("--relation", multiple=True, metavar="A.C=B.K", help="What refers to what, where names do not tell.")
@click.option("--domain", metavar="DOMAIN", help="The domain whose schema SYNTH is in, where no manifest says so.")
@click.option("--model", metavar="FILE", help="The model that drew SYNTH: its like is fitted again to attack it.")
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same figures.  [default: 0]")
def evaluate(
    real: str,
    synth: str | None,
    holdout: str | None,
    target: str | None,
    sensitive: str,
    time: str | None,
    entity: str | None,
    only: tuple[str, ...],
    report: str | None,
    json_: str | None,
    baseline: str | None,
    require: str,
    relation: tuple[str, ...],
    domain: str | None,
    model: str | None,
    seed: int,
) -> int:
    """Say how faithful, useful, private and fair synthetic data are beside the real data.

    REAL and SYNTH are two files (CSV, Parquet), two folders of such files, or two databases. Columns of several tables are called TABLE.COLUMN.
    A dataset of populace's own is also held against its domain's rules and published figures: alone, as REAL, against nothing else."""
    from ...core.evaluate import evaluate as measure
    from ...core.evaluate import parse_requirements, read_baseline
    from ...core.files import check_place, write_whole
    from ..report import figures_text, render_report

    for place, what in ((json_, "figures"), (report, "report")):
        if place:
            check_place(place, what)

    needed, before = parse_requirements(require), read_baseline(baseline) if baseline else None
    columns = [c.strip() for c in sensitive.split(",") if c.strip()]
    found = measure(real, synth, holdout, target, columns, only, seed, relation, domain, time, entity, model)
    click.echo(figures_text(found, before))
    click.echo(f"\n{found.summary()}")
    if json_:
        click.echo(f"written: {write_whole(json_, found.to_json().encode(), 'figures')}")
    if report:
        html = render_report(found, _name(real) if synth else None, _name(synth or real), before)
        click.echo(f"written: {write_whole(report, html.encode(), 'report')}")
    verdict = found.judge(needed)
    for requirement in (*verdict.failed, *verdict.open):
        value = found.values().get(requirement.metric)
        said = "was not measured" if value is None or value != value else f"is {value:.4f}"
        click.echo(f"not met: {requirement}: {requirement.metric} {said}", err=True)
    return 1 if verdict.failed or verdict.open else 0


def _name(place: str) -> str:
    """What a file, folder or database is called, without the way there and without a password."""
    from ...core.address import redact

    return Path(redact(place)).name
