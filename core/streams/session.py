"""A stream from beginning to end: the plan's events go into a store, the store is played; changes on the way become further stores.

A change is a scenario that starts now, or a prior that shifts. It makes another plan, whose events are played from the next instant on: before it,
the rows are those of the first plan; after it, those of the second, which differ from the first in nothing but the change. Since each plan is a
pure function of its spec, the list of changes with their instants repeats the stream exactly.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..domain import Domain
from ..errors import UserError, unknown
from ..plan import Plan, make_plan
from ..progress import Progress
from ..run import run
from ..scenario import ScenarioRequest, parse_request
from .events import Event
from .message import Shape, checked
from .outlets import kind_of, open_outlet
from .play import Account, Controls, Part, play
from .store import Store, StoreSink

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CHANGE = {"from", "scenario", "set"}


@dataclass
class Session:
    """One stream that plays, is watched and changed. `controls` and `change` may be used from another thread."""

    plan: Plan
    target: str
    events: tuple[Event, ...]
    shape: Shape
    workers: int = 1
    patience: float = 300.0
    quiet: bool = False
    controls: Controls = field(default_factory=Controls)
    account: Account = field(default_factory=Account)
    changes: list[dict[str, Any]] = field(default_factory=list)
    """What was changed, in order: `from` (the first instant that it holds for), `scenario`, `set`."""
    _folder: Path | None = None
    _asked: tuple[Plan, dict[str, Any]] | None = None

    def run(self, planned: Sequence[Mapping[str, Any]] = ()) -> Account:
        """Play everything; `planned` are the changes of an earlier session, which come at the instants at which they came then.

        Raises UserError if the target cannot be reached, refuses a message, or stays away too long.
        """
        outlet = open_outlet(self.target)
        plans, since = [self.plan], list[int | None]([None])
        for entry in planned:
            plans.append(_changed(plans[-1], entry))
            since.append(_instant(entry))
            self.changes.append(dict(entry))
        if any(a is not None and b is not None and b <= a for a, b in itertools.pairwise(since)):
            raise UserError("the changes are not in order of time")
        with tempfile.TemporaryDirectory(prefix="populace-stream-") as folder:
            self._folder = Path(folder)
            stores = [self._store(plan, str(n)) for n, plan in enumerate(plans)]
            parts = [Part(s, a, b) for s, a, b in zip(stores, since, [*since[1:], None], strict=True)]
            self.plan = plans[-1]
            total = sum(p.store.count(p.since, p.until) for p in parts)
            where = self.target.partition(":")[0]
            with Progress(f"streaming to {where}", total, self.quiet, unit="message") as progress:
                play(
                    parts,
                    outlet,
                    self.account,
                    self.controls,
                    patience=self.patience,
                    step=progress.step,
                    switched=self._note,
                )
            self._folder = None
        return self.account

    def change(self, entry: Mapping[str, Any]) -> None:
        """Make the events with a scenario more, or other priors, and let the stream go on with them from its next instant.

        Raises UserError for a change that cannot be, or if another has not come into force yet.
        """
        if self._folder is None:
            raise UserError("the stream does not play")
        _changed(self.plan, entry)  # whatever is wrong in it is told before the stream waits for it
        if self._asked is not None:
            raise UserError("another change has not come into force yet")
        instant = self._hold()
        try:
            plan = _changed(self.plan, {**entry, "from": _shown(instant)})
            self._asked = (plan, {k: v for k, v in entry.items() if k != "from"})
            self.controls.following = self._store(plan, f"change-{len(self.changes)}")
        except BaseException:  # raised again: whatever stopped this change must not stand in the way of the next
            self._asked = None
            raise
        finally:
            self.controls.holding = False

    def _hold(self) -> int:
        """Let nothing more be sent, and say from which instant on."""
        for _ in range(300):
            with self.controls.lock:
                if self.controls.reached is not None:
                    self.controls.holding = True
                    return self.controls.reached + 1
            time.sleep(0.1)
        raise UserError("the stream has not begun yet")

    def _note(self, instant: int) -> None:
        assert self._asked is not None
        self.plan, entry = self._asked
        self.changes.append({"from": _shown(instant), **entry})
        self._asked = None

    def _store(self, plan: Plan, name: str) -> Store:
        assert self._folder is not None
        sink = StoreSink(self._folder / name, plan.domain, self.events, self.shape, self.plan.fingerprint[:12])
        run(plan, [sink], workers=self.workers, quiet=self.quiet)
        return Store(sink.target)


def open_session(
    plan: Plan,
    target: str,
    *,
    events: Sequence[str] = (),
    topic: str | None = None,
    body: str = "cloudevents",
    key: str = "{key}",
    headers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Session:
    """A session whose every setting has been looked at; nothing is generated or connected yet. Raises UserError."""
    known = plan.domain.events
    if not known:
        whole = (plan.domain.part_of or plan.domain).events.values()
        raise UserError(
            f"--only {','.join(plan.spec.only)}: nothing of it is an event; events are of {', '.join(sorted({e.table for e in whole}))}"
        )
    for name in events:
        if name not in known:
            raise unknown("event", name, known, "--event")
    chosen = tuple(e for e in known.values() if not events or e.name in events)
    kind = kind_of(target)
    if headers and not kind.headers:
        raise UserError(f"--header: messages to {target.partition(':')[0]} have none")
    shape = checked(Shape(topic if topic is not None else kind.topic, body, key, headers or {}), plan.domain, chosen)
    _fits(shape, plan.domain, target.partition(":")[0])
    open_outlet(target)
    return Session(plan, target, chosen, shape, **settings)


def _fits(shape: Shape, domain: Domain, scheme: str) -> None:
    """Raises UserError for a body that says its own topics and does not go to the target, or the other way round."""
    view = domain.views.get(shape.body)
    told = view is not None and view.told is not None
    if (told and scheme not in ("mqtt", "mqtts", "sparkplug")) or (scheme == "sparkplug" and not told):
        fit = ", ".join(v.name for v in domain.views.values() if v.told) or "no body"
        raise UserError(f"--body {shape.body}: does not go to {scheme}; {fit} goes to mqtt:// and sparkplug://")


def read_changes(path: str | Path) -> list[dict[str, Any]]:
    """The changes that an earlier session recorded. Raises UserError for anything else."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--changes {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    entries = found.get("changes") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "from" in e for e in entries):
        raise UserError(f"--changes {path}: holds no list 'changes' whose entries have a 'from'")
    return entries


def _shown(instant: int) -> str:
    return (_EPOCH + dt.timedelta(microseconds=instant)).isoformat()


def _changed(plan: Plan, entry: Mapping[str, Any]) -> Plan:
    """The plan with a change. A scenario that is started has its instances from the change's instant on, unless it says another."""
    for key in entry:
        if key not in _CHANGE:
            raise unknown("change", key, _CHANGE)
    scenarios, settings = entry.get("scenario", []), entry.get("set", {})
    if not isinstance(scenarios, list) or not all(isinstance(s, str) for s in scenarios):
        raise UserError(f"scenario is {scenarios!r}, expected a list of NAME:key=value,… texts")
    if not isinstance(settings, dict) or not (scenarios or settings):
        raise UserError(f"a change has 'scenario', a list, or 'set', a mapping of priors; not {dict(entry)!r}")
    spec = replace(
        plan.spec,
        scenarios=(*plan.spec.scenarios, *(_starting(parse_request(s), entry.get("from")) for s in scenarios)),
        settings={**plan.spec.settings, **settings},
    )
    return make_plan(spec, plan.whole if not plan.inputs else None)


def _starting(request: ScenarioRequest, moment: Any) -> ScenarioRequest:
    if moment is None or "from" in request.parameters:
        return request
    return ScenarioRequest(request.name, {**request.parameters, "from": moment})


def _instant(entry: Mapping[str, Any]) -> int:
    try:
        moment = dt.datetime.fromisoformat(str(entry["from"]))
    except ValueError:
        raise UserError(f"a change is from '{entry['from']}', expected an instant (ISO 8601)") from None
    if moment.tzinfo is None:
        raise UserError(f"a change is from '{entry['from']}', which names no offset from UTC")
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)
