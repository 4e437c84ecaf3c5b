"""The one script: what a scenario file says is done to the spans that its instances take, and every row that changes is labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.errors import UserError, unknown
from ....core.places import different, starts
from ....core.scenario import Edit, Scene
from ....core.stream import F64, Stream
from ....core.tables import ROW, Table
from ..population import SCHEMA, is_modem
from ..readings import COPY, FAN, I64, Spans, arrived, later, spans
from ..signals import HOUR, quantise
from .delivery import CLOCKS, DELIVERIES, SECOND
from .lifecycle import Down, downs, take_down
from .spans import Place, Readings, Shown, anomalies, places
from .values import DISTORTIONS, Span, chosen, unevenness

ARGUMENTS = (
    *("family", "effect", "cause", "severity", "wears_out", "fails", "set", "clear"),
    *("hours", "episodes", "reach", "signals", "kinds", "onset", "stagger"),
    *("values", "clock", "arrivals", "lose", "repeat", "cut", "down"),
)
_MARKS = {"kind", "signals", "share", "samples", "level", "raw", "null"}
Part = tuple[NDArray, ...]
"""Instance and key of each row that changes, and what it changes to."""


def disturb(scene: Scene) -> list[Edit]:
    """Play the scenario in every place that it takes. Raises UserError where its file uses a word that there is not."""
    given, name = scene.arguments, scene.use.scenario.name
    for argument in given:
        if argument not in ARGUMENTS:
            raise unknown("argument", argument, ARGUMENTS, name)
    (role,) = scene.cast
    if "set" in given or "clear" in given:
        return [_metadata(scene, role)]
    readings = Readings(scene.tables)
    found = list(places(scene, readings))
    changes: list[Part] = []
    if "values" in given:
        found, changes = _where_it_shows(scene, readings, found)
    edits: list[Edit] = []

    def update(made: Iterable[Part], column: str, effect: str) -> None:
        edits.append(scene.edit("update", "reading", _rows(made, column), role, effect))

    if "values" in given:
        update(changes, "value", given["effect"])
        if any(entry.get("null") for entry in given["values"]):
            edits[-1] = replace(edits[-1], rows=edits[-1].rows.with_columns(pl.col("value").fill_nan(None)))
    if "clock" in given:
        times = partial(_times, scene, CLOCKS, given["clock"])
        update(_changed(found, "observed", times), "observed_at", given["effect"])
    if "arrivals" in given:
        update(_arrivals(scene, found), "received_at", "late")
    if "cut" in given:
        found, more = _cut(scene, found, role)
        edits += more
    if "repeat" in given:
        edits.append(scene.edit("insert", "reading", _repeated(scene, found, readings), role, "duplicate"))
    if "lose" in given:
        edits += _lost(scene, found, role)
    if "down" in given:
        first = {(p.instance, p.trace.channel["device_id"], p.episode): p for p in reversed(found)}
        planned: list[Down] = []
        for place in first.values():
            planned += downs(scene, place, **given["down"])
        edits += take_down(scene, planned, readings, role, given["effect"])
    shown = _showing(found, [e for e in edits if e.table == "reading"])
    if not {"down", "cut", "lose"} & given.keys():
        edits.append(_unchanged(scene, found, [place for place, *_ in shown], role))
    return [*edits, scene.edit("insert", "anomaly", anomalies(scene, shown), role, given["effect"])]


def _where_it_shows(scene: Scene, readings: Readings, found: list[Place]) -> tuple[list[Place], list[Part]]:
    """The places, and what becomes of their values. An instance that would change nothing (a sensor that sticks while nothing moves) is played
    elsewhere, if there is such a place among a few."""
    changes = list(_changed(found, "value", partial(_wrong, scene)))
    if _OTHERS & scene.arguments.keys():
        return found, changes
    for attempt in range(1, _TRIES):
        shows = {p.instance for p, (_, keys, *_) in zip(found, changes, strict=True) if len(keys)}
        silent = {p.instance for p in found} - shows
        if not silent:
            break
        kept = [(p, part) for p, part in zip(found, changes, strict=True) if p.instance in shows]
        again = list(places(scene, readings, attempt, silent, [p for p, _ in kept]))
        kept += zip(again, _changed(again, "value", partial(_wrong, scene)), strict=True)
        kept.sort(key=lambda one: one[0].instance)
        found, changes = [p for p, _ in kept], [part for _, part in kept]
    return found, changes


_TRIES = 8
_OTHERS = {"clock", "arrivals", "cut", "repeat", "lose", "down"}
"""What shows in other ways than in values."""


def _showing(found: list[Place], edits: list[Edit]) -> list[Shown]:
    """The places of which some sample changed, with the rows that did: where none did, because it would have been the same anyway, there is no
    anomaly."""
    gone, rest = ([e for e in edits if (e.action == "remove") == removes] for removes in (True, False))
    taken, changed = _by_instance(gone), _by_instance(rest)
    kept = []
    for place in found:
        lost, rows = (_within(place, of.get(place.instance, _NONE)) for of in (taken, changed))
        # what it changed and then took away is gone by its own hand
        rows = rows[~np.isin(rows, lost)] if len(lost) else rows
        if len(lost) or len(rows):
            kept.append((place, rows, len(lost)))
    return kept


_NONE = np.empty(0, np.int64)


def _by_instance(edits: list[Edit]) -> dict[int, NDArray[np.int64]]:
    """The keys of the rows that some edits name, each once and in order."""
    found: dict[int, list[NDArray[np.int64]]] = {}
    for rows in (e.rows for e in edits if e.rows.height):
        instance, key = rows["instance"].to_numpy(), rows[ROW].to_numpy().astype(np.int64)
        begins = starts(rows["instance"])
        for a, b in zip(begins, [*begins[1:], len(key)], strict=True):
            found.setdefault(int(instance[a]), []).append(key[a:b])
    return {number: different(np.concatenate(parts)) for number, parts in found.items()}


def _within(place: Place, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some keys that are of a place's samples, and of what was delivered a second time of these."""
    channel = place.trace.channel
    first, every = channel["first_sample_at"], channel["interval_us"]
    span = channel["channel_id"] * FAN - np.array([(first - place.t0) // every, (first - place.t1) // every])
    (a, b), (c, d) = np.searchsorted(keys, [span, span + COPY])
    return np.concatenate([keys[a:b], keys[c:d]]) if d > c else keys[a:b]


def _unchanged(scene: Scene, found: list[Place], shown: list[Place], role: str) -> Edit:
    """Says of an instance that shows nowhere that it was played: on its channels, which are as they would have been."""
    showing = {p.instance for p in shown}
    silent = {(p.instance, p.trace.channel["channel_id"]) for p in found if p.instance not in showing}
    columns = [np.array(c, np.int64) for c in zip(*sorted(silent), strict=True)]
    return scene.edit("update", "channel", _rows([tuple(columns)] if columns else []), role, "unchanged")


def _stream(scene: Scene, what: str, place: Place, n: int = 0) -> Stream:
    return scene.stream.child(what, n, place.instance, place.trace.channel["channel_id"], place.episode)


def _changed(found: list[Place], column: str, work: Callable[[Place], NDArray]) -> Iterable[Part]:
    """The rows of each place whose column is not what it was."""
    for place in found:
        old, new = getattr(place.trace, column)[place.rows], work(place)
        differs = old != new
        if old.dtype.kind == "f":
            differs &= ~(np.isnan(old) & np.isnan(new))
        yield _part(place, differs, new)


def _part(place: Place, taken: NDArray[np.bool_], *columns: NDArray) -> Part:
    key = place.trace.key[place.rows][taken]
    return (np.full(len(key), place.instance), key, *(c[taken] for c in columns))


def _wrong(scene: Scene, place: Place) -> F64:
    """The values that a place gives. What was no reading before, for want of a number or of a place in the range, stays what it was
    unless it is written over."""
    trace, channel = place.trace, place.trace.channel
    whole, raw, low, high = trace.clean.copy(), False, channel["low"], channel["high"]
    for n, entry in enumerate(scene.arguments["values"]):
        if channel["signal"] not in entry.get("signals", (channel["signal"],)):
            continue
        kind = _word("distortion", entry, DISTORTIONS, scene)
        stream = _stream(scene, "values", place, n)
        rng = stream.generator()
        up = stream.child("direction").uniform(np.zeros(1, np.int64))[0] < 0.5
        beside = None
        if place.beside is not None:
            other = place.beside
            beside = np.interp(trace.grid[place.rows], other.grid, other.clean), other.sigma, other.step
        scale = trace.sigma, trace.step, low, high
        span = Span(whole, trace.grid, place.a, place.b, *scale, bool(up), rng, beside)
        wrong = kind(span, **{k: v for k, v in entry.items() if k not in _MARKS})
        uneven = unevenness(whole, place.a, place.b) if entry.get("level") else None
        taken = chosen(stream.child("samples").generator(), len(wrong), entry, uneven)
        whole[place.rows] = np.where(taken, wrong, whole[place.rows])
        raw |= entry.get("raw", False)
    wrong = whole[place.rows]
    same = wrong == trace.clean[place.rows]
    if not raw:
        wrong = quantise(wrong.copy(), channel["resolution"], low, high)
        same |= ~trace.sound[place.rows]
    return np.where(same, trace.value[place.rows], wrong)


def _times(scene: Scene, words: Mapping[str, Callable[..., I64]], entries: list[dict], place: Place) -> I64:
    taken, received = place.trace.observed[place.rows], place.trace.received[place.rows]
    clock = words is CLOCKS
    for n, entry in enumerate(entries):
        kind = _word("kind of time", entry, words, scene)
        given = {k: v for k, v in entry.items() if k not in _MARKS}
        stream = _stream(scene, "clock" if clock else "arrivals", place, n)
        rng = stream.generator()
        wrong = (
            kind(taken, rng, **given)
            if clock
            else kind(place.trace.due(place.trace.key[place.rows]), received, rng, **given)
        )
        mine = chosen(stream.child("samples").generator(), len(wrong), entry)
        if clock:
            taken = np.where(mine, wrong, taken)
        else:
            received = np.where(mine, wrong, received)
    return taken if clock else received


def _arrivals(scene: Scene, found: list[Place]) -> Iterable[Part]:
    """The rows that arrive at another time in the end, with the time at which they reach the gateway."""
    speed, known = _gateways(scene)
    for place in found:
        gateway = speed[place.trace.channel["device_id"]]
        outages = known.get(gateway[0], ())
        planned = _times(scene, DELIVERIES, scene.arguments["arrivals"], place)
        before = arrived(place.trace.received[place.rows], outages, gateway[1])
        yield _part(place, before != arrived(planned, outages, gateway[1]), planned)


def _cut(scene: Scene, found: list[Place], role: str) -> tuple[list[Place], list[Edit]]:
    """One more outage of each gateway, and by name the readings that arrive at another time because of it: when, follows later. The
    places are drawn out to where these lie. A store that `holds` so many hours drops what is older at the end: an event says so, and the
    channels that have lost something. What takes gateways alone that are no `modems` leaves places as they are that have one."""
    entry, (speed, known) = scene.arguments["cut"], _gateways(scene)
    added: dict[tuple[int, int], tuple[int, int]] = {}
    for place in found:
        gateway, _ = speed[place.trace.channel["device_id"]]
        if entry.get("modems", True) or not is_modem(gateway):
            added.setdefault((gateway, place.instance), (place.t0, place.t1))
    held = round(float(entry["holds"]) * HOUR) if "holds" in entry else None
    spans_of = [(i, g, t0, t1, entry["cause"]) for (g, i), (t0, t1) in added.items()]
    if held is not None:
        spans_of += [(i, g, t0, t1 - held, "overflow") for i, g, t0, t1, _ in spans_of if t1 - held > t0]
    late_rows: list[Part] = []
    lost_rows: list[Part] = []
    drawn, marked = [], set[tuple[int, int]]()
    for place in found:
        gateway, rate = speed[place.trace.channel["device_id"]]
        trace, span = place.trace, added.get((gateway, place.instance))
        if span is None:
            drawn.append(place)
            continue
        late = later(trace.received, known.get(gateway, ()), [span], rate)
        if held is not None:
            a, b = trace.between(span[0], span[1] - held)
            dropped = np.zeros_like(late)
            dropped[a:b] = late[a:b]
            lost_rows.append((np.full(int(dropped.sum()), place.instance), trace.key[dropped]))
            late &= ~dropped
            if dropped.any():
                marked.add((place.instance, trace.channel["channel_id"]))
        late_rows.append((np.full(int(late.sum()), place.instance), trace.key[late]))
        drawn.append(place.drawn_out(trace.due(trace.key[late])))
    outage = pl.DataFrame(
        spans_of,
        schema={
            "instance": pl.Int64,
            "gateway_id": pl.Int64,
            "started_at": pl.Int64,
            "ended_at": pl.Int64,
            "cause": pl.String,
        },
        orient="row",
    )
    second = outage["cause"].eq("overflow").cast(pl.Int64).to_numpy() << 32
    address = scene.address("outage", outage["instance"].to_numpy(), outage["gateway_id"].to_numpy() + second)
    edits = [
        scene.edit("insert", "gateway_event", outage.with_columns(pl.Series(ROW, address)), role, "outage"),
        scene.edit("update", "reading", _rows(late_rows), role, "late"),
    ]
    return drawn, [*edits, *_gone(scene, lost_rows, marked, role)] if held is not None else edits


def _gone(scene: Scene, parts: list[Part], marked: set[tuple[int, int]], role: str) -> list[Edit]:
    """Samples that there are not any more. They leave no row that could bear a label, so their channel bears it."""
    channel = [np.array(c, np.int64) for c in zip(*sorted(marked), strict=True)]
    return [
        scene.edit("remove", "reading", _rows(parts), role, "gap"),
        scene.edit("update", "channel", _rows([tuple(channel)] if channel else []), role, "gap"),
    ]


def _repeated(scene: Scene, found: list[Place], readings: Readings) -> Table:
    """Second copies of some samples, later by an exponential wait; with `shift`, of a value that many sigma off."""
    entry, parts = scene.arguments["repeat"], []
    for place in found:
        stream, trace = _stream(scene, "repeat", place), place.trace
        rng = stream.generator()
        # what is broken already would be so twice, and by another's hand
        late = trace.observed[place.rows] - trace.due(trace.key[place.rows])
        whole = trace.sound[place.rows] & (late >= 0) & (late <= trace.channel["jitter_us"])
        taken = chosen(rng, place.b - place.a, entry) & whole & ~readings.repeated(trace.key[place.rows])
        wait = rng.standard_exponential(place.b - place.a) * float(entry["seconds"]) * SECOND
        value = trace.value[place.rows]
        if entry.get("shift"):
            channel = trace.channel
            off = value + entry["shift"] * trace.sigma
            value = np.where(
                trace.sound[place.rows], quantise(off, channel["resolution"], channel["low"], channel["high"]), value
            )
        received = trace.received[place.rows] + 1 + wait.astype(np.int64)
        owner = np.full(place.b - place.a, trace.channel["channel_id"])
        parts.append(_part(place, taken, owner, trace.observed[place.rows], received, value))
    rows = _rows(parts, "channel_id", "observed_at", "received_at", "value").with_columns(pl.col(ROW) + COPY)
    return rows.with_columns(pl.col(ROW).cast(pl.Int64).alias("reading_id"))


def _lost(scene: Scene, found: list[Place], role: str) -> list[Edit]:
    """Samples that never arrive."""
    entry, parts, marked = scene.arguments["lose"], [], set[tuple[int, int]]()
    for place in found:
        taken = chosen(_stream(scene, "lose", place).generator(), place.b - place.a, entry)
        parts.append(_part(place, taken))
        if taken.any():
            marked.add((place.instance, place.trace.channel["channel_id"]))
    return _gone(scene, parts, marked, role)


def _metadata(scene: Scene, role: str) -> Edit:
    """The members' own rows, with other values or none."""
    table = next(r.table for r in scene.use.scenario.roles if r.name == role)
    given, spec = scene.arguments, SCHEMA[table]
    columns = {**given.get("set", {}), **dict.fromkeys(given.get("clear", ()))}
    for column in columns:
        if column not in spec.columns:
            raise unknown("column", column, spec.columns, scene.use.scenario.name)
    rows = scene.cast[role].select(
        "instance",
        pl.col(spec.key).cast(pl.UInt64).alias(ROW),
        *(pl.lit(value, scene.tables[table].schema[column]).alias(column) for column, value in columns.items()),
    )
    return scene.edit("update", table, rows, role, given["effect"])


def _gateways(scene: Scene) -> tuple[dict[int, tuple[int, int]], dict[int, Spans]]:
    """Each device's gateway and how fast that sends what it stored; the outages of each gateway."""
    device = scene.tables["device"].join(scene.tables["gateway"], on="gateway_id")
    of_device = {d: (g, s) for d, g, s in device.select("device_id", "gateway_id", "backfill_speed").iter_rows()}
    return of_device, dict(spans(scene.tables["gateway_event"], "gateway_id"))


def _word(what: str, entry: Mapping[str, Any], words: Mapping[str, Callable], scene: Scene) -> Callable:
    if "kind" not in entry:
        raise UserError(f"{scene.use.scenario.name}: a {what} needs a kind")
    if entry["kind"] not in words:
        raise unknown(what, entry["kind"], words, scene.use.scenario.name)
    return words[entry["kind"]]


_TYPES = {"value": pl.Float64}


def _rows(parts: Iterable[Part], *columns: str) -> Table:
    names = ("instance", ROW, *columns)
    parts = list(parts)
    if not parts:
        return pl.DataFrame(schema={n: _TYPES.get(n, pl.Int64) for n in names}).with_columns(
            pl.col(ROW).cast(pl.UInt64)
        )
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    joined[1] = joined[1].astype(np.uint64)
    return pl.DataFrame(dict(zip(names, joined, strict=True)))
