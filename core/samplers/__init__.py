"""A generator is a conditional sampler: columns given columns. A rule, a copula, a network and a GAN have the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ..stream import Stream
from ..tables import Table


@runtime_checkable
class Sampler(Protocol):
    """Laws: one row out for each row of `given`, exactly `columns`; the same for the same stream; prefix-stable."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def sample(self, given: Table, stream: Stream) -> Table: ...


Fit = Callable[[Table, Stream], Sampler]
"""Learning returns a sampler: an unfitted model cannot be written down."""
