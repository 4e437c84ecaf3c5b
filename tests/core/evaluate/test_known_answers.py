"""Cases whose answer is known: the same rows, independent halves, a leak, a shift, a lost category, an unfair model."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from people import mixed

import populace
from populace.core.errors import UserError
from populace.core.evaluate import Evaluation, evaluate
from populace.core.evaluate.distinguish import what_differs
from populace.core.evaluate.pair import make_pair

WHOLE = mixed(9_000, 11)
TRAIN, HOLDOUT, FRESH = WHOLE[:3_000], WHOLE[3_000:6_000], WHOLE[6_000:]


@pytest.fixture(scope="module")
def independent() -> Evaluation:
    return evaluate(TRAIN, FRESH, HOLDOUT, target="member", sensitive=["job"])


def metric(found: Evaluation, name: str):
    return next(m for m in found.metrics if m.name == name)


def test_the_same_rows_are_perfect_but_not_private():
    found = evaluate(TRAIN, TRAIN, HOLDOUT, only=["fidelity", "privacy"])
    for name in ("shapes", "pairs", "quality", "triples", "missing"):
        assert found[f"fidelity.{name}"] == pytest.approx(1)
    assert found["fidelity.wasserstein"] == pytest.approx(0)
    assert found["fidelity.c2st"] == pytest.approx(0.5, abs=0.02)
    assert found["privacy.copies"] > 0.95
    assert found["privacy.dcr_share"] > 0.95
    assert found["privacy.membership"] > 0.9
    sharing = next(v for v in found.verdicts() if v.use == "sharing")
    assert sharing.answer == "no"


def test_independent_rows_reach_the_floor_and_give_nobody_away(independent: Evaluation):
    for name in ("fidelity.shapes", "fidelity.pairs", "fidelity.triples"):
        found = metric(independent, name)
        assert found.value > found.floor - 0.01
    assert independent["fidelity.c2st"] == pytest.approx(0.5, abs=0.03)
    assert independent["privacy.dcr_share"] == pytest.approx(0.5, abs=0.03)
    assert independent["privacy.membership"] == pytest.approx(0.5, abs=0.06)
    assert abs(independent["privacy.near_copies"]) < 0.01
    assert independent["privacy.copies"] < 0.001
    assert abs(independent["privacy.attributes"]) < 0.06
    assert {"fidelity.coverage", "fidelity.density"} <= independent.values().keys()
    assert independent["fidelity.density"] == pytest.approx(1, abs=0.1)


def test_a_leak_of_one_row_in_a_hundred_is_found():
    leaking = pl.concat([FRESH[:2_970], TRAIN[:30]])
    found = evaluate(TRAIN, leaking, HOLDOUT, only=["privacy"])
    copies = metric(found, "privacy.copies")
    assert copies.value == pytest.approx(0.01, abs=0.002)
    assert copies.interval[0] > 0
    assert {row["training row at risk"] for row in copies.detail} <= set(range(30))
    assert next(v for v in found.verdicts() if v.use == "sharing").answer == "no"


def test_leaked_rows_with_a_little_noise_are_found_too():
    near = TRAIN[:150].with_columns(pl.col("income") * 1.0001, pl.col("debt") + 0.0001)
    found = evaluate(TRAIN, pl.concat([FRESH[:2_850], near]), HOLDOUT, only=["privacy"])
    assert found["privacy.copies"] < 0.001
    assert found["privacy.near_copies"] > 0.03
    assert metric(found, "privacy.near_copies").interval[0] > 0


def test_a_shifted_column_is_named():
    shifted = FRESH.with_columns(pl.col("debt") + 1)
    found = evaluate(TRAIN, shifted, only=["fidelity"])
    assert metric(found, "fidelity.shapes").detail[0]["columns"] == "debt"
    assert metric(found, "fidelity.c2st").detail[0]["column"] == "debt"
    assert found["fidelity.c2st"] > 0.7
    assert metric(found, "fidelity.wasserstein").detail[0]["distance"] == pytest.approx(
        1 / TRAIN["debt"].std(), abs=0.1
    )


def test_shuffled_columns_keep_their_shapes_and_lose_their_pairs():
    shuffled = pl.DataFrame([FRESH[c].shuffle(seed=n) for n, c in enumerate(FRESH.columns)])
    found = evaluate(TRAIN, shuffled, target="age", only=["fidelity", "utility"])
    assert found["fidelity.shapes"] > 0.96
    assert found["fidelity.pairs"] < metric(found, "fidelity.pairs").floor - 0.05
    assert found["fidelity.c2st"] > 0.8
    assert found["utility.ratio"] < 0.1


def test_a_collapsed_category_is_named():
    collapsed = FRESH.with_columns(job=pl.lit("office"))
    found = evaluate(TRAIN, collapsed, only=["fidelity"])
    assert metric(found, "fidelity.shapes").detail[0]["columns"] == "job"
    assert found["fidelity.recall"] < found["fidelity.precision"]


def test_values_that_cannot_be_are_counted():
    odd = FRESH.with_columns(
        age=pl.when(pl.int_range(pl.len()) < 30).then(999).otherwise("age"),
        job=pl.when(pl.int_range(pl.len()) < 60).then(pl.lit("pirate")).otherwise("job"),
    ).drop("member")
    found = evaluate(TRAIN, odd, only=["diagnostics"])
    assert found["diagnostics.columns"] == pytest.approx(5 / 6)
    out_of_range = next(r for r in metric(found, "diagnostics.ranges").detail if r["column"] == "age")
    assert out_of_range["outside"] >= 30
    assert out_of_range["such as"].startswith("999")
    assert metric(found, "diagnostics.categories").detail == ({"column": "job", "unknown": 60, "such as": "pirate"},)


def test_unreadable_values_are_counted_and_become_missing():
    text = FRESH.with_columns(
        pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("old")).otherwise(pl.col("age").cast(pl.String)).alias("age")
    )
    found = evaluate(TRAIN, text, only=["diagnostics"])
    assert metric(found, "diagnostics.types").detail == (
        {"column": "age", "unreadable": 10, "type": "Int64", "such as": "'old'"},
    )


def test_a_column_that_nobody_filled_in_tells_nothing():
    real, drawn = TRAIN.head(600), FRESH.head(600)
    said = {"target": "member", "only": ["fidelity", "utility"]}
    without = evaluate(real, drawn, **said)
    found = evaluate(*(f.with_columns(pl.lit(None, pl.Float64).alias("unasked")) for f in (real, drawn)), **said)
    for name in ("fidelity.c2st", "utility.tstr"):
        assert found[name] == pytest.approx(without[name], abs=0.05), name


def test_a_rare_class_that_no_test_row_has_gives_no_gain_and_says_so():
    rare = pl.DataFrame({"x": np.arange(400.0), "kind": ["a", "b"] * 185 + ["c"] * 30})
    found = evaluate(rare, rare, rare[:370], target="kind", only=["utility"])
    assert np.isnan(found["utility.augmented"])
    assert "rarest class" in metric(found, "utility.augmented").note


def test_a_synthesis_of_one_outcome_leaves_fairness_open_and_says_so():
    real = pl.DataFrame({"group": ["a", "b"] * 200, "x": np.arange(400.0), "hired": ["yes", "no", "no", "yes"] * 100})
    found = evaluate(
        real, real.with_columns(hired=pl.lit("no")), real, target="hired", sensitive=["group"], only=["fairness"]
    )
    for name in ("parity", "odds", "calibration"):
        assert np.isnan(found[f"fairness.{name}_change"])
        assert "synthetic" in metric(found, f"fairness.{name}_change").note


def test_a_useful_twin_is_as_useful_as_real_rows():
    outcome = (pl.col("debt").fill_null(0) + pl.col("income").log() > 0.2).alias("risk")
    found = evaluate(
        TRAIN.with_columns(outcome),
        FRESH.with_columns(outcome),
        HOLDOUT.with_columns(outcome),
        target="risk",
        only=["utility"],
    )
    assert found["utility.tstr"] > 0.9
    assert found["utility.ratio"] == pytest.approx(1, abs=0.05)
    assert found["utility.features_ranked"] > 0.5
    assert found["utility.queries"] < 0.2


def test_a_synthesis_that_amplifies_a_gap_is_found():
    draw = np.random.Generator(np.random.Philox(3))

    def people(rows: int, gap: float) -> pl.DataFrame:
        group = draw.random(rows) < 0.5
        skill = draw.normal(0, 1, rows)
        hired = skill + gap * group + draw.normal(0, 0.5, rows) > 0.8
        return pl.DataFrame({"group": np.where(group, "a", "b"), "skill": skill, "hired": np.where(hired, "yes", "no")})

    fair = evaluate(people(4_000, 0.2), people(4_000, 0.2), people(4_000, 0.2), "hired", ["group"], ["fairness"])
    unfair = evaluate(people(4_000, 0.2), people(4_000, 1.5), people(4_000, 0.2), "hired", ["group"], ["fairness"])
    for name in ("parity_change", "odds_change", "label_gap_change"):
        assert unfair[f"fairness.{name}"] > fair[f"fairness.{name}"] + 0.15
        assert abs(fair[f"fairness.{name}"]) < 0.1


def test_same_seed_same_figures_through_json(independent: Evaluation):
    again = populace.evaluate(
        TRAIN.to_pandas(), FRESH.to_pandas(), holdout=HOLDOUT.to_pandas(), only=["diagnostics", "privacy"]
    )
    for name, value in again.values().items():
        assert value == pytest.approx(independent[name], abs=1e-9)
    figures = json.loads(independent.to_json())["figures"]
    assert {n: f["value"] for n, f in figures.items()}.keys() == independent.values().keys()


def test_requirements(independent: Evaluation):
    verdict = independent.judge("fidelity.quality>=0.5, privacy.dcr_share<=0.1")
    assert [str(r) for r in verdict.met] == ["fidelity.quality>=0.5"]
    assert [str(r) for r in verdict.failed] == ["privacy.dcr_share<=0.1"]
    # without a holdout no attack has a control, and a figure that was not measured is not met
    verdict = evaluate(TRAIN, FRESH, only=["privacy"]).judge("privacy.linkability<=0.1")
    assert [str(r) for r in verdict.open] == ["privacy.linkability<=0.1"]
    with pytest.raises(UserError, match=r"fidelity\.quality"):
        independent.judge("fidelity.qualty>=1")
    with pytest.raises(UserError, match="is not FIGURE"):
        independent.judge("fidelity.quality=1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"real": TRAIN.head(0)}, "real table has no rows"),
        ({"synth": FRESH.rename({c: c + "2" for c in FRESH.columns})}, "no column in common"),
        ({"holdout": HOLDOUT.drop("age")}, "holdout has no column 'age'"),
        ({"target": "aeg"}, "Did you mean 'age'"),
        ({"sensitive": ["jbo"]}, "Did you mean 'job'"),
        ({"only": ["privcy"]}, "Did you mean 'privacy'"),
    ],
)
def test_what_cannot_be_compared_is_said(change: dict, said: str):
    asked = {"real": TRAIN, "synth": FRESH, **change}
    with pytest.raises(UserError, match=said):
        evaluate(**asked)


def test_repeated_keys_are_named():
    real = pl.DataFrame({"id": range(200), "x": range(200)}).with_columns(x=pl.col("x") % 7)
    synth = real.with_columns(id=pl.when(pl.col("id") == 150).then(12).otherwise("id"))
    found = metric(evaluate(real, synth, only=["diagnostics"]), "diagnostics.keys")
    assert found.detail == ({"column": "id", "repeated": 1, "such as": "12"},)


def test_what_is_unique_by_chance_is_no_key():
    draw = np.random.default_rng(4)
    days = pl.Series(draw.choice(30_000, 30, replace=False)).cast(pl.Int32).cast(pl.Date)
    small = pl.DataFrame(
        {"town": [f"town {n}" for n in range(30)], "born": days, "branch_id": [f"B{n}" for n in range(30)]}
    )
    again = small.with_columns(town=pl.lit("town 1"), born=days[0])
    found = metric(evaluate(small, again, only=["diagnostics"]), "diagnostics.keys")
    assert found.value == 1.0
    # thirty towns prove nothing, a column that is called a key does
    twice = small.with_columns(branch_id=pl.lit("B1"))
    found = metric(evaluate(small, twice, only=["diagnostics"]), "diagnostics.keys")
    assert [row["column"] for row in found.detail] == ["branch_id"]
    # two thousand dates out of 30,000 days that all differ are no chance; a hundred may be
    for n, key in ((2_000, True), (100, False)):
        real = pl.DataFrame(
            {"at": pl.Series(draw.choice(30_000, n, replace=False)).cast(pl.Int32).cast(pl.Date), "x": range(n)}
        )
        synth = real.with_columns(at=real["at"].reverse().shift(1).fill_null(strategy="backward"))
        assert bool(metric(evaluate(real, synth, only=["diagnostics"]), "diagnostics.keys").detail) == key


def test_what_gives_a_column_away_is_told():
    draw = np.random.default_rng(6)
    real = pl.DataFrame({"x": draw.normal(size=2_000), "k": draw.choice(["a", "b"], 2_000)})
    at = pl.int_range(pl.len())
    synth = real.with_columns(
        x=pl.when(at < 600).then(0.0).otherwise("x"), k=pl.when(at >= 1_500).then(pl.lit("b")).otherwise("k")
    )
    pair = make_pair(real, synth)
    assert what_differs(pair, "x").startswith("-0.") or " to " in what_differs(pair, "x")
    share = (synth["k"] == "b").mean()
    assert what_differs(pair, "k").endswith(f"of real rows, {share:.1%} of synthetic")
    told = metric(evaluate(real, synth, only=["fidelity"]), "fidelity.c2st").detail
    assert {row["column"] for row in told} >= {"x"}
    assert all("of synthetic" in row["what"] or "other columns" in row["what"] for row in told)
    # a peak is named by itself
    peaked = pl.DataFrame({"x": [0.0] * 50 + list(draw.normal(size=50))})
    flat = pl.DataFrame({"x": list(draw.normal(size=100))})
    assert what_differs(make_pair(peaked, flat), "x") == "0: 50.0% of real rows, 0.0% of synthetic"


def test_rows_at_risk_are_named_by_their_place_in_the_whole_table():
    many = pl.DataFrame({"n": range(30_000), "x": np.random.default_rng(1).normal(size=30_000)})
    many = many.with_columns(n=pl.col("n") * 7 % 30_011, s=pl.format("v{}", pl.col("n") % 11))
    train, held = many[:15_000], many[15_000:]
    leaked = pl.concat([held.sample(14_990, seed=2), train[14_000:14_010]])
    found = evaluate(train, leaked, held, only=["privacy"])
    # only two thirds of the rows are looked at
    rows = {row["training row at risk"] for row in metric(found, "privacy.near_copies").detail}
    assert len(rows & set(range(14_000, 14_010))) >= 4


def test_every_estimate_says_how_sure_it_is(independent: Evaluation):
    for found in independent.metrics:
        if found.definition.section == "diagnostics" or found.value != found.value:
            continue
        assert found.interval is not None, found.name
        low, high = found.interval
        assert low - 1e-9 <= found.value <= high + 1e-9, found.name
        assert found.definition.source
        assert found.definition.bad or found.definition.section != "privacy"


def test_constraints_are_found_in_the_real_rows_and_their_breaks_counted():
    draw = np.random.default_rng(4)
    start = draw.integers(0, 1_000, 500)
    real = pl.DataFrame({"start": start, "end": start + draw.integers(0, 300, 500), "far": start + 10_000.0})
    synth = real.with_columns(
        end=pl.when(pl.int_range(pl.len()) < 10).then(pl.col("start") - 1).otherwise("end"),
        far=pl.when(pl.int_range(pl.len()) >= 495).then(None).otherwise("far"),
    )
    found = metric(evaluate(real, synth, only=["diagnostics"]), "diagnostics.constraints")
    assert found.value == pytest.approx(1 - 15 / 500)
    assert {row["constraint"]: row["broken by"] for row in found.detail} == {
        "start <= end": 10,
        "far is not missing": 5,
    }
    # three columns without a gap and one order: ranges that never meet are no finding
    assert found.note == "4 found in the real rows"
    assert evaluate(real, real, only=["diagnostics"])["diagnostics.constraints"] == 1


def test_what_depends_on_what_is_seen_in_conditionals_and_averages():
    draw = np.random.default_rng(9)
    kind = draw.choice(["a", "b"], 4_000)
    real = pl.DataFrame({"kind": kind, "x": np.where(kind == "a", 0.0, 10.0) + draw.normal(size=4_000)})
    torn = real.with_columns(pl.col("x").shuffle(seed=1))
    whole, broken = evaluate(real[:2_000], real[2_000:]), evaluate(real[:2_000], torn[2_000:])
    close = metric(whole, "fidelity.conditionals")
    assert close.value > close.floor - 0.03
    # given the kind, half of x is where it cannot be; given x, half of the kinds are the other
    assert broken["fidelity.conditionals"] == pytest.approx(0.5, abs=0.03)
    assert whole["utility.aggregates"] < 0.1
    # x has two modes, five apart from their mean either way: an average over one kind is off by a standard deviation
    assert metric(broken, "utility.aggregates").value == pytest.approx(1, abs=0.1)
