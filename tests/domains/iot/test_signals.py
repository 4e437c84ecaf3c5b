"""The series have the statistics that the priors state."""

from __future__ import annotations

import numpy as np
import pytest

from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.stream import Stream
from populace.domains.iot import DOMAIN
from populace.domains.iot.signals import HOUR, autoregression, climate, quantise, series

SIGNALS = [name.removeprefix("signal.") for name in DOMAIN.priors if name.startswith("signal.")]
MINUTE = 60_000_000


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95])
def test_the_coefficient_of_the_noise_is_recovered(phi: float):
    n = 200_000
    x = autoregression(Stream.root(1).child("noise").generator(), n, 2.0, phi)
    found = float(x[1:] @ x[:-1] / (x[:-1] @ x[:-1]))
    # the estimate's standard error is sqrt((1 - phi^2) / n)
    assert abs(found - phi) < 4 * np.sqrt((1 - phi**2) / n)
    # that of the variance of an AR(1) series is sigma^2 sqrt(2 / n (1 + phi^2) / (1 - phi^2))
    assert abs(x.var() / 4 - 1) < 5 * np.sqrt(2 / n * (1 + phi**2) / (1 - phi**2))


def test_noise_is_stationary_from_its_first_value():
    starts = [autoregression(Stream.root(2).child(k).generator(), 2, 1.0, 0.9) for k in range(3000)]
    first, second = np.array(starts).T
    assert abs(first.var() - 1) < 4 * np.sqrt(2 / 3000)
    assert abs(second.var() - 1) < 4 * np.sqrt(2 / 3000)
    assert abs(np.corrcoef(first, second)[0, 1] - 0.9) < 0.02


@pytest.mark.parametrize("signal", SIGNALS)
def test_level_wave_and_occupancy_are_as_in_the_priors(signal: str):
    """A regression of a year of readings on the hour's wave, the occupancy and the weather finds the prior's coefficients."""
    plan = make_plan(Spec("iot", size=10, start="2024-01-01", end="2025-01-01"), DOMAIN)
    block, prior = plan.block(0), plan.priors(f"signal.{signal}")
    shared = climate(block, 0, 60)
    interval = 5 * MINUTE
    n = (plan.window.end - plan.window.start) // interval
    at = plan.window.start + interval * np.arange(n)
    values = series(plan.priors, signal, Stream.root(3).child(signal), shared, plan.window.start, interval, n)
    hour = ((at + 60 * MINUTE) % (24 * HOUR)) / HOUR
    wave = np.cos(2 * np.pi * (hour - plan.priors("weather.peak_hour")) / 24)
    occupancy = np.interp(at, shared.hours, shared.occupancy)
    weather = np.interp(at, shared.hours, shared.weather)
    columns = np.column_stack([np.ones(n), wave, occupancy, weather])
    found, *_ = np.linalg.lstsq(columns, values, rcond=None)
    # an AR(1) series of memory m has n * interval / (2 m) independent values
    independent = n / max(1.0, 2 * prior["memory"] / (interval / 1e6))
    place = Stream.root(3).child(signal).generator().standard_normal(2)[1]
    response = np.exp(prior["vary"] * place - prior["vary"] ** 2 / 2)
    error = 5 * prior["noise"] / np.sqrt(independent) / columns.std(axis=0)[1:] + prior["resolution"]
    assert (np.abs(found[1:] - [prior["daily"], prior["occupancy"] * response, prior["weather"]]) < error).all()
    assert abs(found[0] - prior["mean"]) < 4 * prior["spread"] + error.max()


def test_occupancy_follows_the_local_clock():
    plan = make_plan(Spec("iot", size=10), DOMAIN)
    shared = climate(plan.block(0), 0, 60)
    monday = shared.occupancy[:24]
    assert monday[3] == 0.0, "four in the morning, at UTC+1"
    assert monday[9] > 0.6, "ten in the morning"
    assert shared.occupancy[5 * 24 : 7 * 24].max() < 0.2, "the weekend"


def test_quantised_values_are_the_nearest_decimals():
    values = np.array([0.289999, -0.004, 1.005001, -3.0, 99.0])
    assert quantise(values, 0.01, -1.0, 50.0).tolist() == [0.29, 0.0, 1.01, -1.0, 50.0]
    assert not np.signbit(values[1]), "no negative zero"
