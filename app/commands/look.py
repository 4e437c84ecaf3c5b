"""What there is: `populace scenarios` and `populace schema`."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  populace scenarios
  populace scenarios finance mule-ring"""
)
@click.argument("domain", required=False)
@click.argument("name", required=False)
def scenarios(domain: str | None, name: str | None) -> None:
    """List the scenarios: what each does, its parameters, its source."""
    from ...core.domain import domain_names, find_domain
    from ...core.errors import unknown
    from ...core.scenario import said_of

    if name is None:
        for each in [domain] if domain else domain_names():
            click.echo(each)
            found = find_domain(each)
            width = max(map(len, [*found.scenarios, *found.mixes]), default=0) + 2
            for scenario in found.scenarios.values():
                click.echo(f"  {scenario.name:<{width}}{scenario.title}")
            for mix in found.mixes.values():
                click.echo(f"  {mix.name:<{width}}{mix.title} (a mix)")
        return
    chosen = find_domain(domain or "")
    known = chosen.scenarios
    if name in chosen.mixes:
        mix = chosen.mixes[name]
        click.echo(
            f"{mix.name}: {mix.title}\n\n{mix.doc}\n\nrate of all rows of {mix.table}: --set {mix.rate}=SHARE\nparts:"
        )
        for part in mix.parts:
            prior = chosen.priors[part.share]
            click.echo(
                f"  {part.share}={prior.value} where {part.where}: {', '.join(part.scenarios)}\n    source: {prior.source}"
            )
        return
    if name not in known:
        raise unknown("scenario", name, [*known, *chosen.mixes], about=said_of(known))
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


@click.command(
    epilog="""\b
Examples:
  populace schema healthcare
  populace schema finance --as sql > finance.sql"""
)
@click.argument("domain")
@click.option(
    "--as", "as_", default="markdown", metavar="FORM", help="markdown, sql, json-schema or arrow.  [default: markdown]"
)
def schema(domain: str, as_: str) -> None:
    """Print a domain's schema: tables, columns, types, constraints."""
    from ...core.domain import find_domain
    from ...core.errors import unknown
    from ...core.schema_text import FORMS

    if as_ not in FORMS:
        raise unknown("form", as_, FORMS, "--as")
    click.echo(FORMS[as_](find_domain(domain).schema))
