"""Where and when a scenario acts: the samples of a channel, and the spans of them that each instance takes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.errors import UserError, unknown
from ....core.scenario import Scene
from ....core.stream import F64, join_rows
from ....core.tables import ROW, Table, Tables, plain
from ..readings import COPY, FAN, I64
from ..signals import HOUR
from ..truth import CHANGED, TAKEN, runs_of
from .delivery import FROM_THE_FIRST

REACH = ("member", "pair", "device", "gateway", "site")
ONSET = ("own", "shared")
_ATTEMPTS = 64


@dataclass(frozen=True)
class Trace:
    """A channel's samples in order of the grid, as the scenario finds them; what was delivered twice is here once."""

    channel: Mapping[str, Any]
    key: I64
    value: F64
    observed: I64
    received: I64

    @cached_property
    def grid(self) -> I64:
        """The points of the grid at which they were due, microseconds since 1970: in order whatever has become of the clock."""
        return self.due(self.key)

    def due(self, key: I64) -> I64:
        """The points of the grid of some samples."""
        return self.channel["first_sample_at"] + (key - self.channel["channel_id"] * FAN) * self.channel["interval_us"]

    def between(self, t0: int, t1: int) -> tuple[int, int]:
        """Where the samples stand that are due from one instant on and before another."""
        first, every = self.channel["first_sample_at"], self.channel["interval_us"]
        ends = self.channel["channel_id"] * FAN - np.array([(first - t0) // every, (first - t1) // every])
        a, b = np.searchsorted(self.key, ends).tolist()
        return a, b

    @cached_property
    def sound(self) -> NDArray[np.bool_]:
        """Which values are numbers within the channel's range."""
        return (self.value >= self.channel["low"]) & (self.value <= self.channel["high"])

    @cached_property
    def clean(self) -> F64:
        """The values, with straight lines where they are not sound."""
        if self.sound.all() or not self.sound.any():
            return self.value
        return np.where(self.sound, self.value, np.interp(self.grid, self.grid[self.sound], self.value[self.sound]))

    @cached_property
    def sigma(self) -> float:
        """Standard deviation about the channel's usual day: what is left when each hour of the day has its own mean, on weekdays and at
        weekends. At least the resolution."""
        return max(spread(self.clean, self.grid), float(self.channel["resolution"]))

    @cached_property
    def step(self) -> float:
        """Standard deviation of the change from one sample to the next. At least the resolution."""
        change = np.diff(self.clean)
        return max(float(change.std()) if len(change) else 0.0, float(self.channel["resolution"]))


def spread(value: F64, at: I64) -> float:
    """Standard deviation of values about their mean by hour of the day and kind of day, free of the bias that comes from estimating
    these means on as many days as there are."""
    if len(value) < 2:
        return 0.0
    # by a division of floats, which is right for instants below 2^53 and takes a fifth of the time of one of whole numbers
    hour = np.floor(at / HOUR).astype(np.int64)
    first = int(hour.min())
    there = np.arange(first, int(hour.max()) + 1)
    kinds = there % 24 + 24 * ((there // 24 + 3) % 7 >= 5)  # 1970-01-01 was a Thursday
    hour -= first
    group = kinds[hour]
    size = np.maximum(np.bincount(group), 1)
    left = value - (np.bincount(group, value) / size)[group]
    cells, groups = (int(np.count_nonzero(np.bincount(g))) for g in (hour, group))
    # with one day of a kind nothing is known of how days differ: as if there were two
    return float(np.sqrt((left @ left) / len(left) * cells / max(cells - groups, cells / 2)))


class Readings:
    """The traces of a block by channel."""

    def __init__(self, tables: Tables) -> None:
        table = tables["reading"].select("reading_id", "value", "observed_at", "received_at")
        table = table if table["reading_id"].is_sorted() else table.sort("reading_id")
        self._key, self._value, self._observed, self._received = (plain(c) for c in table)
        self._known: dict[int, Trace] = {}

    def trace(self, channel: Mapping[str, Any]) -> Trace:
        number = channel["channel_id"]
        if number not in self._known:
            a, b = np.searchsorted(self._key, [number * FAN, number * FAN + COPY])
            columns = (self._key, self._value, self._observed, self._received)
            self._known[number] = Trace(channel, *(c[a:b] for c in columns))
        return self._known[number]

    def repeated(self, key: I64) -> NDArray[np.bool_]:
        """Which samples have been delivered twice already."""
        at = np.searchsorted(self._key, key + COPY)
        return self._key[np.minimum(at, len(self._key) - 1)] == key + COPY


@dataclass(frozen=True)
class Place:
    """One episode of one instance in one channel: the samples [a, b) of its trace, due in [t0, t1)."""

    instance: int
    member: int
    episode: int
    trace: Trace
    beside: Trace | None
    """Its partner among the channels of the same device: the first with the second, the third with the fourth, a last one with the one before."""
    t0: int
    t1: int
    a: int
    b: int

    @property
    def rows(self) -> slice:
        return slice(self.a, self.b)

    def drawn_out(self, at: I64) -> Place:
        """The place, with as much more time as it takes to hold the samples due at these points of the grid."""
        if not len(at):
            return self
        t1 = int(at.max()) + self.trace.channel["interval_us"]
        return replace(self, t0=min(self.t0, int(at.min())), t1=max(self.t1, t1))


def places(
    scene: Scene, readings: Readings, attempt: int = 0, only: Container[int] | None = None, others: Iterable[Place] = ()
) -> Iterator[Place]:
    """Every span that the scenario takes, in order of instance, member, episode and channel; at another `attempt` those that `only` some instances
    take instead, beside the places that `others` have.

    Arguments: `hours` of a span; `episodes` in each channel, one in each of as many equal parts of the window, so that they never meet;
    `reach`: the member's own channels, the pair that it is one of, or those of its whole device, gateway or site; `signals`: only these;
    `kinds`: only channels of these kinds, where values change gauges alone unless the file says so; `onset`: "own"
    counts a device's samples, so that a span always holds some; "shared" takes one instant for all members, each `stagger` hours after the one
    before it. A span covers at most half of its part of the window. It keeps clear of the anomalies that there are already while it finds room,
    else it covers as few of them as it can; where an instant is shared by members who may be in other blocks, it is the first that comes.
    """
    given = scene.arguments
    reach, onset = given.get("reach", "member"), given.get("onset", "own")
    for what, value, known in (("reach", reach, REACH), ("onset", onset, ONSET)):
        if value not in known:
            raise unknown(what, value, known, scene.use.scenario.name)
    kinds = given.get("kinds", ("gauge",) if "values" in given else None)
    hours, episodes = float(given.get("hours", 6.0)), int(given.get("episodes", 1))
    # where the first sample stays as it is, one alone is no span
    least = 1 + any(entry.get("kind") in FROM_THE_FIRST for entry in given.get("clock", ()))
    by_device: dict[int, list[dict[str, Any]]] = {}
    channels = scene.tables["channel"].with_columns(pl.col("first_sample_at").to_physical()).sort("channel_id")
    for row in channels.iter_rows(named=True):
        by_device.setdefault(row["device_id"], []).append(row)
    taken: dict[int, list[tuple[int, int]]] = {}
    for channel, t0, t1 in scene.tables["anomaly"].select("channel_id", "started_at", "ended_at").iter_rows():
        taken.setdefault(channel, []).append((t0, t1))
    for place in others:
        taken.setdefault(place.trace.channel["channel_id"], []).append((place.t0, place.t1))
    for cast in scene.cast.values():
        for member in cast.iter_rows(named=True):
            if only is not None and member["instance"] not in only:
                continue
            member["attempt"] = attempt
            reached = []
            for device in _devices(scene.tables, member, reach):
                mine = _reached(by_device.get(device, []), member, reach)
                mine = [(c, other) for c, other in mine if c["signal"] in given.get("signals", (c["signal"],))]
                reached.append([(c, other) for c, other in mine if kinds is None or c["kind"] in kinds])
            clear_of = [span for mine in reached for c, _ in mine for span in taken.get(c["channel_id"], ())]
            together = [_shared(scene, member, hours, k, episodes, clear_of) for k in range(episodes)]
            for mine in reached:
                for episode in range(episodes if mine else 0):
                    t0, t1 = together[episode]
                    if onset == "own":
                        clear_of = [span for c, _ in mine for span in taken.get(c["channel_id"], ())]
                        trace = readings.trace(mine[0][0])
                        t0, t1 = _own(
                            scene,
                            member,
                            trace,
                            hours,
                            episode,
                            _fitting(scene, trace, episodes, least),
                            least,
                            clear_of,
                        )
                    for channel, other in mine:
                        trace, beside = readings.trace(channel), readings.trace(other) if other else None
                        a, b = trace.between(t0, t1)
                        if b > a:
                            taken.setdefault(channel["channel_id"], []).append((t0, t1))
                            yield Place(member["instance"], member["member"], episode, trace, beside, t0, t1, a, b)


def _reached(
    channels: list[dict[str, Any]], member: Mapping[str, Any], reach: str
) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """A device's channels as far as a member reaches, each with its partner."""
    partner = {k: (k ^ 1 if k ^ 1 < len(channels) else k - 1) for k in range(len(channels))}
    pairs = [(c, channels[partner[k]] if partner[k] >= 0 else None) for k, c in enumerate(channels)]
    if "channel_id" not in member or reach in ("device", "gateway", "site"):
        return pairs
    mine = [(c, other) for c, other in pairs if c["channel_id"] == member["channel_id"]]
    return mine + [(other, c) for c, other in mine if other] if reach == "pair" else mine


def _fitting(scene: Scene, trace: Trace, episodes: int, least: int) -> int:
    """How many spans of that many samples at least find room in a channel: fewer than asked for only where its device was down too long. Raises
    UserError where its grid has no room for them."""
    window, every = scene.block.window, trace.channel["interval_us"]
    due = (window.end - window.start) // every
    if (most := due // (2 * least)) < episodes:
        raise UserError(
            f"scenario {scene.use.scenario.name}: episodes={episodes} do not fit in the {due:,} samples of channel"
            f" {trace.channel['channel_id']} in this window: at most {most}. Ask for fewer, or for a longer window."
        )
    return min(episodes, len(trace.key) // (2 * least))


def _own(
    scene: Scene,
    member: Mapping[str, Any],
    trace: Trace,
    hours: float,
    episode: int,
    episodes: int,
    least: int,
    clear_of: list[tuple[int, int]],
) -> tuple[int, int]:
    if episode >= episodes:
        return 0, 0
    n, interval = len(trace.key), trace.channel["interval_us"]
    low, high = n * episode // episodes, n * (episode + 1) // episodes
    length = int(min(max(least, hours * HOUR // interval), (high - low) // 2))
    draws = _uniform(scene, member, episode, _ATTEMPTS)
    first = low + (draws * (high - low - length + 1)).astype(np.int64)
    return _clearest(trace.due(trace.key[first]), trace.due(trace.key[first + length - 1]) + interval, clear_of)


def _clearest(t0: I64, t1: I64, others: list[tuple[int, int]]) -> tuple[int, int]:
    """The first of some spans that is free of others; where none is, the first of those that cover the fewest others as a whole."""
    met, covered = np.zeros(len(t0), bool), np.zeros(len(t0), np.int64)
    for a, b in others:
        met |= (t1 > a) & (t0 < b)
        covered += (t0 <= a) & (b <= t1)
    k = int(np.argmin(np.where(met, covered + 1, 0)))
    return int(t0[k]), int(t1[k])


def _shared(
    scene: Scene, member: Mapping[str, Any], hours: float, episode: int, episodes: int, clear_of: list[tuple[int, int]]
) -> tuple[int, int]:
    window = scene.block.window
    part = (window.end - window.start) // episodes
    length = max(1, min(int(hours * HOUR), part // 2))
    (role,) = scene.use.scenario.roles
    attempts = _ATTEMPTS if scene.use.size(role) == 1 else 1
    draws = _uniform(scene, {**member, "member": 0}, episode, attempts)
    stagger = int(float(scene.arguments.get("stagger", 0.0)) * HOUR) * member["member"]
    start = window.start + part * episode + (draws * (part - length)).astype(np.int64) + stagger
    start = np.minimum(start, window.start + part * (episode + 1) - length)
    return _clearest(start, start + length, clear_of)


def _uniform(scene: Scene, member: Mapping[str, Any], episode: int, count: int) -> F64:
    address = join_rows(join_rows(np.array([member["instance"]]), member["member"]), episode)
    return scene.stream.child("onset").uniform(join_rows(address, member["attempt"] * _ATTEMPTS + np.arange(count)))


def _devices(tables: Tables, member: Mapping[str, Any], reach: str) -> list[int]:
    """The devices that a member reaches: a channel's, the device itself, those of its gateway or site."""
    device, known = tables["device"], "gateway_id" if "gateway_id" in member else "site_id"
    if "device_id" in member:
        if reach not in ("gateway", "site"):
            return [member["device_id"]]
        known = f"{reach}_id"
        member = device.filter(device_id=member["device_id"]).row(0, named=True) if device.height else member
    if known not in member:
        return []
    return device.filter(pl.col(known) == member[known])["device_id"].sort().to_list()


Shown = tuple[Place, I64, int]
"""A place, the keys of the rows of its channel that changed there, in order, and how many were taken away."""


def anomalies(scene: Scene, shown: list[Shown]) -> Table:
    """The spans as rows of `anomaly`."""
    given, found = scene.arguments, [place for place, *_ in shown]
    asked = scene.use.parameters
    severity = given.get("severity", asked.get("severity", given.get("hours")))
    rows = pl.DataFrame(
        {
            "instance": pl.Series([p.instance for p in found], dtype=pl.Int64),
            "channel_id": pl.Series([p.trace.channel["channel_id"] for p in found], dtype=pl.Int64),
            "started_at": [p.t0 for p in found],
            "ended_at": [p.t1 for p in found],
            "fails_at": pl.Series(
                [p.t1 if given.get("wears_out") or given.get("fails") else None for p in found], dtype=pl.Int64
            ),
            "severity": pl.Series([severity] * len(found), dtype=pl.Float64),
            CHANGED: pl.Series([runs_of(keys).tolist() for _, keys, _ in shown], dtype=pl.List(pl.Int64)),
            TAKEN: pl.Series([gone for *_, gone in shown], dtype=pl.Int64),
        }
    )
    # a place is named by instance, channel and episode
    episode = np.array([p.episode for p in found], np.int64)
    names = join_rows(join_rows(rows["instance"].to_numpy(), rows["channel_id"].to_numpy()), episode)
    address = scene.stream.child("anomaly").bits(names) | np.uint64(1 << 63)
    return rows.with_columns(
        pl.Series(ROW, address, dtype=pl.UInt64),
        scenario=pl.lit(scene.use.scenario.name),
        family=pl.lit(given["family"]),
        cause=pl.lit(given["cause"]),
    )
