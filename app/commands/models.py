"""`populace models`, `populace fit` and `populace sample`."""

from __future__ import annotations

from pathlib import Path

import click

from ...core.errors import UserError


@click.command(
    epilog="""\b
Examples:
  populace models
  populace models customers.model"""
)
@click.argument("model", required=False)
def models(model: str | None) -> None:
    """List the models that can be fitted: family, data, privacy, source. With a model file: what it is, and its graph if it has one."""
    from ...core.model_kinds import MODELS
    from ...core.models import load_model

    if model is not None:
        click.echo(load_model(Path(model)).describe())
        return
    for kind in MODELS.values():
        able = "differentially private with --epsilon" if kind.learn_private else "not differentially private"
        private = "differentially private" if kind.private else able
        click.echo(f"{kind.name:<22}{kind.family}; {kind.shape}; {private}\n{'':<22}{kind.doc}\n{'':<22}{kind.paper}")
    click.echo(
        f"{'several tables':<22}relational; a folder or a database; not differentially private\n{'':<22}"
        "any of those of one table for each, given its parents and the rows before; keys always lead somewhere\n"
        f"{'':<22}Patki, Wedge and Veeramachaneni 2016, The Synthetic Data Vault; Solatorio and Dupriez 2023, arXiv:2302.02041"
    )
    click.echo(f"{'auto':<22}the default: picks one of these by the table's shape and --time, and says why")


@click.command(
    epilog="""\b
Examples:
  populace fit customers.csv
  populace fit customers.csv --time 10s --out customers.model
  populace fit patients.csv --epsilon 1 --domain known.toml
  populace fit customers.csv --model autoregressive --time 60s
  populace fit clinic.csv --start pretrained.model --out clinic.model
  populace fit customers.csv --out customers.model --resume
  populace fit visits.csv --entity patient_id --time-column at --event kind
  populace fit bank/ --time 60s --out bank.model
  populace fit sqlite:///shop.db --relation line.product=product.code --out shop.model
  populace fit machine_temperature.csv --time-column timestamp
  populace fit readings.parquet --entity sensor --time-column at --model timevae"""
)
@click.argument("table", metavar="TABLE|FOLDER|DB-URL")
@click.option(
    "--model", default="auto", metavar="NAME", help="What to fit; `populace models` lists them.  [default: auto]"
)
@click.option(
    "--time", "time_", metavar="60s", help="For auto and for networks: about how many CPU-seconds fitting may take."
)
@click.option("--epochs", type=int, metavar="N", help="For networks: passes over the rows at most.")
@click.option(
    "--start",
    metavar="MODEL",
    help="A network to go on from: on its own rows if it was interrupted, else with what it knows on these.",
)
@click.option("--resume", is_flag=True, help="Go on with a fit of the same that was interrupted.")
@click.option("--out", metavar="MODEL", help="The model file.  [default: TABLE's name with .model]")
@click.option(
    "--seed",
    type=int,
    metavar="S",
    help="Same seed, same model.  [default: 0; with --epsilon, secret noise]",
)
@click.option("--target", metavar="COLUMN", help="The column that the others are to foretell gets the greatest care.")
@click.option(
    "--relation",
    multiple=True,
    metavar="A.C=B.K",
    help="Of several tables: what refers to what, where names do not tell.",
)
@click.option("--entity", metavar="COLUMN", help="The table holds events or series: whose.")
@click.option(
    "--time-column",
    multiple=True,
    metavar="COLUMN",
    help="Of events or series: when; without --entity the table is one series. Of several tables, TABLE.COLUMN: what orders the rows of a parent.",
)
@click.option("--event", metavar="COLUMN", help="With --entity: of what kind.  [default: the only other column]")
@click.option("--epsilon", type=float, metavar="E", help="Learn with differential privacy.")
@click.option("--delta", type=float, metavar="D", help="With --epsilon.  [default: 1e-6]")
@click.option(
    "--domain",
    metavar="FILE",
    help="With --epsilon: what is known of columns without looking, as TOML; the rest is paid for.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="Learn this column, though it looks like a key, a name or free text.",
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave this column out.")
def fit(
    table: str,
    model: str,
    time_: str | None,
    epochs: int | None,
    start: str | None,
    resume: bool,
    out: str | None,
    seed: int | None,
    target: str | None,
    relation: tuple[str, ...],
    entity: str | None,
    time_column: tuple[str, ...],
    event: str | None,
    epsilon: float | None,
    delta: float | None,
    domain: str | None,
    keep: tuple[str, ...],
    drop: tuple[str, ...],
) -> None:
    """Learn a model of a CSV or Parquet table; or of all tables of a folder or a database, with what holds between them.

    Keys, names, e-mail addresses, codes and free text are not learnt: they are made anew by rule, and the command says which.
    """
    from ...core.address import redact
    from ...core.choose_model import parse_seconds
    from ...core.files import check_place
    from ...core.model_effort import load_unfinished
    from ...core.models import fit as learn
    from ...core.models import save_model
    from ...core.samplers.statistical.learn_events import Roles
    from ...core.samplers.statistical.private_marginals import read_extents
    from ...core.sinks.database import is_database

    url = is_database(table)
    if (entity is not None and len(time_column) != 1) or (event and not entity):
        raise UserError("events need --entity and --time-column, and may have --event")
    path = (
        Path(out)
        if out
        else Path((redact(table).rpartition("/")[2] if url else Path(table).name).split(".")[0] + ".model")
    )
    begun = load_unfinished(path) if resume and path.exists() else None
    if begun and start is not None:
        raise UserError(f"--resume goes on from {path}, and --start names another model: one of the two")
    if path.exists() and not begun:
        raise UserError(f"--out {path} exists already; nothing is overwritten")
    check_place(path, "model")
    parts = path.with_name(path.name + ".part")
    if parts.exists() and not resume:
        raise UserError(f"{parts} holds what an interrupted fit had finished: --resume goes on from it, or remove it")
    seconds = None if time_ is None else parse_seconds(time_, "--time")
    fitted = learn(
        table if url else Path(table),
        model=model,
        seed=seed,
        seconds=seconds,
        epochs=epochs,
        start=begun if start is None else Path(start),
        keep=keep,
        drop=drop,
        epsilon=epsilon,
        delta=delta,
        domain=None if domain is None else read_extents(Path(domain)),
        roles=Roles(entity, time_column[0], event) if entity else None,
        target=target,
        relations=relation,
        times=() if entity else time_column,
        parts=parts,
    )
    if begun and any(begun.card[k] != fitted.card[k] for k in ("digest", "seed")):
        raise UserError(f"--resume: {path} was learnt from another table or seed; --start learns on from it")
    save_model(fitted, path)
    if relations := fitted.card.get("relations"):
        for name, kinds in fitted.card["models"].items():
            click.echo(f"{name}: {fitted.card['tables'][name]['rows']:,} rows, {kinds}")
        click.echo("relations: " + ("; ".join(relations) or "none"))
        unit = fitted.card["unit"]
        click.echo(f"-n counts rows of '{unit['table']}', which had {unit['rows']:,}; the other tables go with them")
    if why := fitted.card.get("why"):
        click.echo(f"auto: {fitted.name}. {why}")
    if course := fitted.card.get("learning"):
        click.echo(f"learnt in {course['epochs']} of {course['of']} passes; ended by: {course['stopped']}")
        if course["stopped"] == "interrupted":
            click.echo(f"the best so far is kept in {path}; the same command with --resume goes on")
    if others := fitted.card.get("left out"):
        click.echo(f"not modelled: {', '.join(others)}")
    if "privacy" in fitted.card:
        paid = fitted.card["privacy"]
        click.echo(
            f"differentially private: epsilon {paid['epsilon']:g} and delta {paid['delta']:g} spent in {len(paid['ledger'])} releases"
        )
        if seed is not None:
            click.echo("keep the seed secret: who has it can take the noise away")
    for column, what in fitted.card.get("regenerated", {}).items():
        click.echo(f"made by rule, not learnt: {column}, {what}")
    click.echo(f"{fitted.name} of {len(fitted.sampler.columns)} columns written to {path}")


@click.command(
    epilog="""\b
Examples:
  populace sample customers.model -n 1000 --seed 2
  populace sample customers.model -n 500 --where sex=F --where age=18..30 --to twin/
  populace sample customers.model -n 500 --balance churned=yes:0.5
  populace sample customers.model --given sketch.csv
  populace sample bank.model -n 100 --where district.region=Prague --to twin/
  populace sample customers.model -n 5000 --parity churned=yes:sex --gap 0.02 --to fair/"""
)
@click.argument("model")
@click.option(
    "-n",
    "rows",
    type=int,
    metavar="N",
    help="Rows; of events, entities; of several tables, rows of the one that fit named.  [with --given: as many as it has]",
)
@click.option("--seed", type=int, default=0, metavar="S", help="Same seed, same rows.  [default: 0]")
@click.option(
    "--where",
    "where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Condition on a value, a set A|B or a range LOW..HIGH; met exactly. Of several tables: TABLE.COLUMN=VALUE.",
)
@click.option(
    "--balance", multiple=True, metavar="COLUMN=VALUE:SHARE", help="Give a value exactly this share of the rows."
)
@click.option("--given", metavar="TABLE", help="A CSV or Parquet table of some columns: each row is completed.")
@click.option(
    "--parity", metavar="OUTCOME=VALUE:GROUP", help="An outcome as frequent in every group; says what that costs."
)
@click.option("--gap", type=float, metavar="G", help="With --parity: groups may differ by so much.  [default: 0]")
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
    parity: str | None,
    gap: float | None,
    targets: tuple[str, ...],
    format_: str,
) -> None:
    """Draw rows from a fitted model."""
    from ...core.conditions import parse_balance
    from ...core.manifest import sample_manifest
    from ...core.models import load_model
    from ...core.parity import parse_parity
    from ...core.sinks.folder import as_text
    from ...core.sinks.table import NAME, write_tables
    from ...core.spec import parse_settings
    from ...core.user_table import read_table

    fitted = load_model(Path(model))
    told, shares = parse_settings(where, "--where"), parse_balance(balance)
    asked = {"rows": rows, "seed": seed, "where": told, "balance": shares}
    if fitted.several:
        if given or parity or not targets:
            raise UserError(
                "a model of several tables takes -n, --seed, --where, --balance, --format and --to FOLDER or a database"
            )
        drawn = fitted.sample_frames(rows, seed, told, shares)
        for note in drawn.notes:
            click.echo(note, err=True)
        tables, of = drawn.tables, f" of {len(drawn.tables)} tables"
    else:
        if rows is None and given is None:
            raise UserError("how many rows? Say -n N, or --given TABLE to complete its rows")
        if parity and (where or balance or given or rows is None):
            raise UserError("--parity takes -n and a seed, and none of --where, --balance and --given")
        if gap is not None and not parity:
            raise UserError("--gap is for --parity, which is not asked for")
        if parity and rows is not None:
            fair = fitted.sample_fair(rows, *parse_parity(parity), gap=gap or 0.0, seed=seed)
            frame = fair.rows
            click.echo(fair.describe(), err=not targets)
            asked |= {"parity": parity, "gap": gap or 0.0}
        else:
            table = None if given is None else read_table(Path(given))
            frame = fitted.sample_frame(rows, seed=seed, where=told, balance=shares, given=table)
        asked |= {"rows": frame.height, "given": given and Path(given).name}
        if not targets:
            click.echo(as_text(frame).write_csv(), nl=False)
        tables, of = {NAME: frame}, ""
    for target in targets:
        place = write_tables(tables, target, lambda form: sample_manifest(tables, asked, fitted.card, form), format_)
        click.echo(f"{sum(t.height for t in tables.values()):,} rows{of} written to {place}")
