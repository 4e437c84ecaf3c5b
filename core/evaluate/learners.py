"""Rows as features, and the learners that judge them (scikit-learn's): numbers with their gaps, categories as codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pair import Pair

LEVELS = 250
"""Categories that a tree tells apart; rarer ones are one category more."""
ROUNDS, TREES = 100, 100
"""Of boosting, where the caller says no other number; and of a forest."""


@dataclass(frozen=True)
class Features:
    """A matrix per table, which columns are categories, and their names."""

    tables: Mapping[str, NDArray]
    categorical: NDArray
    names: tuple[str, ...]


def features(pair: Pair, without: tuple[str, ...] = ()) -> Features:
    """All columns that have a distribution, but for those left out."""
    names = tuple(c for c in pair.columns if c not in without)
    columns: dict[str, list[NDArray]] = {name: [] for name in pair.coded.values}
    for column in names:
        found = (
            _common(pair, column)
            if pair.kinds[column] == "category"
            else {name: v[column] for name, v in pair.coded.values.items()}
        )
        for name, values in found.items():
            columns[name].append(values)
    tables = {name: np.stack(each, axis=1) if each else np.empty((0, 0)) for name, each in columns.items()}
    return Features(tables, np.array([pair.kinds[c] == "category" for c in names], bool), names)


def _common(pair: Pair, column: str) -> dict[str, NDArray]:
    """Codes from 0 with the commonest categories (real and synthetic together) kept apart; missing is nan."""
    coded = pair.coded.codes(column)
    counts = np.bincount(np.concatenate([coded["real"], coded["synth"]]), minlength=len(pair.coded.levels[column]) + 1)
    code = np.full(len(counts), LEVELS, float)
    kept = 1 + np.argsort(-counts[1:], kind="stable")[:LEVELS]
    code[kept] = np.arange(len(kept))
    code[0] = np.nan
    return {name: code[v] for name, v in coded.items()}


def booster(classes: bool, categorical: NDArray, seed: int, rounds: int | None = None) -> Any:
    """Histogram gradient boosting (Ke et al. 2017, LightGBM, NIPS 30), which takes missing values and categories as they are."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    kind: Any = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    boosted = kind(max_iter=rounds or ROUNDS, categorical_features=categorical, early_stopping=False, random_state=seed)
    return make_pipeline(_Told(), boosted)


class _Told:
    """Columns of which nothing is known at all as zeros: there is no threshold to be found in them, and boosting looks for one."""

    def fit(self, x: NDArray, y: NDArray | None = None) -> _Told:
        self.unknown = np.isnan(x).all(axis=0)
        return self

    def transform(self, x: NDArray) -> NDArray:
        return np.where(self.unknown, 0.0, x) if self.unknown.any() else x


def learners(classes: bool, categorical: NDArray, seed: int) -> dict[str, Any]:
    """Learners of different kinds, by name: what is useful to one may not be to another."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    def dense() -> Any:
        number = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
        category = OneHotEncoder(handle_unknown="ignore", min_frequency=10)
        return ColumnTransformer([("n", number, ~categorical), ("c", category, categorical)])

    if classes:
        return {
            "gradient boosting": booster(True, categorical, seed),
            "logistic regression": make_pipeline(dense(), LogisticRegression(max_iter=300)),
            "random forest": make_pipeline(
                dense(), RandomForestClassifier(TREES, min_samples_leaf=3, max_samples=0.5, random_state=seed)
            ),
            "decision tree": make_pipeline(
                dense(), DecisionTreeClassifier(max_depth=8, min_samples_leaf=20, random_state=seed)
            ),
        }
    return {
        "gradient boosting": booster(False, categorical, seed),
        "ridge regression": make_pipeline(dense(), Ridge()),
        "random forest": make_pipeline(
            dense(), RandomForestRegressor(TREES, min_samples_leaf=3, max_samples=0.5, random_state=seed)
        ),
        "decision tree": make_pipeline(
            dense(), DecisionTreeRegressor(max_depth=8, min_samples_leaf=20, random_state=seed)
        ),
    }


def score(model: Any, x: NDArray, y: NDArray, classes: bool) -> float:
    """ROC AUC (weighted one against the rest for many classes; classes unknown to the model count as never foreseen), or R²."""
    from sklearn.metrics import r2_score, roc_auc_score

    if not classes:
        return float(r2_score(y, model.predict(x)))
    drawn, known = model.predict_proba(x), list(model.classes_)
    parts, weights = [], []
    present = np.unique(y)
    for label in present[1:] if len(present) == 2 else present:
        foreseen = drawn[:, known.index(label)] if label in known else np.zeros(len(y))
        parts.append(roc_auc_score(y == label, foreseen))
        weights.append((y == label).mean())
    return float(np.average(parts, weights=weights))
