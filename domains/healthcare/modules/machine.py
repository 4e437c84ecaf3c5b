"""The machine: every patient runs through all modules, and the patients who stand in one state are moved together.

Within a patient the order is the framework's: in steps of seven days from birth, in each step the modules in their order, each until
it blocks; a delay that ends between two steps takes the module's clock back to its end. But nobody walks through the weeks: a blocked
module has the step in which it is due, and goes straight there. Patients do not know of one another, and of a patient's modules most
have nothing in common (`order.before`), so what comes of them does not depend on which goes first. The machine takes one module
after another, and moves in it all patients as far as it may go before one that it must not overtake: through years, where there is
none. Patients of any age meet in its states.

Who dies by one module may have gone further in another: `lived` tells what came before the death, and what goes from the record.

A random number is named by the patient, the top-level module and how many that module has drawn for the patient before: neither the
order in which states are taken, nor the block, nor other modules matter to it.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import UserError
from ....core.stream import Stream, join_rows
from .memory import CODE, ENTRY, NIL, NONE, NUMBER, SERIES, TEXT, TRUTH, Attribute, Columns, Names, every, some
from .people import ALIVE, People
from .predicates import Fact, birthday
from .program import Program
from .values import DAY, KNOWN, Code, Series

WEEK = 7 * DAY
UNSET = -ALIVE
NEVER = np.iinfo(np.int32).max
MOST_TURNS = 100_000
"""Turns in which no module comes to rest, after which it is taken to circle: a hundred times what any needs."""
_GOLDEN = 0x9E3779B97F4A7C15


class Run:
    """One block's patients on their way. Arrays of length N are by patient, those of roots x N by *slot*: a patient in a
    top-level module."""

    def __init__(self, program: Program, people: People, stream: Stream) -> None:
        n, roots = len(people), len(program.roots)
        self.program, self.people, self.stream, self.n = program, people, stream.child("draw"), n
        self.birth = people.birth
        self.stop = np.minimum(people.end, people.death)
        self.death = people.death.copy()
        self.cause = np.full(n, NONE, np.int64)
        self.killer = np.full(n, NONE, np.int64)
        # the top-level module that is running, and where each patient is in it
        self.root, self.base = NONE, 0
        self.until = self.stop
        self.step = np.zeros(n, np.int64)
        self.time = np.zeros(n, np.int64)
        self.clock = np.zeros(n, np.int64)
        self.depth = np.zeros(n, np.int64)
        self.frames = np.zeros((program.deepest + 1, n), np.int64)
        self.order = np.zeros(n, np.int64)
        # where each module of each patient rests
        self.wake = np.zeros((roots, n), np.int32)
        self.due = self.wake.reshape(-1)
        self.cursor = np.repeat(program.initial, n)
        self.rest_depth = np.zeros(n * roots, np.int8)
        self.back = np.zeros((program.deepest + 1, n * roots), np.int32)
        self.expiry = np.full(n * roots, UNSET)
        self.guarded = np.zeros(n * roots, bool)
        self.leaves = np.zeros(n * roots, bool)
        self.phase = np.zeros(n * roots, np.int64)
        self.encounter = np.full(n * roots, NONE, np.int64)
        self.encounter_state = np.full(n * roots, NONE, np.int32)
        self.last_visit = np.full(n * roots, UNSET)
        salts = np.array(
            [int.from_bytes(stream.child("module", r).key[:8], "little") for r in program.roots], np.uint64
        )
        # the address of the next random number of each
        self.chance = join_rows(people.rows[None, :] ^ salts[:, None], 0).reshape(-1)
        # what is known of them
        self.texts, self.codes, self.series = Names(), program.codes, Names()
        self.attributes: dict[str, Attribute] = {}
        for name, values in people.attributes.items():
            self.attribute(name).fill(values, self.texts)
        self.present: dict[tuple[str, int], NDArray[np.int64]] = {}
        self.symptoms: dict[str, dict[str, NDArray[np.float64]]] = {}
        self.vitals: dict[str, NDArray[np.int32]] = {}
        self.seen: dict[str, Attribute] = {}
        self.birthdays: dict[tuple[int, str], NDArray[np.int64]] = {}
        self.marks: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.pending: dict[int, NDArray[np.bool_]] = {}
        self.cells: dict[tuple[str, int], tuple[NDArray, NDArray]] = {}
        self.rows: dict[int, dict[tuple, int]] = {}
        # what is recorded
        self.entries = Columns(
            form=np.int8, patient=np.int64, code=np.int64, state=np.int32, start=np.int64, stop=np.int64, encounter=np.int64,
            reason=np.int64, begun=np.int32, root=np.int16,
        )  # fmt: skip
        visits = people.visits
        self.encounters = Columns(
            patient=np.int64, state=np.int32, start=np.int64, stop=np.int64, reason=np.int64, disposition=np.int64,
            root=np.int16,
        )  # fmt: skip
        self.encounters.add(
            len(visits.start),
            patient=visits.patient,
            state=NONE,
            start=visits.start,
            stop=visits.end,
            reason=NONE,
            disposition=NONE,
            root=NONE,
        )
        self.visit_used = np.zeros(len(visits.start), bool)
        self.visit_key = (visits.patient << 33) | ((visits.start - self.birth[visits.patient]) // 1_000_000)
        self.next_known = np.searchsorted(people.known.patient, np.arange(n + 1)) if people.known else None
        # when the population last told of a diagnosis, and of which it can tell
        self.told = np.full(n, UNSET)
        self.told_codes = {c.code for s in program.states if s.kind == KNOWN for c in s.has["codes"]}
        self.log: dict[str, list[dict[str, Any]]] = {}
        self.trace: list[tuple[int, NDArray, NDArray]] | None = None
        # who waits where
        self.waiting: list[list[NDArray]] = [[] for _ in program.states]
        self.ready: list[int] = []
        # and who has come to rest where
        self.resting: dict[int, list[NDArray]] = {}

    # --- the loop

    def run(self) -> None:
        """Move everyone until nothing is due before their end. Raises UserError where a module circles without time passing."""
        everyone = np.arange(self.n)
        moved = True
        while moved:
            moved = False
            for root in range(len(self.program.roots)):
                self.root, self.base = root, root * self.n
                self.until = self.stop + (root < self.killer)
                ready = self._free(everyone)
                if len(ready):
                    moved = True
                    for s, p in parted(self.cursor[self.slot(ready)], ready):
                        self.resting[s] = [p]
                    self._advance()
        if self.trace is not None:
            self.trace = [(s, p[at <= self.stop[p]], at[at <= self.stop[p]]) for s, p, at in self.trace]

    def _advance(self) -> None:
        """Move those who are in the running module until all rest in it, at a state that is due too late or not before another. The state at which
        most of them rest is taken first: others who come round to the rest meet there, and go on together."""
        since = 0
        while self.ready or self.resting:
            if not self.ready:
                s = max(self.resting, key=lambda s: sum(map(len, self.resting[s])))
                here = self.resting.pop(s)
                p = self._free(here[0] if len(here) == 1 else np.concatenate(here))
                if len(p):
                    self._wake(s, p)
                since = 0
                continue
            s = heapq.heappop(self.ready)
            here = self.waiting[s]
            p = here[0] if len(here) == 1 else np.concatenate(here)
            self.waiting[s] = []
            if self.trace is not None:
                self.trace.append((s, p, self.clock[p]))
            passed = self.program.ops[s](self, s, p)
            if passed is not None and len(passed):
                self.leave(s, passed)
            since += 1
            if since > MOST_TURNS:
                raise UserError(
                    f"module {self.program.files[s]}: circles without time passing, at state '{self.program.states[s].name}'"
                )

    def _free(self, p: NDArray) -> NDArray:
        """Those for whom the running module is due before their end, and before all that it must not overtake."""
        due = self.wake[self.root][p]
        free = (due < NEVER) & (self.birth[p] + due.astype(np.int64) * WEEK < self.until[p])
        earlier, later = self.program.before[self.root]
        if len(earlier):
            free &= due < self.wake[earlier[:, None], p].min(axis=0)
        if len(later):
            free &= due <= self.wake[later[:, None], p].min(axis=0)
        return p[free]

    def slot(self, p: NDArray) -> NDArray[np.int64]:
        """Where the running module of each keeps what it knows."""
        return p + self.base

    def _wake(self, s: int, p: NDArray) -> None:
        slot = self.slot(p)
        step = self.due[slot].astype(np.int64)
        self.step[p] = step
        time = self.birth[p] + step * WEEK
        self.time[p] = self.clock[p] = time
        depth = self.rest_depth[slot].astype(np.int64)
        self.depth[p] = depth
        for d in range(int(depth.max())):
            self.frames[d, p] = time
        self.due[slot] = NEVER
        self.guarded[slot] = False
        self.push(s, p)

    def lived(self, p: NDArray, at: NDArray, root: NDArray | int) -> NDArray[np.bool_]:
        """Whether what a module did came before the death that another brought about."""
        death = self.death[p]
        return (at < death) | ((at == death) & ((root <= self.killer[p]) | (self.killer[p] == NONE)))

    def push(self, s: int, p: NDArray) -> None:
        here = self.waiting[s]
        if not here:
            heapq.heappush(self.ready, s)
        here.append(p)

    def scatter(self, states: NDArray, p: NDArray) -> None:
        """Send each patient to a state of their own."""
        for s, q in parted(states, p):
            self.push(s, q)

    def leave(self, s: int, p: NDArray) -> None:
        """The state is done: remember that, and take its way out."""
        for w in self.program.watchers[s]:
            order, left = self._mark(w)
            column = self.program.watch_column[w][self.root]
            self.order[p] += 1
            order[column, p] = self.order[p]
            left[column, p] = self.clock[p]
        self.program.ways[s](self, s, p)

    # --- time

    def sleep(self, s: int, p: NDArray, until: NDArray) -> None:
        """Blocked at a state until a time after this step."""
        slot = p + self.base
        step = -((self.birth[p] - until) // WEEK)
        self.due[slot] = np.minimum(np.maximum(step, self.step[p] + 1), NEVER)
        self.cursor[slot] = s
        self.rest_depth[slot] = self.depth[p]
        self.resting.setdefault(s, []).append(p)

    def reach(self, p: NDArray, when: NDArray) -> NDArray[np.bool_]:
        """Set the clocks to a later time if this step has come to it; which have. Modules that called this one go on at the time
        at which the framework would have come back to them."""
        ok = (when <= self.time[p]) & (when < self.until[p])
        if every(ok):
            q, t = p, when
        elif some(ok):
            q, t = p[ok], when[ok]
        else:
            return ok
        if self.program.deep[self.root] and (deepest := int((depth := self.depth[q]).max())):
            level = self.time[q]
            for d in range(deepest):
                frame, inside = self.frames[d, q], d < depth
                late = inside & (frame < t)
                self.frames[d, q] = np.where(late, level, frame)
                level = np.where(inside & ~late, frame, level)
        self.clock[q] = t
        return ok

    def next_level(self, p: NDArray) -> NDArray[np.int64]:
        """The next time in this step at which a blocked module is tried again; the clock's own where there is none."""
        clock, depth = self.clock[p], self.depth[p]
        level = self.time[p]
        for d in range(int(depth.max()) if len(p) else 0):
            frame = self.frames[d, p]
            level = np.where((d < depth) & (frame > clock), frame, level)
        return level

    def next_visit(self, p: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Time and number of each patient's next wellness visit that the running module has not used."""
        after = np.maximum(self.clock[p], self.last_visit[self.slot(p)] + 1) - self.birth[p]
        key = (p << 33) | -((-np.maximum(after, 0)) // 1_000_000)
        at = np.searchsorted(self.visit_key, key)
        visits = self.people.visits
        if not len(visits.start):
            return np.full(len(p), ALIVE), at
        known = np.minimum(at, len(visits.start) - 1)
        found = (at < len(visits.start)) & (visits.patient[known] == p)
        return np.where(found, visits.start[known], ALIVE), known

    def birthday(self, n: int, unit: str) -> NDArray[np.int64]:
        made = self.birthdays.get((n, unit))
        if made is None:
            made = self.birthdays[n, unit] = birthday(self.birth, n, unit)
        return made

    # --- chance

    def uniform(self, p: NDArray, each: int = 1) -> NDArray[np.float64]:
        """The next uniforms of the running modules: one each, or a row of several."""
        slot = p + self.base
        first = self.chance[slot]
        if each == 1:
            self.chance[slot] = first + _STEP
            return self.stream.uniform(first)
        self.chance[slot] = first + _steps(each)
        return self.stream.uniform(first[:, None] + np.arange(each, dtype=np.uint64) * np.uint64(_GOLDEN))

    def skip(self, p: NDArray, each: int) -> None:
        """Leave out numbers that nobody needs, so that those after them stay the same."""
        self.chance[self.slot(p)] += _steps(each)

    # --- what modules know

    def attribute(self, name: str) -> Attribute:
        made = self.attributes.get(name)
        if made is None:
            made = self.attributes[name] = Attribute(self.n)
        return made

    def set(self, name: str, p: NDArray, kind: int | NDArray, value: Any) -> None:
        self.attribute(name).set(p, kind, value)
        self.touch(("attribute", name), p)

    def plain(self, value: Any) -> tuple[int, float]:
        """A constant of a module as an attribute would hold it."""
        if value is None:
            return NIL, 0.0
        if isinstance(value, bool):
            return TRUTH, float(value)
        if isinstance(value, (int, float)):
            return NUMBER, float(value)
        if isinstance(value, Code):
            return CODE, float(self.codes(value.code))
        if isinstance(value, Series):
            return SERIES, float(self.series(value))
        return TEXT, float(self.texts(str(value)))

    def texts_equal(self, wanted: str, fold: bool) -> list[int]:
        """The texts in use that equal one, in either case if `fold`."""
        if not fold:
            return [self.texts.index.get(wanted, -1)]
        return [i for t, i in self.texts.index.items() if t.lower() == wanted.lower()]

    def code_of(self, held: Attribute, p: NDArray) -> NDArray[np.int64]:
        """The code that attributes hold, or that the entries have which they hold."""
        value = held.value[p].astype(np.int64)
        entry = held.kind[p] == ENTRY
        return np.where(entry, self.entries["code"][np.where(entry, value, 0)], value)

    def active(self, form: str, code: int) -> NDArray[np.int64]:
        """Each patient's active entry of a code, `NONE` where there is none."""
        made = self.present.get((form, code))
        if made is None:
            made = self.present[form, code] = np.full(self.n, NONE, np.int64)
        return made

    def latest(self, code: str) -> Attribute:
        """The value last observed under a code that conditions ask for."""
        made = self.seen.get(code)
        if made is None:
            made = self.seen[code] = Attribute(self.n)
        return made

    def symptom(self, name: str, p: NDArray) -> NDArray[np.float64]:
        """The highest value over its causes."""
        out = np.zeros(len(p))
        for value in self.symptoms.get(name, {}).values():
            out = np.maximum(out, value[p])
        return out

    def vital(self, name: str, p: NDArray, at: NDArray) -> NDArray[np.float64]:
        """A vital sign: drawn anew from what a module last said of it, else what the body says."""
        said = self.vitals.get(name)
        if said is None:
            return self.people.vital(name, p, at)
        by = said[p]
        out = np.empty(len(p))
        body = by == NONE
        if some(body):
            out[body] = self.people.vital(name, p[body], at[body])
        for s in np.unique(by[~body]):
            here = by == s
            out[here] = self.program.vital_of(self, int(s), p[here])
        return out

    def touch(self, fact: Fact, p: NDArray) -> None:
        """Something that guards read has changed: those who wait at one are due, in this step if their module comes later in it."""
        for r in self.program.readers.get(fact, ()):
            slot = p + r * self.n
            here = self.guarded[slot]
            if some(here):
                slot = slot[here]
                self.due[slot] = np.minimum(self.due[slot], self.step[p[here]] + (r <= self.root))

    def _mark(self, w: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        made = self.marks.get(w)
        if made is None:
            shape = (self.program.watch_width[w], self.n)
            made = self.marks[w] = (np.zeros(shape, np.int64), np.full(shape, UNSET))
        return made

    def watched(self, file: str, name: str, p: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When a state of a module's history was last left: as a place in the order of all that was left (0: never), and the time."""
        w = self.program.watch[file, name]
        order, left = self._mark(w)
        column = self.program.watch_column[w][self.root]
        return order[column, p], left[column, p]

    def forget(self, watches: tuple[int, ...], p: NDArray) -> None:
        """A submodule that is called begins with an empty history."""
        for w in watches:
            order, left = self._mark(w)
            column = self.program.watch_column[w][self.root]
            order[column, p], left[column, p] = 0, UNSET

    # --- the record

    def here(self, p: NDArray) -> NDArray[np.int64]:
        """The encounter that each is in with the running module; `NONE` if it is over."""
        encounter = self.encounter[p + self.base]
        # who is in none stays so, whatever stands at that index
        encounter[self.encounters["stop"][encounter] < self.clock[p]] = NONE
        return encounter

    def write(self, table: str, **columns: Any) -> None:
        """Append a batch to a log."""
        columns["root"] = self.root
        self.log.setdefault(table, []).append(columns)


def parted(states: NDArray, p: NDArray) -> list[tuple[int, NDArray]]:
    """The patients of each state."""
    if len(p) == 1 or every(states == states[0]):
        return [(int(states[0]), p)]
    order = np.argsort(states, kind="stable")
    states, p = states[order], p[order]
    edges = np.flatnonzero(states[1:] != states[:-1]) + 1
    first = [0, *edges.tolist()]
    return [(int(states[a]), p[a:b]) for a, b in zip(first, [*first[1:], len(p)], strict=True)]


def _steps(n: int) -> np.uint64:
    return np.uint64(n * _GOLDEN & 2**64 - 1)


_STEP = _steps(1)
