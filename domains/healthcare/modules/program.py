"""A library made ready to run: states by number, an operation and a way out for each, and who reads what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .draws import sample
from .expression import evaluate
from .library import Library
from .memory import Names
from .predicates import Fact, facts
from .values import Module, State

if TYPE_CHECKING:
    from .machine import Run

Op = Callable[["Run", int, NDArray], NDArray | None]
"""op(run, state, patients): does what the state does; the patients who pass it."""
Way = Callable[["Run", int, NDArray], None]
"""way(run, state, patients): sends each on."""

STARTS = {
    "ConditionOnset": "condition",
    "AllergyOnset": "allergy",
    "MedicationOrder": "medication",
    "CarePlanStart": "careplan",
    "Device": "device",
}
FORMS = ("condition", "allergy", "medication", "careplan", "device", "provisional")
"""What an entry of the record is; a provisional one is a condition or allergy that no encounter has diagnosed."""


class Program:
    """A compiled library. Holds no patients: one serves all blocks."""

    def __init__(self, library: Library, traced: bool = False) -> None:
        """`traced`: patients stop in every state, in those too that do nothing, so that `Run.trace` sees them all."""
        from . import loops
        from .effects import operation
        from .order import before
        from .ways import way

        self.library = library
        self.codes = Names()
        self.roots = list(library.modules)
        self.files: list[str] = []
        self.states: list[State] = []
        self.index: dict[tuple[str, str], int] = {}
        modules = {m.path: m for m in library.every()}
        calls = {
            path: {s.get("submodule") for s in m.states.values() if s.kind == "CallSubmodule"}
            for path, m in modules.items()
        }
        # those who are called before those who call, states in the order of their transitions: the machine takes the first state
        # that has patients, so that patients who took different ways meet again where the ways do
        for path in sorted(modules, key=lambda path: (_depth(path, calls), path)):
            for name in forward(modules[path]):
                self.index[path, name] = len(self.states)
                self.files.append(path)
                self.states.append(modules[path].states[name])
        self.traced = traced
        set_by = {s.has["vital_sign"] for s in self.states if s.kind == "VitalSign"}
        read = {p.get("vital_sign") for s in self.states for p in (s, *s.get("observations", ()))}
        self.unset, self.bodies = frozenset(read - set_by - {None}), Names()
        self.below = {path: _closure(path, calls) for path in modules}
        self.deep = [_depth(r, calls) for r in self.roots]
        self.deepest = max(self.deep, default=0)
        self.named: dict[tuple[str, str], list[int]] = {}
        self.aimed: dict[str, list[int]] = {}
        """By the name of an encounter, the states that wait for it with their diagnosis."""
        for s, state in enumerate(self.states):
            if state.kind in STARTS:
                self.named.setdefault((STARTS[state.kind], state.name), []).append(s)
            if aim := state.get("target_encounter"):
                self.aimed.setdefault(aim, []).append(s)
        self._watch()
        self.initial = np.array([self.onward(self.index[r, "Initial"]) for r in self.roots], np.int32)
        self._readers()
        self.asked = {code for fact, code in self.facts if fact == "observation"}
        self.before = before(self)
        self.ops: list[Op] = []
        self.ways: list[Way] = []
        for s in range(len(self.states)):
            op, out = loops.operation(self, s) if loops.loops(self, s) else (operation(self, s), way(self, s))
            self.ops.append(op)
            self.ways.append(out)

    def starters(self, form: str, file: str, name: str) -> list[int]:
        """The states of a name that start entries of a form: of the same module, else of any."""
        every = self.named.get((form, name), [])
        return [s for s in every if self.files[s] == file] or every

    def onward(self, s: int) -> int:
        """The state where who comes to `s` next does something: states that only lead on are passed over."""
        seen = set[int]()
        while not self.traced and s not in seen and self._only_leads_on(s):
            seen.add(s)
            way = self.states[s].transition
            assert way is not None
            s = self.index[self.files[s], way.options[0].target or ""]
        return s

    def _only_leads_on(self, s: int) -> bool:
        state = self.states[s]
        direct = state.transition is not None and state.transition.kind == "direct"
        return state.kind in ("Initial", "Simple", "Physiology") and direct and not self.watchers[s]

    def _watch(self) -> None:
        """Which states conditions look back to, by file; whose leaving shows in which history."""
        self.watch: dict[tuple[str, str], int] = {}
        for s, state in enumerate(self.states):
            for logic in state.logic():
                for part in logic.walk():
                    if part.kind == "PriorState":
                        for name in (part.has["name"], part.has.get("since")):
                            if name:
                                self.watch.setdefault((self.files[s], name), len(self.watch))
        self.watchers: list[tuple[int, ...]] = []
        by_name: dict[str, list[tuple[str, int]]] = {}
        for (file, name), w in self.watch.items():
            by_name.setdefault(name, []).append((file, w))
        for s, state in enumerate(self.states):
            mine = [w for file, w in by_name.get(state.name, ()) if self.files[s] in self.below[file]]
            self.watchers.append(tuple(mine))
        self.watch_column: list[NDArray[np.int64]] = []
        self.watch_width: list[int] = []
        for file, _ in self.watch:
            users = [r for r, root in enumerate(self.roots) if file in self.below[root]]
            column = np.zeros(len(self.roots), np.int64)
            column[users] = np.arange(len(users))
            self.watch_column.append(column)
            # roots that do not use the file share a column that nobody reads
            column[[r for r in range(len(self.roots)) if r not in users]] = len(users)
            self.watch_width.append(len(users) + 1)
        self.watches_of: dict[str, tuple[int, ...]] = {}
        for (file, _), w in self.watch.items():
            self.watches_of[file] = (*self.watches_of.get(file, ()), w)

    def _readers(self) -> None:
        """Which top-level modules have guards, or loops, that read a fact."""
        from .loops import loop_facts, loops

        found: dict[Fact, set[int]] = {}
        self.facts: set[Fact] = set()
        for s, state in enumerate(self.states):
            for logic in state.logic():
                self.facts |= facts(logic)
            read = facts(state.has["allow"]) if state.kind == "Guard" else set[Fact]()
            if loops(self, s):
                read |= loop_facts(self, s)
            roots = [r for r, root in enumerate(self.roots) if self.files[s] in self.below[root]]
            for fact in read:
                found.setdefault(fact, set()).update(roots)
        self.readers = {fact: tuple(sorted(roots)) for fact, roots in found.items()}

    def vital_of(self, run: Run, s: int, p: NDArray) -> NDArray[np.float64]:
        """The value of a vital sign that a VitalSign state has set."""
        state = self.states[s]
        if "amount" in state.has:
            return sample(state.has["amount"], run.uniform(p))
        return evaluate(state.has["expression"], lambda name: run.attribute(name).numbers(p)) + np.zeros(len(p))


def forward(module: Module) -> list[str]:
    """The states that can be reached, each after those that lead to it except by a circle."""
    done: list[str] = []
    seen = {"Initial"}
    stack = [("Initial", iter(_after(module, "Initial")))]
    while stack:
        name, rest = stack[-1]
        for target in rest:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(_after(module, target))))
                break
        else:
            stack.pop()
            done.append(name)
    return [*reversed(done), *(n for n in module.states if n not in seen)]


def _after(module: Module, name: str) -> tuple[str, ...]:
    way = module.states[name].transition
    return way.targets if way else ()


def _closure(path: str, calls: dict[str, set[str]]) -> set[str]:
    seen, todo = {path}, [path]
    while todo:
        new = calls[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def _depth(path: str, calls: dict[str, set[str]]) -> int:
    return max((1 + _depth(c, calls) for c in calls[path]), default=0)
