"""What drawing from networks takes: classes as likely as their scores say, latent vectors that are normal and independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from populace.core.samplers.deep import draw as drawing
from populace.core.samplers.deep.draw import choose_class, latent, padded
from populace.core.stream import Stream


@pytest.mark.parametrize("classes", [1, 2, 15, 17, 40, 129, 300])
def test_classes_are_as_likely_as_their_scores_say(classes: int):
    draw = np.random.default_rng(classes)
    scores = draw.normal(0, 2, classes).astype(np.float32)
    rows = 60_000
    state = choose_class(np.repeat(scores[:, None], rows, axis=1), draw.random(rows))
    chance = np.exp(scores.astype(float) - scores.max())
    expected = chance / chance.sum() * rows
    seen = np.bincount(state, minlength=classes)
    assert len(seen) == classes
    often = expected >= 10
    if often.sum() > 1:
        assert chisquare(seen[often], expected[often] * seen[often].sum() / expected[often].sum()).pvalue > 1e-5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-12, 0.5, 1 - 1e-12]))
def test_what_cannot_come_does_not(classes: int, seed: int, u: float):
    draw = np.random.default_rng(seed)
    scores = draw.normal(0, 3, (classes, 5)).astype(np.float32)
    there = draw.random((classes, 5)) < 0.3
    there[draw.integers(0, classes, 5), np.arange(5)] = True
    scores[~there] = -1e9
    state = choose_class(scores.copy(), np.full(5, u))
    assert there[state, np.arange(5)].all()


@pytest.mark.parametrize("classes", [1, 5, 16, 17, 40, 97, 128, 300])
def test_rows_that_share_scores_get_what_their_own_would_give(classes: int):
    draw = np.random.default_rng(classes)
    scores = draw.normal(0, 2, (classes, 7)).astype(np.float32)
    which, u = draw.integers(0, 7, 500), draw.random(500)
    assert (choose_class(scores.copy(), u, which) == choose_class(scores[:, which], u)).all()


def test_of_no_rows_there_is_no_class():
    for classes in (1, 5, 40):
        assert len(choose_class(np.zeros((classes, 0), np.float32), np.empty(0))) == 0


def test_latent_vectors_are_independent_normals():
    z = latent(Stream.root(1), np.arange(20_000), 6)
    assert z.shape == (20_000, 6)
    assert np.abs(np.corrcoef(z.T) - np.eye(6)).max() < 0.03
    assert np.abs(z.mean(axis=0)).max() < 0.03
    assert z.std(axis=0) == pytest.approx(np.ones(6), abs=0.02)
    assert (latent(Stream.root(1), np.arange(100), 6) == z[:100]).all()


def test_blocks_are_whole():
    assert len(padded(np.ones((0, 3), np.float32))) == drawing.BLOCK
    assert len(padded(np.ones((drawing.BLOCK, 3), np.float32))) == drawing.BLOCK
    assert padded(np.ones((5, 3), np.float32))[5:].sum() == 0


@pytest.mark.parametrize(("outputs", "inputs"), [(128, 64), (260, 128), (13, 511), (7, 33)])
def test_a_product_does_not_hang_on_where_a_column_stands(outputs: int, inputs: int):
    draw = np.random.default_rng(inputs)
    weight, x = (draw.normal(size=s).astype(np.float32) for s in ((outputs, inputs), (inputs, drawing.BLOCK)))
    order = draw.permutation(drawing.BLOCK)
    made, moved = (
        drawing.product(weight, np.ascontiguousarray(each), np.empty((outputs, drawing.BLOCK), np.float32))
        for each in (x, x[:, order])
    )
    assert (made[:, order] == moved).all()
    assert made == pytest.approx(weight.astype(float) @ x, abs=1e-3)


@pytest.mark.parametrize(("outputs", "inputs"), [(128, 64), (48, 96), (13, 511), (7, 33)])
def test_nor_on_where_a_row_stands(outputs: int, inputs: int, monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(inputs)
    weight, x = (draw.normal(size=s).astype(np.float32) for s in ((inputs, outputs), (drawing.BLOCK, inputs)))
    turned, order = np.ascontiguousarray(weight.T), draw.permutation(drawing.BLOCK)

    def made(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        room = np.empty((drawing.BLOCK, outputs), np.float32)
        return drawing.row_product(each, weight, room), drawing.turned_product(turned, each, room.T.copy()).T

    for _ in ("as this processor does", "where single precision is not steady"):
        for whole, moved in zip(made(x), made(x[order]), strict=True):
            assert (whole[order] == moved).all()
            assert whole == pytest.approx(x @ weight.astype(float), abs=1e-3)
        monkeypatch.setattr(drawing, "_steady", lambda outputs, inputs, how: False)


@pytest.mark.parametrize("columns", [1, 255, 256, 257, drawing.BLOCK])
def test_windows_are_the_whole_product(columns: int):
    draw = np.random.default_rng(columns)
    weight, x = (draw.normal(size=s).astype(np.float32) for s in ((20, 30), (30, columns)))
    made = drawing._windowed(weight, x, np.empty((20, columns), np.float32))
    assert made == pytest.approx(weight @ x, abs=1e-4)
