"""A network recovers the edges and tables it was made with, and conditions exactly: against the joint distribution summed by hand."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from safetensors.numpy import save
from scipy.stats import chi2

from populace.app.commands.models import models as command
from populace.core.errors import UserError
from populace.core.models import FORMAT, fit, load_model, save_model
from populace.core.samplers.statistical.learn_network import fit_network
from populace.core.samplers.statistical.network import Network
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 12_000
RNG = np.random.default_rng(8)
# season -> rain, season -> sprinkler, (rain, sprinkler) -> wet -> slip; noise hangs on nothing
SEASON = RNG.choice(3, N, p=[0.5, 0.3, 0.2])
RAIN = RNG.random(N) < np.array([0.1, 0.5, 0.8])[SEASON]
SPRINKLER = RNG.random(N) < np.array([0.7, 0.3, 0.05])[SEASON]
WET = RNG.random(N) < np.array([[0.05, 0.8], [0.85, 0.99]])[RAIN.astype(int), SPRINKLER.astype(int)]
SLIP = pl.Series(np.where(RNG.random(N) < np.where(WET, 0.7, 0.1), "yes", "no"))
GAP = np.where(RNG.random(N) < np.where(WET, 0.6, 0.1), np.nan, RNG.normal(size=N))
TABLE = pl.DataFrame(
    {
        "slip": SLIP,
        "season": np.array(["dry", "mild", "wet"])[SEASON],
        "rain": RAIN,
        "sprinkler": SPRINKLER,
        "wet": WET,
        "gap": GAP,
        "noise": RNG.normal(size=N),
    }
).with_columns(pl.col("gap").fill_nan(None))


@cache
def whole() -> Network:
    return fit_network(TABLE, Stream.root(1))


def drawn(given: pl.DataFrame | None, n: int, seed: int = 1, network: Network | None = None) -> pl.DataFrame:
    address = pl.DataFrame({ROW: np.arange(n, dtype=np.uint64)})
    return (network or whole()).sample(address if given is None else address.hstack(given), Stream.root(seed))


def test_the_edges_are_found():
    found = {frozenset(e) for e in whole().edges}
    true = [
        ("season", "rain"),
        ("season", "sprinkler"),
        ("rain", "wet"),
        ("sprinkler", "wet"),
        ("wet", "slip"),
        ("wet", "gap"),
    ]
    assert {frozenset(e) for e in true} <= found
    assert not any("noise" in e for e in found)
    # an arrow that is turned round joins the parents of a common child
    assert len(found) <= len(true) + 1


def test_the_tables_are_recovered_in_what_is_drawn():
    made = drawn(None, 20_000)
    wet = made.group_by("rain", "sprinkler").agg(pl.col("wet").mean()).sort("rain", "sprinkler")["wet"].to_list()
    assert wet == pytest.approx([0.05, 0.8, 0.85, 0.99], abs=0.04)
    gone = made.group_by("wet").agg(pl.col("gap").is_null().mean()).sort("wet")["gap"].to_list()
    assert gone == pytest.approx([0.1, 0.6], abs=0.03)
    rain = made.group_by("season").agg(pl.col("rain").mean()).sort("season")["rain"].to_list()
    assert rain == pytest.approx([0.1, 0.5, 0.8], abs=0.03)


@cache
def small() -> Network:
    return fit_network(TABLE.drop("gap", "noise"), Stream.root(1))


def joint() -> dict[tuple[int, ...], float]:
    """p of each combination of classes, by multiplying the network's tables out."""
    found = {}
    for state in itertools.product(*(range(len(c.share)) for c in small().classes)):
        p = 1.0
        for n, family in enumerate(small().families):
            at = 0
            for parent in family.parents:
                at = at * small()._size(parent) + int(small()._seen(parent, np.array(state[parent.column])))
            p *= family.table[at, state[n]]
        found[state] = p
    return found


@pytest.mark.parametrize("evidence", [{"slip": "yes"}, {"slip": "no", "season": "dry"}, {"wet": True, "rain": False}, {"slip": "yes", "wet": False, "sprinkler": True}])  # fmt: skip
def test_conditions_are_met_exactly(evidence: dict):
    n = 40_000
    given = pl.DataFrame({k: [v] for k, v in evidence.items()}).select(pl.all().repeat_by(n).explode())
    made = drawn(given, n, network=small())
    columns = small().columns
    codes = {c: small().classes[k].of_codes(small().marginals[k].locate(made[c])[0]) for k, c in enumerate(columns)}
    assert all((made[c] == v).all() for c, v in evidence.items())
    free = [c for c in columns if c not in evidence]
    exact: dict[tuple[int, ...], float] = {}
    for state, p in joint().items():
        if all(state[columns.index(c)] == codes[c][0] for c in evidence):
            key = tuple(state[columns.index(c)] for c in free)
            exact[key] = exact.get(key, 0.0) + p
    total = sum(exact.values())
    exact = {k: p / total for k, p in exact.items() if p > 0}
    seen: dict[tuple[int, ...], int] = {}
    for key in zip(*(codes[c].tolist() for c in free), strict=True):
        seen[key] = seen.get(key, 0) + 1
    assert set(seen) <= set(exact)
    statistic = sum((seen.get(k, 0) - n * p) ** 2 / (n * p) for k, p in exact.items())
    assert statistic < chi2.ppf(0.999, len(exact) - 1)


def test_rows_do_not_depend_on_one_another():
    given = TABLE.select("slip", "gap", "wet").head(500)
    made = drawn(given, 500)
    assert made.head(60).equals(drawn(given.head(60), 60))
    assert made.select(given.columns).equals(given)


def test_a_value_never_seen_tells_nothing():
    made = drawn(pl.DataFrame({"slip": ["perhaps"] * 8_000}), 8_000)
    assert made["wet"].mean() == pytest.approx(TABLE["wet"].mean(), abs=0.03)


def test_one_parent_at_most_where_asked():
    tree = fit_network(TABLE, Stream.root(1), parents=1)
    assert max(len(f.parents) for f in tree.families) == 1


def test_the_graph_is_printed(tmp_path: Path):
    model = fit(TABLE, "bayesian-network")
    save_model(model, tmp_path / "m.model")
    made = CliRunner().invoke(command, [str(tmp_path / "m.model")])
    assert made.exit_code == 0, made.output
    assert "bayesian-network of 12,000 rows" in made.output
    for line in whole().graph().splitlines():
        assert line in made.output
    assert load_model(tmp_path / "m.model").sampler.graph() == whole().graph()  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", ["cycle", "self", "outside", "short", "negative", "twice"])
def test_hostile_networks_are_refused(case: str, tmp_path: Path):
    plain, arrays = whole().state()
    child = next(n for n, p in enumerate(plain["parents"]) if p)
    parent = plain["parents"][child][0][0]
    table = arrays[f"table.{child}"]
    if case == "cycle":
        plain["parents"][parent] = [[child, False]]
    elif case == "self":
        plain["parents"][child][0][0] = child
    elif case == "outside":
        plain["parents"][child][0][0] = 99
    elif case == "twice":
        plain["parents"][child] = [[parent, False]] * 2
    arrays |= {f"table.{child}": table[:-1] if case == "short" else -table if case == "negative" else table}
    held = {"card": {"model": "bayesian-network"}, "state": plain}
    (tmp_path / "bad.model").write_bytes(
        save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, {FORMAT: json.dumps(held)})
    )
    with pytest.raises(UserError, match=r"bad\.model"):
        load_model(tmp_path / "bad.model")
