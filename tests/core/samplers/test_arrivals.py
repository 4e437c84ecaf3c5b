"""Arrivals have the counts and times of the processes they name, and a parent's events are its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from populace.core.domain import Window
from populace.core.errors import UserError
from populace.core.samplers.arrivals import Arrivals, calendar, hawkes, poisson
from populace.core.samplers.rhythm import DAY, HOUR, Rhythm
from populace.core.stream import Stream

DAYS = 90
WINDOW = Window(1_735_689_600_000_000, 1_735_689_600_000_000 + DAYS * DAY)
PARENTS = np.arange(2_000, dtype=np.uint64) * 7
S = Stream.root(3)
BUSY = Rhythm(hours=(0.1,) * 8 + (1.0,) * 12 + (0.5,) * 4)
PROCESSES = {
    "poisson": lambda parents, rate: poisson(S, parents, rate, WINDOW),
    "calendar": lambda parents, rate: calendar(S, parents, rate, WINDOW, BUSY),
    "hawkes": lambda parents, rate: hawkes(S, parents, rate, WINDOW, branching=0.6, decay=4.0),
    "hawkes calendar": lambda parents, rate: hawkes(S, parents, rate, WINDOW, branching=0.6, decay=4.0, rhythm=BUSY),
    "hawkes childless": lambda parents, rate: hawkes(S, parents, rate, WINDOW, branching=0.0, decay=4.0),
}


@pytest.fixture(params=PROCESSES)
def process(request: pytest.FixtureRequest):
    return PROCESSES[request.param]


def events(made: Arrivals, parents: np.ndarray) -> set[tuple[int, int, int]]:
    return set(zip(parents[made.position].tolist(), made.row.tolist(), made.time.tolist(), strict=True))


def test_rate_window_and_addresses(process):
    rates = np.where(PARENTS % 2 == 0, 0.5, 1.5)
    made = process(PARENTS, rates)
    assert made.time.min() >= WINDOW.start
    assert made.time.max() < WINDOW.end
    assert len(np.unique(made.row)) == len(made)
    for rate in (0.5, 1.5):
        mine = np.isin(made.position, np.flatnonzero(rates == rate)).sum()
        expected = rate * DAYS * (rates == rate).sum()
        # a Hawkes count has 1 / (1 - branching)^2 times the variance of a Poisson one
        assert abs(mine - expected) < 4 * np.sqrt(expected) / 0.4


def test_a_parents_events_are_its_own(process):
    """Growth, blocks and order of the parents change nothing; nor does the rate of others."""
    rates = np.full(len(PARENTS), 0.7)
    whole = events(process(PARENTS, rates), PARENTS)
    some = np.random.default_rng(1).permutation(len(PARENTS))[:300]
    mine = set(PARENTS[some].tolist())
    part = events(process(PARENTS[some], rates[some]), PARENTS[some])
    assert part == {e for e in whole if e[0] in mine}
    changed = rates.copy()
    changed[np.setdiff1d(np.arange(len(PARENTS)), some)] = 0.2
    assert part == {e for e in events(process(PARENTS, changed), PARENTS) if e[0] in mine}


def test_nobody_and_nothing(process):
    assert len(process(PARENTS[:0], 1.0)) == 0
    assert len(process(PARENTS, 0.0)) == 0


def test_poisson_counts_and_times():
    made = poisson(S, PARENTS, 0.1, WINDOW)
    counts = np.bincount(np.bincount(made.position, minlength=len(PARENTS)), minlength=30)
    expected = stats.poisson.pmf(np.arange(30), 9.0) * len(PARENTS)
    often = expected > 10
    assert stats.chisquare(counts[often], expected[often] * counts[often].sum() / expected[often].sum()).pvalue > 1e-3
    assert stats.kstest((made.time - WINDOW.start) / (WINDOW.end - WINDOW.start), "uniform").pvalue > 1e-3


def test_calendar_keeps_to_its_rhythm():
    made = calendar(S, PARENTS, 1.0, WINDOW, BUSY)
    expected = np.array(BUSY.hours) / sum(BUSY.hours) * len(made)
    assert stats.chisquare(np.bincount(made.time // HOUR % 24, minlength=24), expected).pvalue > 1e-3


@pytest.mark.parametrize("branching", [0.3, 0.7])
def test_hawkes_clusters_as_theory_says(branching: float):
    """Over a long window the counts' variance tends to 1 / (1 - n)^2 times their mean (Hawkes 1971)."""
    made = hawkes(S, PARENTS, 1.0, WINDOW, branching=branching, decay=20.0)
    counts = np.bincount(made.position, minlength=len(PARENTS))
    assert counts.var() / counts.mean() == pytest.approx(1 / (1 - branching) ** 2, rel=0.15)


def test_hawkes_is_stationary_from_the_start():
    made = hawkes(S, PARENTS, 1.0, WINDOW, branching=0.8, decay=1.0)
    days = np.bincount((made.time - WINDOW.start) // DAY, minlength=DAYS)
    assert days[:5].mean() == pytest.approx(days[45:].mean(), rel=0.1)


def test_hawkes_delays_fade_at_the_decay():
    """The pair correlation of a Hawkes process fades like exp(-decay (1 - branching) t)."""
    made = hawkes(S, PARENTS, 0.2, WINDOW, branching=0.5, decay=10.0)
    order = np.lexsort((made.time, made.position))
    gap = np.diff(made.time[order])[np.diff(made.position[order]) == 0] / DAY
    assert (gap < 0.1).mean() > 5 * (1 - np.exp(-0.2 * 0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hawkes(S, PARENTS, 1.0, WINDOW, branching=1.0, decay=1.0), "branching is 1.0"),
        (lambda: hawkes(S, PARENTS, 1.0, WINDOW, branching=0.5, decay=0.0), "decay is 0.0"),
        (lambda: poisson(S, PARENTS, -1.0, WINDOW), "a rate is -1.0"),
        (lambda: poisson(S, PARENTS, float("nan"), WINDOW), "a rate is nan"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str):
    with pytest.raises(UserError, match=message):
        make()
