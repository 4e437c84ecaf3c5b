"""torch, when it is there, and a place in which it gives the same numbers each time and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...errors import UserError
from ...stream import Stream


def torch_or_error(model: str) -> Any:
    """The module torch. Raises UserError, saying what to install, where it is missing."""
    try:
        import torch
    except ImportError:
        raise UserError(f"'{model}' learns with torch, which is not installed: pip install 'populace[deep]'") from None
    return torch


@contextmanager
def deterministic(torch: Any, stream: Stream) -> Iterator[Any]:
    """A generator of random numbers of its own. One thread: sums of floats must not hang on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield torch.Generator().manual_seed(int(stream.bits(np.zeros(1, np.int64))[0] >> 1))
    finally:
        torch.set_num_threads(threads)


def linear(torch: Any, generator: Any, inputs: int, outputs: int) -> tuple[Any, Any]:
    """A weight of shape (inputs, outputs) and a shift, begun uniformly within 1 / √inputs, as torch's own layers are."""
    bound = inputs**-0.5
    weight = (torch.rand(inputs, outputs, generator=generator) * 2 - 1) * bound
    shift = (torch.rand(outputs, generator=generator) * 2 - 1) * bound
    return weight.requires_grad_(), shift.requires_grad_()
