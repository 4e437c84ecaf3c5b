"""A JSON document that remembers where its values stand, and collects what is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....core.errors import unknown

Path = tuple[str | int, ...]
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the file and the line, the state it concerns ("" outside states), and what to do."""

    file: str
    line: int
    state: str
    message: str

    def __str__(self) -> str:
        state = f"state '{self.state}': " if self.state else ""
        return f"{self.file}:{self.line}: {state}{self.message}"


@dataclass
class Document:
    """A file's text, read as JSON; `problems` grows while it is parsed."""

    file: str
    text: str
    data: Any = None
    problems: list[Problem] = field(default_factory=list)

    def read(self) -> bool:
        """Decode the text. False, with a problem noted, where it is no JSON object."""
        try:
            self.data = json.loads(self.text, object_pairs_hook=self._object)
        except json.JSONDecodeError as error:
            self.problems.append(Problem(self.file, error.lineno, "", f"not valid JSON: {error.msg}"))
            return False
        except RecursionError:
            self.problems.append(Problem(self.file, 1, "", "not valid JSON: nested too deeply"))
            return False
        if not isinstance(self.data, dict):
            self.complain((), f"expected an object, found {kind(self.data)}")
            return False
        return True

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object. Of equal keys the last counts; a state that is lost by that is a problem."""
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [k for k, v in pairs if isinstance(v, dict) and "type" in v]
            for name in {n for n in names if names.count(n) > 1}:
                lines = [
                    m.start() for m in re.finditer(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:", self.text)
                ]
                line = self.text.count("\n", 0, lines[-1]) + 1 if lines else 1
                self.problems.append(Problem(self.file, line, name, "the state is there twice"))
        return made

    def complain(self, at: Path, message: str) -> None:
        state = str(at[1]) if len(at) > 1 and at[0] == "states" else ""
        self.problems.append(Problem(self.file, line_of(self.text, at), state, message))

    def unknown(self, at: Path, what: str, value: object, choices: Iterable[str]) -> None:
        """Refuse a name that is none of the choices, with the nearest."""
        self.complain(at, str(unknown(what, value, choices)))


def kind(value: Any) -> str:
    """What a JSON value is called in a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return json.dumps(value, ensure_ascii=False)


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, of the value at a path of keys and positions; of its nearest enclosing value where it is missing.
    Of equal keys the last counts, as in JSON decoding."""
    at = _skip(text, 0)
    for step in path:
        found = _member(text, at, step)
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, step: str | int) -> int | None:
    if text[at : at + 1] != ("{" if isinstance(step, str) else "["):
        return None
    found, n = None, 0
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        key: str | int = n
        if isinstance(step, str):
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if key == step:
            found = at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        n += 1
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
