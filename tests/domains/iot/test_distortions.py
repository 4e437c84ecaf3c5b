"""Each word of the vocabularies does what it says, by formulas that are not its own."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.stream import F64
from populace.domains.iot import DOMAIN
from populace.domains.iot.scripts.delivery import CLOCKS, DELIVERIES, instant
from populace.domains.iot.scripts.disturb import ARGUMENTS
from populace.domains.iot.scripts.lifecycle import SEQUENCES, downs
from populace.domains.iot.scripts.values import DISTORTIONS, Span, chosen, unevenness

MINUTE = 60_000_000
SECOND = 1_000_000
N, A, B = 3000, 1000, 2001
GRID = 1_741_000_000_000_000 + MINUTE * np.arange(N)


def span(seed: int = 1, up: bool = True, whole: F64 | None = None) -> Span:
    """A slow wave with noise of deviation 0.1 about 20; sigma 2, step 0.5."""
    rng = np.random.default_rng(seed)
    if whole is None:
        whole = 20 + 3 * np.sin(np.arange(N) / 200) + 0.1 * rng.standard_normal(N)
    other = 5 + 2 * np.cos(np.arange(N) / 150)[A:B]
    return Span(whole, GRID, A, B, 2.0, 0.5, -40.0, 125.0, up, np.random.default_rng(seed), (other, 4.0, 1.0))


def give(kind: str, of: Span | None = None, **arguments: Any) -> F64:
    return DISTORTIONS[kind](of or span(), **arguments)


def off(kind: str, of: Span | None = None, **arguments: Any) -> F64:
    of = of or span()
    return give(kind, of, **arguments) - of.values


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_a_distortion_is_pure_and_keeps_the_length(kind: str):
    required = {
        n: {"beyond": 0.1, "value": 7.0, "minutes": 30.0, "hours": 2.0, "factor": 1.5, "modulus": 16.0}.get(n, 1.0)
        for n, p in inspect.signature(DISTORTIONS[kind]).parameters.items()
        if n != "span" and p.default is p.empty
    }
    of = span()
    before = of.whole.copy()
    first, again = give(kind, of, **required), give(kind, span(), **required)
    assert first.shape == (B - A,)
    assert np.array_equal(of.whole, before)
    assert np.array_equal(first, again)


def test_offsets_in_each_unit_and_direction():
    assert np.allclose(off("offset", amount=1.5, direction="up"), 3.0)
    assert np.allclose(off("offset", amount=1.5, direction="down"), -3.0)
    assert np.allclose(off("offset", amount=3, unit="step", direction="up"), 1.5)
    assert np.allclose(off("offset", amount=3, unit="unit"), 3.0)
    assert np.allclose(off("offset", span(up=False), amount=1), -2.0)


@given(amount=st.floats(0.1, 60.0))
def test_what_would_leave_the_range_goes_the_other_way(amount: float):
    wrong = give("offset", span(whole=np.full(N, 100.0)), amount=amount)
    assert np.allclose(wrong, 100 + 2 * amount if 100 + 2 * amount <= 125 else 100 - 2 * amount)


@pytest.mark.parametrize("edge", [0.1, 0.25, 0.5])
def test_an_edge_comes_and_goes_without_a_jump(edge: float):
    error = off("offset", amount=1, edge=edge)
    assert error[0] == error[-1] == 0
    assert error.max() == pytest.approx(2.0)
    # the steepest that a raised cosine of this length is
    assert np.abs(np.diff(error)).max() <= 2.0 * np.pi / 2 / (edge * (B - A - 1)) * 1.01
    assert np.allclose(error, error[::-1])


@given(power=st.floats(0.3, 5.0), amount=st.floats(0.1, 5.0))
def test_a_ramp_is_a_power_of_time(power: float, amount: float):
    error = off("ramp", amount=amount, power=power, direction="up")
    assert np.allclose(error, 2 * amount * np.linspace(0, 1, B - A) ** power)


def test_a_ramp_falls_back_at_its_end():
    error = off("ramp", amount=1.0, fall=0.2, direction="up")
    assert error[-1] == 0
    assert np.argmax(error) == pytest.approx(0.8 * (B - A), abs=2)


def test_a_wave_has_its_period_and_amplitude():
    error = off("wave", amount=1, minutes=50)
    spectrum = np.abs(np.fft.rfft(error[:1000]))
    assert np.argmax(spectrum) == 20
    assert error.max() == pytest.approx(2.0, rel=0.01)


def test_gain_scales_about_zero_and_amplify_about_the_mean():
    of = span()
    wrong = give("gain", of, amount=1.0, direction="up")
    assert np.allclose(wrong / of.values, (wrong / of.values)[0])
    assert np.mean(wrong - of.values) == pytest.approx(2.0)
    wrong = give("amplify", of, amount=1.0)
    assert wrong.mean() == pytest.approx(of.values.mean())
    assert wrong.std() == pytest.approx(2 * of.values.std(), rel=0.02)


def test_a_held_value_stays_and_keeps_its_quick_changes_if_told_to():
    of = span()
    assert (give("hold", of) == of.values[0]).all()
    calm = give("hold", of, keep=True)
    assert calm.std() == pytest.approx(0.1, rel=0.2)
    assert np.diff(calm).std() == pytest.approx(np.diff(of.values).std(), rel=0.02)


@pytest.mark.parametrize("memory", [0.0, 600.0])
def test_noise_has_its_size_and_memory(memory: float):
    errors = np.concatenate([off("noise", span(seed), amount=2, memory=memory) for seed in range(60)])
    assert errors.std() == pytest.approx(1.0, rel=0.1)
    phi = np.exp(-60 / memory) if memory else 0.0
    assert np.corrcoef(errors[:-1], errors[1:])[0, 1] == pytest.approx(phi, abs=0.03)


def test_quick_changes_grow_and_the_course_stays():
    of = span()
    wrong = give("vary", of, amount=1.0)
    assert np.diff(wrong).std() == pytest.approx(2 * np.diff(of.values).std(), rel=0.02)
    assert np.abs(wrong - of.values).mean() < 0.2


def test_an_extreme_is_beyond_all_about_it():
    of = span()
    wrong = give("extreme", of, amount=1.0, direction="up")
    for k in (0, 17, B - A - 1):
        assert wrong[k] == pytest.approx(of.whole[A + k - 2 : A + k + 3].max() + 0.5)
    wrong = give("extreme", of, amount=1.0, direction="down")
    assert wrong[17] == pytest.approx(of.whole[A + 15 : A + 20].min() - 0.5)


def test_a_spike_stands_above_what_is_beside_it():
    of = span()
    wrong = give("spike", of, amount=3.0, direction="up")
    for k in (0, 17, B - A - 1):
        assert wrong[k] == pytest.approx((of.whole[A + k - 1] + of.whole[A + k + 1]) / 2 + 1.5)


def test_level_places_are_the_tenth_whose_neighbours_are_most_alike():
    of = span()
    uneven = unevenness(of.whole, A, B)
    assert np.allclose(uneven, np.abs(of.whole[A + 1 : B + 1] - of.whole[A - 1 : B - 1]))
    level = np.sort(uneven)[(B - A) // 10]
    for seed in range(20):
        taken = chosen(np.random.default_rng(seed), B - A, {"samples": 5, "level": True}, uneven)
        assert taken.sum() == 5
        assert uneven[taken].max() <= level
    assert chosen(np.random.default_rng(1), B - A, {"samples": 900, "level": True}, uneven).sum() == 900


@given(beyond=st.floats(0.01, 0.5))
def test_clipping_cuts_the_share_asked_for(beyond: float):
    of = span()
    wrong = give("clip", of, beyond=beyond)
    assert (wrong < of.values).mean() == pytest.approx(beyond, abs=0.005)
    assert wrong.max() == wrong[wrong < of.values].min()
    wrong = give("clip", of, beyond=beyond, direction="down")
    assert (wrong > of.values).mean() == pytest.approx(beyond, abs=0.005)


def test_coarser_steps():
    wrong = give("coarsen", amount=0.5)
    assert np.allclose(wrong, np.round(wrong))
    assert np.abs(off("coarsen", amount=0.5)).max() <= 0.5


def test_other_units_signs_registers_and_constants():
    of = span()
    assert np.allclose(give("convert", of, scale=1.8, shift=32.0), of.values * 9 / 5 + 32)
    assert np.array_equal(give("negate", of), -of.values)
    assert np.allclose(give("wrap", of, modulus=16.0), [v - 16 if v >= 16 else v for v in of.values])
    assert (give("constant", of, value=-999) == -999).all()


def test_a_first_order_response_to_a_step():
    whole = np.where(np.arange(N) < A + 100, 0.0, 1.0)
    wrong = give("respond", span(whole=whole), minutes=60)
    # after one time constant, 1 - 1/e of the step
    assert wrong[99] == 0
    assert wrong[100 + 60 - 1] == pytest.approx(1 - np.exp(-1), abs=1e-9)


def test_cross_talk_brings_the_other_channel_in():
    rng = np.random.default_rng(2)
    other = 5 + 2 * np.cos(np.arange(N) / 150)[A:B] + 0.3 * rng.standard_normal(B - A)
    of = replace(span(), beside=(other, 4.0, 1.0))
    course = np.convolve(np.pad(other, 30, "edge"), np.ones(61) / 61, "valid")
    error = off("mix", of, amount=0.5, quick=0.4)
    # away from the ends, where a mean of fewer samples stands for the course: 2.0 / 4.0 of the course and as much, as it is the least, of the rest
    expected = 0.5 * 0.5 * (course - other.mean()) + 0.5 * 0.5 * 0.4 * (other - course)
    assert np.allclose(error[30:-30], expected[30:-30])
    lively = replace(of, beside=(other, 4.0, 10.0))
    calmer = off("mix", lively, amount=0.5, quick=0.4)
    assert np.allclose(calmer[30:-30], (0.25 * (course - other.mean()) + 0.5 * 0.05 * 0.4 * (other - course))[30:-30])
    assert np.array_equal(give("swap", of), other)


def test_replayed_lagged_faster_reversed_and_mirrored():
    of = span()
    assert np.array_equal(give("replay", of, hours=4), of.whole[A - 240 : B - 240])
    joined = give("replay", of, hours=4, within=0.5)
    copies = {back: of.whole[A - back : B - back] for back in range(210, 271)}
    seams = {back: max(abs(c[0] - of.whole[A - 1]), abs(c[-1] - of.whole[B])) for back, c in copies.items()}
    assert np.array_equal(joined, copies[min(seams, key=seams.__getitem__)]), "cut in where both seams are least"
    course = np.convolve(np.pad(of.whole, 30, "edge"), np.ones(61) / 61, "valid")
    quick = of.values - course[A:B]
    assert np.allclose(give("lag", of, hours=4) - quick, course[A - 240 : B - 240])
    assert np.allclose((give("stretch", of, factor=2.0) - quick)[:900], course[A : A + 1800 : 2])
    assert np.allclose(give("reverse", of) - quick, course[A:B][::-1])
    assert np.allclose(give("mirror", of) - quick, 2 * course[A:B].mean() - course[A:B])


# times


def times() -> tuple[np.ndarray, np.random.Generator]:
    return GRID[A:B].copy(), np.random.default_rng(4)


def test_clocks():
    taken, rng = times()
    since = taken - taken[0]
    assert np.array_equal(CLOCKS["set_to"](taken, rng, at="1970-01-01"), since)
    assert np.array_equal(CLOCKS["step"](taken, rng, seconds=-1.5) - taken, np.full(B - A, -1_500_000))
    drift = CLOCKS["skew"](taken, rng, ppm=100.0) - taken
    assert drift[-1] == pytest.approx(1e-4 * since[-1], abs=1)
    smear = CLOCKS["smear"](taken, rng, seconds=-1.0) - taken
    assert (smear[0], smear[-1]) == (0, -SECOND)
    assert (np.diff(smear) <= 0).all()
    assert np.array_equal(CLOCKS["scale"](taken, rng, factor=0.001), taken // 1000)
    assert (CLOCKS["freeze"](taken, rng) == taken[0]).all()
    cut = CLOCKS["truncate"](taken + 17, rng, seconds=60.0)
    assert (cut % MINUTE == 0).all()
    assert ((taken + 17 - cut) < MINUTE).all()


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31T23:59:59.5", "9999-01-01T00:00:00+02:00"])
def test_instants(text: str):
    expected = np.datetime64(text.removesuffix("+02:00"), "us").astype(np.int64)
    assert instant(text) == expected - (7200 * SECOND if "+02" in text else 0)


def test_deliveries_never_come_before_their_time():
    taken, rng = times()
    received = taken + 50_000
    late = DELIVERIES["late"](taken, received, rng, seconds=600.0)
    assert (late >= received).all()
    assert (late - received).mean() == pytest.approx(600 * SECOND, rel=0.15)
    growing = DELIVERIES["late"](taken, received, rng, seconds=600.0, power=2.0) - received
    assert growing[:500].mean() < growing[500:].mean() / 3
    shuffled = DELIVERIES["shuffle"](taken, received, rng, samples=8)
    assert (shuffled >= received).all()
    assert len(np.unique(shuffled)) == B - A
    assert (np.diff(shuffled) < 0).mean() > 0.3
    batch = DELIVERIES["batch"](taken, received, rng, minutes=15.0)
    assert (batch >= received).all()
    assert len(np.unique(batch)) == -(-(B - A) // 15)


@given(rate=st.floats(0.2, 1.0))
def test_a_throttle_lets_through_its_rate_in_order(rate: float):
    taken, rng = times()
    out = DELIVERIES["throttle"](taken, taken + 50_000, rng, rate=rate)
    assert (out >= taken + 50_000).all()
    assert np.diff(out).min() >= int(MINUTE / rate) - 1


# scenario files use these words and no other


def entries(name: str) -> list[tuple[Any, dict[str, Any]]]:
    given = DOMAIN.scenarios[name].arguments
    words = {"values": DISTORTIONS, "clock": CLOCKS, "arrivals": DELIVERIES}
    return [(words[what][entry["kind"]], entry) for what in words for entry in given.get(what, ())]


@pytest.mark.parametrize("name", DOMAIN.scenarios)
def test_a_scenario_file_speaks_the_vocabulary(name: str):
    scenario = DOMAIN.scenarios[name]
    assert set(scenario.arguments) <= set(ARGUMENTS)
    assert len(scenario.roles) == 1
    assert {"family", "effect", "cause"} <= scenario.arguments.keys()
    for word, entry in entries(name):
        known = set(inspect.signature(word).parameters) | {
            "kind",
            "signals",
            "share",
            "samples",
            "level",
            "raw",
            "null",
        }
        assert set(entry) <= known
    if down := scenario.arguments.get("down"):
        assert set(down) <= set(inspect.signature(downs).parameters)
        assert down["kind"] in SEQUENCES
    # every parameter is put to use somewhere
    text = repr(scenario.arguments) + repr(scenario.roles)
    assert all(f"'{p}'" in text or p == "severity" for p in scenario.parameters)


def test_every_word_is_used_by_some_scenario():
    used = {word for name in DOMAIN.scenarios for word, _ in entries(name)}
    words = {*DISTORTIONS.values(), *CLOCKS.values(), *DELIVERIES.values()}
    assert not {w.__name__ for w in words - used}
