"""Models: samplers learnt from a table, kept in one file that holds numbers and text and nothing that executes.

A model file is in the safetensors format: arrays as tensors, and in the header's `__metadata__` one JSON text with the card and the columns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .digest import digest
from .errors import UserError, unknown
from .files import write_whole
from .progress import Progress
from .samplers import Sampler
from .samplers.statistical.copula import fit_copula, rebuild_copula
from .samplers.statistical.empirical import fit_empirical, rebuild_empirical
from .samplers.statistical.marginal import Marginal, dtype_text
from .stream import Stream
from .tables import ROW, Table
from .user_table import read_table

if TYPE_CHECKING:
    import pandas as pd

MODELS: Mapping[
    str, tuple[Callable[[Table, Stream], Any], Callable[[Mapping[str, Any], Mapping[str, NDArray]], Sampler]]
] = {
    "gaussian-copula": (fit_copula, rebuild_copula),
    "empirical": (fit_empirical, rebuild_empirical),
}
"""What can be fitted: a name, how to learn it from a table, and how to rebuild it from what its `state()` gave."""

FORMAT = "populace-model-1"
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

    def sample(self, n: int, seed: int = 0, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """`n` rows as a pandas DataFrame, each column of the kind that the fitted table had. See `sample_frame`."""
        marginals = getattr(self.sampler, "marginals", ())
        return _to_pandas(self.sample_frame(n, seed, where), {m.name for m in marginals if m.missing})

    def sample_frame(self, n: int, seed: int = 0, where: Mapping[str, Any] | None = None) -> Table:
        """`n` rows as a polars frame. With `where`, every row has these values, and the other columns are drawn conditional on them.

        Raises UserError for a column that the model does not have, a category it has not seen, or a value of the wrong kind.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MAX_ROWS:
            raise UserError(f"the number of rows is {n!r}, expected a whole number from 0 to {MAX_ROWS:,}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise UserError(f"the seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
        marginals: dict[str, Marginal] = {m.name: m for m in getattr(self.sampler, "marginals", ())}
        told = [pl.Series(ROW, np.arange(n, dtype=np.uint64))]
        for column, value in (where or {}).items():
            if column not in marginals:
                raise unknown("column", column, self.columns, f"where {column}={value}")
            told.append(_constant(marginals[column], value).new_from_index(0, n))
        return self.sampler.sample(pl.DataFrame(told), Stream.root(seed).child("model", self.name))


def fit(data: pd.DataFrame | Table | str | os.PathLike[str], model: str = "gaussian-copula", seed: int = 0) -> Model:
    """Learn a model from a table: a pandas or polars DataFrame, or the path of a CSV (also gzipped) or Parquet file.

    Raises UserError for a model that does not exist, a table that cannot be read or is empty, or a column of a type that cannot be learnt.
    """
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    learn, _ = MODELS[model]
    with Progress(f"fitting {model}", 3, unit="step") as progress:
        table = read_table(data)
        progress.step()
        sampler = learn(table, Stream.root(seed).child("fit", model))
        progress.step()
        fingerprint = str(digest(table))
        progress.step()
    card = {
        "model": model,
        "populace": version("populace"),
        "seed": seed,
        "rows": table.height,
        "columns": {c: dtype_text(t) for c, t in table.schema.items()},
        "source": Path(data).name if isinstance(data, (str, os.PathLike)) else None,
        "digest": fingerprint,
    }
    return Model(model, sampler, card)


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to one file. It is there whole or not at all. Raises UserError if it cannot be written."""
    from safetensors.numpy import save

    plain, arrays = model.sampler.state()  # type: ignore[attr-defined]
    # one entry: safetensors writes several in an order that changes from run to run
    metadata = {FORMAT: json.dumps({"card": dict(model.card), "state": plain})}
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
        _, rebuild = MODELS[name]
        return Model(name, rebuild(plain, arrays), card)
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
    kinds = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
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
