"""torch, when it is there, and a place in which it gives the same numbers each time and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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


def device_of(torch: Any) -> str:
    """Where networks learn: on a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def host(tensor: Any) -> Any:
    """A tensor's numbers as an array of NumPy, wherever they are."""
    return tensor.detach().cpu().numpy()


@contextmanager
def deterministic(torch: Any, stream: Stream) -> Iterator[Any]:
    """A generator of random numbers of its own, where networks learn; tensors made meanwhile are there, too. One thread: sums of floats must not hang
    on how many there are."""
    threads, device = torch.get_num_threads(), device_of(torch)
    torch.set_num_threads(1)
    try:
        # tensors are on the processor without being told, and told sooner
        with nullcontext() if device == "cpu" else torch.device(device):
            yield torch.Generator(device).manual_seed(int(stream.bits(np.zeros(1, np.int64))[0] >> 1))
    finally:
        torch.set_num_threads(threads)


def begin_layers(torch: Any, generator: Any, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """`NAME.weight` and `NAME.shift` of layers with so many inputs and outputs, begun uniformly within 1 / √inputs, as torch's own layers are."""
    parts: dict[str, Any] = {}
    for name, (inputs, outputs) in shapes.items():
        bound = max(inputs, 1) ** -0.5
        parts[f"{name}.weight"] = (torch.rand(inputs, outputs, generator=generator) * 2 - 1) * bound
        parts[f"{name}.shift"] = (torch.rand(outputs, generator=generator) * 2 - 1) * bound
    return parts


def apply_layer(p: Mapping[str, Any], name: str, x: Any) -> Any:
    """x · weight + shift of the layer `name`."""
    return x @ p[f"{name}.weight"] + p[f"{name}.shift"]


def level(torch: Any, scores: Any, sizes: Sequence[int], segment: Any) -> Any:
    """Scores less the highest of their segment, so that their exponentials neither overflow nor vanish whatever other segments' scores are: nothing
    in learning keeps segments at one height. The last axis of `scores` is cut into `sizes`, which the 0/1 matrix `segment`, shape (scores, segments), says again.
    """
    with torch.no_grad():
        tops = torch.cat([t.amax(dim=-1, keepdim=True) for t in scores.split(sizes, dim=-1)], dim=-1)
        tops = tops @ segment.T
    return scores - tops


def log_chances(torch: Any, scores: Any, sizes: Sequence[int], segment: Any) -> Any:
    """The log of each class's chance within its segment; as `level`."""
    levelled = level(torch, scores, sizes, segment)
    return levelled - torch.log(torch.exp(levelled) @ segment) @ segment.T
