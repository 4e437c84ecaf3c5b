"""Evidence that synthetic data are faithful, useful, private and fair: `evaluate(real, synth)` measures, `Evaluation` says what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..stream import Stream
from ..tables import Table
from .audit import Audited
from .metric import Metric, definitions, parse_requirements, uses
from .result import Evaluation, Verdict, in_order, read_baseline

__all__ = ["Evaluation", "Metric", "Verdict", "definitions", "evaluate", "parse_requirements", "read_baseline", "uses"]


def evaluate(
    real: Any,
    synth: Any = None,
    holdout: Any = None,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
    relations: Sequence[str] = (),
    domain: str | None = None,
    time: str | None = None,
    entity: str | None = None,
    model: Any = None,
) -> Evaluation:
    """Compare synthetic data with the real data that they stand for.

    A pandas or polars frame or the path of a CSV or Parquet file is one table; a folder of such files, the URL of a database or a mapping of names to
    frames are several. `holdout`: real rows that no model learnt from; without them most privacy figures cannot be had. `target`: a column to
    foretell. `sensitive`: columns whose disclosure or unequal treatment would harm. Columns of several tables are called `TABLE.COLUMN`. `only`: some of
    `diagnostics`, `fidelity`, `utility`, `privacy`, `fairness`, `realism`. `relations`: what refers to what in several tables, `CHILD.COLUMN=PARENT.KEY`, beside
    what is declared in the database or found by names and values.

    `time`: the column that orders rows which are series, `entity`: whose they are; their course is compared as well.

    `model`: the model that drew the synthetic rows (`fit`'s result or its file): its like is fitted again to attack it, and what it states of privacy is held against canaries.

    A dataset of a domain (one that populace wrote, or any in its schema with `domain`) is also held against the domain's rules and published figures; alone,
    as the first argument, against nothing else.

    Raises UserError for data that cannot be read or compared and for columns, relations or parts that do not exist.
    """
    from .read import read_data
    from .realism import domain_of, judge_domain
    from .table import chosen_parts

    chosen_parts(only)
    data = real if synth is None else synth
    known = domain_of(data, domain)
    if synth is None:
        if known is None:
            raise UserError(f"{data}: is no dataset of a domain; give real data to compare with, or name its --domain")
        if holdout is not None or target or sensitive or relations or time or entity or model is not None:
            raise UserError(
                f"{data}: stands alone; a holdout, a target, roles of columns and a model need real data to compare with"
            )
        found = _alone(read_data(data), seed)
    else:
        found = _compared(real, synth, holdout, target, sensitive, only, seed, relations, time, entity, model)
    more = judge_domain(known, str(data), only) if known else []
    return replace(found, metrics=in_order([*found.metrics, *more]))


def _alone(data: Any, seed: int) -> Evaluation:
    rows = {"synth": sum(frame.height for frame in data.values())}
    return Evaluation((), rows, rows, {}, seed, None)


def _compared(
    real: Any,
    synth: Any,
    holdout: Any,
    target: str | None,
    sensitive: Sequence[str],
    only: Sequence[str],
    seed: int,
    relations: Sequence[str],
    time: str | None,
    entity: str | None,
    model: Any,
) -> Evaluation:
    from .links import parse_links
    from .pair import make_pair
    from .read import declared_links, read_data
    from .table import evaluate_pair
    from .tables import Roles, evaluate_tables

    sides = [None if data is None else read_data(data) for data in (real, synth, holdout)]
    if any(isinstance(side, Table) for side in sides):
        # a folder that `populace sample` wrote holds one table
        sides = [next(iter(s.values())) if isinstance(s, dict) and len(s) == 1 else s for s in sides]
    first, second, third = sides
    stream = Stream.root(seed).child("evaluate")
    audited = None if model is None else _audited(model)
    if audited and not isinstance(first, Table):
        raise UserError("--model: a model is of one table, and the data are several")
    if isinstance(first, dict) and isinstance(second, dict) and not isinstance(third, Table):
        links = parse_links(relations, first) + declared_links(real)
        roles = Roles(target, tuple(sensitive), time, entity)
        return evaluate_tables(first, second, third, links, roles, only, seed, stream)
    if not isinstance(first, Table) or not isinstance(second, Table) or isinstance(third, dict):
        raise UserError(
            "some of the data are one table and some are several: a file goes with a file, a folder or database with its like"
        )
    if relations:
        raise UserError(f"--relation: '{relations[0]}' needs several tables, as folders or databases")
    return evaluate_pair(
        make_pair(first, second, third, target, sensitive, (), time, entity), only, seed, stream, audited=audited
    )


def _audited(given: Any) -> Audited:
    """How to fit the like of a model. Raises UserError for a model of events, whose rows do not stand alone."""
    from ..model_kinds import MODELS
    from ..models import Model, fit, load_model

    model = given if isinstance(given, Model) else load_model(given)
    made = "several tables" if model.several else MODELS[model.name].shape
    if made != "one table":
        raise UserError(f"--model: '{model.name}' makes {made}, and only models of single rows can be audited")
    paid = model.card.get("privacy")

    def refit(rows: Table, n: int, seed: int) -> Table:
        columns = [c for c in rows.columns if c in model.card["columns"]]
        some = rows.select(columns)
        if paid:
            again = fit(some, model.name, seed, epsilon=paid["epsilon"], delta=paid["delta"])
        else:
            again = fit(some, model.name, seed, keep=[c for c in columns if c not in model.card.get("regenerated", {})])
        return again.sample_frame(n, seed)

    return Audited(model.name, refit, paid)
