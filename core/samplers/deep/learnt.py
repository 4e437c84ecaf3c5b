"""What a network's learning leaves behind to go on from: all its parameters, how far it came and why it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Effort:
    """What a fit may take, and where it begins."""

    epochs: int | None = None
    """Passes over the rows; as many as the model takes by itself if None."""
    seconds: float | None = None
    """About how many CPU-seconds. Passes are planned by an estimate that looks at no clock; only what takes longer than planned is cut short by one."""
    start: Any = None
    """A sampler of the same model to begin from, on rows of its own."""
    resume: bool = False
    """Whether the rows are those of `start`, whose learning was broken off and is to go on."""
    began: float = field(default_factory=time.process_time)
    """When its seconds began to count, by the process's own clock."""

    @property
    def tuned(self) -> bool:
        """Whether learning begins with what was learnt from another table, or did before it was broken off."""
        return self.start is not None and (not self.resume or bool(self.start.learnt.course.get("tuned")))


FREELY = Effort()
"""As many passes as the model takes by itself, from nothing."""


@dataclass(frozen=True, eq=False)
class Learnt:
    parameters: Mapping[str, NDArray]
    course: Mapping[str, Any]
    """`epochs` done, `of` so many planned, the best `loss`, and why it `stopped`."""
    rest: Mapping[str, NDArray] = field(default_factory=dict)
    """The state of optimisers and of random numbers, where learning was broken off."""

    @property
    def unfinished(self) -> bool:
        return bool(self.rest)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        """To be kept beside a sampler's own."""
        arrays = {f"learnt.{k}": v for k, v in self.parameters.items()} | {f"rest.{k}": v for k, v in self.rest.items()}
        return {"course": dict(self.course)}, arrays


def rebuild_learnt(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Learnt:
    """The inverse of `Learnt.state`. Raises ValueError for numbers that are none."""
    parts = {p: {k[len(p) :]: np.array(v) for k, v in arrays.items() if k.startswith(p)} for p in ("learnt.", "rest.")}
    if any(a.dtype.kind == "f" and not np.isfinite(a).all() for part in parts.values() for a in part.values()):
        raise ValueError("what it learnt is damaged")
    return Learnt(parts["learnt."], dict(plain["course"]), parts["rest."])
