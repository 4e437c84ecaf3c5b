"""Fitting: a model learnt from a table. The model itself is in `model.py`, its file in `model_file.py`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import relational
from .address import redact
from .choose_model import VALUED, Choice, choose, events_or_series
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
    asked = _Asked(
        model,
        seed,
        seconds,
        tuple(keep),
        tuple(drop),
        epsilon,
        delta,
        domain or {},
        roles,
        start,
        epochs,
        target,
        tuple(relations),
        tuple(times),
    )
    with keeping(parts, asked.request()):
        return _fit(data, asked)


@dataclass(frozen=True)
class _Asked:
    """What `fit` was asked for."""

    model: str
    seed: int | None
    seconds: float | None
    keep: tuple[str, ...]
    drop: tuple[str, ...]
    epsilon: float | None
    delta: float | None
    domain: Mapping[str, Extent]
    roles: Roles | None
    start: Model | str | os.PathLike[str] | None
    epochs: int | None
    target: str | None
    relations: tuple[str, ...]
    times: tuple[str, ...]

    def request(self) -> dict[str, Any]:
        """What finished parts are kept under. A start is left out: networks take one, and go on from a model, not from parts."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "start"}
        return told | {"roles": repr(self.roles), "domain": repr(self.domain)}

    def rng(self, model: str) -> Stream:
        return Stream.root(self.seed or 0).child("fit", model)

    def aimed(self, model: str) -> dict[str, str]:
        return {"target": self.target} if self.target is not None and MODELS[model].target else {}


def _fit(data: Any, asked: _Asked) -> Model:
    if asked.model != AUTO and asked.model not in MODELS:
        raise unknown("model", asked.model, (AUTO, *MODELS))
    several = read_several(data)
    if several is not None and len(several) == 1 and not asked.relations:
        data = next(iter(several.values()))
    elif several is not None:
        if asked.epsilon is not None or asked.delta is not None or asked.domain or asked.roles is not None:
            raise UserError("several tables are learnt without privacy, and not as events of entities: fit one table")
        if asked.start is not None or asked.epochs is not None:
            raise UserError("several tables are learnt from nothing, each in its own time: leave out start and epochs")
        return _fit_several(data, several, asked)
    if asked.epsilon is None and (asked.delta is not None or asked.domain):
        raise UserError("delta and a domain are for private models: give epsilon too")
    if asked.relations or len(asked.times) > 1:
        raise UserError("relations and the columns that order children need several tables: a folder or a database")
    began = None if asked.start is None else load_start(asked.start, asked.model)
    model = began.name if began is not None else asked.model
    asked = replace(asked, model=model)
    check_effort(model, asked.seconds, asked.epochs)
    kind = MODELS.get(model)
    time = asked.times[0] if asked.times else None
    if time is not None and asked.roles is None and kind and kind.events and kind.trained:
        # one series, to a network that learns those of entities
        asked, time = replace(asked, roles=Roles("", time)), None
    serial, eventful = kind is not None and kind.series, kind is not None and kind.events
    if serial or time is not None:
        if time is None or asked.roles is not None or not (serial or model == AUTO):
            raise UserError(
                f"'{model}' and a time column do not go together"
                if time
                else f"'{model}' learns a series: say which column is its time (--time-column)"
            )
        if asked.epsilon is not None or asked.seconds is not None or asked.keep:
            raise UserError("a series takes a time column, a seed and columns to drop, and nothing else")
        return _fit_series(data, SERIES if model == AUTO else model, asked, time)
    if eventful and asked.roles is None:
        raise UserError(
            f"'{model}' learns events: say which column is the entity and which the time (--entity, --time-column)"
        )
    if asked.roles is not None and (asked.keep or not (eventful or model == AUTO)):
        raise UserError("events of entities take a model of events, and no columns to keep")
    if asked.roles is not None and asked.epsilon is None:
        return _fit_events(data, asked, asked.roles, began)
    if asked.target is not None and kind and not kind.target:
        takes = ", ".join(n for n, k in MODELS.items() if k.target)
        raise UserError(f"'{model}' gives no column more care than another; with a target, fit one of {takes}")
    if asked.epsilon is not None:
        if asked.seconds is not None or asked.epochs is not None or asked.start is not None or asked.keep:
            raise UserError(
                "a private model takes no time, passes or start, and keeps nothing: its steps are what its epsilon pays for"
            )
        budget = Budget(asked.epsilon, DELTA if asked.delta is None else asked.delta)
        auto = PRIVATE if asked.roles is None else VALUED
        return _fit_private(data, auto if model == AUTO else model, asked, budget)
    if kind and kind.private:
        raise UserError(f"'{model}' is differentially private: it needs an epsilon")
    return _fit_table(data, asked, began)


def _fit_table(data: Any, asked: _Asked, began: Model | None) -> Model:
    """A model of the rows of one table."""
    with Progress(f"fitting {asked.model}", 3, unit="step") as progress:
        whole = read_table(data)
        _check_columns(whole, asked.keep, "keep")
        whole = _without(whole, asked.drop)
        found = rules_of(whole, asked.keep)
        table = whole.drop([rule.column for rule, _ in found])
        if found and not table.width:
            raise UserError(
                "every column is a key, a name or free text, made by rule: nothing is left to learn. Keep some"
            )
        _check_columns(table, _aim(asked), "target")
        # no network gives one column more care
        choice = (
            choose(table, asked.seconds, networks=asked.target is None)
            if asked.model == AUTO
            else Choice(asked.model, {}, "")
        )
        aimed = asked.aimed(choice.name)
        progress.step()
        fingerprint = str(digest(whole))
        effort = effort_of(choice.name, asked.seconds, asked.epochs, began, fingerprint, asked.seed or 0)
        _same_table(fingerprint)
        sampler = learn_kept(MODELS[choice.name], table, asked.rng(choice.name), *effort, **choice.settings, **aimed)
        course = course_of(sampler, began)
        if found:
            sampler = Regenerated(sampler, tuple(rule for rule, _ in found), tuple(whole.columns))
        progress.step(2)
    card = {
        **_origin(choice.name, asked, whole.height, _name(data)),
        "columns": {c: dtype_text(t) for c, t in whole.schema.items()},
        **({"regenerated": {rule.column: what for rule, what in found}} if found else {}),
        "digest": fingerprint,
        **({"settings": choice.settings, "why": choice.why} if asked.model == AUTO else {}),
        **aimed,
        **course,
    }
    return Model(choice.name, sampler, card)


def _fit_several(data: Any, tables: Mapping[str, Table], asked: _Asked) -> Model:
    """A model of tables that refer to one another."""
    dropped = [split_name(c, tables, "--drop") for c in asked.drop]
    tables = {n: t.drop([c for table, c in dropped if table == n]) for n, t in tables.items()}
    for column in asked.keep:
        split_name(column, tables, "--keep")
    aim = split_name(asked.target, tables, "--target") if asked.target else None
    links = links_of(tables, [*parse_links(asked.relations, tables), *declared_links(data)])
    digests = {n: str(digest(t)) for n, t in tables.items()}
    _same_table(str(digests))
    made = fit_database(
        tables,
        links,
        asked.rng(relational.NAME),
        asked.model,
        asked.seconds,
        asked.keep,
        read_times(asked.times, tables),
        aim,
    )
    source = None if isinstance(data, Mapping) else Path(redact(str(data))).name
    card = {
        **_origin(relational.NAME, asked, sum(t.height for t in tables.values()), source),
        "tables": {n: {"rows": t.height, "digest": digests[n]} for n, t in tables.items()},
        "relations": [str(k) for k in made.links],
        "unit": {"table": made.unit, "rows": tables[made.unit].height},
        "models": {t.shape.name: t.kind for t in made.tables},
        "regenerated": {f"{t.shape.name}.{r.column}": r.kind for t in made.tables for r in t.shape.rules},
        **({"target": asked.target} if asked.target else {}),
    }
    return Model(relational.NAME, made, card)


def _fit_private(data: Any, model: str, asked: _Asked, budget: Budget) -> Model:
    """A private model. Its card has neither a digest nor the exact number of rows, which would tell of the table, nor the seed of its noise."""
    learn = MODELS[model].learn if MODELS[model].private else MODELS[model].learn_private
    if learn is None:
        kind = MODELS[model]
        able = [k for k in MODELS.values() if (k.private or k.learn_private) and k.events == kind.events]
        names = ", ".join(k.name for k in able)
        raise UserError(f"'{model}' is not differentially private: with epsilon, fit one of {names}")
    table = _without(read_table(data), asked.drop)
    _check_columns(table, _aim(asked), "target")
    aimed = asked.aimed(model)
    noise = Stream(secrets.token_bytes(16)) if asked.seed is None else asked.rng(model)
    roles = () if asked.roles is None else (asked.roles,)
    sampler, about = learn(table, noise, budget, asked.domain, *roles, **aimed)
    card = {
        "model": model,
        "populace": version("populace"),
        "rows" if asked.roles is None else "entities": round(about),
        "columns": {c: dtype_text(table.schema[c]) for c in sampler.columns if c in table.columns},
        **({} if asked.roles is None else {"regenerated": {asked.roles.entity: "the entity's key"}}),
        "source": _name(data),
        "privacy": budget.record(),
        **aimed,
    }
    return Model(model, sampler, card)


def _fit_events(data: Any, asked: _Asked, roles: Roles, began: Model | None) -> Model:
    """A model of events or series of entities."""
    table = _without(read_table(data), asked.drop)
    model = events_or_series(table, roles) if asked.model == AUTO else asked.model
    if not roles.entity and not MODELS[model].trained:
        raise UserError(f"'{model}' learns events of entities: say which column is the entity (--entity)")
    fingerprint = str(digest(table))
    effort = effort_of(model, asked.seconds, asked.epochs, began, fingerprint, asked.seed or 0)
    _same_table(fingerprint)
    sampler = learn_kept(MODELS[model], table, asked.rng(model), roles, *effort)
    rule = sampler.entity
    card = {
        **_origin(model, asked, table.height, _name(data)),
        "columns": {c: dtype_text(table.schema[c]) if c in table.columns else rule.dtype for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "regenerated": {rule.column: "the entity's key"},
        "digest": fingerprint,
        **course_of(sampler, began),
    }
    return Model(model, sampler, card)


def _fit_series(data: Any, model: str, asked: _Asked, time: str) -> Model:
    """A model of one series: of the columns of numbers in the order of another."""
    table = _without(read_table(data), asked.drop)
    fingerprint = str(digest(table))
    _same_table(fingerprint)
    sampler = learn_kept(MODELS[model], table, asked.rng(model), time)
    card = {
        **_origin(model, asked, table.height, _name(data)),
        "columns": {c: dtype_text(table.schema[c]) for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "digest": fingerprint,
    }
    return Model(model, sampler, card)


def _origin(model: str, asked: _Asked, rows: int, source: str | None) -> dict[str, Any]:
    return {"model": model, "populace": version("populace"), "seed": asked.seed or 0, "rows": rows, "source": source}


def _name(data: Any) -> str | None:
    return Path(data).name if isinstance(data, (str, os.PathLike)) else None


def _aim(asked: _Asked) -> tuple[str, ...]:
    return () if asked.target is None else (asked.target,)


def _without(table: Table, drop: Sequence[str]) -> Table:
    _check_columns(table, drop, "drop")
    return table.drop(drop)


def _check_columns(table: Table, columns: Sequence[str], where: str) -> None:
    """Raises UserError for a column that the table does not have."""
    for column in columns:
        if column not in table.columns:
            raise unknown("column", column, table.columns, where)


def _same_table(fingerprint: str) -> None:
    """Raises UserError where parts are of another table. Of a private table nothing says which it was: a digest would tell of it."""
    if part(TABLE, lambda: fingerprint) != fingerprint:
        raise UserError("the finished parts are those of another table; fit the same, or without --resume")
