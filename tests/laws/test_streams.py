"""Every domain's events: complete, in order of time, the same whatever made them, and silent on what nobody knew yet."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from laws.over import DOMAINS, plain, small
from polars.testing import assert_frame_equal

from populace.core.domain import Domain
from populace.core.plan import Plan, make_plan
from populace.core.run import run
from populace.core.spec import Spec
from populace.core.streams.message import ORDER, Shape, checked, messages
from populace.core.streams.store import Store, StoreSink


def stored(plan: Plan, folder: Path, workers: int = 1) -> Store:
    sink = StoreSink(
        folder, plan.domain, tuple(plan.domain.events.values()), Shape("{domain}/{event}/{key}", "row"), "x"
    )
    run(plan, [sink], workers=workers, quiet=True)
    return Store(folder)


def test_a_stream_is_the_same_whatever_workers_and_slices(domain: Domain, tmp_path: Path):
    plan = make_plan(Spec(domain.name), small(domain))
    one, three = stored(plan, tmp_path / "1"), stored(plan, tmp_path / "3", workers=3)
    frame = pl.concat(one.slices())
    assert_frame_equal(pl.concat(three.slices()), frame)
    assert frame.height == one.count() > 0
    assert frame.select(ORDER).equals(frame.select(ORDER).sort(ORDER))
    assert frame["id"].n_unique() == frame.height
    middle = int(frame["at"][frame.height // 2])
    assert_frame_equal(pl.concat([*one.slices(None, middle), *one.slices(middle)]), frame)
    assert one.count(None, middle) + one.count(middle) == frame.height


def test_each_row_with_an_instant_is_an_event_that_hides_what_comes_later(domain: Domain):
    tables = plain(domain.name).frames
    for event in domain.events.values():
        made = messages(domain, tables, [event], Shape("{event}", "row"), "x")
        assert made.height == tables[event.table][event.at].drop_nulls().len()
        for body in made["body"].head(200):
            row = json.loads(body)
            assert row[domain.schema[event.table].key] >= 0
            assert not set(event.hides) & row.keys()
            assert not any(row.get(c) in then for c, then in event.shows.items())


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_no_event_tells_of_a_later_instant(name: str):
    """Whatever instant a body bears is not after its own."""
    domain, tables = DOMAINS[name], plain(name).frames
    for event in domain.events.values():
        frame = tables[event.table].filter(pl.col(event.at).is_not_null())
        columns = domain.schema[event.table].columns.values()
        for column in (c.name for c in columns if c.type == "instant" and c.name not in event.hides):
            assert (frame[column] <= frame[event.at]).fill_null(True).all(), (event.name, column)


def test_default_topics_can_be_filled(domain: Domain):
    from populace.core.streams.outlets import KINDS

    for kind in KINDS.values():
        checked(Shape(kind.topic), domain, list(domain.events.values()))
