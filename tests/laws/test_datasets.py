"""The laws of a dataset: what leaves it unchanged. Each runs for every domain, and for every scenario there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from laws.over import COMPANY, INSTANCES, ROOM, companies, plain
from polars.testing import assert_frame_equal

from populace.core.checks import check_names
from populace.core.dataset import Dataset, generate, make_cast
from populace.core.digest import digest
from populace.core.domain import Block, Domain, Step, taken
from populace.core.narrow import besides, leading_to, sooner
from populace.core.plan import Plan, make_plan
from populace.core.schema import Column
from populace.core.spec import ScenarioRequest, Spec
from populace.core.tables import Tables

BALANCES = ("balance_after_minor", "balance_minor")
"""Columns that sum up what came before, and so follow what is added."""


def plan(domain: Domain, *scenarios: str, **changes: object) -> Plan:
    return make_plan(Spec(domain.name, scenarios=tuple(ScenarioRequest(s) for s in scenarios), **changes), domain)


def sums(data: Dataset) -> dict[str, str]:
    return {name: str(digest(frame)) for name, frame in data.frames.items()}


def test_same_seed_same_values_other_seed_other_values(domain: Domain):
    first, again, other = plain(domain.name), *(generate(plan(domain, seed=s)) for s in (0, 1))
    assert sums(first) == sums(again)
    root = domain.root
    assert sums(first)[root] != sums(other)[root]


def test_global_random_state_is_neither_read_nor_moved(domain: Domain):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    generate(plan(domain))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("room", [1, pytest.param(ROOM, marks=pytest.mark.slow)])
def test_blocks_do_not_matter(domain: Domain, room: int):
    several = companies(domain)[0][:COMPANY]
    expected = plain(domain.name, *several) if room == 1 else generate(plan(domain, *several, size=domain.size * room))
    assert expected.plan.blocks > 1
    for block in (domain.block + 1, 10_000):
        again = plan(replace(domain, block=block, weight=None), *several, size=domain.size * room)
        assert sums(generate(again)) == sums(expected)


def test_steps_taken_sooner_find_what_they_would_have_found(domain: Domain):
    """Casting takes the steps that its roles' tables come from before all others, and building goes on from there."""
    block = plan(domain).block(0)
    expected = taken(domain.steps, block, {})
    casts = {tuple(sorted({role.table for role in s.roles})) for s in domain.scenarios.values()}
    sooner_ones = 0
    for tables in casts:
        first = sooner(domain.steps, leading_to(domain.steps, tables)[0])
        sooner_ones += len(first)
        facts = taken(besides(domain.steps, first), block, taken(first, block, {}))
        assert facts.keys() == expected.keys()
        for name, table in expected.items():
            assert_frame_equal(facts[name], table)
    assert sooner_ones, "nothing is handed on"


def test_rows_stand_in_key_order_and_valid(domain: Domain):
    data = plain(domain.name)
    assert data.validate().is_empty()
    # as files have them: codes are texts
    texts = {name: frame.with_columns(pl.col(pl.Enum).cast(pl.String)) for name, frame in data.frames.items()}
    assert replace(data, frames=texts).validate().is_empty()
    for name, spec in domain.schema.tables.items():
        assert data.frames[name][spec.key].is_sorted()
        assert dict(data.frames[name].schema) == spec.polars


def test_growth_keeps_every_earlier_row(domain: Domain):
    small, large = plain(domain.name), generate(plan(domain, size=domain.size + domain.per_unit + 2))
    for name, spec in domain.schema.tables.items():
        before, after = small.frames[name], large.frames[name]
        kept = after.filter(pl.col(spec.key).is_in(before[spec.key].implode()))
        assert_frame_equal(kept, before)
        if not spec.reference:
            new = after.filter(~pl.col(spec.key).is_in(before[spec.key].implode()))
            units = domain.schema.unit_of_rows(name, new)
            assert (units >= domain.size // domain.per_unit).all()


def test_a_new_column_and_a_new_table_leave_the_rest_alone(domain: Domain):
    """A step that draws one more column of the root table, and one more table, from streams of their own."""
    root = domain.schema[domain.root]

    def more(block: Block, tables: Tables) -> Tables:
        frame = tables[domain.root]
        keys = frame[root.key].to_numpy()
        extra = pl.Series("extra", block.stream.child(domain.root, "extra").uniform(keys))
        return {domain.root: frame.with_columns(extra), "extra": pl.DataFrame({"extra_id": keys})}

    tables = dict(domain.schema.tables)
    tables[domain.root] = replace(root, columns={**root.columns, "extra": Column("extra", "float", "More.")})
    tables["extra"] = replace(
        root,
        name="extra",
        key="extra_id",
        columns={"extra_id": Column("extra_id", "id", "Key.")},
        within=None,
        checks=(),
    )
    at = 1 + max(n for n, s in enumerate(domain.steps) if domain.root in s.makes)
    steps = (*domain.steps[:at], Step("more", (domain.root, "extra"), more, (domain.root,)), *domain.steps[at:])
    wider = replace(domain, schema=replace(domain.schema, tables=tables), steps=steps)
    before, after = plain(domain.name), generate(plan(wider))
    assert after.frames["extra"].height == before.frames[domain.root].height
    for name in before.frames:
        assert_frame_equal(after.frames[name].select(before.frames[name].columns), before.frames[name])


def alone(whole: Dataset, domain: Domain, only: tuple[str, ...], *scenarios: str) -> Dataset:
    part = generate(plan(domain, *scenarios, only=only))
    assert part.frames.keys() == {*only, "label"}
    for name in only:
        assert_frame_equal(part.frames[name], whole.frames[name])
    return part


def test_some_tables_alone_are_as_in_the_whole(domain: Domain):
    whole, names = plain(domain.name), list(domain.schema.tables)
    for n in range(1, len(names), max(1, len(names) // 2)):
        alone(whole, domain, (names[n],))


@pytest.mark.slow
def test_each_table_alone_is_as_in_the_whole(domain: Domain):
    whole = plain(domain.name)
    for name in domain.schema.tables:
        assert alone(whole, domain, (name,)).validate().is_empty()


def test_some_tables_alone_have_the_labels_of_their_rows(domain: Domain):
    several = companies(domain)[0][:COMPANY]
    whole = plain(domain.name, *several)
    label = whole.frames["label"]
    often = label.group_by("table").len().sort("len", "table")["table"][-1]
    only = tuple(n for n in domain.schema.tables if n in (often, list(domain.schema.tables)[1]))
    part = alone(whole, domain, only, *several)
    assert_frame_equal(part.frames["label"], label.filter(pl.col("table").is_in(only)))


def test_what_a_view_takes_is_all_that_it_is_rendered_from(domain: Domain):
    several = companies(domain)[0][:COMPANY]
    whole = plain(domain.name, *several)
    for name, view in domain.views.items():
        if not view.takes:
            continue
        part = generate(plan(domain, *several, only=(name,)))
        assert part.frames.keys() == {*view.takes, "label"}
        rendered, expected = (
            view.render(d.frames, {n: t for n, t in d.frames.items() if n != "label" and domain.schema[n].reference})
            for d in (part, whole)
        )
        assert rendered.keys() == expected.keys()
        for kind in expected:
            assert_frame_equal(rendered[kind], expected[kind])
        label = whole.frames["label"].filter(pl.col("table").is_in([*view.takes]))
        assert_frame_equal(part.frames["label"], label)
        for table, columns in view.takes.items():
            assert not columns or {*part.frames[table].columns} < {*whole.frames[table].columns}


def test_a_scenario_changes_only_the_units_it_cast(domain: Domain, scenario: str, base: Dataset, played: Dataset):
    cast = make_cast(played.plan)
    units = set(pl.concat([m["unit"] for m in cast.members.values()]).to_list())
    changed = False
    for name, spec in domain.schema.tables.items():
        before, after = base.frames[name], played.frames[name]
        if spec.reference:
            assert_frame_equal(before, after)
            continue
        outside = [
            f.filter(~pl.Series(domain.schema.unit_of_rows(name, f)).is_in(list(units))) for f in (before, after)
        ]
        assert_frame_equal(*outside)
        changed |= not before.equals(after)
    assert changed, "the scenario did nothing"


def test_a_scenario_labels_rows_that_exist(domain: Domain, scenario: str, played: Dataset):
    labels_of(domain, scenario, played)


def labels_of(domain: Domain, scenario: str, data: Dataset) -> None:
    label = data.frames["label"].filter(scenario=scenario)
    assert set(label["instance"].unique()) == set(range(INSTANCES)), f"{scenario}: count says how many instances"
    assert set(label["role"].unique()) <= {r.name for r in domain.scenarios[scenario].roles}
    for (table,), rows in label.partition_by("table", as_dict=True).items():
        keys, there = rows["row_key"].drop_nulls().to_numpy(), data.frames[table][domain.schema[table].key].to_numpy()
        assert not len(keys) or (there[np.searchsorted(there, keys).clip(max=len(there) - 1)] == keys).all()


def test_a_scenario_shows_what_it_expects_and_breaks_what_it_declares(domain: Domain, scenario: str, played: Dataset):
    assert set(played.frames["label"]["scenario"]) == {scenario}
    expectations_of(domain, scenario, played)
    assert played.validate().is_empty()


def expectations_of(domain: Domain, scenario: str, data: Dataset) -> None:
    spec = domain.scenarios[scenario]
    assert spec.expect
    assert set(spec.excused) <= set(check_names(domain))
    assert spec.script in domain.scripts
    for expect in spec.expect:
        mine = data.frames["label"].filter(scenario=scenario, table=expect.table)
        mine = mine.filter(effect=expect.effect) if expect.effect else mine
        mine = mine.filter(role=expect.role) if expect.role else mine
        assert mine.height, f"{scenario}: nothing that the expectation on {expect.table} speaks of was labelled"


def test_scenarios_compose(domain: Domain, company: tuple[str, ...], base: Dataset, together: Dataset):
    """Each labels rows of the units that it cast and of no other, and what none of them cast stays as it was."""
    cast = make_cast(together.plan)
    units: set[int] = set()
    for n, use in enumerate(together.plan.uses):
        scenario = use.scenario.name
        mine = set(pl.concat([m["unit"] for (k, _), m in cast.members.items() if k == n]).to_list())
        units |= mine
        labels_of(domain, scenario, together)
        expectations_of(domain, scenario, together)
        label = together.frames["label"].filter(pl.col("row_key").is_not_null(), scenario=scenario)
        for (table,), rows in label.partition_by("table", as_dict=True).items():
            units_of = np.unique(domain.schema.unit_of(table, rows["row_key"].to_numpy()))
            assert set(units_of.tolist()) <= mine, f"{scenario}: {table}"
    assert set(together.frames["label"]["scenario"].unique()) == set(company)
    assert together.validate().is_empty()
    for name, spec in domain.schema.tables.items():
        before, after = base.frames[name], together.frames[name]
        if not spec.reference:
            before, after = (
                f.filter(~pl.Series(domain.schema.unit_of_rows(name, f)).is_in(list(units))) for f in (before, after)
            )
        assert_frame_equal(before, after)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_every_scenario_at_once_whoever_is_cast(domain: Domain, seed: int):
    asked = tuple(ScenarioRequest(name, {"count": 1}) for name in domain.scenarios)
    data = generate(
        make_plan(Spec(domain.name, size=max(240, 6 * domain.per_unit), seed=seed, scenarios=asked), domain)
    )
    assert data.validate().is_empty()
