"""A fit that is broken off anywhere and gone on with comes to the model of one that was not: for every model there is."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from populace.app.cli import run_command
from populace.core import parts
from populace.core.errors import UserError
from populace.core.model_kinds import MODELS
from populace.core.models import Model, fit, load_model, save_model
from populace.core.samplers.deep import learn_doppelganger, learn_timegan, private_fit, series, training
from populace.core.samplers.statistical import learn_events, private_graph, private_records
from populace.core.samplers.statistical.learn_events import Roles

N = 160
RNG = np.random.default_rng(3)
SCORE = np.round(RNG.normal(50, 10, N), 1)
ROWS = pl.DataFrame(
    {
        "score": SCORE,
        "group": np.where(SCORE + RNG.normal(0, 5, N) > 50, "high", "low"),
        "spend": np.round(np.exp(SCORE / 20 + RNG.normal(0, 0.3, N)), 2),
        "region": RNG.choice(["n", "s", "e"], N),
    }
)
STEPS = pl.DataFrame(
    {
        "unit": np.repeat(np.arange(8), 20),
        "hour": np.tile(np.arange(20), 8),
        "load": np.round(np.cumsum(RNG.normal(0, 1, N)), 2),
    }
)
EVENTS = pl.DataFrame({"unit": STEPS["unit"], "hour": STEPS["hour"], "kind": RNG.choice(["a", "b", "c"], N)})
TABLES = {
    "owner": pl.DataFrame({"id": np.arange(60), "city": RNG.choice(["x", "y"], 60), "age": RNG.integers(18, 90, 60)}),
    "order": pl.DataFrame({"id": np.arange(N), "owner": RNG.integers(0, 60, N), "price": ROWS["spend"]}),
}
PRIVATE = [n for n, k in MODELS.items() if k.private or k.learn_private]
FITS: dict[str, tuple[Any, dict[str, Any]]] = {
    n: (EVENTS, {"roles": Roles("unit", "hour", "kind")})
    if k.events and not k.trained
    else (STEPS, {"roles": Roles("unit", "hour"), "epochs": 3})
    if k.events
    else (STEPS.drop("unit").with_columns(pl.Series("hour", np.arange(N))), {"times": ["hour"]})
    if k.series
    else (ROWS, {"epochs": 3} if k.trained else {})
    for n, k in MODELS.items()
    if not k.private
}
FITS |= {
    f"{n} ε": (STEPS, {"roles": Roles("unit", "hour"), "epsilon": 50.0})
    if MODELS[n].events
    else (ROWS, {"epsilon": 20.0})
    for n in PRIVATE
}
FITS |= {
    "several tables": (TABLES, {"model": "forest"}),
    "several, by networks": (TABLES, {"model": "vae", "seconds": 2.0}),
}


class Asked(threading.Event):
    """Ctrl-C at the n-th time that is looked."""

    at, looked = 0, 0

    def is_set(self) -> bool:
        Asked.looked += 1
        return 0 < Asked.at <= Asked.looked


def learnt(name: str, place: Path, at: int, start: Model | None = None) -> Model:
    data, settings = FITS[name]
    Asked.at, Asked.looked = at, 0
    told = {"model": name.removesuffix(" ε"), "seed": 5} | settings
    return fit(data, **told, start=start, parts=place)


def same(one: Model, two: Model) -> bool:
    a, b = one.sampler.state(), two.sampler.state()  # type: ignore[attr-defined]
    return (
        json.dumps(a[0]) == json.dumps(b[0])
        and a[1].keys() == b[1].keys()
        and all(np.array_equal(a[1][k], b[1][k]) for k in a[1])
    )


@pytest.mark.parametrize("name", FITS)
def test_broken_off_and_gone_on_with_it_is_the_same_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if name == "vine-copula":
        pytest.importorskip("pyvinecopulib", reason="populace[vine] is not installed")
    monkeypatch.setattr(parts, "Event", Asked)
    # however slow the machine is, no pass is left out
    ticks = itertools.count(1)
    monkeypatch.setattr(training, "time", SimpleNamespace(process_time=lambda: 1e-9 * next(ticks)))
    for module, what in ((private_fit, "STEPS"), (private_graph, "LAST_STEPS"), (private_records, "UPDATES"), (learn_events, "ROUNDS")):  # fmt: skip
        monkeypatch.setattr(module, what, 4)
    for module, what, value in (
        (private_graph, "ROUNDS", 3),
        (learn_timegan, "STEPS", 2),
        (learn_doppelganger, "STEPS", 2),
        (series, "_CALIBRATED", 16),
        (series, "_CHUNK", 16),
    ):
        monkeypatch.setattr(module, what, value)
    monkeypatch.setattr(private_fit.buy, "__defaults__", (7,))
    place = tmp_path / "m.part"
    whole = learnt(name, place, 0)
    assert not place.exists()
    looks, stops = Asked.looked, 0
    assert looks, "it never looks whether it should end"
    for share in (0.4, 1.0):
        made, start, at = None, None, max(1, int(share * looks))
        for _ in range(6):
            try:
                made = learnt(name, place, at, start)
            except KeyboardInterrupt as stop:
                # else nothing was finished yet
                stops += isinstance(stop, parts.BrokenOff)
            else:
                if made.card.get("learning", {}).get("stopped") != "interrupted":
                    break
                stops += 1
                save_model(made, tmp_path / "m.model")
                start = load_model(tmp_path / "m.model")
            at = 0
        assert made is not None
        assert same(made, whole)
        assert not place.exists()
        if epsilon := made.card.get("privacy"):
            assert epsilon == whole.card["privacy"], "what was spent is spent once"
    assert stops, "it was never broken off"


def test_parts_of_another_fit_or_table_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "Event", Asked)
    place = tmp_path / "m.part"
    with pytest.raises(parts.BrokenOff):
        learnt("forest", place, 5)
    with pytest.raises(UserError, match="from another fit"):
        fit(ROWS, "forest", 6, parts=place)
    with pytest.raises(UserError, match="of another table"):
        fit(ROWS.head(80), "forest", 5, parts=place)
    place.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="holds no finished parts"):
        fit(ROWS, "forest", 5, parts=place)


def test_what_is_kept_of_a_private_table_is_what_was_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a seed the rest of the noise is new, and what was given out before is given out again."""
    monkeypatch.setattr(parts, "Event", Asked)
    place = tmp_path / "m.part"
    Asked.at, Asked.looked = 10, 0
    with pytest.raises(parts.BrokenOff):
        fit(ROWS, "mst", epsilon=2.0, parts=place)
    text, arrays = parts.parsed(place.read_bytes(), parts.FORMAT)
    names = list(json.loads(text)["parts"])
    assert names
    # a fit is one to what was released
    assert all(n.startswith(("release ", "fit ")) for n in names), names
    assert not any(ROWS["spend"].is_in(a.ravel().astype(float).tolist()).all() for a in arrays.values())
    Asked.at = 0
    made = fit(ROWS, "mst", epsilon=2.0, parts=place)
    assert made.card["privacy"]["spent"] == pytest.approx(made.card["privacy"]["rho"])


def test_the_command_keeps_what_is_finished_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ROWS.write_csv(tmp_path / "t.csv")
    command = ["fit", str(tmp_path / "t.csv"), "--model", "forest", "--seed", "5"]
    real, seen = parts.stop_if_asked, []

    def watched() -> None:
        seen.append(1)
        if len(seen) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        real()

    monkeypatch.setattr(parts, "stop_if_asked", watched)
    assert run_command([*command, "--out", str(tmp_path / "m.model")]) == 130
    assert "--resume goes on from there" in capsys.readouterr().err
    assert not (tmp_path / "m.model").exists()
    kept = (tmp_path / "m.model.part").read_bytes()
    assert run_command([*command, "--out", str(tmp_path / "m.model")]) == 2
    assert "--resume goes on from it, or remove it" in capsys.readouterr().err
    assert (tmp_path / "m.model.part").read_bytes() == kept
    assert run_command([*command, "--out", str(tmp_path / "m.model"), "--resume"]) == 0
    assert run_command([*command, "--out", str(tmp_path / "whole.model")]) == 0
    assert (tmp_path / "m.model").read_bytes() == (tmp_path / "whole.model").read_bytes()
    assert not (tmp_path / "m.model.part").exists()
    assert run_command([*command, "--out", str(tmp_path / "m.model"), "--resume"]) == 2
    assert "nothing was interrupted" in capsys.readouterr().err
