"""The flags that say which dataset is meant: they and a spec file become a `Spec`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ...core.errors import UserError

if TYPE_CHECKING:
    from ...core.spec import Spec

_INPUTS = {
    "modules": click.option(
        "--modules",
        metavar="DIR",
        help="healthcare: disease modules (GMF, JSON) of your own, or `own`: those of populace.",
    ),
    "from": click.option(
        "--from",
        "from",
        metavar="DIR",
        help="healthcare: records that populace import has written, as the first patients.",
    ),
    "module": click.option("--module", multiple=True, metavar="NAME", help="healthcare: only these modules."),
    "country": click.option("--country", metavar="CC", help="healthcare: whose population it is: US, DE, FR or GB."),
    "profiles": click.option("--profiles", metavar="DIR", help="iot: device profiles of your own (TOML)."),
}
_SPEC = (
    click.argument("domain", required=False),
    click.option("--size", type=int, metavar="N", help="Root entities: patients, customers or devices."),
    click.option("--seed", type=int, metavar="S", help="Same seed, same bytes.  [default: 0]"),
    click.option("--start", metavar="DATE", help="First day of the time window."),
    click.option("--end", metavar="DATE", help="The day after the last."),
    click.option(
        "--scenario",
        "scenarios",
        multiple=True,
        metavar="NAME[:key=value,...]",
        help="Cast a scenario; count= or rate= says how many.",
    ),
    click.option("--set", "settings", multiple=True, metavar="PRIOR=VALUE", help="Override a prior."),
    click.option(
        "--model", "models", multiple=True, metavar="SLOT=MODEL", help="Let a fitted model draw the columns of a slot."
    ),
    click.option(
        "--balance",
        metavar="label=SHARE",
        help="Add cases until scenarios label this share of the rows; says the weight that undoes it.",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="TABLE[,...]",
        help="Make these tables alone, as they are in the whole.",
    ),
    *_INPUTS.values(),
    click.option("--spec", "spec_file", metavar="FILE.toml", help="Read settings from a file; flags win over it."),
)


def takes_inputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags for what a domain takes besides priors: folders of the user's own files, and names that choose among them."""
    return _with(command, tuple(_INPUTS.values()))


def takes_spec(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument DOMAIN and every flag of a spec."""
    return _with(command, _SPEC)


def inputs_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that were given among a command's flags."""
    return {n: list(flags[n]) if isinstance(flags[n], tuple) else flags[n] for n in _INPUTS if flags[n]}


def spec_of(flags: Mapping[str, Any]) -> tuple[Spec, Mapping[str, Any]]:
    """The spec that the flags and the spec file ask for, and the file's other settings. Raises UserError if they disagree on the domain."""
    from ...core.domain import domain_names
    from ...core.scenario import parse_request
    from ...core.spec import Spec, parse_balance, parse_settings, read_spec_file

    domain, file = flags["domain"], flags["spec_file"]
    written = read_spec_file(file) if file else {}
    if domain and written.get("domain", domain) != domain:
        raise UserError(f"--spec {file} is for '{written['domain']}', the command says '{domain}'")
    name = domain or written.get("domain")
    if name is None:
        raise UserError(f"which domain? One of: {', '.join(domain_names())}")

    def chosen(flag: str, default: Any = None) -> Any:
        return flags[flag] if flags[flag] is not None else written.get(flag, default)

    spec = Spec(
        name,
        chosen("size"),
        chosen("seed", 0),
        chosen("start"),
        chosen("end"),
        tuple(written.get("scenario", ())) + tuple(parse_request(s) for s in flags["scenarios"]),
        {**written.get("set", {}), **parse_settings(flags["settings"])},
        {**written.get("models", {}), **parse_settings(flags["models"], "--model")},
        {**written.get("inputs", {}), **inputs_of(flags)},
        parse_balance(flags["balance"]) if flags.get("balance") else written.get("balance"),
        tuple(n.strip() for names in flags["only"] for n in names.split(",")) or tuple(written.get("only", ())),
    )
    return spec, written


def workers_of(flag: int | None, written: Mapping[str, Any]) -> int:
    """How many processes were asked for; one for each core, if none were."""
    workers = flag or written.get("workers") or (cores() if flag is None else 0)
    if workers < 1:
        raise UserError(f"--workers is {workers}, expected at least 1")
    return workers


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with(command: Callable[..., Any], flags: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    for flag in reversed(flags):
        command = flag(command)
    return command
