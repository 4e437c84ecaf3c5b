"""Fitting: a model learnt from a table. The model itself is in `model.py`, its file in `model_file.py`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import relational
from .address import redact
from .choose_model import Choice, choose, events_or_series
from .digest import digest
from .errors import UserError, unknown
from .evaluate.links import parse_links, split_name
from .evaluate.read import declared_links
from .model import Model
from .model_effort import check_effort, course_of, effort_of, load_start
from .model_file import FORMAT, load_model, save_model
from .model_kinds import MODELS, learn_kept
from .parts import TABLE, keeping, part
from .privacy.budget import DELTA, Budget
from .progress import Progress
from .relational.learn import fit_database
from .relational.shape import links_of, read_several, read_times
from .samplers.statistical.detect import rules_of
from .samplers.statistical.learn_events import Roles
from .samplers.statistical.marginal import dtype_text
from .samplers.statistical.private_marginals import Extent
from .samplers.statistical.regenerate import Regenerated
from .stream import Stream
from .tables import Table
from .user_table import read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AUTO", "FORMAT", "MODELS", "PRIVATE", "Model", "fit", "load_model", "save_model"]

AUTO = "auto"
SERIES = "series"
"""What `auto` stands for with a time alone."""
PRIVATE = "aim"
"""What `auto` stands for with an epsilon: the best of the private models on Adult, two draws of noise each (`benchmarks/models.py`)."""


def fit(
    data: pd.DataFrame | Table | Mapping[str, Any] | str | os.PathLike[str],
    model: str = AUTO,
    seed: int | None = None,
    seconds: float | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    epsilon: float | None = None,
    delta: float | None = None,
    domain: Mapping[str, Extent] | None = None,
    roles: Roles | None = None,
    start: Model | str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    target: str | None = None,
    relations: Sequence[str] = (),
    times: Sequence[str] = (),
    parts: str | os.PathLike[str] | None = None,
) -> Model:
    """Learn a model from a table: a pandas or polars DataFrame, or the path of a CSV (also gzipped) or Parquet file. Or from several tables that refer
    to one another: a folder of such files, the URL of a database, or a mapping of names to frames.

    `auto` picks the model by the table's shape and about how many CPU-seconds there are; the card says why. Keys, names, e-mail addresses,
    codes and free text are not learnt but made anew by rule, and the card says which; those in `keep` are learnt, those in `drop` left out.

    With `epsilon` (and `delta`, 1e-6 without) the model is differentially private: `domain` says what is publicly known of columns, what it does
    not say is paid for, and column names and types count as public. Its noise is drawn from the system's randomness, or from `seed`, which then
    must stay secret. Without epsilon, the seed is 0 unless given.

    With `roles`, the table holds events of entities, and the model makes entities with their events. With one of `times`, a single table is one
    series in the order of that column, and the model makes series.

    `start`, of a network: a model to go on from, or its file. On the rows that it was learnt from, learning that was broken off is taken up where it was; on
    others, it begins with what the model knows. `epochs`: passes over the rows at most.
    `target`: the column that the others are to foretell gets the care that the model can give it.

    Of several tables, columns are called `TABLE.COLUMN`; `relations` (`"order.customer=customer.id"`) say what refers to what where neither the
    database nor names and values do, `times` which column orders the rows of an owner.

    `parts`: a file in which finished parts are kept if the fit is interrupted, and from which the same fit goes on if it is there; it goes when all is done. A network that has
    learnt anything needs none: it ends with the best so far, to be gone on from by `start`.

    Raises UserError for a model that does not exist, a table that cannot be read or is empty, or a column of a type that cannot be learnt.
    """
    asked = {
        "model": model,
        "seed": seed,
        "seconds": seconds,
        "keep": keep,
        "drop": drop,
        "epsilon": epsilon,
        "delta": delta,
        "epochs": epochs,
    }
    asked |= {"roles": repr(roles), "target": target, "relations": relations, "times": times, "domain": repr(domain)}
    with keeping(parts, asked):
        return _fit(
            data,
            model,
            seed,
            seconds,
            keep,
            drop,
            epsilon,
            delta,
            domain,
            roles,
            start,
            epochs,
            target,
            relations,
            times,
        )


def _fit(
    data: Any,
    model: str,
    seed: int | None,
    seconds: float | None,
    keep: Sequence[str],
    drop: Sequence[str],
    epsilon: float | None,
    delta: float | None,
    domain: Mapping[str, Extent] | None,
    roles: Roles | None,
    start: Model | str | os.PathLike[str] | None,
    epochs: int | None,
    target: str | None,
    relations: Sequence[str],
    times: Sequence[str],
) -> Model:
    if model != AUTO and model not in MODELS:
        raise unknown("model", model, (AUTO, *MODELS))
    several = read_several(data)
    if several is not None and len(several) == 1 and not relations:
        data = next(iter(several.values()))
    elif several is not None:
        if epsilon is not None or delta is not None or domain or roles is not None:
            raise UserError("several tables are learnt without privacy, and not as events of entities: fit one table")
        if start is not None or epochs is not None:
            raise UserError("several tables are learnt from nothing, each in its own time: leave out start and epochs")
        return _fit_several(data, several, model, seed or 0, seconds, keep, drop, target, relations, times)
    if relations or len(times) > 1:
        raise UserError("relations and the columns that order children need several tables: a folder or a database")
    began = None if start is None else load_start(start, model)
    model = began.name if began is not None else model
    check_effort(model, seconds, epochs)
    time = times[0] if times else None
    if time is not None and roles is None and model in MODELS and MODELS[model].events and MODELS[model].trained:
        # one series, to a network that learns those of entities
        roles, time = Roles("", time), None
    serial = model in MODELS and MODELS[model].series
    if serial or time is not None:
        if time is None or roles is not None or not (serial or model == AUTO):
            raise UserError(
                f"'{model}' and a time column do not go together"
                if time
                else f"'{model}' learns a series: say which column is its time (--time-column)"
            )
        if epsilon is not None or seconds is not None or keep:
            raise UserError("a series takes a time column, a seed and columns to drop, and nothing else")
        return _fit_series(data, SERIES if model == AUTO else model, seed or 0, drop, time)
    eventful = model in MODELS and MODELS[model].events
    if eventful and roles is None:
        raise UserError(
            f"'{model}' learns events: say which column is the entity and which the time (--entity, --time-column)"
        )
    if roles is not None:
        if epsilon is not None or keep or not (eventful or model == AUTO):
            raise UserError("events of entities take a model of events, and neither epsilon nor columns to keep")
        return _fit_events(data, model, seed or 0, drop, roles, seconds, epochs, began)
    if target is not None and model != AUTO and not MODELS[model].target:
        takes = ", ".join(n for n, k in MODELS.items() if k.target)
        raise UserError(f"'{model}' gives no column more care than another; with a target, fit one of {takes}")
    if epsilon is not None:
        if seconds is not None or epochs is not None or start is not None or keep:
            raise UserError(
                "a private model takes no time, passes or start, and keeps nothing: its steps are what its epsilon pays for"
            )
        return _fit_private(
            data,
            PRIVATE if model == AUTO else model,
            seed,
            drop,
            Budget(epsilon, DELTA if delta is None else delta),
            domain or {},
            target,
        )
    if delta is not None or domain:
        raise UserError("delta and a domain are for private models: give epsilon too")
    if model in MODELS and MODELS[model].private:
        raise UserError(f"'{model}' is differentially private: it needs an epsilon")
    seed = 0 if seed is None else seed
    with Progress(f"fitting {model}", 3, unit="step") as progress:
        whole = read_table(data)
        for column in (*keep, *drop):
            if column not in whole.columns:
                raise unknown("column", column, whole.columns, "keep" if column in keep else "drop")
        whole = whole.drop(drop)
        found = rules_of(whole, keep)
        table = whole.drop([rule.column for rule, _ in found])
        if found and not table.width:
            raise UserError(
                "every column is a key, a name or free text, made by rule: nothing is left to learn. Keep some"
            )
        if target is not None and target not in table.columns:
            raise unknown("column", target, table.columns, "target")
        # no network gives one column more care
        choice = choose(table, seconds, networks=target is None) if model == AUTO else Choice(model, {}, "")
        aimed = {"target": target} if target is not None and MODELS[choice.name].target else {}
        progress.step()
        fingerprint = str(digest(whole))
        effort = effort_of(choice.name, seconds, epochs, began, fingerprint, seed)
        _same_table(fingerprint)
        stream = Stream.root(seed).child("fit", choice.name)
        sampler = learn_kept(MODELS[choice.name], table, stream, *effort, **choice.settings, **aimed)
        course = course_of(sampler, began)
        if found:
            sampler = Regenerated(sampler, tuple(rule for rule, _ in found), tuple(whole.columns))
        progress.step(2)
    card = {
        "model": choice.name,
        "populace": version("populace"),
        "seed": seed,
        "rows": whole.height,
        "columns": {c: dtype_text(t) for c, t in whole.schema.items()},
        **({"regenerated": {rule.column: what for rule, what in found}} if found else {}),
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": fingerprint,
        **({"settings": choice.settings, "why": choice.why} if model == AUTO else {}),
        **aimed,
        **course,
    }
    return Model(choice.name, sampler, card)


def _fit_several(
    data: Any,
    tables: Mapping[str, Table],
    model: str,
    seed: int,
    seconds: float | None,
    keep: Sequence[str],
    drop: Sequence[str],
    target: str | None,
    relations: Sequence[str],
    times: Sequence[str],
) -> Model:
    """A model of tables that refer to one another."""
    dropped = [split_name(c, tables, "--drop") for c in drop]
    tables = {n: t.drop([c for table, c in dropped if table == n]) for n, t in tables.items()}
    for column in keep:
        split_name(column, tables, "--keep")
    aim = split_name(target, tables, "--target") if target else None
    links = links_of(tables, [*parse_links(relations, tables), *declared_links(data)])
    stream = Stream.root(seed).child("fit", relational.NAME)
    digests = {n: str(digest(t)) for n, t in tables.items()}
    _same_table(str(digests))
    made = fit_database(tables, links, stream, model, seconds, keep, read_times(times, tables), aim)
    card = {
        "model": relational.NAME,
        "populace": version("populace"),
        "seed": seed,
        "rows": sum(t.height for t in tables.values()),
        "tables": {n: {"rows": t.height, "digest": digests[n]} for n, t in tables.items()},
        "relations": [str(k) for k in made.links],
        "unit": {"table": made.unit, "rows": tables[made.unit].height},
        "models": {t.shape.name: t.kind for t in made.tables},
        "regenerated": {f"{t.shape.name}.{r.column}": r.kind for t in made.tables for r in t.shape.rules},
        "source": None if isinstance(data, Mapping) else Path(redact(str(data))).name,
        **({"target": target} if target else {}),
    }
    return Model(relational.NAME, made, card)


def _fit_private(
    data: Any,
    model: str,
    seed: int | None,
    drop: Sequence[str],
    budget: Budget,
    domain: Mapping[str, Extent],
    target: str | None,
) -> Model:
    """A private model. Its card has neither a digest nor the exact number of rows, which would tell of the table, nor the seed of its noise."""
    learn = MODELS[model].learn if MODELS[model].private else MODELS[model].learn_private
    if learn is None:
        names = ", ".join(n for n, k in MODELS.items() if k.private or k.learn_private)
        raise UserError(f"'{model}' is not differentially private: with epsilon, fit one of {names}")
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    if target is not None and target not in table.columns:
        raise unknown("column", target, table.columns, "target")
    aimed = {"target": target} if target is not None and MODELS[model].target else {}
    noise = Stream(secrets.token_bytes(16)) if seed is None else Stream.root(seed).child("fit", model)
    sampler, rows = learn(table.drop(drop), noise, budget, domain, **aimed)
    card = {
        "model": model,
        "populace": version("populace"),
        "rows": round(rows),
        "columns": {m.name: dtype_text(m.dtype) for m in sampler.marginals},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "privacy": budget.record(),
        **aimed,
    }
    return Model(model, sampler, card)


def _fit_events(
    data: Any,
    model: str,
    seed: int,
    drop: Sequence[str],
    roles: Roles,
    seconds: float | None,
    epochs: int | None,
    began: Model | None,
) -> Model:
    """A model of events or series of entities."""
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    table = table.drop(drop)
    if model == AUTO:
        model = events_or_series(table, roles)
    if not roles.entity and not MODELS[model].trained:
        raise UserError(f"'{model}' learns events of entities: say which column is the entity (--entity)")
    fingerprint = str(digest(table))
    effort = effort_of(model, seconds, epochs, began, fingerprint, seed)
    _same_table(fingerprint)
    sampler = learn_kept(MODELS[model], table, Stream.root(seed).child("fit", model), roles, *effort)
    rule = sampler.entity
    card = {
        "model": model,
        "populace": version("populace"),
        "seed": seed,
        "rows": table.height,
        "columns": {c: dtype_text(table.schema[c]) if c in table.columns else rule.dtype for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "regenerated": {rule.column: "the entity's key"},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": fingerprint,
        **course_of(sampler, began),
    }
    return Model(model, sampler, card)


def _fit_series(data: Any, model: str, seed: int, drop: Sequence[str], time: str) -> Model:
    """A model of one series: of the columns of numbers in the order of another."""
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    table = table.drop(drop)
    fingerprint = str(digest(table))
    _same_table(fingerprint)
    sampler = learn_kept(MODELS[model], table, Stream.root(seed).child("fit", model), time)
    card = {
        "model": model,
        "populace": version("populace"),
        "seed": seed,
        "rows": table.height,
        "columns": {c: dtype_text(table.schema[c]) for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": fingerprint,
    }
    return Model(model, sampler, card)


def _same_table(fingerprint: str) -> None:
    """Raises UserError where parts are of another table. Of a private table nothing says which it was: a digest would tell of it."""
    if part(TABLE, lambda: fingerprint) != fingerprint:
        raise UserError("the finished parts are those of another table; fit the same, or without --resume")
