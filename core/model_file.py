"""Models in one file that holds numbers and text and nothing that executes.

A model file is in the safetensors format: arrays as tensors, and in the header's `__metadata__` one JSON text with the card and the columns.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl

from . import relational
from .errors import UserError, unknown
from .files import write_whole
from .model import Model
from .model_kinds import MODELS
from .relational.database import rebuild_database
from .samplers import Sampler
from .samplers.statistical.regenerate import Regenerated, Rule, rebuild_rules, rule_state
from .tensors import parsed

FORMAT = "populace-model-1"
MAX_BYTES = 2 << 30


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
        text, arrays = parsed(content, FORMAT)
        whole = json.loads(text)
        card, plain = whole["card"], whole["state"]
        name = card["model"]
        if name == relational.NAME:
            return Model(name, rebuild_database(plain, arrays), card)
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
