"""Models: samplers learnt from a table, kept in one file that holds numbers and text and nothing that executes.

A model file is in the safetensors format: arrays as tensors, and in the header's `__metadata__` one JSON text with the card and the columns.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .choose_model import Choice, choose
from .conditions import asked, balanced, check_columns, conditioned
from .digest import digest
from .errors import UserError, unknown
from .files import write_whole
from .model_kinds import MODELS
from .privacy.budget import DELTA, Budget
from .progress import Progress
from .samplers import Sampler
from .samplers.statistical.detect import rules_of
from .samplers.statistical.learn_events import Roles
from .samplers.statistical.marginal import Marginal, dtype_of, dtype_text
from .samplers.statistical.network import Network
from .samplers.statistical.private_marginals import Extent
from .samplers.statistical.regenerate import Regenerated, Rule, check_room, rebuild_rules, rule_state
from .stream import Stream
from .tables import ROW, Table
from .user_table import read_table

if TYPE_CHECKING:
    import pandas as pd

    from .parity import FairSample

AUTO = "auto"
FORMAT = "populace-model-1"
EVENTS = "semi-markov"
"""What `auto` stands for with an entity and a time."""
SERIES = "series"
"""What `auto` stands for with a time alone."""
PRIVATE = "privbayes"
"""What `auto` stands for with an epsilon: the better of the private models on Adult, one draw of noise each (`benchmarks/models.py`)."""
MAX_BYTES = 2 << 30
MAX_ROWS = 1_000_000_000


@dataclass(frozen=True)
class Model:
    """A fitted sampler with its card: what it is, and what it was learnt from."""

    name: str
    sampler: Sampler
    card: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.sampler.columns

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The columns that were not learnt, and how they are made anew."""
        return self.sampler.rules if isinstance(self.sampler, Regenerated) else ()

    def sample(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
        given: pd.DataFrame | Table | None = None,
    ) -> pd.DataFrame:
        """Rows as a pandas DataFrame, each column of the kind that the fitted table had. See `sample_frame`."""
        marginals = getattr(self.sampler, "marginals", ())
        frame = self.sample_frame(n, seed, where, balance, given)
        return _to_pandas(frame, {m.name for m in marginals if m.missing} | {r.column for r in self.rules if r.missing})

    def sample_frame(
        self,
        n: int | None = None,
        seed: int = 0,
        where: Mapping[str, Any] | None = None,
        balance: Mapping[str, Mapping[Any, float]] | None = None,
        given: pd.DataFrame | Table | None = None,
    ) -> Table:
        """`n` rows as a polars frame, or one for each row of `given`, a table of some of the columns; of a model of events, all those of `n` entities.

        With `where`, every row has this value of a column, one of a set (a list, `"A|B"`), or one in a range (`Range(18, 65)`, `"18..65"`),
        and the other columns are drawn conditional on that. With `balance={"sex": {"F": 0.5}}`, exactly so many rows have the value.

        Raises UserError for a column that the model does not have, a category it has not seen, a value of the wrong kind, a column that is
        told twice, or ranges and sets that rows do not meet in `conditions.TRIES` draws.
        """
        if MODELS[self.name].series and (where or balance or given is not None):
            raise UserError(
                f"'{self.name}' makes a series in order of time: it takes neither where, balance nor given rows"
            )
        told_rows = None if given is None else read_table(given)
        n = told_rows.height if n is None and told_rows is not None else n
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MAX_ROWS:
            raise UserError(f"the number of rows is {n!r}, expected a whole number from 0 to {MAX_ROWS:,}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise UserError(f"the seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
        marginals: dict[str, Marginal] = {m.name: m for m in getattr(self.sampler, "marginals", ())}
        stream = Stream.root(seed).child("model", self.name)
        told = [pl.Series(ROW, np.arange(n, dtype=np.uint64))]
        wanted = {}
        for column, value in (where or {}).items():
            if column not in marginals:
                raise self._not_learnt(column, f"where {column}={value}")
            found = asked(marginals[column], value, _constant)
            if isinstance(found, pl.Series) and len(found) == 1:
                told.append(found.new_from_index(0, n))
            else:
                wanted[column] = found
        for column in balance or {}:
            if column not in marginals:
                raise self._not_learnt(column, f"balance {column}")
        told += balanced(marginals, balance or {}, n, stream, _constant)
        if told_rows is not None:
            if told_rows.height != n:
                raise UserError(f"the given table has {told_rows.height:,} rows, and {n:,} are asked for")
            dtypes = {m.name: m.dtype for m in marginals.values()} | {r.column: dtype_of(r.dtype) for r in self.rules}
            check_columns(told_rows.columns, dtypes, "given column")
            told += [_read_as(told_rows[c], dtypes[c]) for c in told_rows.columns]
        check_room(tuple(r for r in self.rules if r.column not in {s.name for s in told}), n)
        names = [s.name for s in told] + list(wanted)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"column '{twice}' is asked for twice, by where, balance or the given table")
        sampler = conditioned(self.sampler, marginals, {s.name for s in told[1:]}, wanted)
        made = sampler.sample(pl.DataFrame(told), stream).select(self.columns)
        # a row for each event
        return made.explode(self.columns[1:]) if MODELS[self.name].events else made

    def sample_fair(self, n: int, outcome: str, value: Any, group: str, gap: float = 0.0, seed: int = 0) -> FairSample:
        """`n` rows whose outcome is as frequent in every group, to within `gap`, and what that costs. See `parity.sample_fair`."""
        from .parity import sample_fair

        return sample_fair(self, n, outcome, value, group, gap, seed)

    def describe(self) -> str:
        """What it is and was learnt from, a line each; and its graph, where it has one."""
        card = self.card
        lines = [
            f"{self.name} of {card['rows']:,} rows and {len(self.columns)} columns, from {card.get('source') or 'a frame'}"
        ]
        if "privacy" in card:
            paid = card["privacy"]
            lines.append(
                f"differentially private: epsilon {paid['epsilon']:g}, delta {paid['delta']:g}, for {paid['neighbours']}"
            )
        lines += [f"made by rule: {r.column}, {card['regenerated'][r.column]}" for r in self.rules]
        learnt = self.sampler.learnt if isinstance(self.sampler, Regenerated) else self.sampler
        return "\n".join([*lines, learnt.graph()] if isinstance(learnt, Network) else lines)

    def _not_learnt(self, column: str, place: str) -> UserError:
        if any(column == r.column for r in self.rules):
            return UserError(
                f"{place}: '{column}' is made by rule and was not learnt; fit with --keep {column} to learn it"
            )
        return unknown("column", column, self.columns, place)


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
    time: str | None = None,
) -> Model:
    """Learn a model from a table: a pandas or polars DataFrame, or the path of a CSV (also gzipped) or Parquet file.

    `auto` picks the model by the table's shape and about how many CPU-seconds there are; the card says why. Keys, names, e-mail addresses,
    codes and free text are not learnt but made anew by rule, and the card says which; those in `keep` are learnt, those in `drop` left out.

    With `epsilon` (and `delta`, 1e-6 without) the model is differentially private: `domain` says what is publicly known of columns, what it does
    not say is paid for, and column names and types count as public. Its noise is drawn from the system's randomness, or from `seed`, which then
    must stay secret. Without epsilon, the seed is 0 unless given.

    With `roles`, the table holds events of entities, and the model makes entities with their events. With `time`, it is one series in the order
    of that column, and the model makes series.

    Raises UserError for a model that does not exist, a table that cannot be read or is empty, or a column of a type that cannot be learnt.
    """
    if model != AUTO and model not in MODELS:
        raise unknown("model", model, (AUTO, *MODELS))
    if seconds is not None and model != AUTO:
        raise UserError(f"a time is for the model '{AUTO}', which chooses by it; '{model}' takes what it takes")
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
        if epsilon is not None or seconds is not None or keep or not (eventful or model == AUTO):
            raise UserError(
                "events of entities take a model of events and a seed, and neither epsilon, a time nor columns to keep"
            )
        return _fit_events(data, EVENTS if model == AUTO else model, seed or 0, drop, roles)
    if epsilon is not None:
        if seconds is not None or keep:
            raise UserError(
                "a private model takes no time and keeps nothing; leave out the "
                + ("time" if seconds else "columns to keep")
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
        choice = choose(table, seconds) if model == AUTO else Choice(model, {}, "")
        progress.step()
        sampler = MODELS[choice.name].learn(table, Stream.root(seed).child("fit", choice.name), **choice.settings)
        if found:
            sampler = Regenerated(sampler, tuple(rule for rule, _ in found), tuple(whole.columns))
        progress.step()
        fingerprint = str(digest(whole))
        progress.step()
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
    }
    return Model(choice.name, sampler, card)


def _fit_private(
    data: Any, model: str, seed: int | None, drop: Sequence[str], budget: Budget, domain: Mapping[str, Extent]
) -> Model:
    """A private model. Its card has neither a digest nor the exact number of rows, which would tell of the table, nor the seed of its noise."""
    if not MODELS[model].private:
        names = ", ".join(n for n, k in MODELS.items() if k.private)
        raise UserError(f"'{model}' is not differentially private: with epsilon, fit one of {names}")
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    noise = Stream(secrets.token_bytes(16)) if seed is None else Stream.root(seed).child("fit", model)
    sampler, rows = MODELS[model].learn(table.drop(drop), noise, budget, domain)
    card = {
        "model": model,
        "populace": version("populace"),
        "rows": round(rows),
        "columns": {m.name: dtype_text(m.dtype) for m in sampler.marginals},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "privacy": budget.record(),
    }
    return Model(model, sampler, card)


def _fit_events(data: Any, model: str, seed: int, drop: Sequence[str], roles: Roles) -> Model:
    """A model of events: of the entity, the time and the kind alone."""
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    table = table.drop(drop)
    sampler = MODELS[model].learn(table, Stream.root(seed).child("fit", model), roles)
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
        "digest": str(digest(table)),
    }
    return Model(model, sampler, card)


def _fit_series(data: Any, model: str, seed: int, drop: Sequence[str], time: str) -> Model:
    """A model of one series: of the columns of numbers in the order of another."""
    table = read_table(data)
    for column in drop:
        if column not in table.columns:
            raise unknown("column", column, table.columns, "drop")
    table = table.drop(drop)
    sampler = MODELS[model].learn(table, Stream.root(seed).child("fit", model), time)
    card = {
        "model": model,
        "populace": version("populace"),
        "seed": seed,
        "rows": table.height,
        "columns": {c: dtype_text(table.schema[c]) for c in sampler.columns},
        "left out": [c for c in table.columns if c not in sampler.columns],
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": str(digest(table)),
    }
    return Model(model, sampler, card)


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file. It is there whole or not at all. Raises UserError if it cannot be written."""
    from safetensors.numpy import save

    made = model.sampler.learnt if isinstance(model.sampler, Regenerated) else model.sampler
    plain, arrays = made.state()  # type: ignore[attr-defined]
    ruled = {"rules": [rule_state(r) for r in model.rules], "order": list(model.columns)} if model.rules else {}
    # one entry: safetensors writes several in an order that changes from run to run
    metadata = {FORMAT: json.dumps({"card": dict(model.card), "state": plain, **ruled})}
    content = save({k: np.ascontiguousarray(a) for k, a in arrays.items()}, metadata)
    write_whole(path, content, "model")


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file. Raises UserError, with the file's name, for one that cannot be read or is not a sound model."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"model {path}: is larger than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"model {path}: cannot be read: {error.strerror}") from None
    try:
        text, arrays = _parsed(content)
        whole = json.loads(text)
        card, plain = whole["card"], whole["state"]
        name = card["model"]
        if name not in MODELS:
            raise unknown("model", name, MODELS, f"model {path}")
        sampler = MODELS[name].rebuild(plain, arrays)
        if "rules" in whole:
            sampler = _with_rules(sampler, rebuild_rules(whole["rules"]), tuple(whole["order"]))
        return Model(name, sampler, card)
    except UserError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        pl.exceptions.PolarsError,
        np.linalg.LinAlgError,
    ) as error:
        raise UserError(f"model {path}: is not a populace model, or is damaged: {error}") from None


def _with_rules(sampler: Sampler, rules: tuple[Rule, ...], order: tuple[str, ...]) -> Sampler:
    if sorted((*sampler.columns, *(r.column for r in rules))) != sorted(order):
        raise ValueError("its rules are not of its columns")
    return Regenerated(sampler, rules, order)


def _constant(marginal: Marginal, value: Any) -> pl.Series:
    """A series of one value, in the type of its column; text is read as a number, a date or a truth value where the column holds them."""
    place, dtype = f"where {marginal.name}={value}", marginal.dtype
    if marginal.categories is not None:
        if str(value) not in marginal.categories:
            raise unknown(f"value of {marginal.name}", value, marginal.categories, place)
        return pl.Series(marginal.name, [str(value)]).cast(dtype)
    try:
        if isinstance(value, str) and dtype == pl.Boolean:
            value = {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        series = pl.Series(marginal.name, [value])
        if isinstance(value, str) and isinstance(dtype, pl.Datetime):
            series = series.str.to_datetime(time_unit=dtype.time_unit, time_zone=dtype.time_zone)
        elif isinstance(value, str) and dtype == pl.Date:
            series = series.str.to_date()
        elif isinstance(value, str) and dtype.is_integer():
            exact = series.cast(pl.Float64)
            if exact[0] != round(exact[0]):
                raise ValueError(value)
            series = exact.cast(pl.Int64)
        series = series.cast(dtype)
        if series.is_null().any() or (dtype.is_float() and not np.isfinite(series[0])):
            raise ValueError(value)
        if (
            isinstance(value, (int, float))
            and dtype.is_numeric()
            and float(series[0]) != np.dtype(_width(dtype)).type(value)
        ):
            raise ValueError(value)
        return series
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, OverflowError):
        raise UserError(f"{place}: '{value}' is not a value of type {dtype}") from None


def _read_as(values: pl.Series, dtype: Any) -> pl.Series:
    """A given column in the type that was fitted."""
    try:
        if isinstance(dtype, pl.Enum):
            values = values.cast(pl.String)
        return values.cast(dtype)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"given column '{values.name}': is not of type {dtype}: {reason}") from None


def _width(dtype: Any) -> str:
    return "f4" if dtype == pl.Float32 else "f8"


def _parsed(content: bytes) -> tuple[str, dict[str, NDArray]]:
    """The JSON text and the arrays of a model file. Raises ValueError if it is none."""
    from safetensors import SafetensorError, deserialize

    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > len(content) - 8:
        raise ValueError("its header is cut off")
    header = json.loads(content[8 : 8 + size])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if FORMAT not in metadata:
        raise ValueError(f"its header has no '{FORMAT}'")
    try:
        found = deserialize(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    kinds = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "I32": np.dtype("<i4")}
    return metadata[FORMAT], {
        name: np.frombuffer(t["data"], kinds[t["dtype"]]).reshape(t["shape"]) for name, t in found
    }


def _to_pandas(frame: Table, missing: set[str]) -> pd.DataFrame:
    """pandas' own types; whole numbers and truth values keep their kind where some are missing."""
    import pandas as pd

    out = frame.to_pandas()
    for name, dtype in frame.schema.items():
        if name in missing and dtype.is_integer():
            out[name] = pd.array(frame[name].to_list(), dtype=str(dtype))  # type: ignore[call-overload]
        elif name in missing and dtype == pl.Boolean:
            out[name] = out[name].astype("boolean")
    return out
