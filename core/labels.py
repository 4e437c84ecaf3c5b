"""Ground truth: the log of edits with the keys that rows have in the end, and labelled rows that do not show what is expected of them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .checks import violations
from .derive import runs
from .edits import Log, Logged
from .places import different, places
from .plan import Plan
from .scenario import with_values
from .schema import LABEL, Schema
from .tables import ROW, Table, Tables, only, texts

GONE = "left no label: there was nothing for them to change, or other scenarios took it. Raise --size, or ask for fewer at once."
_Columns = dict[str, NDArray]
_TEXTS = [c for c in LABEL.columns if LABEL.polars[c] == pl.String]
_NONE = np.iinfo(np.int64).max
"""Stands for no key: behind all keys that there are."""
_PIECE = 1 << 16
"""Rows looked at at a time."""
_FEW = 1 << 10
"""Rows whose texts are looked at one by one."""


def ground_truth(schema: Schema, tables: Tables, log: Log) -> Table:
    """The log with final keys. A row inserted or changed and then removed again is labelled with no key."""
    logged = [edits for edits in log if edits.rows.height and edits.table in tables]
    if not logged:
        return pl.DataFrame(schema=LABEL.polars)
    mine = [
        {
            "scenario": [e.scenario],
            "table": [e.table],
            "role": _words(e.rows, "role"),
            "effect": _words(e.rows, "effect"),
        }
        for e in logged
    ]
    words = {c: pl.Series(sorted({word for own in mine for word in own[c]}), dtype=pl.String) for c in _TEXTS}
    place = {c: {word: n for n, word in enumerate(words[c])} for c in _TEXTS}
    kinds = {c: pl.Enum(words[c]) for c in _TEXTS}
    parts: list[_Columns] = []
    for edits, own in zip(logged, mine, strict=True):
        final, kept = _final(schema, tables, edits)
        columns = {"instance": edits.rows["instance"].to_numpy().astype(np.int64) + edits.first, "row_key": final}
        for c in _TEXTS:
            if len(own[c]) > 1:
                columns[c] = edits.rows[c].cast(kinds[c]).to_physical().to_numpy().astype(np.int64)
        if kept is not None:
            columns = {c: values[kept] for c, values in columns.items()}
        # what is the same for all of an edit stands once
        same = {c: np.full(1, place[c][own[c][0]], np.int64) for c in _TEXTS if len(own[c]) == 1}
        parts.append({**columns, **same})
    whole = _in_runs(parts) or _row_by_row(parts)
    return pl.DataFrame({c: _told(c, whole[c], words.get(c)) for c in LABEL.columns})


def _final(schema: Schema, tables: Tables, edits: Logged) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """The final key of each edited row, none where it is gone; and which of the edits are told, all where nothing is said."""
    frame, key = tables[edits.table], schema[edits.table].key
    address = frame[ROW] if ROW in frame.columns else frame[key]
    at = places(address, edits.rows[ROW].to_numpy())
    gone = at < 0
    if not gone.any():
        return frame[key].to_numpy()[at].astype(np.int64, copy=False), None
    final = frame[key].to_numpy()[at].astype(np.int64) if frame.height else np.full(len(at), _NONE)
    final[gone] = _NONE
    kept = ~gone | edits.removed
    return final, None if kept.all() else kept


def _in_runs(parts: list[_Columns]) -> _Columns | None:
    """The rows of all parts in order of their columns, the first foremost: where all but the key is the same for long runs of rows, by putting
    the runs in order. None where they are short."""
    found: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
    others = [c for c in LABEL.columns if c != "row_key"]
    for part in parts:
        keys, instance = part["row_key"], part["instance"]
        if any(len(part[c]) > 1 for c in _TEXTS):
            return None
        if not len(keys):
            continue
        first = np.flatnonzero(np.append(True, instance[1:] != instance[:-1]))
        if len(first) * 64 > len(keys) + 4_096:
            return None
        for a, b in zip(first.tolist(), [*first[1:].tolist(), len(keys)], strict=True):
            of = {**{c: part[c][0] for c in _TEXTS}, "instance": instance[a]}
            found.setdefault(tuple(int(of[c]) for c in others), []).append(keys[a:b])
    runs_of = sorted(found.items())
    keys = [np.sort(np.concatenate(some), kind="stable") for _, some in runs_of]
    sizes = [len(some) for some in keys]
    kinds = {c: np.uint32 if c in _TEXTS else np.int64 for c in others}
    whole = {c: np.repeat(np.array([of[n] for of, _ in runs_of], kinds[c]), sizes) for n, c in enumerate(others)}
    return {**whole, "row_key": np.concatenate(keys) if keys else np.empty(0, np.int64)}


def _row_by_row(parts: list[_Columns]) -> _Columns:
    whole = {
        c: np.concatenate([np.broadcast_to(part[c], len(part["row_key"])) for part in parts]) for c in LABEL.columns
    }
    order = _order(list(whole.values()))
    return {c: values[order] for c, values in whole.items()}


def _words(rows: Table, column: str) -> list[str]:
    """The different texts of a column. Of many rows they are asked of the frame: a column of one text for all stands there once, and would be written out."""
    if rows.height <= _FEW:
        return [*{*rows[column].to_list()}]
    return rows.select(pl.col(column).unique()).to_series().to_list()


def _order(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Positions in order of the columns, the first foremost: as one number where they all fit into one, which sorts in a tenth of the time."""
    packed, bits = np.zeros(len(columns[0]), np.int64), 0
    for values in columns:
        if not len(values):
            return np.arange(0)
        none = values == _NONE
        known = values[~none] if none.any() else values
        low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        width = (high - low + 1).bit_length()
        bits += width
        if bits > 62:
            return np.lexsort(columns[::-1])
        packed <<= width
        packed += np.where(none, high + 1, values) - low
    return np.argsort(packed, kind="stable")


def _told(name: str, values: NDArray[np.int64], words: pl.Series | None) -> pl.Series:
    if words is not None:
        return texts(words, values).rename(name)
    none = values == _NONE
    if not none.any():
        return pl.Series(name, values)
    return pl.select(pl.when(pl.lit(pl.Series(~none))).then(pl.lit(pl.Series(values))).alias(name)).to_series()


def unmet(plan: Plan, tables: Tables, label: Table) -> Table:
    """Labelled rows that do not show what their scenario expects of them. A row that several have changed is nobody's to vouch for."""
    found = [violations()]
    uses = plan.uses
    asked = {expect.table for use in uses for expect in use.scenario.expect}
    parts: dict[tuple[str, str], list[Table]] = {}
    said = label[["row_key", "instance", "role", "effect"]]
    for of, a, b in runs(label, "scenario", "table") if asked else ():
        if of[1] in asked:
            parts.setdefault(of, []).append(said[a:b])
    keys = {of: _saying(some) for of, some in parts.items()}
    shared: dict[str, NDArray] = {}
    for table in {table for _, table in keys}:
        each = [k for (_, t), k in keys.items() if t == table]
        every = np.sort(np.concatenate(each), kind="stable") if len(each) > 1 else np.empty(0, np.int64)
        shared[table] = different(every[1:][every[1:] == every[:-1]])
    for k, use in enumerate(uses):
        name, first = use.scenario.name, plan.first_instance(k)
        instances = None if plan.instances[name] == use.count else (first, first + use.count)
        for n, expect in enumerate(use.scenario.expect):
            mine = keys.get((name, expect.table))
            if mine is None:
                continue
            if expect.role or expect.effect or instances:
                mine = _saying(parts[name, expect.table], instances, role=expect.role, effect=expect.effect)
            mine = mine[~np.isin(mine, shared[expect.table])] if len(shared[expect.table]) else mine
            key = plan.domain.schema[expect.table].key
            at = places(tables[expect.table][key], mine)
            rule = pl.sql_expr(with_values(expect.sql, use.parameters))
            looks_at = {*rule.meta.root_names()}
            if not looks_at <= plan.domain.schema[expect.table].columns.keys():
                continue
            asked_of = tables[expect.table][[key, *(looks_at - {key})]]
            at = np.sort(at[at >= 0])
            # piece by piece: what is looked at is a copy
            for a in range(0, len(at), _PIECE):
                bad = only(asked_of, at[a : a + _PIECE]).filter(~rule.fill_null(True))[key]
                found.append(violations(f"{name}.expect[{n}]", expect.table, bad, expect.doc))
    return pl.concat(found)


UNSEEN = "show in no row: other scenarios took all that they changed. Raise --size, or ask for fewer at once."


Grouped = list[tuple[tuple[str, int, str], int, int]]
"""The runs of labels that are of one scenario, instance and table: these three, and the rows [a, b)."""


def grouped(label: Table) -> Grouped:
    """Where labels of one scenario, instance and table stand: they stand together."""
    return list(runs(label, "scenario", "instance", "table"))  # type: ignore[arg-type]


def labelled_rows(of: Grouped) -> dict[str, int]:
    """How many rows of each scenario there are."""
    rows: dict[str, int] = {}
    for (scenario, _, _), a, b in of:
        rows[scenario] = rows.get(scenario, 0) + b - a
    return rows


def marked_rows(label: Table, of: Grouped) -> dict[str, int]:
    """How many rows of each table have a label, however many they have."""
    parts: dict[str, list[Table]] = {}
    for (_, _, table), a, b in of:
        parts.setdefault(table, []).append(label[["row_key"]][a:b])
    return {table: len(_saying(some)) for table, some in parts.items()}


def labelled_instances(schema: Schema, of: Grouped) -> dict[str, set[int]]:
    """The instances that have a label, by scenario: on rows that they changed, not on what is said of these in a table of ground truth."""
    said = {name for name, table in schema.tables.items() if table.truth}
    found: dict[str, set[int]] = {}
    for (scenario, instance, table), _, _ in of:
        if table not in said:
            found.setdefault(scenario, set()).add(instance)
    return found


def unseen(schema: Schema, tables: Tables) -> dict[str, dict[str, tuple[int, int]]]:
    """By scenario and table of ground truth: how many rows there are, and of how many of them nothing is left to see."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name, table in tables.items():
        column = schema.tables[name].truth if name in schema.tables else None
        if column:
            for scenario, seen in table.select("scenario", column).iter_rows():
                of = found.setdefault(scenario, {})
                rows, none = of.get(name, (0, 0))
                of[name] = rows + 1, none + (seen == 0)
    return found


SHARED = "labelled row(s) are another scenario's too: of what both changed, what the later one did stands."


def shared_rows(label: Table, of: Grouped) -> dict[str, int]:
    """How many rows of each scenario, of which there is anything left, another scenario has labelled too."""
    parts: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for (scenario, _, table), a, b in of:
        parts.setdefault(table, {}).setdefault(scenario, []).append((a, b))
    found: dict[str, int] = {}
    for where in parts.values():
        if len(where) < 2:
            continue
        keys = {scenario: _saying([label[["row_key"]][a:b] for a, b in some]) for scenario, some in where.items()}
        every = np.sort(np.concatenate([*keys.values()]), kind="stable")
        twice = different(every[1:][every[1:] == every[:-1]])
        for scenario, mine in keys.items() if len(twice) else ():
            found[scenario] = found.get(scenario, 0) + int(np.isin(mine, twice).sum())
    return {scenario: n for scenario, n in sorted(found.items()) if n}


def _saying(labels: list[Table], instances: tuple[int, int] | None = None, **what: str | None) -> NDArray[np.int64]:
    """The keys of the labels that say this in some columns, of these instances, each once and in order; of a column of which nothing is
    asked, anything."""
    found = []
    for label in labels:
        if instances:
            instance = label["instance"].to_numpy()
            label = only(label, (instance >= instances[0]) & (instance < instances[1]))
        for column, word in what.items():
            if word and not (said := label[column] == word).all():
                label = only(label, said.to_numpy())
        key = label["row_key"]
        found.append((key.drop_nulls() if key.null_count() else key).to_numpy())
    return different(np.concatenate(found))
