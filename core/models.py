"""Fitting: a model learnt from a table. The model itself is in `model.py`, its file in `model_file.py`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .choose_model import Choice, choose, events_or_series
from .digest import digest
from .errors import UserError, unknown
from .model import Model
from .model_effort import check_effort, course_of, effort_of, load_start
from .model_file import FORMAT, load_model, save_model
from .model_kinds import MODELS
from .privacy.budget import DELTA, Budget
from .progress import Progress
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
PRIVATE = "privbayes"
"""What `auto` stands for with an epsilon: the better of the private models on Adult, one draw of noise each (`benchmarks/models.py`)."""


def fit(
    data: pd.DataFrame | Table | str | os.PathLike[str],
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
) -> Model:
    """Learn a model from a table: a pandas or polars DataFrame, or the path of a CSV (also gzipped) or Parquet file.

    `auto` picks the model by the table's shape and about how many CPU-seconds there are; the card says why. Keys, names, e-mail addresses,
    codes and free text are not learnt but made anew by rule, and the card says which; those in `keep` are learnt, those in `drop` left out.

    With `epsilon` (and `delta`, 1e-6 without) the model is differentially private: `domain` says what is publicly known of columns, what it does
    not say is paid for, and column names and types count as public. Its noise is drawn from the system's randomness, or from `seed`, which then
    must stay secret. Without epsilon, the seed is 0 unless given.

    With `roles`, the table holds events of entities, and the model makes entities with their events.

    `start`, of a network: a model to go on from, or its file. On the rows that it was learnt from, learning that was broken off is taken up where it was; on
    others, it begins with what the model knows. `epochs`: passes over the rows at most.

    Raises UserError for a model that does not exist, a table that cannot be read or is empty, or a column of a type that cannot be learnt.
    """
    if model != AUTO and model not in MODELS:
        raise unknown("model", model, (AUTO, *MODELS))
    began = None if start is None else load_start(start, model)
    model = began.name if began is not None else model
    check_effort(model, seconds, epochs)
    eventful = model in MODELS and MODELS[model].events
    if eventful and roles is None:
        raise UserError(
            f"'{model}' learns events: say which column is the entity and which the time (--entity, --time-column)"
        )
    if roles is not None:
        if epsilon is not None or keep or not (eventful or model == AUTO):
            raise UserError("events of entities take a model of events, and neither epsilon nor columns to keep")
        return _fit_events(data, model, seed or 0, drop, roles, seconds, epochs, began)
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
        choice = choose(table, seconds, networks=True) if model == AUTO else Choice(model, {}, "")
        progress.step()
        fingerprint = str(digest(whole))
        effort = effort_of(choice.name, seconds, epochs, began, fingerprint, seed)
        sampler = MODELS[choice.name].learn(
            table, Stream.root(seed).child("fit", choice.name), *effort, **choice.settings
        )
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
        **course,
    }
    return Model(choice.name, sampler, card)


def _fit_private(
    data: Any, model: str, seed: int | None, drop: Sequence[str], budget: Budget, domain: Mapping[str, Extent]
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
    noise = Stream(secrets.token_bytes(16)) if seed is None else Stream.root(seed).child("fit", model)
    sampler, rows = learn(table.drop(drop), noise, budget, domain)
    card = {
        "model": model,
        "populace": version("populace"),
        "rows": round(rows),
        "columns": {m.name: dtype_text(m.dtype) for m in sampler.marginals},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "privacy": budget.record(),
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
    sampler = MODELS[model].learn(table, Stream.root(seed).child("fit", model), roles, *effort)
    rule = sampler.entity
    card = {
        "model": model,
        "populace": version("populace"),
        "seed": seed,
        "rows": table.height,
        "columns": {c: dtype_text(table.schema[c]) for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "regenerated": {rule.column: "the entity's key"},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": fingerprint,
        **course_of(sampler, began),
    }
    return Model(model, sampler, card)
