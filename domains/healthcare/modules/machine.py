"""The machine: every patient runs through all modules, and the patients who stand in one state are moved together.

Within a patient the order is the framework's: in steps of seven days from birth, in each step the modules in their order, each until
it blocks; a delay that ends between two steps takes the module's clock back to its end. But nobody walks through the weeks: a blocked
module has the step in which it is due, and a patient goes straight to the earliest. Patients do not know of one another, so the
machine is free to choose whom it moves next, and takes the state in which most are waiting.

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
from .memory import CODE, ENTRY, NIL, NONE, NUMBER, TEXT, TRUTH, Attribute, Columns, Names
from .people import ALIVE, People
from .predicates import Fact, birthday
from .program import Program
from .values import DAY, KNOWN, Code

WEEK = 7 * DAY
UNSET = -ALIVE
NEVER = np.iinfo(np.int32).max
MOST_TURNS = 300_000
"""Turns within `TOGETHER` steps, after which a module is taken to circle: a hundred times what any life needs."""
TOGETHER = 13
"""Steps that patients may be apart: the more, the more turns of a loop pass alone; the fewer, the fewer meet in a rare state. What comes out is the same."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Run:
    """One block's patients on their way. Arrays of length N are by patient, those of N x roots by *slot*: a patient in a
    top-level module."""

    def __init__(self, program: Program, people: People, stream: Stream, together: int = TOGETHER) -> None:
        n, roots = len(people), len(program.roots)
        self.program, self.people, self.stream, self.n = program, people, stream.child("draw"), n
        self.birth = people.birth
        self.stop = np.minimum(people.end, people.death)
        self.death = people.death.copy()
        self.cause = np.full(n, NONE, np.int64)
        # where each patient is now
        self.root = np.zeros(n, np.int64)
        self.slot = np.zeros(n, np.int64)
        self.step = np.zeros(n, np.int64)
        self.time = np.zeros(n, np.int64)
        self.clock = np.zeros(n, np.int64)
        self.depth = np.zeros(n, np.int64)
        self.frames = np.zeros((program.deepest + 1, n), np.int64)
        self.order = np.zeros(n, np.int64)
        # where each module of each patient rests
        self.wake = np.zeros((n, roots), np.int32)
        self.due = self.wake.reshape(-1)
        self.cursor = np.tile(program.initial, n)
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
        self.base = join_rows(people.rows[:, None] ^ salts[None, :], 0).reshape(-1)
        self.drawn = np.zeros(n * roots, np.uint64)
        # what is known of them
        self.texts, self.codes = Names(), program.codes
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
        # what is recorded
        self.entries = Columns(
            form=np.int8, patient=np.int64, code=np.int64, state=np.int32, start=np.int64, stop=np.int64, encounter=np.int64,
            reason=np.int64, ended_by=np.int32,
        )  # fmt: skip
        visits = people.visits
        self.encounters = Columns(
            patient=np.int64, state=np.int32, start=np.int64, stop=np.int64, reason=np.int64, disposition=np.int64,
        )  # fmt: skip
        self.encounters.add(
            len(visits.start),
            patient=visits.patient,
            state=NONE,
            start=visits.start,
            stop=visits.end,
            reason=NONE,
            disposition=NONE,
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
        self.waiting: list[list[NDArray]] = [[] for _ in range(len(program.states) + 1)]
        self.ready: list[int] = []
        self.idle = len(program.states)
        self.later: dict[int, list[NDArray]] = {}
        self.steps: list[int] = []
        self.horizon = 0
        self.together = together

    # --- the loop

    def run(self) -> None:
        """Move everyone until nothing is due before their end. Raises UserError where a module circles without time passing."""
        self.push(self.idle, np.arange(self.n))
        since = 0
        while True:
            if not self.ready:
                if not self.later:
                    break
                self._resume()
                since = 0
                continue
            s = heapq.heappop(self.ready)
            here = self.waiting[s]
            p = here[0] if len(here) == 1 else np.concatenate(here)
            self.waiting[s] = []
            if s == self.idle:
                self._next(p)
            else:
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

    def _next(self, p: NDArray) -> None:
        """Each patient's next due module: the earliest step, in it the first module."""
        due = self.wake[p]
        root = due.argmin(axis=1)
        step = due[np.arange(len(p)), root].astype(np.int64)
        time = self.birth[p] + step * WEEK
        alive = (step < NEVER) & (time < self.stop[p])
        if not alive.all():
            p, root, step = p[alive], root[alive], step[alive]
            if not len(p):
                return
        self.root[p], self.step[p] = root, step
        late = step > self.horizon
        if late.any():
            self._put_off(p[late], step[late])
            p = p[~late]
            if not len(p):
                return
        self._wake(p)

    def _put_off(self, p: NDArray, step: NDArray) -> None:
        order = np.argsort(step, kind="stable")
        p, step = p[order], step[order]
        first = np.concatenate(([0], np.flatnonzero(step[1:] != step[:-1]) + 1))
        for a, b in zip(first.tolist(), [*first[1:].tolist(), len(p)], strict=True):
            k = int(step[a])
            if k not in self.later:
                self.later[k] = []
                heapq.heappush(self.steps, k)
            self.later[k].append(p[a:b])

    def _resume(self) -> None:
        """All have come as far as the others: those who are due next go on together, so that many meet in one state."""
        k = heapq.heappop(self.steps)
        self.horizon = k + self.together
        parts = self.later.pop(k)
        while self.steps and self.steps[0] <= self.horizon:
            parts += self.later.pop(heapq.heappop(self.steps))
        self._wake(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _wake(self, p: NDArray) -> None:
        root, time = self.root[p], self.birth[p] + self.step[p] * WEEK
        slot = p * len(self.program.roots) + root
        self.slot[p] = slot
        self.time[p] = self.clock[p] = time
        depth = self.rest_depth[slot].astype(np.int64)
        self.depth[p] = depth
        for d in range(int(depth.max())):
            self.frames[d, p] = time
        self.due[slot] = NEVER
        self.guarded[slot] = False
        self.scatter(self.cursor[slot], p)

    def push(self, s: int, p: NDArray) -> None:
        here = self.waiting[s]
        if not here:
            heapq.heappush(self.ready, s)
        here.append(p)

    def scatter(self, states: NDArray, p: NDArray) -> None:
        """Send each patient to a state of their own."""
        if len(p) == 1 or (states == states[0]).all():
            self.push(int(states[0]), p)
            return
        order = np.argsort(states, kind="stable")
        states, p = states[order], p[order]
        edges = np.flatnonzero(states[1:] != states[:-1]) + 1
        first = np.concatenate(([0], edges))
        last = np.append(edges, len(p))
        for a, b in zip(first.tolist(), last.tolist(), strict=True):
            self.push(int(states[a]), p[a:b])

    def leave(self, s: int, p: NDArray) -> None:
        """The state is done: remember that, and take its way out."""
        for w in self.program.watchers[s]:
            order, left = self._mark(w)
            at = p * order.shape[1] + self.program.watch_column[w][self.root[p]]
            self.order[p] += 1
            order.reshape(-1)[at] = self.order[p]
            left.reshape(-1)[at] = self.clock[p]
        self.program.ways[s](self, s, p)

    # --- time

    def sleep(self, s: int, p: NDArray, until: NDArray) -> None:
        """Blocked at a state until a time after this step."""
        slot = self.slot[p]
        step = -((self.birth[p] - until) // WEEK)
        self.due[slot] = np.minimum(np.maximum(step, self.step[p] + 1), NEVER)
        self.cursor[slot] = s
        self.rest_depth[slot] = self.depth[p]
        self.push(self.idle, p)

    def reach(self, p: NDArray, when: NDArray) -> NDArray[np.bool_]:
        """Set the clocks to a later time if this step has come to it; which have. Modules that called this one go on at the time
        at which the framework would have come back to them."""
        ok = (when <= self.time[p]) & (when < self.stop[p])
        if ok.all():
            q, t = p, when
        else:
            q, t = p[ok], when[ok]
        depth = self.depth[q]
        if len(q) and (deepest := int(depth.max())):
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
        after = np.maximum(self.clock[p], self.last_visit[self.slot[p]] + 1) - self.birth[p]
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
        slot = self.slot[p]
        first = self.drawn[slot]
        self.drawn[slot] = first + np.uint64(each)
        if each == 1:
            return self.stream.uniform(self.base[slot] + first * _GOLDEN)
        counter = first[:, None] + np.arange(each, dtype=np.uint64)
        return self.stream.uniform(self.base[slot][:, None] + counter * _GOLDEN)

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
        if body.any():
            out[body] = self.people.vital(name, p[body], at[body])
        for s in np.unique(by[~body]):
            here = by == s
            out[here] = self.program.vital_of(self, int(s), p[here])
        return out

    def touch(self, fact: Fact, p: NDArray) -> None:
        """Something that guards read has changed: those who wait at one are due, in this step if their module comes later in it."""
        for r in self.program.readers.get(fact, ()):
            slot = p * len(self.program.roots) + r
            here = self.guarded[slot]
            if here.any():
                q, slot = p[here], slot[here]
                step = self.step[q] + (r <= self.root[q])
                self.due[slot] = np.minimum(self.due[slot], step)

    def _mark(self, w: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        made = self.marks.get(w)
        if made is None:
            shape = (self.n, self.program.watch_width[w])
            made = self.marks[w] = (np.zeros(shape, np.int64), np.full(shape, UNSET))
        return made

    def watched(self, file: str, name: str, p: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When a state of a module's history was last left: as a place in the order of all that was left (0: never), and the time."""
        w = self.program.watch[file, name]
        order, left = self._mark(w)
        column = self.program.watch_column[w][self.root[p]]
        return order[p, column], left[p, column]

    def forget(self, watches: tuple[int, ...], p: NDArray) -> None:
        """A submodule that is called begins with an empty history."""
        for w in watches:
            order, left = self._mark(w)
            column = self.program.watch_column[w][self.root[p]]
            order[p, column], left[p, column] = 0, UNSET

    # --- the record

    def here(self, p: NDArray) -> NDArray[np.int64]:
        """The encounter that each is in with the running module; `NONE` if it is over."""
        encounter = self.encounter[self.slot[p]]
        known = encounter >= 0
        over = (
            self.encounters["stop"][np.where(known, encounter, 0)] < self.clock[p] if self.encounters.height else ~known
        )
        return np.where(known & ~over, encounter, NONE)

    def write(self, table: str, **columns: Any) -> None:
        """Append a batch to a log."""
        self.log.setdefault(table, []).append(columns)
