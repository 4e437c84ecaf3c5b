"""The flags for what a domain takes besides priors: folders of the user's own files, and names that choose among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_FLAGS = {
    "modules": click.option("--modules", metavar="DIR", help="healthcare: disease modules of your own (GMF, JSON)."),
    "module": click.option("--module", multiple=True, metavar="NAME", help="healthcare: only these modules."),
    "profiles": click.option("--profiles", metavar="DIR", help="iot: device profiles of your own (TOML)."),
}


def takes_inputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to a command."""
    for flag in reversed(_FLAGS.values()):
        command = flag(command)
    return command


def inputs_of(flags: dict[str, Any]) -> dict[str, Any]:
    """Take the inputs that were given out of a command's flags."""
    given = {name: flags.pop(name) for name in _FLAGS}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in given.items() if v}
