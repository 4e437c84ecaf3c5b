"""A plan is the spec fully resolved: window, priors, scenarios, blocks, model hashes. It holds no rows, so it is instant to make, can be
printed, and can be sent to another process."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .domain import Block, Domain, Window, find_domain
from .errors import UserError, unknown
from .inputs import extend
from .mix import Balance, Mix, sized, wished
from .narrow import in_order, narrow
from .priors import Priors
from .scenario import Use, check_codes, resolve, said_of
from .spec import Spec
from .stream import Stream
from .tables import Tables, merge

MAX_SIZE = 1_000_000_000
EARLIEST, LATEST = dt.date(1900, 1, 1), dt.date(2200, 1, 1)


@dataclass(frozen=True)
class Plan:
    domain: Domain
    spec: Spec
    size: int
    seed: int
    start: dt.date
    end: dt.date
    priors: Priors
    uses: tuple[Use, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    """Slot name to the SHA-256 of the model file."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What extended the domain: the SHA-256 of a folder, the names asked for."""
    balance: Balance | None = None

    @property
    def whole(self) -> Domain:
        """The domain with all its tables: what steps and scenarios know."""
        return self.domain.part_of or self.domain

    @property
    def units(self) -> int:
        return -(-self.size // self.domain.per_unit)

    @property
    def blocks(self) -> int:
        return -(-self.units // self.span)

    @cached_property
    def span(self) -> int:
        """Units in a full block: the domain's block, up to the end of its last circle."""
        domain, most = self.domain, self.domain.block
        if domain.weight:
            each = max(1.0, domain.weight(self.priors, self.window, domain.library))
            most = max(1, min(most, int(domain.rows / each)))
        return -(-most // domain.circle) * domain.circle

    @property
    def window(self) -> Window:
        return Window(_micros(self.start), _micros(self.end))

    @property
    def stream(self) -> Stream:
        return Stream.root(self.seed).child(self.domain.name)

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset(name for use in self.uses for name in use.scenario.excused)

    def of(self, only: Sequence[str]) -> Plan:
        """The plan of these tables alone, or of what these views take. Raises UserError for such as there are not."""
        domain = narrow(self.domain, only, bool(self.uses))
        return replace(self, spec=replace(self.spec, only=tuple(only)), domain=domain)

    @cached_property
    def reference(self) -> Tables:
        """The reference tables: built once in each process, the same in all."""
        tables: Tables = {}
        block = Block(0, 0, self.size, self.stream, self.priors, self.window, {}, {}, self.domain.library)
        for step in self.domain.reference:
            tables = merge(tables, step.run(block, tables))
        return tables

    @cached_property
    def samplers(self) -> Mapping[str, Any]:
        if not self.spec.models:
            return {}
        from .models import load_model

        return {slot: load_model(path).sampler for slot, path in self.spec.models.items()}

    def block(self, index: int) -> Block:
        first = index * self.span
        last = min(first + self.span, self.units)
        fixed = (self.stream, self.priors, self.window, self.reference, self.samplers, self.domain.library)
        return Block(first, last, self.size, *fixed)

    @property
    def instances(self) -> dict[str, int]:
        """How many instances of each scenario are asked for."""
        asked: dict[str, int] = {}
        for use in self.uses:
            asked[use.scenario.name] = asked.get(use.scenario.name, 0) + use.count
        return asked

    def first_instance(self, use: int) -> int:
        """The number of a use's first instance: where a scenario is asked for more than once, its instances are numbered on."""
        name = self.uses[use].scenario.name
        return sum(u.count for u in self.uses[:use] if u.scenario.name == name)

    def describe(self) -> dict[str, Any]:
        """The plan as plain data: what a dry run prints, a manifest keeps, and a resumed run must match."""
        changed = {k: p.value for k, p in self.priors.entries.items() if p != self.domain.priors.entries[k]}
        return {
            "domain": self.domain.name,
            "size": self.size,
            "seed": self.seed,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "set": changed,
            "scenarios": [
                {
                    "name": u.scenario.name,
                    "count": u.count,
                    **({"from": _shown(u.since)} if u.since is not None else {}),
                    **{k: _plain(v) for k, v in u.parameters.items()},
                }
                for u in self.uses
            ],
            "models": dict(self.models),
            **({"inputs": dict(self.inputs)} if self.inputs else {}),
            "steps": [s.name for s in (*self.domain.reference, *self.domain.steps, *self.domain.derive)],
            "blocks": self.blocks,
            **({"balance": self.balance.describe()} if self.balance else {}),
            **({"only": in_order(self.whole, self.spec.only)} if self.domain.part_of else {}),
        }

    @property
    def fingerprint(self) -> str:
        """Names the dataset: equal for equal plans of one populace version."""
        # of a wish for a balance nothing is left but the counts that it led to
        told = {k: v for k, v in self.describe().items() if k != "balance"}
        text = json.dumps({"populace": version("populace"), **told}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def make_plan(spec: Spec, domain: Domain | None = None) -> Plan:
    """Resolve a spec against its domain. Every mistake a user can make in it is found here, before any row is made."""
    domain, inputs = extend(domain or find_domain(spec.domain), spec.inputs)
    size = domain.size if spec.size is None else spec.size
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise UserError(f"--size is {size!r}, expected a whole number from 1 to {MAX_SIZE:,}")
    if isinstance(spec.seed, bool) or not isinstance(spec.seed, int) or not 0 <= spec.seed < 2**63:
        raise UserError(f"--seed is {spec.seed!r}, expected a whole number from 0 to 2^63 - 1")
    start = _date(spec.start or domain.window[0], "--start")
    end = _date(spec.end or domain.window[1], "--end")
    if end <= start:
        raise UserError(f"--end is {end}, which is not after --start, {start}")
    priors = domain.priors.override(spec.settings)
    if spec.settings and domain.settled:
        domain = domain.settled(domain, priors)
    seen: dict[str, int] = {}
    uses, own, mixes = list[Use](), list[bool](), list[Mix]()
    for request in spec.scenarios:
        if request.name in domain.mixes:
            if request.parameters:
                raise UserError(
                    f"scenario {request.name}: a mix takes no parameters; set the prior {domain.mixes[request.name].rate}"
                )
            mixes.append(domain.mixes[request.name])
            continue
        if request.name not in domain.scenarios:
            raise unknown("scenario", request.name, [*domain.scenarios, *domain.mixes], about=said_of(domain.scenarios))
        use = resolve(request, domain.scenarios, size, seen.get(request.name, 0))
        if use.since is not None and not _micros(start) <= use.since < _micros(end):
            raise UserError(
                f"scenario {request.name}: from is {request.parameters['from']}, outside the window from {start} to {end}"
            )
        check_codes(use, domain.schema)
        own.append(bool({"count", "rate"} & request.parameters.keys()))
        seen[request.name] = seen.get(request.name, 0) + 1
        uses.append(use)
    models = {}
    for slot, path in spec.models.items():
        if slot not in domain.slots:
            raise unknown("model slot", slot, domain.slots, domain.name)
        models[slot] = _fingerprint(path)
    plan = Plan(domain, spec, size, spec.seed, start, end, priors, tuple(uses), models, inputs)
    assert plan.span  # what it is reckoned from may be wrong
    for slot, sampler in plan.samplers.items():
        wanted = {*domain.slots[slot].given, *domain.slots[slot].makes}
        if missing := wanted - set(sampler.columns):
            raise UserError(f"--model {slot}: {spec.models[slot]} has no column {', '.join(sorted(missing))}")
    plan = _balanced(plan, own, mixes)
    return plan.of(spec.only) if spec.only else plan


def _balanced(plan: Plan, own: list[bool], mixes: list[Mix]) -> Plan:
    """The plan with counts for scenarios that have none of their own, where a mix, its rate or a balance is asked for."""
    mix, share = wished(plan.domain.mixes, plan.spec.settings), plan.spec.balance
    if mix and not plan.uses and not mixes:
        mixes = [mix]
    if share is not None:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise UserError(f"--balance label is {share!r}, expected a share between 0 and 1")
        if not plan.uses and not mixes:
            raise UserError(f"--balance label={share}: no scenario is asked for, so there are no cases to add")
    elif mix and (mixes or not all(own)):
        share = plan.priors(mix.rate)
    if not mixes and share is None:
        return plan
    uses, balance = sized(plan, own, mixes, share)
    return replace(plan, uses=uses, balance=balance if plan.spec.balance is not None else None)


def _date(value: Any, flag: str) -> dt.date:
    try:
        date = value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))
    except ValueError:
        raise UserError(f"{flag} is '{value}', expected a date such as 2025-01-31") from None
    if isinstance(date, dt.datetime):
        date = date.date()
    if not EARLIEST <= date <= LATEST:
        raise UserError(f"{flag} is {date}, outside {EARLIEST} to {LATEST}")
    return date


def _micros(date: dt.date) -> int:
    return (date - dt.date(1970, 1, 1)).days * 86_400_000_000


def _shown(micros: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)).isoformat()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value


def _fingerprint(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"model {path}: cannot be read: {error.strerror}") from None
