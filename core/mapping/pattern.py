"""Values for a column of which a check says what they look like: a regular expression, LIKE or GLOB."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import numpy as np

from ..errors import UserError
from ..stream import Stream

_KINDS = 1_000
"""Different values for a column that may repeat them, at most."""
_TRIES = 40
"""Draws for each value: some are too long, or there already."""
_SIGN = "[a-z0-9]"
_RUN = "[a-z0-9]{0,6}"
_CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "blank": " ",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!#%&*+,./:;<=>?@_~-",
    "space": " ",
    "upper": "A-Z",
    "word": "A-Za-z0-9_",
    "xdigit": "0-9A-Fa-f",
}


def pattern_of(part: Any) -> tuple[Any, str] | None:
    """What a predicate is about and the regular expression that it says its values match, in Python's words; None for any other predicate."""
    from sqlglot import exp

    if not isinstance(part, exp.RegexpLike | exp.RegexpILike | exp.RegexpFullMatch | exp.Like | exp.ILike | exp.Glob):
        return None
    wanted = part.expression
    while isinstance(wanted, exp.Paren | exp.Cast):
        wanted = wanted.this
    if not isinstance(wanted, exp.Literal) or not wanted.is_string:
        return None
    if isinstance(part, exp.Glob):
        found = _glob(wanted.this)
    elif isinstance(part, exp.Like | exp.ILike):
        found = re.sub(
            r".", lambda m: {"%": _RUN, "_": _SIGN}.get(m[0]) or re.escape(m[0]), wanted.this, flags=re.DOTALL
        )
    else:
        found = re.sub(r"\[:(\w+):\]", lambda m: _CLASSES.get(m[1], m[0]), wanted.this)
        found = re.sub(r"\\[zZ]$", "$", re.sub(r"^\\A", "^", found))
    try:
        re.compile(found)
    except re.error:
        return None
    return part.this, found


def _glob(glob: str) -> str:
    out = []
    for piece in re.findall(r"\[\^?\]?[^\]]*\]|.", glob, re.DOTALL):
        signs = {"*": _RUN, "?": _SIGN}
        out.append(piece if len(piece) > 1 else signs.get(piece, re.escape(piece)))
    return "".join(out)


def draw_matching(pattern: str, rows: np.ndarray, stream: Stream, shortest: int, longest: int) -> list[str]:
    """A value that matches for each row address, of not too many different ones."""
    kinds = _found(pattern, min(len(rows), _KINDS), stream, shortest, longest)
    return [kinds[n] for n in stream.integers(rows, len(kinds))] if len(rows) else []


def distinct_matching(pattern: str, count: int, stream: Stream, shortest: int, longest: int, place: str) -> list[str]:
    """Values that match and of which no two are alike. Raises UserError where there are too few."""
    found = _found(pattern, count, stream, shortest, longest)
    if len(found) < count:
        raise UserError(
            f"{place}: {count:,} rows need as many different values; {len(found):,} were found that match {pattern!r}"
        )
    return found


def _found(pattern: str, count: int, stream: Stream, shortest: int, longest: int) -> list[str]:
    """Up to so many different values; at least one, which may be of another length than is asked for where none else was found."""
    import rstr

    found: dict[str, None] = {}
    other = ""
    for attempt in range(_TRIES):
        seeds = stream.child("pattern", attempt).bits(np.arange(count - len(found), dtype=np.uint64))
        for seed in seeds.tolist():
            value = rstr.Rstr(Random(seed)).xeger(pattern)
            if shortest <= len(value) <= longest and re.search(pattern, value):
                found[value] = None
            else:
                other = value
        if len(found) >= count or (attempt > 4 and not found):
            break
    return list(found) or [other]
