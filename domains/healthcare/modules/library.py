"""A folder of modules: its modules, submodules and lookup tables, read and checked against one another."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....core.errors import UserError, unknown
from .document import Document, Problem
from .parse import parse
from .shares import odd_shares
from .values import KNOWN, Code, Module, Option, State, Transition

CONFIG = "telemedicine_config.json"
POPULATION = "(population)"
"""The name of the module that tells of diagnoses: no file's."""


@dataclass(frozen=True)
class Lookup:
    """A lookup table: each row's keys, and its probabilities of the targets. A key is a range of numbers (`age` in whole
    years, `time` in milliseconds since 1970, both ends included) or a text that an attribute must equal."""

    keys: tuple[str, ...]
    targets: tuple[str, ...]
    rows: tuple[tuple[tuple[str | tuple[float, float], ...], tuple[float, ...]], ...]


@dataclass(frozen=True)
class Library:
    """Everything that a run of modules may look at."""

    modules: Mapping[str, Module]
    """Top-level modules, by path, in the order in which they run."""
    submodules: Mapping[str, Module]
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    care: Mapping[str, Any] = field(default_factory=dict)
    """Shares of the settings of care: the folder's telemedicine_config.json."""
    notes: tuple[Problem, ...] = ()
    """What is no problem and may be none that was meant: chances that do not sum to one."""

    def knowing(self, codes: tuple[Code, ...]) -> Library:
        """The library with a first module that tells the others of diagnoses with these codes (`People.known`)."""
        onward = Transition("direct", (Option("Next"),))
        states = {
            "Initial": State("Initial", "Initial", {}, onward),
            "Next": State("Next", KNOWN, {"codes": codes}, onward),
        }
        return replace(self, modules={POPULATION: Module(POPULATION, "Population", states), **self.modules})

    def every(self) -> Iterator[Module]:
        yield from self.modules.values()
        yield from self.submodules.values()


def read_library(folder: Path, only: Iterable[str] = ()) -> Library:
    """Read a folder of modules. `only` names the top-level modules to keep. Raises UserError that shows the problems."""
    library, problems = check_library(folder)
    if problems:
        shown = "\n".join(str(p) for p in problems[:20])
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise UserError(f"--modules {folder}: {len(problems)} problems\n{shown}{more}")
    names = list(dict.fromkeys(only))
    for name in names:
        if name not in library.modules:
            raise unknown("module", name, library.modules, f"--module in {folder}")
    if not names:
        return library
    kept = {p: m for p, m in library.modules.items() if p in names}
    return Library(kept, _called(kept, library.submodules), library.lookups, library.care)


def _called(modules: Mapping[str, Module], submodules: Mapping[str, Module]) -> dict[str, Module]:
    """The submodules that modules call, and those that these call."""
    found: dict[str, Module] = {}
    todo = list(modules.values())
    while todo:
        for state in todo.pop().states.values():
            path = str(state.get("submodule", ""))
            if path in submodules and path not in found:
                found[path] = submodules[path]
                todo.append(submodules[path])
    return {path: found[path] for path in submodules if path in found}


def check_library(folder: Path) -> tuple[Library, list[Problem]]:
    """What a folder holds, and all that is wrong with it. DIR holds the modules, or has Synthea's layout: `modules/` with
    submodules in folders, and `lookup_tables/`. Raises UserError if it cannot be read or holds no module."""
    root = folder / "modules" if (folder / "modules").is_dir() else folder
    files = module_files(folder)
    if not any(p.parent == root for p in files):
        raise UserError(f"--modules {folder}: holds no module (*.json)")
    problems: list[Problem] = []
    made: dict[str, Module] = {}
    documents: dict[str, Document] = {}
    for file in files:
        path = file.relative_to(root).with_suffix("").as_posix()
        doc = Document(str(file.relative_to(folder)), _text(file))
        if doc.read() and (module := parse(path, doc)):
            made[path], documents[path] = module, doc
        problems += doc.problems
    tables = root.parent / "lookup_tables" if root != folder else folder / "lookup_tables"
    lookups = _lookups(made, documents, tables, problems)
    care = _care(made, documents, folder, problems)
    for path, module in made.items():
        problems += _links(module, documents[path], made)
    top = {p: m for p, m in made.items() if "/" not in p}
    below = {p: m for p, m in made.items() if "/" in p}
    notes = tuple(note for path, module in made.items() for note in odd_shares(module, documents[path]))
    return Library(top, below, lookups, care, notes), sorted(problems, key=lambda p: (p.file, p.line))


def module_files(folder: Path) -> list[Path]:
    """Every module file, in order of path."""
    if not folder.is_dir():
        raise UserError(f"--modules {folder}: not a folder")
    root = folder / "modules" if (folder / "modules").is_dir() else folder
    return sorted(p for p in root.rglob("*.json") if p.name != CONFIG)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of all that a folder's modules are made of."""
    digest = hashlib.sha256()
    for file in sorted([*module_files(folder), *folder.rglob("*.csv"), *folder.glob(CONFIG)]):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _links(module: Module, doc: Document, made: Mapping[str, Module]) -> list[Problem]:
    """References between files and states that do not lead anywhere."""
    before = len(doc.problems)
    for name, state in module.states.items():
        at = ("states", name)
        called = state.get("submodule")
        if called and called not in made:
            doc.unknown((*at, "submodule"), "submodule", called, made)
        for place, other, kinds in named(state):
            _named(doc, (*at, *place), other, kinds, module, made)
    _endless(module, doc)
    problems = doc.problems[before:]
    del doc.problems[before:]
    return [*problems, *_circles(module, doc, made)]


BEGINS = {
    "condition_onset": ("ConditionOnset",), "allergy_onset": ("AllergyOnset",), "medication_order": ("MedicationOrder",),
    "careplan": ("CarePlanStart",), "device": ("Device",), "target_encounter": ("Encounter",),
}  # fmt: skip
"""The fields of states that name another one, and what that has to be."""
WAITS = ("Delay", "Procedure", "Guard", "CallSubmodule", "Terminal")


def named(state: State) -> list[tuple[tuple[str | int, ...], str, tuple[str, ...]]]:
    """The states that a state names beside those that it leads to: in which field, and of which kinds they must be, none for any."""
    found: list[tuple[tuple[str | int, ...], str, tuple[str, ...]]] = [
        ((field,), str(state.has[field]), kinds) for field, kinds in BEGINS.items() if state.has.get(field)
    ]
    conditions = [part for logic in state.logic() for part in logic.walk() if part.kind == "PriorState"]
    return found + [((), str(part.has[k]), ()) for part in conditions for k in ("name", "since") if part.has.get(k)]


def _named(
    doc: Document,
    at: tuple[str | int, ...],
    name: str,
    kinds: tuple[str, ...],
    module: Module,
    made: Mapping[str, Module],
) -> None:
    """A state that is named is one of the module's or, since submodules share what has begun with their callers, of another's."""
    found = [m.states[name] for m in made.values() if name in m.states]
    if not found:
        doc.unknown(at, "state", name, module.states)
    elif kinds and not any(s.kind in kinds for s in found):
        doc.complain(at, f"state '{name}' is of type {found[0].kind}, expected {' or '.join(kinds)}")


def _endless(module: Module, doc: Document) -> None:
    """States from which no path leads to one that waits or ends: patients would go round for ever within one moment."""
    rests = {n for n, s in module.states.items() if s.kind in WAITS or s.get("wellness") or s.transition is None}
    grown = True
    while grown:
        more = {
            n for n, s in module.states.items() if n not in rests and s.transition and {*s.transition.targets} & rests
        }
        rests |= more
        grown = bool(more)
    for name in module.states.keys() - rests:
        if {*module.states[name].transition.targets} <= module.states.keys():  # type: ignore[union-attr]
            doc.complain(("states", name), "no way leads from here to a state that waits or ends")


def _circles(module: Module, doc: Document, made: Mapping[str, Module]) -> list[Problem]:
    """The states that call submodules which lead back to this one."""

    def calls(path: str) -> set[str]:
        return {s.get("submodule") for s in made[path].states.values() if s.kind == "CallSubmodule"} & made.keys()

    before = len(doc.problems)
    for name, state in module.states.items():
        seen, todo = set[str](), {state.get("submodule")} & made.keys()
        while todo - seen:
            path = (todo - seen).pop()
            seen.add(path)
            todo |= calls(path)
        if module.path in seen:
            doc.complain(("states", name, "submodule"), f"the module calls itself by '{state.get('submodule')}'")
    problems = doc.problems[before:]
    del doc.problems[before:]
    return problems


def _lookups(
    made: Mapping[str, Module], documents: Mapping[str, Document], folder: Path, problems: list[Problem]
) -> dict[str, Lookup]:
    found: dict[str, Lookup] = {}
    for path, module in made.items():
        for name, state in module.states.items():
            way = state.transition
            if way is None or not way.table:
                continue
            message = None
            if way.table not in found:
                read = _lookup(folder / way.table, [o.target or "" for o in way.options])
                if isinstance(read, str):
                    message = read
                else:
                    found[way.table] = read
            if way.table in found and set(found[way.table].targets) != {o.target for o in way.options}:
                message = f"lookup table {way.table}: its last columns are not the targets of this transition"
            if message:
                doc = documents[path]
                doc.complain(("states", name, "lookup_table_transition"), message)
                problems.append(doc.problems.pop())
    return found


def _lookup(file: Path, targets: list[str]) -> Lookup | str:
    if not file.is_file():
        return f"lookup table {file.name} is not in {file.parent.name}/"
    lines = list(csv.reader(_text(file).splitlines()))
    head = [h.strip() for h in lines[0]] if lines else []
    n = len(targets)
    if len(head) <= n or set(head[-n:]) != set(targets):
        return f"lookup table {file.name}: its last {n} columns are not {', '.join(sorted(targets))}"
    keys = tuple(h.lower() for h in head[:-n])
    rows = []
    for at, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        try:
            cells = tuple(_cell(k, c.strip()) for k, c in zip(keys, line[:-n], strict=True))
            rows.append((cells, tuple(float(c) for c in line[-n:])))
        except ValueError as error:
            return f"lookup table {file.name}:{at}: {error}"
    return Lookup(keys, tuple(head[-n:]), tuple(rows))


def _cell(key: str, cell: str) -> str | tuple[float, float]:
    if key not in ("age", "time"):
        return cell
    low, dash, high = cell.partition("-")
    if not dash:
        raise ValueError(f"{key} is '{cell}', expected a range such as 18-64")
    return float(low), float(high)


def _care(
    made: Mapping[str, Module], documents: Mapping[str, Document], folder: Path, problems: list[Problem]
) -> Mapping[str, Any]:
    users = [(p, s) for p, m in made.items() for s in m.states.values() if _by_care(s)]
    if not users:
        return {}
    file = folder / CONFIG
    if not file.is_file():
        path, state = users[0]
        documents[path].complain(("states", state.name), f"type_of_care_transition needs {CONFIG} beside the modules")
        problems.append(documents[path].problems.pop())
        return {}
    try:
        return json.loads(_text(file))
    except json.JSONDecodeError as error:
        problems.append(Problem(CONFIG, error.lineno, "", f"not valid JSON: {error.msg}"))
        return {}


def _by_care(state: State) -> bool:
    return state.transition is not None and state.transition.kind == "type_of_care"
