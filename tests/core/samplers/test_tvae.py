"""Modes and the variational autoencoder: encoding loses little, learning finds a mixture's modes and the relation between columns, conditions are followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from scipy.stats import ks_2samp

from populace.core.errors import UserError
from populace.core.model_file import parsed
from populace.core.models import FORMAT, fit, load_model, save_model
from populace.core.samplers.deep.decoder import Decoder
from populace.core.samplers.deep.learn_variational import fit_tvae
from populace.core.samplers.deep.learnt import Effort
from populace.core.samplers.deep.modes import Modes, fit_layout
from populace.core.samplers.statistical.empirical import fit_marginals
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 4_000
RNG = np.random.default_rng(3)
KIND = RNG.choice(["low", "mid", "high"], N, p=[0.5, 0.3, 0.2])
CENTRE = pl.Series(KIND).replace_strict({"low": -50.0, "mid": 0.0, "high": 80.0}).to_numpy()
TABLE = pl.DataFrame(
    {
        "kind": KIND,
        "x": np.round(CENTRE + RNG.normal(0, 2, N), 1),
        "visits": np.where(KIND == "high", RNG.poisson(40, N), RNG.poisson(5, N)),
        "gap": pl.Series(RNG.normal(size=N)).set(pl.Series(KIND == "mid"), None),
        "odd": (KIND == "low") ^ (RNG.random(N) < 0.1),
    }
)


@pytest.fixture(scope="module")
def network() -> Decoder:
    return fit_tvae(TABLE, Stream.root(1), Effort(epochs=150))


def drawn(network: Decoder, given_: pl.DataFrame | None = None, n: int = N) -> pl.DataFrame:
    address = pl.DataFrame({ROW: np.arange(n if given_ is None else given_.height, dtype=np.uint64)})
    return network.sample(address if given_ is None else address.hstack(given_), Stream.root(1))


def test_the_modes_of_a_mixture_are_found(network: Decoder):
    scale = network.layout.scales[1]
    assert isinstance(scale, Modes)
    modes = scale.found
    centres = np.array([-50.0, 0.0, 80.0])
    apart = np.abs(modes[0][:, None] - centres)
    # each mode describes one of the three, and each of the three has one
    assert (apart.min(axis=1) < 6).all()
    assert set(apart.argmin(axis=1)) == {0, 1, 2}
    assert (modes[1] < 2.5).all()
    made = drawn(network)
    for low, high, share in ((-60, -40, 0.5), (-10, 10, 0.3), (70, 90, 0.2)):
        assert made["x"].is_between(low, high).mean() == pytest.approx(share, abs=0.06)
    # nothing lies where nothing lay
    assert made["x"].is_between(-38, -12).mean() < 0.02


def test_columns_keep_their_distributions_and_relations(network: Decoder):
    made = drawn(network)
    for column in ("x", "visits"):
        assert ks_2samp(TABLE[column], made[column]).statistic < 0.1
    real, drew = (t["kind"].value_counts(normalize=True).sort("kind")["proportion"] for t in (TABLE, made))
    assert np.allclose(real, drew, atol=0.06)
    agree = (made["kind"] == "mid") == made["x"].is_between(-10, 10)
    assert agree.mean() > 0.85
    assert (made["gap"].is_null() == (made["kind"] == "mid")).mean() > 0.85
    assert made["x"].equals(made["x"].round(1))
    assert made["visits"].min() >= TABLE["visits"].min()


@pytest.mark.parametrize(("column", "value"), [("kind", "high"), ("visits", 41), ("gap", None)])
def test_what_is_given_is_kept_and_explained(network: Decoder, column: str, value: object):
    told = pl.DataFrame({column: pl.Series([value] * 400, dtype=TABLE.schema[column])})
    made = drawn(network, told)
    assert made[column].equals(told[column])
    kind = "mid" if column == "gap" else "high"
    others = made["x"].is_between(*((-12, 12) if kind == "mid" else (68, 92)))
    # of all rows 0.2 are high and 0.3 mid
    assert others.mean() > 0.6


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_number_comes_back_from_its_mode(data: st.DataObject):
    centres = data.draw(st.lists(st.integers(-1_000, 1_000), min_size=1, max_size=3, unique=True))
    draw = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 1_000))))
    values = np.round(np.concatenate([draw.normal(c, 3.0, 60) for c in centres]), 2)
    series = pl.Series("x", values).set(pl.Series(np.arange(len(values)) % 7 == 0), None)
    layout = fit_layout(series.to_frame(), fit_marginals(series.to_frame()), Stream.root(1))
    state, place = layout.encode(0, series, draw.random(len(values)))
    back = layout.decode(0, state, place, np.full(len(values), 0.5))
    assert back.is_null().equals(series.is_null())
    scale = layout.scales[0]
    assert isinstance(scale, Modes)
    # only what lies four deviations and more from its mode is cut
    inside = np.abs(place) < 0.99
    assert np.allclose(back.to_numpy()[inside & series.is_not_null().to_numpy()], values[inside & series.is_not_null().to_numpy()], atol=0.011)  # fmt: skip
    assert inside.mean() > 0.97


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "good.model"
    save_model(fit(TABLE.head(300), "tvae", 1, epochs=1), path)
    return path


@pytest.mark.parametrize("harm", ["layer", "spread", "modes", "gone"])
def test_a_damaged_network_is_refused(harm: str, file: Path, tmp_path: Path):
    path = file
    arrays = {k: v.copy() for k, v in load_file(path).items()}
    if harm == "layer":
        arrays["net.1.weight"] = arrays["net.1.weight"][:-1]
    elif harm == "spread":
        arrays["net.spread"][0] = -1
    elif harm == "modes":
        arrays["modes.1"][1] = 0.0
    else:
        del arrays["net.2.shift"]
    bad = tmp_path / "bad.model"
    bad.write_bytes(save(arrays, {FORMAT: parsed(path.read_bytes())[0]}))
    with pytest.raises(UserError, match="damaged"):
        load_model(bad)
