"""The laws of a dataset: what leaves it unchanged. Each runs for every domain, and for every scenario there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from laws.over import COMPANY, INSTANCES, ROOM, companies
from polars.testing import assert_frame_equal

from populace.core.checks import check_names
from populace.core.dataset import Dataset, generate, make_cast
from populace.core.digest import digest
from populace.core.domain import Block, Domain, Step
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
    first, again, other = (generate(plan(domain, seed=s)) for s in (5, 5, 6))
    assert sums(first) == sums(again)
    root = domain.root
    assert sums(first)[root] != sums(other)[root]


def test_global_random_state_is_neither_read_nor_moved(domain: Domain):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    generate(plan(domain))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_blocks_do_not_matter(domain: Domain):
    several = companies(domain)[0][:COMPANY]
    expected = generate(plan(domain, *several, size=domain.size * ROOM))
    for block in (domain.block + 1, 10_000):
        again = plan(replace(domain, block=block, weight=None), *several, size=domain.size * ROOM)
        assert sums(generate(again)) == sums(expected)


def test_tables_made_alone_are_those_made_among_all(domain: Domain):
    names = list(domain.schema.tables)
    domain = replace(
        domain, block=10_000, weight=None, size=2 * domain.per_unit if domain.per_unit > 1 else domain.size
    )
    for asked, tables in (((), names[-1:]), (companies(domain)[0][:2], names[::3])):
        whole, some = generate(plan(domain, *asked)), generate(plan(domain, *asked, tables=tuple(tables)))
        assert set(some.frames) == {*tables, "label"}
        whole_sums = sums(whole)
        assert {n: d for n, d in sums(some).items() if n != "label"} == {n: whole_sums[n] for n in tables}
        assert_frame_equal(
            some.frames["label"], whole.frames["label"].filter(pl.col("table").is_in(tables)), categorical_as_str=True
        )


def test_rows_stand_in_key_order_and_valid(domain: Domain):
    data = generate(plan(domain))
    assert data.validate().is_empty()
    for name, spec in domain.schema.tables.items():
        assert data.frames[name][spec.key].is_sorted()
        assert dict(data.frames[name].schema) == spec.polars


def test_growth_keeps_every_earlier_row(domain: Domain):
    small, large = generate(plan(domain)), generate(plan(domain, size=domain.size + domain.per_unit + 2))
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
    before, after = generate(plan(domain)), generate(plan(wider))
    assert after.frames["extra"].height == before.frames[domain.root].height
    for name in before.frames:
        assert_frame_equal(after.frames[name].select(before.frames[name].columns), before.frames[name])


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
    assert set(label["instance"]) == set(range(INSTANCES)), f"{scenario}: count says how many instances"
    assert set(label["role"]) <= {r.name for r in domain.scenarios[scenario].roles}
    for (table,), rows in label.partition_by("table", as_dict=True).items():
        keys = rows["row_key"].drop_nulls()
        assert keys.is_in(data.frames[table][domain.schema[table].key].implode()).all()


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
            frame = together.frames[table]
            named = frame.filter(pl.col(domain.schema[table].key).is_in(rows["row_key"].implode()))
            assert {int(u) for u in domain.schema.unit_of_rows(table, named)} <= mine, f"{scenario}: {table}"
    assert set(together.frames["label"]["scenario"]) == set(company)
    assert together.validate().is_empty()
    for name, spec in domain.schema.tables.items():
        before, after = base.frames[name], together.frames[name]
        if not spec.reference:
            before, after = (
                f.filter(~pl.Series(domain.schema.unit_of_rows(name, f)).is_in(list(units))) for f in (before, after)
            )
        assert_frame_equal(before, after)
