"""Readings as the checks look at them: plain arrays in order of key, each channel's together. Several checks ask one after the other; what they
share is made once, and goes when the tables do."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.tables import plain
from .population import SCHEMA
from .readings import in_order, places

Lazy = Mapping[str, pl.LazyFrame]
Channel = dict[str, Any]
_ABOUT = ("channel", "device")


class Sheet:
    """The readings of some tables by channel, and each channel's row with its device's profile and gateway, where there is a device."""

    def __init__(self, tables: Lazy) -> None:
        self._reading = in_order(tables["reading"].collect())
        self._limits: dict[int, tuple[float, float]] = {}
        self._columns: dict[str, NDArray] = {}
        self._tables = {name: tables[name] for name in _ABOUT if name in tables}

    def is_of(self, tables: Lazy) -> bool:
        """Whether what it says of channels is from these tables."""
        return all(self._tables.get(name) is tables.get(name) for name in _ABOUT)

    @cached_property
    def channels(self) -> list[tuple[Channel, slice]]:
        """The channels, each with where its readings stand."""
        channel = self._tables["channel"].collect()
        columns = {c.name: (c.cast(pl.Int64) if c.dtype.is_temporal() else c).to_list() for c in channel}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if "device" in self._tables:
            devices = self._tables["device"].collect().select("device_id", "gateway_id", "profile")
            about = {number: {"gateway_id": gateway, "profile": name} for number, gateway, name in devices.iter_rows()}
            for row in rows:
                row |= about.get(row["device_id"], {"gateway_id": None, "profile": None})
        where = places(self.column("reading_id"), [row["channel_id"] for row in rows])
        return [(row, slice(a, b)) for row, (a, b) in zip(rows, where, strict=True)]

    def column(self, name: str) -> NDArray:
        if name not in self._columns:
            column = self._reading[name]
            if column.dtype == pl.String:  # as somebody's files have a code
                codes = list(SCHEMA["reading"].columns[name].codes)
                column = column.replace_strict(codes, range(len(codes)), default=len(codes), return_dtype=pl.Int64)
            self._columns[name] = plain(column)
        return self._columns[name]

    def each(self, *columns: str) -> Iterator[tuple[Channel, list[NDArray]]]:
        """Each channel with the keys and some columns of its readings, in order of key."""
        arrays = [self.column(name) for name in ("reading_id", *columns)]
        for row, at in self.channels:
            yield row, [array[at] for array in arrays]

    def limits(self, channel: Channel, value: NDArray) -> tuple[float, float]:
        """The least and the greatest of a channel's values, looked for once; no numbers where any is none, or where there is none."""
        number = channel["channel_id"]
        if number not in self._limits:
            self._limits[number] = (float(value.min()), float(value.max())) if len(value) else (np.nan, np.nan)
        return self._limits[number]


def sheet(tables: Lazy) -> Sheet:
    """The sheet of these tables: the one that was asked for before, as long as they are the same."""
    known = _sheets.get(id(tables["reading"]))
    if known is not None and known[0]() is tables["reading"] and known[1].is_of(tables):
        return known[1]
    number = id(tables["reading"])
    found = Sheet(tables)
    _sheets[number] = weakref.ref(tables["reading"], lambda _: _sheets.pop(number, None)), found
    return found


_sheets: dict[int, tuple[weakref.ref[pl.LazyFrame], Sheet]] = {}


class Scratch:
    """Memory for what is worked out and forgotten, reused from channel to channel."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.uint8]] = []

    def __call__(self, place: int, size: int, kind: type[np.generic] = np.float64) -> NDArray[Any]:
        """A piece for `size` values: the one at this place, with what was left in it."""
        while len(self._pieces) <= place:
            self._pieces.append(np.empty(0, np.uint8))
        need = size * np.dtype(kind).itemsize
        if self._pieces[place].nbytes < need:
            self._pieces[place] = np.empty(need, np.uint8)
        return self._pieces[place][:need].view(kind)
