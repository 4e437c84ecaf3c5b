"""`populace estimate`."""

from __future__ import annotations

from pathlib import Path

import click

from ...core.errors import UserError


@click.command(
    epilog="""\b
Examples:
  populace estimate customers.model "income > 100000" --within 0.001
  populace estimate customers.model income --quantile 0.99
  populace estimate customers.model "income * visits" --method control --by income
  populace estimate customers.model "income > 1e6" --method importance --by income --where sex=F
  populace estimate finance "SELECT avg(amount_minor) FROM transaction" --size 200"""
)
@click.argument("source", metavar="MODEL|DOMAIN")
@click.argument("what", metavar="EXPRESSION|QUERY")
@click.option(
    "--quantile",
    type=float,
    metavar="Q",
    help="The Q-quantile of the expression.  [default: its mean; of a condition, its probability]",
)
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Among rows that meet this; a value, a set A|B or a range LOW..HIGH.",
)
@click.option(
    "--method",
    default="plain",
    metavar="M",
    help="plain, stratified, antithetic, control or importance.  [default: plain]",
)
@click.option("--by", metavar="COLUMN", help="The column of the strata, the control, or what is drawn more widely.")
@click.option(
    "--within", type=float, metavar="H", help="Draw until the bounds are no further from the value than this."
)
@click.option("--level", type=float, default=0.95, metavar="P", help="The bounds' confidence.  [default: 0.95]")
@click.option("--size", type=int, metavar="N", help="Of a domain: the size of each dataset.")
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same estimate.  [default: 0]")
def estimate(
    source: str,
    what: str,
    quantile: float | None,
    where: tuple[str, ...],
    method: str,
    by: str | None,
    within: float | None,
    level: float,
    size: int | None,
    seed: int,
) -> None:
    """A mean, a probability or a quantile under a fitted model, or what a query says of a domain's datasets, with confidence bounds."""
    from ...core.domain import domain_names
    from ...core.estimate import estimate as draw
    from ...core.estimate import estimate_domain
    from ...core.models import load_model
    from ...core.spec import parse_settings

    if source in domain_names():
        if quantile is not None or where or by or method != "plain":
            raise UserError("of a domain, the query says all: --quantile, --where, --method and --by are for models")
        click.echo(estimate_domain(source, what, size, within, level, seed=seed))
        return
    if size is not None:
        raise UserError("--size is for a domain")
    told = parse_settings(where, "--where")
    click.echo(draw(load_model(Path(source)), what, quantile, told, method, by, within, level, seed=seed))
