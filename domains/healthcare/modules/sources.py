"""Where a module's numbers come from: a state that leaves something to chance says so in its remarks, with an address."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .draws import fixed
from .library import Library
from .values import Amount, Option, Share, State

ADDRESS = re.compile(r"https?://\S+")


def unsourced(library: Library) -> Iterator[tuple[str, str, str]]:
    """Module, state and what is drawn there, of each state with chance in it whose remarks name no address, neither do the module's under the
    state's name (`State: …`)."""
    for module in library.every():
        for state in module.states.values():
            said = [*state.remarks, *(r for r in module.remarks if r.startswith(f"{state.name}:"))]
            drawn = list(_chances(state))
            if drawn and not any(ADDRESS.search(r) for r in said):
                yield module.path, state.name, ", ".join(drawn)


def _chances(state: State) -> Iterator[str]:
    """What is drawn in a state and on its way out."""
    for value in state.has.values():
        if isinstance(value, Amount) and not fixed(value):
            yield f"{value.kind.lower()} {', '.join(f'{v:g}' for v in value.parameters.values())} {value.unit}".strip()
    for part in state.get("observations", ()):
        yield from _chances(part)
    if state.transition is None:
        return
    if state.transition.table:
        yield f"lookup table {state.transition.table}"
    options = [o for option in state.transition.options for o in (option.spread or (option,))]
    weights = [o.weight for o in options if _chance(o)]
    if weights:
        yield "shares " + ", ".join(w.attribute if isinstance(w, Share) else f"{w:g}" for w in weights if w is not None)


def _chance(option: Option) -> bool:
    return isinstance(option.weight, Share) or option.weight not in (None, 0, 1)
