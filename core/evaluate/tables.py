"""Several tables that refer to one another: each beside its like, and what holds between them.

Between tables: references that lead nowhere, how many children a parent has (CardinalityShapeSimilarity), and how a child's columns go with its parent's
(inter-table trends), as the SDMetrics documentation defines them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ..errors import UserError
from ..stream import Stream
from ..tables import Table
from .fidelity import GROUPS, Scores, across, distances_of_groups, mean_of
from .links import Link, find_links, split_name
from .metric import Metric
from .pair import Pair, make_pair
from .result import Evaluation, in_order
from .table import ROWS, evaluate_pair

EXAMPLES = 3
WORST = ("privacy", "fairness")
"""Parts of which the worst table counts; of the others, the mean over tables."""

Named = Mapping[str, Table]


@dataclass(frozen=True)
class Roles:
    """Columns with a part to play, each as `TABLE.COLUMN`: see `evaluate`."""

    target: str | None = None
    sensitive: tuple[str, ...] = ()
    time: str | None = None
    entity: str | None = None


def evaluate_tables(
    real: Named,
    synth: Named,
    holdout: Named | None,
    declared: Sequence[Link],
    roles: Roles,
    only: Sequence[str],
    seed: int,
    stream: Stream,
) -> Evaluation:
    """Raises UserError where the two have no table in common, or a column that is named is not there."""
    common = [name for name in real if name in synth]
    if not common:
        raise UserError(f"there is no table in common: {', '.join(real)}; {', '.join(synth)}")
    links = tuple(_sound(_distinct([*declared, *find_links(real)]), real, synth))
    keys: dict[str, set[str]] = {name: set() for name in real}
    for link in links:
        keys[link.child] |= set(link.columns)
        keys[link.parent] |= set(link.keys)
    foretold, timed, owned = (
        split_name(column, real, flag) if column else (None, None)
        for column, flag in ((roles.target, "--target"), (roles.time, "--time-column"), (roles.entity, "--entity"))
    )
    if owned[0] not in (None, timed[0]):
        raise UserError(f"--entity {roles.entity}: is not of the table of --time-column {roles.time}")
    guarded = [split_name(s, real, "--sensitive") for s in roles.sensitive]
    found: dict[str, Evaluation] = {}
    for name in common:
        held = None if holdout is None else holdout.get(name)
        frames = {"real": real, "synth": synth} | ({"holdout": holdout} if holdout and held is not None else {})
        columns = [c for t, c in guarded if t == name]
        wanted = foretold[1] if foretold[0] == name else None
        series = (timed[1], owned[1]) if timed[0] == name else (None, None)
        whole = {which: frame[name] for which, frame in frames.items()}
        mine = keys[name]
        if wanted:
            # what foretells a child's column stands in its parents, too
            whole = {which: _with_parents(name, frame, links) for which, frame in frames.items()}
            mine = mine | {c for c in whole["real"].columns if c.endswith(tuple(_dotted_keys(keys)))}
        pair = make_pair(whole["real"], whole["synth"], whole.get("holdout"), wanted, columns, mine, *series)
        if not pair.columns:
            continue
        found[name] = evaluate_pair(pair, only, seed, stream.child("table", name), f"evaluating {name}")
    metrics = [_tables_there(real, synth)] if not only or "diagnostics" in only else []
    metrics += _gathered(found)
    with threadpool_limits(1):
        if links and (not only or "diagnostics" in only):
            metrics.append(_references(links, synth))
        if links and (not only or "fidelity" in only):
            metrics += _between(links, real, synth, keys, stream.child("links"))
    counts = {which: sum(e.rows.get(which, 0) for e in found.values()) for which in ("real", "synth", "holdout")}
    sampled = {which: sum(e.sampled.get(which, 0) for e in found.values()) for which in ("real", "synth", "holdout")}
    kinds = {f"{name}.{c}": kind for name, each in found.items() for c, kind in each.kinds.items()}
    return Evaluation(
        in_order(metrics),
        {k: v for k, v in counts.items() if v},
        {k: v for k, v in sampled.items() if v},
        kinds,
        seed,
        None,
        found,
        links,
    )


def _distinct(links: Sequence[Link]) -> list[Link]:
    """Each column refers to one table: what is said first counts."""
    seen: dict[tuple[str, tuple[str, ...]], Link] = {}
    for link in links:
        seen.setdefault((link.child, link.columns), link)
    return list(seen.values())


def _sound(links: Sequence[Link], real: Named, synth: Named) -> list[Link]:
    """Those between tables and columns that both sides have."""
    return [
        link
        for link in links
        if all(
            link.child in data
            and link.parent in data
            and set(link.columns) <= set(data[link.child].columns)
            and set(link.keys) <= set(data[link.parent].columns)
            for data in (real, synth)
        )
    ]


def _tables_there(real: Named, synth: Named) -> Metric:
    there = [n for n in real if n in synth]
    detail = [{"table": n, "problem": "is not among the synthetic tables"} for n in real if n not in synth]
    detail += [{"table": n, "problem": "is not among the real tables"} for n in synth if n not in real]
    return Metric("diagnostics.tables", len(there) / len(real), detail=tuple(detail))


def _gathered(found: Mapping[str, Evaluation]) -> list[Metric]:
    """Each figure over the tables that have it: the mean, or of privacy and fairness the worst."""
    by: dict[str, dict[str, Metric]] = {}
    for table, each in found.items():
        for metric in each.metrics:
            by.setdefault(metric.name, {})[table] = metric
    return [_one(name, metrics) for name, metrics in by.items()]


def _one(name: str, metrics: Mapping[str, Metric]) -> Metric:
    known = {t: m for t, m in metrics.items() if m.value == m.value}
    if not known:
        return replace(next(iter(metrics.values())), detail=())
    meaning = next(iter(known.values())).definition
    ideal = meaning.ideal if meaning.ideal is not None else (1.0 if meaning.better == "high" else 0.0)

    def badness(metric: Metric) -> float:
        if meaning.better == "near":
            return abs(metric.value - ideal)
        return -metric.value if meaning.better == "high" else metric.value

    order = sorted(known, key=lambda t: -badness(known[t]))
    detail = []
    for t in order:
        row = {"table": t, "value": known[t].value}
        if known[t].floor is not None:
            row["real against real"] = known[t].floor
        if known[t].note:
            row["note"] = known[t].note
        detail.append(row)
    if meaning.section in WORST:
        worst = known[order[0]]
        return Metric(name, worst.value, worst.interval, worst.floor, tuple(detail), f"the worst table: {order[0]}")
    values = np.array([m.value for m in known.values()])
    floors = [m.floor for m in known.values()]
    halves = [(m.interval[1] - m.interval[0]) / 2 for m in known.values() if m.interval]
    interval = None
    if len(halves) == len(known):
        half = float(np.sqrt(np.square(halves).sum()) / len(known))
        interval = (float(values.mean()) - half, float(values.mean()) + half)
    floor = float(np.mean([f for f in floors if f is not None])) if None not in floors else None
    return Metric(name, float(values.mean()), interval, floor, tuple(detail), f"mean of {len(known)} tables")


def _references(links: Sequence[Link], synth: Named) -> Metric:
    lost, total, detail = 0, 0, []
    for link in links:
        rows = synth[link.child].select(link.columns).drop_nulls()
        parents = _keys_as(synth[link.parent].select(link.keys), rows, link)
        bad = rows.join(parents, left_on=link.columns, right_on=link.keys, how="anti")
        lost, total = lost + bad.height, total + rows.height
        if bad.height:
            examples = ", ".join(
                " ".join(map(str, row)) for row in bad.unique(maintain_order=True).head(EXAMPLES).rows()
            )
            detail.append({"relation": str(link), "lead nowhere": bad.height, "such as": examples})
    note = f"{len(links)} relations: {'; '.join(map(str, links[:6]))}{' …' if len(links) > 6 else ''}"
    return Metric("diagnostics.foreign_keys", 1 - lost / total if total else 1.0, detail=tuple(detail), note=note)


def _between(
    links: Sequence[Link], real: Named, synth: Named, keys: Mapping[str, set[str]], stream: Stream
) -> list[Metric]:
    counts = [_cardinality(link, real, synth, stream.child("halves", str(link))) for link in links]
    items: list[tuple[str, ...]] = [(str(link),) for link in links]
    table = np.array(counts)
    found = [mean_of("fidelity.cardinality", Scores(items, table[:, 0], table[:, 1:-1], table[:, -1]))]
    named, scores = [], []
    for link in links:
        if link.child == link.parent:
            continue
        pair = _joined_pair(link, real, synth, keys)
        if pair is None:
            continue
        some = pair.head(ROWS, stream.child("rows", str(link)))
        here = [(a, b) for a in some.columns for b in some.columns if not a.startswith("↑") and b.startswith("↑")]
        if here:
            scores += list(across(some, here, stream.child("trend", str(link))))
            named += [(f"{link.child}.{a}", f"{link.parent}.{b[1:]}") for a, b in here]
    if scores:
        table = np.array(scores)
        found.append(mean_of("fidelity.cross_table", Scores(named, table[:, 0], table[:, 1:-1], table[:, -1])))
    return found


def _cardinality(link: Link, real: Named, synth: Named, stream: Stream) -> np.ndarray:
    counts = [_children(link, data) for data in (real, synth)]
    groups = [np.arange(len(c)) % GROUPS for c in counts]
    mixed = stream.uniform(np.arange(len(counts[0]), dtype=np.uint64)) < 0.5
    return 1 - distances_of_groups(counts[0], counts[1], groups[0], groups[1], mixed)


def _children(link: Link, data: Named) -> np.ndarray:
    """How many rows of the child name each row of the parent, as floats of shape (parents,)."""
    rows = data[link.child].select(link.columns).drop_nulls()
    parents = _keys_as(data[link.parent].select(link.keys), rows, link)
    sums = rows.group_by(link.columns).agg(pl.len().alias("↑ children"))
    joined = parents.join(sums, left_on=link.keys, right_on=link.columns, how="left")
    return joined["↑ children"].fill_null(0).to_numpy().astype(float)


def _joined_pair(link: Link, real: Named, synth: Named, keys: Mapping[str, set[str]]) -> Pair | None:
    """Each child beside its parent, whose columns are marked by an arrow."""
    both = [_parent_beside(link, data, data[link.child]) for data in (real, synth)]
    if not all(b.height for b in both):
        return None
    mine = keys[link.child] | {f"↑{c}" for c in keys[link.parent]}
    return make_pair(both[0], both[1], keys=mine)


def _parent_beside(link: Link, data: Named, child: Table) -> Table:
    rows = child.drop_nulls(list(link.columns))
    parents = _keys_as(data[link.parent], rows, link)
    named = parents.rename({c: f"↑{c}" for c in parents.columns if c not in link.keys})
    parents = named.unique(list(link.keys), keep="first", maintain_order=True)
    copies = [pl.col(c).alias(f"↑ key {n}") for n, c in enumerate(link.columns)]
    right = parents.rename({k: f"↑ key {n}" for n, k in enumerate(link.keys)})
    on = [f"↑ key {n}" for n in range(len(link.columns))]
    return rows.with_columns(copies).join(right, on=on, how="inner", maintain_order="left").drop(on)


def _with_parents(name: str, data: Named, links: Sequence[Link]) -> Table:
    """A table's rows with the columns of the rows that they name, called `parent.column`."""
    whole = data[name]
    for link in links:
        if link.child != name or link.parent == name or any(whole[c].null_count() for c in link.columns):
            continue
        beside = _parent_beside(link, data, whole)
        if beside.height == whole.height:
            theirs = [c for c in beside.columns if c.startswith("↑")]
            new = beside.select(pl.col(c).alias(f"{link.parent}.{c[1:]}") for c in theirs)
            whole = whole.hstack(new.select(c for c in new.columns if c not in whole.columns))
    return whole


def _dotted_keys(keys: Mapping[str, set[str]]) -> list[str]:
    return [f"{table}.{c}" for table, columns in keys.items() for c in columns]


def _keys_as(parents: Table, rows: Table, link: Link) -> Table:
    """Two files may tell the same key as a number and as text: in the child's types they compare."""
    return parents.with_columns(
        pl.col(k).cast(rows[c].dtype, strict=False)
        for k, c in zip(link.keys, link.columns, strict=True)
        if parents[k].dtype != rows[c].dtype
    )
