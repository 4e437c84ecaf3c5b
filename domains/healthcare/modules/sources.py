"""Where a module's numbers come from: a state that leaves something to chance, or takes its time, says so in its remarks: with an address, with the
prior that it is taken from, or as an assumption."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .draws import fixed
from .library import Library
from .values import Amount, Option, Share, State

SOURCE = re.compile(r"https?://\S+|prior `[\w.]+`")
ASSUMPTION = "Assumption:"


@dataclass(frozen=True)
class Said:
    """A state that draws a number, what it draws, and the remarks that say where from."""

    module: str
    state: str
    drawn: str
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]


def origins(library: Library) -> Iterator[Said]:
    """Each state with chance or a delay in it, with its remarks that name an address or a prior and those that begin with `Assumption:`; the
    module's remarks under the state's name (`State: …`) count with them."""
    for module in library.every():
        for state in module.states.values():
            drawn = list(_chances(state))
            if not drawn:
                continue
            under = f"{state.name}:"
            said = [*state.remarks, *(r[len(under) :].strip() for r in module.remarks if r.startswith(under))]
            assumed = tuple(r for r in said if r.startswith(ASSUMPTION))
            known = tuple(r for r in said if r not in assumed and SOURCE.search(r))
            yield Said(module.path, state.name, ", ".join(drawn), known, assumed)


def unsourced(library: Library) -> Iterator[tuple[str, str, str]]:
    """Module, state and what is drawn there, of each state that tells neither a source nor that it assumes."""
    return ((s.module, s.state, s.drawn) for s in origins(library) if not s.sources and not s.assumptions)


def _chances(state: State) -> Iterator[str]:
    """What is drawn in a state and on its way out, and how long it waits."""
    for value in state.has.values():
        if isinstance(value, Amount) and (state.kind == "Delay" or not fixed(value)):
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
