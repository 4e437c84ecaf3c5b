"""What goes wrong, in two kinds: the user asked for something that cannot be (exit 2), or the data is not valid (exit 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A request that cannot be met. The message shows the value, the place, and the nearest valid choice."""


class Interrupted(UserError):
    """A run that stopped half-way and can be resumed: what it finished stays on disk."""


class InvalidData(Exception):
    """Generated rows broke a constraint that no scenario declares, or a declared break did not occur."""


def unknown(kind: str, value: object, choices: Iterable[str], place: str = "") -> UserError:
    """The error for a name that does not exist: says where it stands and what was probably meant."""
    names = sorted(choices)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(names) or 'none'}."
    return UserError(f"{place + ': ' if place else ''}unknown {kind} '{value}'.{hint}")
