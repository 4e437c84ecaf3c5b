"""The record that a run leaves: one frame for each kind of resource, every row with its patient, times, codes and encounter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import traces
from .care import IMAGING
from .machine import Run
from .memory import CODE, NIL, NONE, NUMBER, TEXT, TRUTH
from .people import ALIVE
from .program import FORMS
from .values import DAY, MINUTE, UNITS, Code, State

SHORTEST = 15 * MINUTE
"""How long an encounter lasts at least: modules begin and end many at one moment."""

Frame = pl.DataFrame


def records(run: Run) -> dict[str, Frame]:
    """What became of a run that has ended. Times are microseconds since 1970; `patient` is the position in the block; `encounter`
    the row of `encounter`, null outside of encounters; `reason` the row of `condition`, and `reason_code` the code, that a thing was
    for. Frames: encounter, condition, allergy, reaction, medication, administration, careplan, device, procedure, observation, report,
    imaging, supply, vaccine, death; of observations, sampled_data and attachment."""
    entries, logs = _entered(run), _logs(run)
    last = np.minimum(run.stop, run.people.end)
    names = _Names(run)
    made: dict[str, Frame] = {"encounter": _encounters(run, names, last, entries, logs)}
    number = np.full(len(entries["form"]), NONE, np.int64)
    for form, name in enumerate(FORMS[:-1]):
        at = _in_order(np.flatnonzero(entries["form"] == form), entries["root"])
        if name == "condition":
            number[at] = np.arange(len(at))
        made[name] = _entries(run, names, name, at, last, entries)
    made = {name: _reasons(frame, run, names, number) for name, frame in made.items()}
    made["medication"] = _renewed(run, made["medication"])
    made["reaction"] = _reactions(run, names, entries["form"] == FORMS.index("allergy"))
    made |= _observations(run, names, logs["observation"])
    for name, build in _LOGS.items():
        frame = build(run, names, logs[name])
        made[name] = _reasons(frame, run, names, number) if "reason" in frame.columns else frame
    died = np.flatnonzero(run.death <= run.people.end)
    cause = names.codes(run.cause[died])
    made["death"] = pl.DataFrame({"patient": died, "at": run.death[died], **cause})
    return made


def _entered(run: Run) -> dict[str, NDArray]:
    """The entries: those that were begun after a death have no form, and none has a name from after it."""
    entries = run.entries.whole()
    lived = run.lived(entries["patient"], entries["start"], entries["root"])
    state = entries["begun"].copy()
    for batch in run.log.get("renaming", ()):
        kept = run.lived(batch["patient"], batch["at"], batch["root"])
        state[batch["entry"][kept]] = batch["state"]
    return {**entries, "form": np.where(lived, entries["form"], NONE), "state": state}


class _Names:
    """What codes and states are called."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.catalogue = catalogue(run.program.states)
        encounters = run.encounters.whole()
        lived = run.lived(encounters["patient"], encounters["start"], encounters["root"])
        self.kept = _in_order(np.flatnonzero(lived | (encounters["state"] < 0)), encounters["root"])
        self.place = _places(self.kept, len(lived))

    def encounter(self, index: NDArray) -> pl.Series:
        """The row of `encounter` of an encounter by index; null outside of any."""
        return _or_null(self.place[index])

    def codes(self, index: NDArray, prefix: str = "") -> dict[str, pl.Series]:
        """Columns `system`, `code` and `display` of codes by index; null where there is none."""
        values = [self.catalogue.get(v) for v in self.run.codes.values]
        at = pl.Series(np.where(index >= 0, index, len(values)).astype(np.int64))
        found = {}
        for field in ("system", "code", "display"):
            texts = pl.Series([getattr(v, field) if v else None for v in values] + [None], dtype=pl.String)
            found[f"{prefix}{field}"] = texts.gather(at)
        return found

    def states(self, state: NDArray, field: str, get: Callable[[State], Any], dtype: Any = pl.String) -> pl.Series:
        """What a function says of each row's state."""
        known = np.unique(state)
        values = pl.Series(field, [get(self.run.program.states[s]) for s in known.tolist()], dtype=dtype)
        return values.gather(np.searchsorted(known, state))

    def first(self, state: NDArray, get: Callable[[State], Code | None]) -> dict[str, pl.Series]:
        """Columns of the code that a function finds in each row's state."""
        return {
            field: self.states(state, field, lambda s, f=field: getattr(get(s), f, None))
            for field in ("system", "code", "display")
        }


def catalogue(states: Iterable[State]) -> dict[str, Code]:
    """Every code that states name, by its text."""
    found: dict[str, Code] = {}

    def walk(value: Any) -> None:
        if isinstance(value, Code):
            found.setdefault(value.code, value)
        elif isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, tuple):
            for inner in value:
                walk(inner)
        elif isinstance(value, State):
            walk(dict(value.has))

    for state in states:
        walk(state)
    return found


def _code(state: State) -> Code | None:
    codes = state.get("codes")
    return codes[0] if codes else state.get("code", state.get("procedure_code"))


def _encounters(
    run: Run, names: _Names, last: NDArray, entries: dict[str, NDArray], logs: dict[str, dict[str, NDArray]]
) -> Frame:
    """Those that modules began after the wellness visits that they were given, which come first."""
    columns = run.encounters.whole()
    # what a module did beyond a death ended no encounter
    open_ = ~run.lived(columns["patient"], columns["stop"], columns["root"]) | (columns["stop"] == ALIVE)
    disposition = np.where(open_, NONE, columns["disposition"])[names.kept]
    until = columns["start"] + SHORTEST
    if open_.any():
        there = entries["form"] >= 0
        for encounter, at in [
            (entries["encounter"][there], entries["start"][there]),
            *((log["encounter"], log.get("stop", log["at"])) for log in logs.values()),
        ]:
            inside = encounter >= 0
            np.maximum.at(until, encounter[inside], at[inside])
    stop = np.where(open_, until, columns["stop"])[names.kept]
    columns = {k: v[names.kept] for k, v in columns.items()}
    state = columns["state"]
    wellness = state < 0
    stop = np.where(wellness, stop, np.maximum(stop, columns["start"] + SHORTEST))
    stop = np.maximum(np.minimum(stop, last[columns["patient"]]), columns["start"])
    known = np.where(wellness, 0, state)
    code = {k: v.set(pl.Series(wellness), None) for k, v in names.first(known, _code).items()}
    kind = names.states(known, "class", lambda s: _class(s)).set(pl.Series(wellness), "wellness")
    used = np.ones(len(state), bool)
    used[: len(run.visit_used)] = _used(run)
    return pl.DataFrame(
        {
            "patient": columns["patient"],
            "class": kind,
            "start": columns["start"],
            "stop": stop,
            **code,
            "reason": columns["reason"],
            **{f"disposition_{k}": v for k, v in names.codes(disposition).items()},
            "used": used,
        }
    )


def _class(state: State) -> str:
    return (
        "virtual"
        if state.get("telemedicine_possibility") == "always"
        else str(state.get("encounter_class", "ambulatory"))
    )


def _used(run: Run) -> NDArray[np.bool_]:
    """The wellness visits that a module made use of while the patient was alive."""
    visits = run.people.visits
    return run.visit_used & (visits.start < run.death[visits.patient])


def _entries(run: Run, names: _Names, form: str, at: NDArray, last: NDArray, entries: dict[str, NDArray]) -> Frame:
    entries = {k: v[at] for k, v in entries.items()}
    until = last[entries["patient"]]
    stop = np.minimum(
        entries["stop"], np.where(run.death[entries["patient"]] <= run.people.end[entries["patient"]], until, ALIVE)
    )
    columns: dict[str, Any] = {
        "entry": at,
        "patient": entries["patient"],
        "start": entries["start"],
        "stop": pl.Series(stop).set(pl.Series(stop >= ALIVE), None),
        **names.codes(entries["code"]),
        "encounter": names.encounter(entries["encounter"]),
        "reason": entries["reason"],
    }
    if form == "allergy":
        columns["type"] = names.states(entries["state"], "type", lambda s: s.get("allergy_type"))
        columns["category"] = names.states(entries["state"], "category", lambda s: s.get("category"))
    elif form == "medication":
        columns["chronic"] = names.states(entries["state"], "chronic", lambda s: bool(s.get("chronic")), pl.Boolean)
        for field, get in _PRESCRIPTION.items():
            columns[field] = names.states(entries["state"], field, get, pl.Float64)
    elif form == "device":
        for field in ("manufacturer", "model"):
            columns[field] = names.states(entries["state"], field, lambda s, f=field: s.get(f))
    if form in ("medication", "careplan"):
        columns["state"] = entries["state"]
    return pl.DataFrame(columns)


def _dose(field: str) -> Callable[[State], Any]:
    return lambda s: s.get("prescription", {}).get("dosage", {}).get(field)


def _days(part: Callable[[Any], Any]) -> Callable[[State], Any]:
    def get(state: State) -> float | None:
        found = part(state.get("prescription", {}))
        return None if found is None else found[0] * UNITS[found[1]] / DAY

    return get


_PRESCRIPTION: dict[str, Callable[[State], Any]] = {
    "dose": _dose("amount"),
    "frequency": _dose("frequency"),
    "period_days": _days(lambda p: (p["dosage"]["period"], p["dosage"]["unit"]) if "dosage" in p else None),
    "days": _days(lambda p: (p["duration"]["quantity"], p["duration"]["unit"]) if "duration" in p else None),
    "refills": lambda s: s.get("prescription", {}).get("refills"),
    "as_needed": lambda s: float(bool(s.get("prescription", {}).get("as_needed"))),
}


def _reasons(frame: Frame, run: Run, names: _Names, number: NDArray) -> Frame:
    """Reasons as the row of `condition` and the code."""
    why = frame["reason"].to_numpy()
    entry = np.where(why >= 0, why, 0)
    height = run.entries.height
    code = np.where(why >= 0, run.entries["code"][entry] if height else NONE, np.where(why <= -2, -2 - why, NONE))
    row = np.where(why >= 0, number[entry] if height else NONE, NONE)
    return frame.with_columns(pl.Series("reason", _or_null(row)), **names.codes(code, "reason_"))


def _renewed(run: Run, frame: Frame) -> Frame:
    """Chronic prescriptions are stopped and ordered anew at each wellness visit that modules make use of."""
    visits, used = run.people.visits, _used(run)
    key = (visits.patient[used] << 33) | ((visits.start[used] - run.birth[visits.patient[used]]) // 1_000_000)
    number = np.flatnonzero(used)
    patient, start = frame["patient"].to_numpy(), frame["start"].to_numpy()
    stop = frame["stop"].fill_null(ALIVE).to_numpy()
    chronic = frame["chronic"].to_numpy()
    span = [np.minimum((t - run.birth[patient]) // 1_000_000, 2**33 - 1) for t in (start, stop)]
    first = np.searchsorted(key, (patient << 33) | span[0], side="right")
    after = np.searchsorted(key, (patient << 33) | span[1], side="left")
    n = np.where(chronic, np.maximum(after - first, 0), 0)
    at = np.repeat(np.arange(frame.height), n + 1)
    k = np.arange(len(at)) - np.repeat(np.cumsum(n + 1) - n - 1, n + 1)
    visit = number[np.minimum(first[at] + k, len(number)) - 1] if len(number) else np.zeros(len(at), np.int64)
    begin = np.where(k > 0, visits.start[visit] if len(number) else 0, start[at])
    following = number[np.minimum(first[at] + k, len(number) - 1)] if len(number) else visit
    end = np.where(k < n[at], visits.start[following] if len(number) else 0, stop[at])
    encounter = frame["encounter"].fill_null(NONE).to_numpy()[at]
    return frame[at].with_columns(
        pl.Series("start", begin),
        pl.Series("stop", end).set(pl.Series(end >= ALIVE), None),
        pl.Series("encounter", _or_null(np.where(k > 0, visit, encounter))),
        pl.Series("renewal", k),
    )


def _reactions(run: Run, names: _Names, allergy: NDArray) -> Frame:
    row = np.cumsum(allergy) - 1
    batches = run.log.get("reaction", [])
    entry = np.concatenate([b["entry"] for b in batches]) if batches else np.empty(0, np.int64)
    lengths = [len(b["entry"]) for b in batches]
    code = np.repeat(np.array([b["code"] for b in batches], np.int64), lengths)
    severity = np.repeat(np.array([b["severity"] for b in batches], "U8"), lengths)
    made = pl.DataFrame({"allergy": row[entry], **names.codes(code), "severity": severity})
    return made.filter(pl.Series(allergy[entry], dtype=pl.Boolean))


def _logs(run: Run) -> dict[str, dict[str, NDArray]]:
    """Every log's batches end to end, without what was done after a death. Of an observation, `report` is its row among the reports."""
    logs = {name: _joined(run, name) for name in ("observation", *_LOGS)}
    lived = {name: run.lived(log["patient"], log["at"], log["root"]) for name, log in logs.items()}
    report = _report_rows(run)
    kept = {name: _in_order(np.flatnonzero(lived[name]), log["root"]) for name, log in logs.items()}
    logs["observation"]["report"] = _places(kept["report"], len(lived["report"]))[report]
    return {name: {k: v[kept[name]] for k, v in log.items()} for name, log in logs.items()}


def _in_order(rows: NDArray[np.int64], root: NDArray) -> NDArray[np.int64]:
    """Rows in the order of modules, those of one module in its own: when the machine took it does not matter."""
    return rows[np.argsort(root[rows], kind="stable")]


def _places(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The position of each of n things among chosen rows; `NONE` for those that were not, and at index `NONE`."""
    place = np.full(n + 1, NONE, np.int64)
    place[rows] = np.arange(len(rows))
    return place


def _joined(run: Run, name: str) -> dict[str, NDArray]:
    """A log's batches end to end."""
    batches = run.log.get(name, [])
    keys = {
        "procedure": ("stop", "reason"),
        "observation": ("part", "kind", "value", "vital"),
        "administration": ("entry",),
        "imaging": ("series", "instances"),
    }.get(name, ())
    made = {}
    lengths = np.array([len(b["patient"]) for b in batches], np.int64)
    for key in ("patient", "at", "state", "encounter", "root", *keys):
        parts = [b[key] for b in batches]
        alone = [not isinstance(x, np.ndarray) for x in parts]
        if not parts:
            made[key] = np.empty(0, np.int64)
        elif all(alone):
            made[key] = np.repeat(np.array(parts), lengths)
        else:
            many = (np.full(n, x) if one else x for x, one, n in zip(parts, alone, lengths.tolist(), strict=True))
            made[key] = np.concatenate(list(many))
    return made


def _plain(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    return pl.DataFrame(
        {
            "patient": log["patient"],
            "at": log["at"],
            **names.first(log["state"], _code),
            "encounter": names.encounter(log["encounter"]),
        }
    )


def _procedures(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    until = np.minimum(run.stop, run.people.end)[log["patient"]]
    stop = np.maximum(np.minimum(log["stop"], until), log["at"])
    return _plain(run, names, log).with_columns(pl.Series("stop", stop), pl.Series("reason", log["reason"]))


def _observations(run: Run, names: _Names, log: dict[str, NDArray]) -> dict[str, Frame]:
    """One row each: `value`, `text` or `value_code` by what was observed. `report` is the row of the report or panel it belongs to. With them what is
    told of those that are sampled data or files."""
    states, kind, value = run.program.states, log["kind"], log["value"]
    for k, name in enumerate(run.program.bodies.values):
        here = log["vital"] == k
        value[here] = run.people.vital(name, log["patient"][here], log["at"][here])
    part = log["state"].astype(np.int64) * 1024 + log["part"]
    known = np.unique(part)
    found = [_part(states[int(k) // 1024], int(k) % 1024) for k in known.tolist()]
    at = np.searchsorted(known, part)
    columns: dict[str, Any] = {"patient": log["patient"], "at": log["at"]}
    for field in ("system", "code", "display"):
        columns[field] = pl.Series([getattr(f.has["codes"][0], field) for f in found], dtype=pl.String).gather(at)
    for field in ("category", "unit"):
        columns[field] = pl.Series([f.get(field) for f in found], dtype=pl.String).gather(at)
    numeric = (kind == NUMBER) | (kind == TRUTH)
    columns["value"] = pl.Series(value).set(pl.Series(~numeric), None)
    whole = np.where(numeric, 0, value).astype(np.int64)
    texts = pl.Series([*run.texts.values, None], dtype=pl.String)
    columns["text"] = texts.gather(np.where(kind == TEXT, whole, len(run.texts.values)))
    seen = kind != NIL
    series, further = traces.frames(run, kind[seen], value[seen], found, at[seen])
    columns.update(names.codes(np.where(kind == CODE, whole, NONE), "value_"))
    columns["encounter"] = names.encounter(log["encounter"])
    columns["report"] = _or_null(log["report"])
    frame = pl.DataFrame(columns).filter(pl.Series(seen))
    return {"observation": frame.with_columns(pl.coalesce("text", series)), **further}


def _part(state: State, n: int) -> State:
    return state.has["observations"][n] if "observations" in state.has else state


def _report_rows(run: Run) -> NDArray[np.int64]:
    """The report or panel that each observation belongs to: batches of both are written in step."""
    states, rows, report = run.program.states, [np.empty(0, np.int64)], 0
    for batch in run.log.get("observation", ()):
        n = len(batch["patient"])
        if states[batch["state"]].kind == "Observation":
            rows.append(np.full(n, NONE, np.int64))
            continue
        # the first part of a group comes right after its report
        report += n if batch["part"] == 0 else 0
        rows.append(np.arange(report - n, report))
    return np.concatenate(rows)


def _reports(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    kind = names.states(log["state"], "kind", lambda s: s.kind)
    return _plain(run, names, log).with_columns(kind)


def _imaging(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    frame = _plain(run, names, log)
    extra = {
        f: names.states(log["state"], f, lambda s, f=f: s.has["series"][0][f].code) for f in ("modality", "body_site")
    }
    return frame.with_columns(
        *extra.values(),
        pl.Series("series", log["series"]),
        pl.Series("instances", log["instances"]),
        pl.Series("stop", log["at"] + IMAGING),
    )


def _administrations(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    return _plain(run, names, log).with_columns(pl.Series("medication_entry", log["entry"]))


def _supplies(run: Run, names: _Names, log: dict[str, NDArray]) -> Frame:
    """One row for each thing on a list."""
    states = run.program.states
    many = np.array([len(states[s].has["supplies"]) for s in log["state"].tolist()], np.int64)
    at = np.repeat(np.arange(len(many)), many)
    k = np.arange(len(at)) - np.repeat(np.cumsum(many) - many, many)
    things = [states[s].has["supplies"][n] for s, n in zip(log["state"][at].tolist(), k.tolist(), strict=True)]
    columns: dict[str, Any] = {"patient": log["patient"][at], "at": log["at"][at]}
    for field in ("system", "code", "display"):
        columns[field] = pl.Series([getattr(t["code"], field) for t in things], dtype=pl.String)
    columns["quantity"] = pl.Series([t["quantity"] for t in things], dtype=pl.Int64)
    columns["encounter"] = names.encounter(log["encounter"][at])
    return pl.DataFrame(columns)


_LOGS: dict[str, Callable[[Run, _Names, dict[str, NDArray]], Frame]] = {
    "procedure": _procedures,
    "report": _reports,
    "administration": _administrations,
    "imaging": _imaging,
    "supply": _supplies,
    "vaccine": _plain,
}


def _or_null(index: NDArray) -> pl.Series:
    series = pl.Series(np.asarray(index, np.int64))
    return series.set(series < 0, None)
