"""Ways out of states: each takes the patients who leave and sends every one on."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .draws import month_day
from .library import Lookup
from .memory import NIL, TEXT, every, some
from .people import ALIVE
from .predicates import holds
from .values import MILLISECOND, Option, Share

if TYPE_CHECKING:
    from .machine import Run
    from .program import Program, Way


def way(program: Program, s: int) -> Way:
    """The function that takes patients from a state to the next."""
    state, file = program.states[s], program.files[s]
    transition = state.transition
    if transition is None:
        return _nowhere
    to = {t: program.onward(program.index[file, t]) for t in transition.targets}
    options = transition.options
    if transition.kind == "direct":
        target = to[options[0].target or ""]
        return lambda run, s, p: run.push(target, p)
    if transition.kind == "distributed":
        return _distributed(options, to)
    if transition.kind in ("conditional", "complex"):
        return _conditional(options, to, file)
    if transition.kind == "lookup_table":
        return _looked_up(Table(program.library.lookups[transition.table or ""], options), to)
    return _by_care(program.library.care, [to[o.target or ""] for o in options])


def _nowhere(run: Run, s: int, p: NDArray) -> None:
    raise AssertionError("a terminal state has no way out")


def _send(run: Run, targets: list[int], chosen: NDArray, p: NDArray) -> None:
    taken = sorted(set(chosen.tolist()))
    if len(taken) == 1:
        run.push(targets[taken[0]], p)
        return
    for n in taken:
        run.push(targets[n], p[chosen == n])


def _distributed(options: tuple[Option, ...], to: dict[str, int]) -> Way:
    targets = [to[o.target or ""] for o in options]
    last = len(targets) - 1
    if not any(isinstance(o.weight, Share) for o in options):
        edges = np.cumsum([float(o.weight or 0.0) for o in options])  # type: ignore[arg-type]

        bounds = edges.tolist()

        def fixed(run: Run, s: int, p: NDArray) -> None:
            if len(p) == 1:  # as most are
                run.push(targets[min(bisect_right(bounds, run.uniform(p)[0]), last)], p)
                return
            chosen = np.minimum(np.searchsorted(edges, run.uniform(p), side="right"), last)
            _send(run, targets, chosen, p)

        return fixed

    def varying(run: Run, s: int, p: NDArray) -> None:
        weights = np.stack([weight(run, o.weight, p) for o in options], axis=1)
        _send(run, targets, first_below(np.cumsum(weights, axis=1), run.uniform(p)), p)

    return varying


def weight(run: Run, weight: float | Share | None, p: NDArray) -> NDArray[np.float64]:
    if isinstance(weight, Share):
        held = run.attribute(weight.attribute).numbers(p)
        return np.where(np.isnan(held), weight.default, held)
    return np.full(len(p), weight or 0.0)


def first_below(edges: NDArray, u: NDArray) -> NDArray[np.int64]:
    """The first option whose running sum is above u, or else the last: never rescaled."""
    return np.minimum((edges <= u[:, None]).sum(axis=1), edges.shape[1] - 1)


def _conditional(options: tuple[Option, ...], to: dict[str, int], file: str) -> Way:
    tests = [None if o.when is None else holds(o.when, file) for o in options]
    inner: list[Way] = [_distributed(o.spread, to) if o.target is None else _straight(to[o.target]) for o in options]
    last = len(options) - 1

    def send(run: Run, s: int, p: NDArray) -> None:
        for n, test in enumerate(tests):
            # the last option takes those for whom no condition holds, its own neither
            if test is None or n == last:
                inner[n](run, s, p)
                return
            true = test(run, p, run.clock[p])
            if every(true):
                inner[n](run, s, p)
                return
            if some(true):
                inner[n](run, s, p[true])
                p = p[~true]

    return send


def _straight(target: int) -> Way:
    return lambda run, s, p: run.push(target, p)


class Table:
    """A lookup table made ready: the chances of its targets for each patient at a moment."""

    def __init__(self, table: Lookup, options: tuple[Option, ...]) -> None:
        # the module's order, not the table's: it tells which option is the last, and which comes first where shares exceed one
        self.targets = [o.target or "" for o in options]
        column = [table.targets.index(t) for t in self.targets]
        default = [float(o.weight or 0.0) for o in options]  # type: ignore[arg-type]
        self.shares = np.array([[r[1][c] for c in column] for r in table.rows] + [default])
        self.height = len(table.rows)
        self.ranges: list[tuple[str, NDArray]] = []
        self.texts: list[tuple[str, list[str]]] = []
        for n, key in enumerate(table.keys):
            cells = [r[0][n] for r in table.rows]
            if key in ("age", "time"):
                self.ranges.append((key, np.array(cells, float).reshape(-1, 2)))
            else:
                self.texts.append((key, [str(c) for c in cells]))
        # values between two of a key's edges are in the same of its spans; and where a next row may match from
        edges = [np.concatenate((cells[:, 0], np.nextafter(cells[:, 1], np.inf))) for _, cells in self.ranges]
        self.spans = [np.unique(e) for e in edges]
        self.turns = [np.unique(np.concatenate((cells[:, 0], cells[:, 1] + 1))) for _, cells in self.ranges]
        # where there is but one key, and that a range, the row of each of its spans
        self.of_span: NDArray[np.int64] | None = None
        if len(self.ranges) == 1 and not self.texts and len(self.spans[0]):
            (_, cells), first = self.ranges[0], self.spans[0][0]
            value = np.append(first - 1, self.spans[0])[:, None]
            match = (value >= cells[:, 0]) & (value <= cells[:, 1])
            self.of_span = np.where(match.any(axis=1), match.argmax(axis=1), self.height)
        # the probability of each target by row: as the table says, the last taking what is left
        running = np.minimum(np.cumsum(self.shares, axis=1), 1.0)
        running[:, -1] = 1.0
        self.each = np.diff(running, axis=1, prepend=0.0)

    def rows(self, run: Run, p: NDArray, at: NDArray) -> NDArray[np.int64]:
        """The first row that matches each patient; the one after the last holds the defaults. Looked for once for each case of the keys."""
        values = [completed_years(run, p, at) if key == "age" else at // MILLISECOND for key, _ in self.ranges]
        spans = [np.searchsorted(e, v, side="right") for e, v in zip(self.spans, values, strict=True)]
        if self.of_span is not None:
            return self.of_span[spans[0]]
        case: list[list[Any]] = [span.tolist() for span in spans]
        for key, _ in self.texts:
            held = run.attribute(key)
            case += [held.kind[p].tolist(), held.value[p].tolist()]
        cases = list(zip(*case, strict=True)) if case else [()] * len(p)
        known = run.rows.setdefault(id(self), {})
        new = {c: n for n, c in enumerate(cases) if c not in known}
        if new:
            at_new = np.fromiter(new.values(), np.int64, len(new))
            found = self._match(run, p[at_new], [v[at_new] for v in values])
            known.update(zip(new, found.tolist(), strict=True))
        return np.array([known[c] for c in cases], np.int64)

    def _match(self, run: Run, p: NDArray, values: list[NDArray]) -> NDArray[np.int64]:
        match = np.ones((len(p), self.height), bool)
        for (_, cells), value in zip(self.ranges, values, strict=True):
            match &= (value[:, None] >= cells[:, 0]) & (value[:, None] <= cells[:, 1])
        for key, cells in self.texts:
            held = run.attribute(key)
            if (key, id(self)) not in run.cells:
                as_text = np.array([float(run.texts(c)) for c in cells])
                run.cells[key, id(self)] = as_text, np.array([run.plain(_plain(c))[1] for c in cells])
            as_text, as_plain = run.cells[key, id(self)]
            kind, value = held.kind[p][:, None], held.value[p][:, None]
            match &= np.where(kind == TEXT, value == as_text, value == as_plain) & (kind != NIL)
        return np.where(match.any(axis=1), match.argmax(axis=1) if self.height else 0, self.height)

    def next_change(self, run: Run, p: NDArray, at: NDArray) -> NDArray[np.int64]:
        """The earliest later moment at which another row may match."""
        out = np.full(len(p), ALIVE)
        for (key, _), edges in zip(self.ranges, self.turns, strict=True):
            value = completed_years(run, p, at) if key == "age" else at // MILLISECOND
            n = np.searchsorted(edges, value, side="right")
            due = edges[np.minimum(n, len(edges) - 1)].astype(np.int64)
            if key == "age":
                moment = month_day(run.birth[p], 12 * due)
            else:
                moment = due * MILLISECOND
            out = np.minimum(out, np.where(n < len(edges), moment, ALIVE))
        return out


def _looked_up(table: Table, to: dict[str, int]) -> Way:
    targets = [to[t] for t in table.targets]
    edges = np.cumsum(table.shares, axis=1)

    def send(run: Run, s: int, p: NDArray) -> None:
        rows = table.rows(run, p, run.clock[p])
        _send(run, targets, first_below(edges[rows], run.uniform(p)), p)

    return send


def _plain(cell: str) -> Any:
    if cell in ("true", "false"):
        return cell == "true"
    try:
        return float(cell)
    except ValueError:
        return cell


def completed_years(run: Run, p: NDArray, at: NDArray) -> NDArray[np.int64]:
    """Completed years of age. Only near a birthday is the calendar asked: no birthday lies four days from where years of the mean length put it."""
    birth = run.birth[p]
    years = (at - birth) / (365.2425 * 86_400e6)
    age = np.floor(years).astype(np.int64)
    near = np.abs(years - np.rint(years)) < 4 / 365
    if some(near):
        age[near] = _by_calendar(birth[near], at[near], age[near])
    return age


def _by_calendar(birth: NDArray, at: NDArray, guess: NDArray) -> NDArray[np.int64]:
    age = guess.copy()
    for off in (-1, 0, 1):
        years = guess + off
        reached = month_day(birth, 12 * years) <= at
        age = np.where(years > 0, np.where(reached, np.maximum(age, years), np.minimum(age, years - 1)), age)
    return age


def _by_care(care: Any, targets: list[int]) -> Way:
    names = ("ambulatory", "emergency", "telemedicine")
    edges = np.empty((2, 2, 3))
    for d, era in enumerate(("pre_telemedicine", "during_telemedicine")):
        for k, kind in enumerate(("typical_emergency_distribution", "high_emergency_distribution")):
            edges[d, k] = np.cumsum([care.get(era, {}).get(kind, {}).get(n, 0.0) for n in names])
    begins = np.datetime64(int(care.get("start_year", 2020)) - 1970, "Y").astype("datetime64[us]").astype(np.int64)
    high = list(care.get("high_emergency_use_insurance_names", ()))

    def send(run: Run, s: int, p: NDArray) -> None:
        held = run.attribute("insurance_status")
        ids = [run.texts.index.get(name, -1) for name in high]
        often = (held.kind[p] == TEXT) & np.isin(held.value[p], ids)
        late = run.clock[p] >= begins
        chosen = first_below(edges[late.astype(int), often.astype(int)], run.uniform(p))
        _send(run, targets, chosen, p)

    return send
