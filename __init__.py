"""populace: synthetic healthcare, finance and IoT data. A dataset is a pure function of a spec and a seed.

    import populace
    data = populace.generate("finance", size=1_000, seed=7, scenarios=["card-testing"])
    data["transaction"], data.labels

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import pandas as pd
    import polars as pl

    from .core.dataset import Dataset
    from .core.evaluate import Evaluation
    from .core.models import Model

__all__ = ["evaluate", "fit", "generate", "load_model", "rows", "save_model"]


def generate(
    domain: str,
    *,
    size: int | None = None,
    seed: int = 0,
    start: str | None = None,
    end: str | None = None,
    scenarios: Sequence[str | Mapping[str, Any]] = (),
    set: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    **inputs: str | os.PathLike[str] | Sequence[str],
) -> Dataset:
    """Generate a dataset in memory.

    `size` counts root entities (patients, customers, devices). A scenario is its name, `"name:key=value"`, or a mapping with a `name`;
    `set` overrides priors by name; `only` names the tables to make, where not all are wanted; `inputs` are folders and names that the domain takes (`modules="my-modules/"`). Raises UserError for anything that cannot be, before any row is made.
    """
    from .core.dataset import generate as build_dataset
    from .core.plan import make_plan
    from .core.spec import Spec, read_requests

    requests = read_requests(scenarios)
    spec = Spec(domain, size, seed, start, end, requests, set or {}, models or {}, inputs, only=tuple(only))
    return build_dataset(make_plan(spec))


def rows(
    domain: str,
    table: str | None = None,
    count: int = 20,
    seed: int = 0,
    as_: str | type | Callable[..., Any] = "dict",
) -> list[Any]:
    """A few rows of a table (of the root entities, if none is named), within milliseconds once the first call for a domain has made what they are
    chosen from. `as_` is as in `data.records`. Raises UserError for what there is not.
    """
    from .core.rows import rows as choose

    return choose(domain, table, count, seed, as_)


def fit(
    table: pd.DataFrame | pl.DataFrame | Mapping[str, Any] | str | os.PathLike[str],
    *,
    model: str = "auto",
    seed: int | None = None,
    seconds: float | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    epsilon: float | None = None,
    delta: float | None = None,
    domain: Mapping[str, Mapping[str, Any]] | str | os.PathLike[str] | None = None,
    entity: str | None = None,
    time: str | None = None,
    event: str | None = None,
    start: Model | str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    target: str | None = None,
    relations: Sequence[str] = (),
    times: Sequence[str] = (),
) -> Model:
    """Learn a model of a table: a frame, or the path of a CSV or Parquet file. Or of several tables that refer to one another: a folder of such files,
    the URL of a database, or a mapping of names to frames; `relations` (`"order.customer=customer.id"`) and `times` (`"order.at"`, what orders the rows
    of a parent) say what cannot be found, and `model.sample_tables(100)` draws them all.

    `auto` picks the model by the table's shape and about how many CPU-seconds there are. Keys, names and free text are made anew by rule, except
    those in `keep`; those in `drop` are left out.

    With `epsilon` it is differentially private; `domain` (a mapping such as `{"age": {"min": 0, "max": 120}}`, or a TOML file) says what is known of
    columns without looking, and the rest is paid for. With `entity` and `time`, columns of a table of events, it learns
    what `event` (the only other column, without) follows which, and draws entities with their events. With `time` alone, the table is one series
    in the order of that column.

    `start`: a network, or its file, to go on from; `epochs`: passes over the rows at most.

    `target`: the column that the others are to foretell gets the greatest care.

    `model.sample(1_000, seed=2, where={"sex": "F"})` draws
    rows from it. Raises UserError for an unknown model or a table that cannot be read.
    """
    from .core.errors import UserError
    from .core.models import fit as learn
    from .core.samplers.statistical.learn_events import Roles
    from .core.samplers.statistical.private_marginals import as_extents

    if (entity is not None and time is None) or (event and not entity):
        raise UserError("events need an entity and a time, and may have an event")
    if time is not None and times:
        raise UserError("time is for one table, times for several: not both")
    roles = Roles(entity, time, event) if entity and time else None
    ordered = (time,) if time is not None and roles is None else times
    extents = None if domain is None else as_extents(domain)
    return learn(
        table,
        model,
        seed,
        seconds,
        keep,
        drop,
        epsilon,
        delta,
        extents,
        roles,
        start,
        epochs,
        target,
        relations,
        ordered,
    )


def evaluate(
    real: pd.DataFrame | pl.DataFrame | Mapping[str, Any] | str | os.PathLike[str],
    synth: pd.DataFrame | pl.DataFrame | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    holdout: pd.DataFrame | pl.DataFrame | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
    relations: Sequence[str] = (),
    domain: str | None = None,
    time: str | None = None,
    entity: str | None = None,
    model: Model | str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Say how faithful, useful, private and fair synthetic data are beside the real data.

    Frames and files are one table; folders, database URLs and mappings of names to frames are several, whose `relations` (`"order.customer=customer.id"`) are read or found where they are not told.
    `found["fidelity.quality"]` is a figure, `found.verdicts()` says what the data may serve, `found.summary()` says it in words. `holdout`: real
    rows that no model learnt from; `target`: a column to foretell; `sensitive`: columns whose disclosure would harm; `time`, `entity`: what orders rows that are series, and whose they are; `model`: what drew the rows, to attack its like.

    A domain's dataset is also held against the domain's rules and published figures; alone, as `real`, against nothing else. Raises UserError for data
    that cannot be read or compared.
    """
    from .core.evaluate import evaluate as measure

    return measure(real, synth, holdout, target, sensitive, only, seed, relations, domain, time, entity, model)


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file (safetensors and JSON: data, nothing that executes)."""
    from .core.models import save_model as save

    save(model, path)


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model back. Raises UserError if the file is not a whole and valid model."""
    from .core.models import load_model as load

    return load(path)
