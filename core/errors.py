"""What goes wrong, in two kinds: the user asked for something that cannot be (exit 2), or the data is not valid (exit 1)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping


class UserError(Exception):
    """A request that cannot be met. The message shows the value, the place, and the nearest valid choice."""


class Interrupted(UserError):
    """A run that stopped half-way and can be resumed: what it finished stays on disk."""


class InvalidData(Exception):
    """Generated rows broke a constraint that no scenario declares, or a declared break did not occur."""


FEW = 12
"""Names that are all told, though one of them is near."""


def nearest(value: object, names: Iterable[str], alike: float = 0.5) -> str | None:
    """The name that is most like a value, if any is alike enough (0 to 1)."""
    return next(iter(difflib.get_close_matches(str(value), list(names), n=1, cutoff=alike)), None)


def unknown(
    kind: str, value: object, choices: Iterable[str], place: str = "", about: Mapping[str, str] | None = None
) -> UserError:
    """The error for a name that does not exist: says where it stands and what was probably meant. `about` has what is said of each choice: others may know it
    by another name."""
    names = sorted(choices)
    near = nearest(value, names)
    told = [
        name for name, text in (about or {}).items() if re.search(rf"\b{re.escape(str(value))}\b", text, re.IGNORECASE)
    ]
    known = f" Known: {', '.join(names) or 'none'}."
    if told and not nearest(value, names, 0.75):
        hint = f" It is spoken of in: {', '.join(told)}."
    elif near:
        hint = f" Did you mean '{near}'?{known if len(names) <= FEW else ''}"
    else:
        hint = known
    return UserError(f"{place + ': ' if place else ''}unknown {kind} '{value}'.{hint}")
