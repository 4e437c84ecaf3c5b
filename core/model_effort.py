"""What a fit of a network may take and where it begins: a time, passes, and a model to go on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .choose_model import check_seconds
from .errors import UserError
from .model import Model
from .model_file import load_model
from .model_kinds import MODELS
from .samplers.deep.learnt import Effort, Learnt
from .samplers.statistical.regenerate import Regenerated


def check_effort(model: str, seconds: float | None, epochs: int | None) -> None:
    """Raises UserError for a time or passes that are none, or that the model does not take."""
    if seconds is not None:
        check_seconds(seconds)
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or not 1 <= epochs <= 1_000_000):
        raise UserError(f"epochs is {epochs!r}, expected a whole number from 1 to 1,000,000")
    trained = model in MODELS and MODELS[model].trained
    if seconds is not None and not trained and model != "auto":
        raise UserError(f"a time is for 'auto', which chooses by it, and for networks; '{model}' takes what it takes")
    if epochs is not None and not trained:
        raise UserError(
            f"epochs are for networks ({', '.join(n for n, k in MODELS.items() if k.trained)}), not for '{model}'"
        )


def load_start(start: Model | str | os.PathLike[str], model: str) -> Model:
    """The model to go on from. Raises UserError if it is no network, or of another kind than `model`."""
    found = start if isinstance(start, Model) else load_model(start)
    if found.name not in MODELS or not MODELS[found.name].trained:
        raise UserError(f"start: '{found.name}' learns nothing step by step; a network can be gone on from")
    if model not in ("auto", found.name):
        raise UserError(f"start: is a model '{found.name}', and '{model}' is asked for")
    if "privacy" in found.card:
        raise UserError("start: is differentially private, and learning on without epsilon would make it no longer so")
    return found


def effort_of(
    model: str, seconds: float | None, epochs: int | None, began: Model | None, fingerprint: str, seed: int
) -> tuple[Effort, ...]:
    """What `learn` takes last: an effort for a network, nothing for others."""
    if not MODELS[model].trained:
        return ()
    start = None if began is None else _learnt(began.sampler)
    same = began is not None and began.card.get("digest") == fingerprint and began.card.get("seed") == seed
    resume = same and start.learnt.unfinished  # type: ignore[union-attr]
    return (Effort(epochs, seconds, start, bool(resume)),)


def load_unfinished(path: Path) -> Model:
    """The network of a file, whose learning was broken off. Raises UserError for any other."""
    found = load_model(path)
    learnt = getattr(_learnt(found.sampler), "learnt", None)
    if not (isinstance(learnt, Learnt) and learnt.unfinished):
        raise UserError(f"--resume: {path} is whole; nothing was interrupted")
    return found


def course_of(sampler: Any, began: Model | None) -> dict[str, Any]:
    """What a network's card says of its learning."""
    learnt = getattr(sampler, "learnt", None)
    if not isinstance(learnt, Learnt):
        return {}
    course = {k: v for k, v in learnt.course.items() if k != "waited"}
    return {"learning": course | ({"from": began.card.get("digest")} if began is not None else {})}


def _learnt(sampler: Any) -> Any:
    return sampler.learnt if isinstance(sampler, Regenerated) else sampler
