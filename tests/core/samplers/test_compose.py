"""Composition means what probability says it means."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from populace.core.errors import UserError
from populace.core.samplers.compose import chain, constrain, mix, switch
from populace.core.samplers.rules import Choice, Constant, Draw
from populace.core.stream import Stream

N = 50_000
WHERE = pl.DataFrame({"z": np.linspace(0, 10, N)})


def test_chain_conditions_each_on_those_before():
    made = chain(Draw("x", "normal", mean="z"), Draw("y", "normal", mean="x", sd=0.5)).sample(WHERE, Stream.root(1))
    assert made.columns == ["x", "y"]
    residual = made["y"] - made["x"]
    assert residual.std() == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef(residual, made["x"])[0, 1]) < 0.02


def test_a_link_does_not_change_what_the_others_draw():
    short = chain(Draw("x", "normal")).sample(WHERE, Stream.root(1))
    long = chain(Draw("w", "normal"), Draw("x", "normal")).sample(WHERE, Stream.root(1))
    assert long["x"].equals(short["x"])


def test_mix_has_the_shares_of_its_weights():
    made = mix([Constant("x", 1), Draw("x", "normal", mean=100.0)], [3, 1]).sample(WHERE, Stream.root(1))["x"]
    assert (made == 1).mean() == pytest.approx(0.75, abs=0.01)
    assert made.filter(made != 1).mean() == pytest.approx(100, abs=0.1)


def test_switch_sends_each_value_to_its_sampler():
    where = pl.DataFrame({"c": ["a", "b", "c", None]})
    made = switch("c", {"a": Constant("x", 1), None: Constant("x", 2)}).sample(where, Stream.root(1))["x"]
    assert made.to_list() == [1, 2, 2, 2]
    with pytest.raises(UserError, match="unknown value of c 'b'"):
        switch("c", {"a": Constant("x", 1)}).sample(where, Stream.root(1))


def test_constrain_gives_the_conditional_distribution():
    made = constrain(Draw("x", "exponential", mean=1.0), "x > 1").sample(WHERE, Stream.root(1))["x"]
    assert made.min() > 1
    # the exponential has no memory
    assert (made - 1).mean() == pytest.approx(1.0, rel=0.02)


def test_constrain_keeps_rows_that_hold_at_once_and_lets_null_pass():
    plain = Choice("x", [1, 2, None]).sample(WHERE, Stream.root(1).child("try", 0))["x"]
    made = constrain(Choice("x", [1, 2, None]), "x > 1").sample(WHERE, Stream.root(1))["x"]
    held = plain.is_null() | (plain == 2).fill_null(False)
    assert made.filter(held).equals(plain.filter(held))
    assert set(made) == {2, None}


def test_constrain_is_never_silently_short():
    with pytest.raises(
        UserError, match=r"50,000 of 50,000 rows still fail 'x > 2' after 3 tries, for instance \{'x': 1\}"
    ):
        constrain(Constant("x", 1), "x > 2", tries=3).sample(WHERE, Stream.root(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mix([Constant("x", 1), Constant("y", 1)], [1, 1]), "one sampler makes x, another y"),
        (lambda: mix([], []), "no samplers"),
        (lambda: mix([Constant("x", 1)], [1, 2]), "1 samplers but 2 weights"),
        (lambda: constrain(Constant("x", 1), "x >"), "is not a predicate"),
        (lambda: constrain(Constant("x", 1), "x > 0", tries=0), "tries is 0"),
        (lambda: constrain(Constant("x", 1), "y > 0").sample(WHERE, Stream.root(1)), "cannot be judged"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str):
    with pytest.raises(UserError, match=message):
        make()
