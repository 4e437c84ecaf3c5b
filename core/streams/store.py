"""The store of a stream: one file of messages a block, sorted by time in small row groups, so that any span of time is read alone.

It is written like any other target (staged, resumable, published whole), and read in slices: memory is bounded by the row groups that a slice
meets, about as many as there are blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from ..domain import Domain
from ..sinks.stage import Stage, publish_folder, read_manifest
from ..tables import Table, Tables
from .events import Event
from .message import ORDER, Shape, messages

if TYPE_CHECKING:
    from ..plan import Plan

GROUP = 4_096
"""Messages in a row group."""
_PART = "message"


@dataclass(frozen=True)
class StoreSink:
    """Takes what a run makes; see `core.sinks.Sink`."""

    target: Path
    domain: Domain
    events: tuple[Event, ...]
    shape: Shape
    dataset: str
    """Begins the identifier of every message."""

    @property
    def form(self) -> str:
        return f"messages {self.shape.form} {' '.join(e.name for e in self.events)}"

    @property
    def stage(self) -> Stage:
        return Stage(self.target)

    @property
    def place(self) -> str:
        return str(self.target)

    @property
    def work(self) -> str:
        return self.form

    def ready(self, plan: Plan) -> Self:
        self.stage.check()
        return self

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        made = messages(self.domain, tables, self.events, self.shape, self.dataset, reference)
        if made.height:
            self.stage.put_part(
                _PART,
                index,
                "parquet",
                lambda p: made.write_parquet(
                    p, compression="zstd", compression_level=1, row_group_size=GROUP, statistics=True
                ),
            )

    def published(self) -> Mapping[str, Any] | None:
        return read_manifest(self.target / "manifest.json")

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        made = self.stage.path / "parts"
        self.stage.put(made / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
        publish_folder(made, self.target)
        return [str(self.target)]


@dataclass(frozen=True)
class Store:
    folder: Path

    @cached_property
    def parts(self) -> list[Path]:
        return sorted((self.folder / _PART).glob("part-*.parquet"))

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """First instant and number of messages of every row group, in order of time."""
        import pyarrow.parquet

        found = []
        for part in self.parts:
            meta = pyarrow.parquet.read_metadata(part)
            column = meta.schema.names.index("at")
            for n in range(meta.num_row_groups):
                group = meta.row_group(n)
                found.append((group.column(column).statistics.min, group.num_rows))
        return sorted(found)

    def count(self, since: int | None = None, until: int | None = None) -> int:
        """How many messages there are from one instant to before another (microseconds)."""
        if not self.parts:
            return 0
        return int(pl.scan_parquet(self.parts).filter(_between(since, until)).select(pl.len()).collect().item())

    def slices(self, since: int | None = None, until: int | None = None) -> Iterator[Table]:
        """The messages from one instant to before another, in order, some thousands at a time; those of one instant come together."""
        if not self.parts:
            return
        whole = pl.scan_parquet(self.parts)
        starts = [first for first, _ in self._groups[:: max(8, len(self.parts))]]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            low = start if since is None else max(start, since)
            high = end if until is None else until if end is None else min(end, until)
            if high is None or low < high:
                yield whole.filter(_between(low, high)).sort(ORDER).collect()


def _between(since: int | None, until: int | None) -> pl.Expr:
    within = pl.lit(True)
    if since is not None:
        within &= pl.col("at") >= since
    if until is not None:
        within &= pl.col("at") < until
    return within
