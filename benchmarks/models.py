"""`python -m benchmarks.models FOLDER [WORD ...] [--rows N] [--epochs N] [--patience S]`: every model on real tables, scored by one script, on one core. Prints one markdown table.

FOLDER has a folder for each table with `train.csv.gz` and `meta.json` (target, categorical columns). A fifth of the rows is held out; no model
sees them. WORDs choose tables and models; `--rows` learns from the first so many; with `--epochs`, networks, ours and SDV's alike, learn in so many passes. Peers run in the same run, each in an environment of its own: `POPULACE_SDV`, `POPULACE_MOSTLYAI`,
`POPULACE_ARFPY` and `POPULACE_MBI` name the interpreters that have them; those that are not named, that fail, or that have not drawn as many rows as they learnt after `--patience` seconds (three hours) are skipped, and it says so.

quality: SDMetrics' report, the mean of column shapes and pair trends (where sdmetrics is installed). TSTR: area under the ROC curve, on rows held
out, of a LightGBM that learnt from synthetic rows; TRTR: from real ones. C2ST: that of a LightGBM that tells real from synthetic rows; 0.5 is
perfect. DCR share: of synthetic rows, those nearer to a row learnt from than to one held out, with as many of each; a table's first line has that of real rows which are neither,
which is what no copying comes to with these samples. Seconds are CPU-seconds.
"""

from __future__ import annotations

import os

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from populace.core.errors import UserError
from populace.core.model_kinds import MODELS
from populace.core.models import fit

Draw = Callable[[int], tuple[pl.DataFrame, float]]
"""Rows, and the CPU-seconds that they took."""
Run = Callable[[pl.DataFrame, dict[str, Any]], tuple[float, Draw]]
"""Learns a table; returns CPU-seconds and how to draw rows. Raises LookupError, with the reason, where that cannot be."""
PEERS = {
    "POPULACE_SDV": ("sdv-gaussian-copula", "sdv-tvae", "sdv-ctgan"),
    "POPULACE_MOSTLYAI": ("mostlyai",),
    "POPULACE_ARFPY": ("arfpy",),
    "POPULACE_MBI": ("mbi-mst", "mbi-aim"),
}
"""Which variable names the interpreter of an environment that has a peer."""
PATIENCE = 3 * 3_600
NEAREST = 8_000
SAMPLED = 200_000


def ours(name: str, **settings: Any) -> Run:
    def run(train: pl.DataFrame, meta: dict[str, Any]) -> tuple[float, Draw]:
        began = time.process_time()
        model = fit(train, name, **settings)
        seconds = time.process_time() - began

        def draw(n: int) -> tuple[pl.DataFrame, float]:
            began = time.process_time()
            return model.sample_frame(n, seed=1), time.process_time() - began

        return seconds, draw

    return run


def peer(name: str, variable: str, patience: float) -> Run:
    """A peer, in the interpreter that has it. It draws as many rows as it learnt, and its speed is taken from those: some draw a hundred rows a second."""

    def run(train: pl.DataFrame, meta: dict[str, Any]) -> tuple[float, Draw]:
        python = os.environ.get(variable)
        if not python:
            raise LookupError(f"{variable} names no interpreter")
        folder = Path(tempfile.mkdtemp())
        train.write_csv(folder / "train.csv")
        (folder / "meta.json").write_text(json.dumps(meta))
        files = [str(folder / f) for f in ("train.csv", "meta.json")]
        script = str(Path(__file__).with_name("model_peers.py"))
        try:
            done = subprocess.run(
                [python, script, name, *files, str(train.height), str(folder / "out.csv")],
                check=True,
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except subprocess.CalledProcessError as error:
            raise LookupError((error.stderr.strip().splitlines() or ["it failed"])[-1]) from None
        except subprocess.TimeoutExpired:
            raise LookupError(f"it had not finished after {patience:,.0f} s") from None
        except OSError as error:
            raise LookupError(str(error)) from None
        seconds = json.loads(done.stdout.splitlines()[-1])
        try:
            made = _as_learnt(pl.read_csv(folder / "out.csv", infer_schema_length=None), train)
        except pl.exceptions.PolarsError as error:
            raise LookupError(f"its rows are not those of the table: {error}") from None
        return seconds["fit"], lambda n: (made.head(n), seconds["draw"] * n / made.height)

    return run


def _as_learnt(made: pl.DataFrame, train: pl.DataFrame) -> pl.DataFrame:
    """A peer's rows with the columns and types of those that it learnt; whole numbers that it drew as others are rounded."""
    whole = [c for c, t in train.schema.items() if t.is_integer() and made.schema[c].is_float()]
    return made.select(train.columns).with_columns(pl.col(whole).round()).cast(dict(train.schema))


def runs(epochs: int | None = None, patience: float = PATIENCE) -> dict[str, Run]:
    found = {
        name: ours(name, **({"epochs": epochs} if kind.trained and epochs else {}))
        for name, kind in MODELS.items()
        if not kind.private and kind.shape == "one table"
    }
    found |= {
        f"{name} ε={e:g}": ours(name, epsilon=e)
        for name, kind in MODELS.items()
        if kind.private or kind.learn_private
        for e in (1, 10)
    }
    found |= {f"auto --time {s}s": ours("auto", seconds=s) for s in (10, 60)}
    return found | {name: peer(name, variable, patience) for variable, names in PEERS.items() for name in names}


def read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Rows to learn from, rows held out, and what is known of the columns."""
    table = pl.read_csv(folder / "train.csv.gz", infer_schema_length=None)
    order = np.random.default_rng(0).permutation(table.height)
    fifth = table.height // 5
    return table[order[fifth:]], table[order[:fifth]], json.loads((folder / "meta.json").read_text())


def score(train: pl.DataFrame, held: pl.DataFrame, made: pl.DataFrame, meta: dict[str, Any]) -> dict[str, float]:
    made = made.select(train.columns)
    tables, category = _numbers((train, held, made), meta)
    target = train.columns.index(meta["target"])
    return {
        "quality": _quality(train, made, meta),
        "TSTR": _foretold(tables[2], tables[1], category, target),
        "TRTR": _foretold(tables[0], tables[1], category, target),
        "C2ST": _told_apart(tables[0], tables[2], category),
        "DCR share": _nearer(tables[0], tables[1], tables[2], category),
        "copies": train.unique().join(made, on=train.columns, how="semi", nulls_equal=True).height
        - train.unique().join(held, on=train.columns, how="semi", nulls_equal=True).height * len(train) // len(held),
    }


def unlearnt(train: pl.DataFrame, held: pl.DataFrame, meta: dict[str, Any]) -> float:
    """The DCR share of real rows that are in neither of the samples whose rows are looked for."""
    n = min(len(train) // 2, len(held), NEAREST)
    tables, category = _numbers((train.head(n), held.head(n), train[n : 2 * n]), meta)
    return _nearer(*tables, category)


def _numbers(tables: Sequence[pl.DataFrame], meta: dict[str, Any]) -> tuple[list[NDArray], list[int]]:
    """Tables, those of real rows first, as numbers, and which columns are categories."""
    levels = {
        c: pl.concat([t[c].cast(pl.String) for t in tables[:2]]).drop_nulls().unique().sort()
        for c in meta["categorical"]
    }
    return [_matrix(t, levels) for t in tables], [tables[0].columns.index(c) for c in meta["categorical"]]


def _matrix(table: pl.DataFrame, levels: dict[str, pl.Series]) -> NDArray:
    columns = [
        table[c].cast(pl.String).cast(pl.Enum(levels[c]), strict=False).to_physical() if c in levels else table[c]
        for c in table.columns
    ]
    return np.stack([c.cast(pl.Float64).fill_null(np.nan).to_numpy() for c in columns], axis=1)


def _booster() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1, random_state=0)


def _foretold(learnt: NDArray, judged: NDArray, category: list[int], target: int) -> float:
    from sklearn.metrics import roc_auc_score

    others = [n for n in range(learnt.shape[1]) if n != target]
    kinds = [others.index(n) for n in category if n != target]
    model = _booster().fit(learnt[:, others], learnt[:, target], categorical_feature=kinds)
    return float(roc_auc_score(judged[:, target], model.predict_proba(judged[:, others])[:, 1]))


def _told_apart(real: NDArray, made: NDArray, category: list[int]) -> float:
    from sklearn.metrics import roc_auc_score

    n = min(len(real), len(made))
    x, y = np.concatenate((real[:n], made[:n])), np.repeat([0, 1], n)
    fold = np.random.default_rng(0).integers(0, 3, 2 * n)
    areas = []
    for k in range(3):
        model = _booster().fit(x[fold != k], y[fold != k], categorical_feature=category)
        areas.append(roc_auc_score(y[fold == k], model.predict_proba(x[fold == k])[:, 1]))
    return float(np.mean(areas))


def _nearer(real: NDArray, held: NDArray, made: NDArray, category: list[int]) -> float:
    """Numbers scaled to the real range, categories one-hot; gaps at the mean."""
    from sklearn.neighbors import NearestNeighbors

    low, high = np.nanmin(real, axis=0), np.nanmax(real, axis=0)

    def points(table: NDArray) -> NDArray:
        columns = []
        for n in range(table.shape[1]):
            if n in category:
                code, known = np.nan_to_num(table[:, n], nan=-1.0), np.unique(np.nan_to_num(real[:, n], nan=-1.0))
                columns.append((code[:, None] == known) * np.sqrt(0.5))
            else:
                scaled = (table[:, n] - low[n]) / max(high[n] - low[n], 1e-9)
                middle = np.nanmean((real[:, n] - low[n]) / max(high[n] - low[n], 1e-9))
                columns.append(np.nan_to_num(scaled, nan=middle)[:, None])
        return np.concatenate(columns, axis=1).astype(np.float32)

    n = min(len(real), len(held), NEAREST)
    to = points(made[:NEAREST])
    near = [
        NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points(t[:n])).kneighbors(to)[0][:, 0]
        for t in (real, held)
    ]
    return float(np.mean(near[0] < near[1]) + 0.5 * np.mean(near[0] == near[1]))


def _quality(train: pl.DataFrame, made: pl.DataFrame, meta: dict[str, Any]) -> float:
    if not find_spec("sdmetrics"):
        return float("nan")
    from sdmetrics.reports.single_table import QualityReport

    columns = {c: {"sdtype": "categorical" if c in meta["categorical"] else "numerical"} for c in train.columns}
    report = QualityReport()
    report.generate(train.to_pandas(), made.to_pandas(), {"columns": columns}, verbose=False)
    return float(report.get_score())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--patience", type=float, default=PATIENCE)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    names = ("adult", "credit_default", "support2")
    chosen = [n for n in names if n in asked.words] or list(names)
    every = runs(asked.epochs, asked.patience)
    models = {n: run for n, run in every.items() if n in asked.words} or every
    print("| table | model | fit, s | quality | TSTR | TRTR | C2ST | DCR share | copies beyond chance | rows/s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in chosen:
        train, held, meta = read(asked.folder / name)
        train = train.head(asked.rows or train.height)
        meta |= {"epochs": asked.epochs} if asked.epochs else {}
        print(f"| {name} | real rows | | | | | | {unlearnt(train, held, meta):.3f} | | |", flush=True)
        for model, run in models.items():
            try:
                seconds, draw = run(train, meta)
            except (LookupError, UserError) as reason:
                print(f"| {name} | {model} | skipped: {reason} | | | | | | | |", flush=True)
                continue
            made, speed = draw(train.height)[0], SAMPLED / max(draw(SAMPLED)[1], 1e-9)
            s = score(train, held, made, meta)
            print(
                f"| {name} | {model} | {seconds:.1f} | {s['quality']:.4f} | {s['TSTR']:.4f} | {s['TRTR']:.4f} | {s['C2ST']:.3f} "
                f"| {s['DCR share']:.3f} | {max(s['copies'], 0):.0f} | {speed:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
