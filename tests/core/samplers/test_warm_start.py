"""A model of simulated people, tuned on a few hundred real ones, against a model of those alone: what `docs/models/networks.md` says, and prints with `-s`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import ttest_rel
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from populace import generate
from populace.core.models import fit
from populace.core.samplers.deep.learn_autoregressive import surprise

DRAWS, JUDGED = 6, 3_000
CLASSES = ("sex", "race", "marital_status", "education")
SEX = {"male": "Male", "female": "Female"}
RACE = {
    "2106-3": "White", "2054-5": "Black", "2028-9": "Asian-Pac-Islander", "2076-8": "Asian-Pac-Islander",
    "1002-5": "Amer-Indian-Eskimo", "2131-1": "Other",
}  # fmt: skip
MARITAL = {"S": "Never-married", "M": "Married", "D": "Divorced", "W": "Widowed"}
SPOUSES = ("Married-civ-spouse", "Married-AF-spouse", "Married-spouse-absent", "Separated")
"""What the simulation calls married."""
SCHOOL = {
    **dict.fromkeys(("Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th"), "ELEM"),
    "HS-grad": "HS", **dict.fromkeys(("Some-college", "Assoc-voc", "Assoc-acdm"), "SCOL"),
    "Bachelors": "BD", **dict.fromkeys(("Masters", "Prof-school", "Doctorate"), "GD"),
}  # fmt: skip


def simulated() -> pl.DataFrame:
    """Grown patients of `healthcare`, in the words of Adult. Their income is left out: it is a household's, and Adult's a person's."""
    people = pl.from_pandas(generate("healthcare", size=40_000, seed=1, only=["patient"])["patient"])
    words = (pl.col(c).cast(pl.String).replace_strict(w) for c, w in (("sex", SEX), ("race", RACE), ("marital_status", MARITAL)))  # fmt: skip
    age = pl.col("age_years").cast(pl.Int64).clip(upper_bound=90).alias("age")
    return people.filter(pl.col("age_years") >= 17).select(age, *words, pl.col("education").cast(pl.String))


def real(folder: Path) -> pl.DataFrame:
    path = folder / "tabular/adult/train.csv.gz"
    if not path.exists():
        pytest.skip("no Adult among the real data")
    marital = pl.col("marital_status").replace(dict.fromkeys(SPOUSES, "Married"))
    return pl.read_csv(path).select("age", "sex", "race", marital, pl.col("education").replace_strict(SCHOOL))


def matrix(table: pl.DataFrame) -> np.ndarray:
    levels = {"sex": SEX, "race": RACE, "marital_status": MARITAL, "education": SCHOOL}
    coded = [pl.col(c).replace_strict({w: k for k, w in enumerate(sorted(set(levels[c].values())))}) for c in CLASSES]
    return table.select("age", *coded).to_numpy().astype(float)


def told_apart(true: np.ndarray, made: np.ndarray) -> float:
    x, y = np.concatenate((true, made)), np.repeat([0, 1], (len(true), len(made)))
    test = np.random.default_rng(0).random(len(x)) < 0.3
    judge = HistGradientBoostingClassifier(random_state=0).fit(x[~test], y[~test])
    return float(roc_auc_score(y[test], judge.predict_proba(x[test])[:, 1]))


def foretold(true: np.ndarray, made: np.ndarray) -> float:
    """How well who is married is told from the other columns, learnt from made rows."""
    married = sorted(MARITAL.values()).index("Married")
    others = [0, 1, 2, 4]
    judge = HistGradientBoostingClassifier(random_state=0).fit(made[:, others], made[:, 3] == married)
    return float(roc_auc_score(true[:, 3] == married, judge.predict_proba(true[:, others])[:, 1]))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 300])
def test_a_model_of_simulated_people_tuned_on_few_real_ones_beats_one_of_these_alone(rows: int, real_data: Path):
    table, made = real(real_data), simulated()
    start = fit(made, "autoregressive", 1, keep=made.columns, epochs=8)
    figures = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(table.height)
        few, judged = table[order[:rows]], table[order[rows : rows + JUDGED]]
        pair = [fit(few, "autoregressive", draw, keep=table.columns, start=s) for s in (None, start)]
        losses = [surprise(m.sampler, judged) for m in pair]  # type: ignore[arg-type]
        # a class that the few rows lack is out of reach for both
        seen = (losses[0] < 100) & (losses[1] < 100)
        assert seen.mean() > 0.95
        drawn = [matrix(m.sample_frame(JUDGED, draw)) for m in (*pair, start)]
        true = matrix(judged)
        figures.append([*(x[seen].mean() for x in losses), *(told_apart(true, d) for d in drawn), *(foretold(true, d) for d in drawn)])  # fmt: skip
    alone, tuned, c2st_alone, c2st_tuned, c2st_start, tstr_alone, tstr_tuned, tstr_start = np.array(figures).T
    for name, values in (("nats", (alone, tuned)), ("C2ST", (c2st_alone, c2st_tuned, c2st_start)), ("TSTR", (tstr_alone, tstr_tuned, tstr_start))):  # fmt: skip
        p = ttest_rel(values[0], values[1]).pvalue
        print(f"| {rows} | {name} | {' | '.join(f'{v.mean():.3f}' for v in values)} | p = {p:.2g}")
    assert (tuned < alone).all()
    assert ttest_rel(alone, tuned, alternative="greater").pvalue < 0.005
    assert ttest_rel(c2st_alone, c2st_tuned, alternative="greater").pvalue < 0.02
    # the simulation is not what is as near: the real rows are
    assert c2st_tuned.mean() < c2st_start.mean() - 0.03
    assert tstr_tuned.mean() > tstr_alone.mean()
