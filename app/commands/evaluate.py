"""`populace evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ...core.evaluate import Evaluation


@click.command(
    epilog="""\b
Examples:
  populace evaluate real.csv twin.parquet
  populace evaluate train.csv twin.csv --holdout held.csv --target income --sensitive sex,race --report report.html
  populace evaluate real.csv twin.csv --only fidelity --require "fidelity.quality>=0.95"
  populace evaluate train.csv twin.csv --holdout held.csv --model twin.model --only privacy --cards
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
@click.option(
    "--cards",
    is_flag=True,
    help="Write a datasheet beside the manifest (or file), and with --model a model card beside it.",
)
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
    cards: bool,
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
    if cards:
        for place, text in _cards(found, synth or real, model):
            click.echo(f"written: {write_whole(place, text.encode(), 'card')}")
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


def _cards(found: Evaluation, data: str, model: str | None) -> list[tuple[Path, str]]:
    """Where the cards go, and their text: beside the manifest of a folder, beside a file; of a server's data in the current folder."""
    from ...core.evaluate.cards import datasheet, model_card
    from ...core.models import load_model
    from ...core.sinks.stage import read_manifest

    name = _name(data)
    path = Path(data.partition(":///")[2] or (name if "://" in data else data))
    beside = path / "datasheet.md" if path.is_dir() else path.with_name(f"{path.name}.datasheet.md")
    manifest = read_manifest(path / "manifest.json") if path.is_dir() else None
    made = [(beside, datasheet(found, name, manifest))]
    if model:
        made.append((Path(f"{model}.card.md"), model_card(load_model(model).card, Path(model).name, found)))
    return made
