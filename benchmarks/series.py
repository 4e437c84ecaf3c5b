"""`python -m benchmarks.series FOLDER [WORD ...]`: every model of series on real ones, scored by one script, on one core. Prints one markdown table.

FOLDER holds `tabular/cmapss_fd001`, `tabular/occupancy` and `iot/nab`. WORDs choose series and models; `--seconds` is the time of each fit, `--epsilon` learns
with differential privacy (series of several entities alone). All models are judged on windows of 24 steps, scaled to
0 to 1, by the scores of Yoon, Jarrett and van der Schaar 2019, "Time-series Generative Adversarial Networks", NeurIPS, section 5:

discriminative: how far from one half is the share of windows held out that a recurrent network tells rightly to be real or drawn; 0 is perfect. It is told each value and its change since the step
before, in standard deviations of the real ones: from values between 0 and 1 alone it learns nothing of rough windows in the time that it has, and calls them real. predictive: the mean absolute error, on real windows, of a
recurrent network that learnt from drawn ones to foretell each step from those before; as low as from real ones is perfect. Beside them the mean difference of autocorrelations at lags 1 to 12,
and the root mean square difference of the spectra in decibels. The first line of each series is real against real. Seconds are CPU-seconds.
"""

from __future__ import annotations

import os

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from populace.core.model_kinds import MODELS
from populace.core.models import fit
from populace.core.samplers.statistical.learn_events import Roles

Cut = NDArray[np.float32]
"""Windows, shape (windows, steps, columns)."""
STEPS, WINDOWS = 24, 3_000
WHOLE, SERIES = ("sequence-transformer", "doppelganger"), 128
"""Models of an entity's whole series, and how many of these they draw."""
HIDDEN, BATCH, TURNS = 24, 128, 400


def cmapss(folder: Path) -> tuple[pl.DataFrame, Roles]:
    table = pl.read_csv(folder / "tabular/cmapss_fd001/train.csv.gz")
    moving = [c for c in table.columns[2:] if table[c].n_unique() > 20]
    return table.select([*table.columns[:2], *moving[:8]]), Roles(table.columns[0], table.columns[1])


def occupancy(folder: Path) -> tuple[pl.DataFrame, Roles]:
    # its rows are minutes in order, without their times
    table = pl.read_csv(folder / "tabular/occupancy/train_a.csv.gz").drop("occupancy").with_row_index("minute")
    return table.with_columns(pl.col("minute").cast(pl.Int64)), Roles("", "minute")


def nab(folder: Path) -> tuple[pl.DataFrame, Roles]:
    path = sorted((folder / "iot/nab").rglob("*machine_temperature*"))[0]
    table = pl.read_csv(path, try_parse_dates=True)
    return table.select("timestamp", "value"), Roles("", "timestamp")


def windows(table: pl.DataFrame, roles: Roles, low: NDArray, high: NDArray, columns: list[str], seed: int) -> Cut:
    parts = table.partition_by(roles.entity, maintain_order=True) if roles.entity else [table]
    found = []
    for part in parts:
        values = part.sort(roles.time, maintain_order=True).select(columns).to_numpy().astype(float)
        if len(values) >= STEPS:
            at = np.arange(0, len(values) - STEPS + 1)
            found.append(values[at[:, None] + np.arange(STEPS)])
    whole = np.clip((np.concatenate(found) - low) / np.maximum(high - low, 1e-9), -0.5, 1.5)
    order = np.random.default_rng(seed).permutation(len(whole))[:WINDOWS]
    return np.nan_to_num(whole[order]).astype(np.float32)


def discriminative(real: Cut, made: Cut, paper: bool = False) -> float:
    """`paper`: by values on their range alone, as TimeGAN's authors judge; else by values and their changes, in standard deviations."""
    n = min(len(real), len(made))
    x = np.concatenate([real[:n], made[:n]])
    if not paper:
        change = np.diff(real, axis=1)
        scale = [(f.mean((0, 1)), f.std((0, 1)) + 1e-6) for f in (real, change)]
        x = np.concatenate(
            [(f - m) / s for f, (m, s) in zip((x, np.diff(x, axis=1, prepend=x[:, :1])), scale, strict=True)], axis=2
        ).clip(-10, 10)
    y = np.repeat([1.0, 0.0], n).astype(np.float32)
    order = np.random.default_rng(0).permutation(2 * n)
    test, train = order[: 2 * n // 5], order[2 * n // 5 :]
    import torch

    def loss(out: Any, at: NDArray) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(out[:, -1, 0], torch.tensor(y[at]))

    judge = _learnt(x, train, 1, loss, paper)
    return abs(0.5 - float(np.mean((judge(x[test])[:, -1, 0] > 0) == (y[test] > 0))))


def predictive(real: Cut, made: Cut, paper: bool = False) -> float:
    import torch

    def loss(out: Any, at: NDArray) -> Any:
        return (out[:, :-1] - torch.tensor(made[at][:, 1:])).abs().mean()

    foretell = _learnt(made, np.arange(len(made)), made.shape[2], loss, paper)
    return float(np.abs(foretell(real)[:, :-1] - real[:, 1:]).mean())


def _learnt(
    x: Cut, train: NDArray, outputs: int, loss: Callable[[Any, NDArray], Any], paper: bool
) -> Callable[[Cut], NDArray]:
    """A recurrent network; `paper`: of two layers of long short-term memory."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    cell, layers = (torch.nn.LSTM, 2) if paper else (torch.nn.GRU, 1)
    gru, last = cell(x.shape[2], HIDDEN, layers, batch_first=True), torch.nn.Linear(HIDDEN, outputs)
    optimiser = torch.optim.Adam([*gru.parameters(), *last.parameters()], 5e-3)
    draw = np.random.default_rng(0)
    for _ in range(TURNS):
        at = draw.choice(train, min(BATCH, len(train)), replace=False)
        optimiser.zero_grad()
        loss(last(gru(torch.tensor(x[at]))[0]), at).backward()
        optimiser.step()

    def apply(rows: Cut) -> NDArray:
        with torch.no_grad():
            return last(gru(torch.tensor(rows))[0]).numpy()

    return apply


def acf(x: Cut) -> NDArray:
    centred = x - x.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1)
    lags = [
        np.divide((centred[:, k:] * centred[:, :-k]).sum(axis=1), total, out=np.zeros_like(total), where=total > 1e-9)
        for k in range(1, 13)
    ]
    return np.stack(lags).mean(axis=1)


def spectrum(x: Cut) -> NDArray:
    power = (np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1)) ** 2).mean(axis=0)[1:]
    return 10 * np.log10(power + 1e-6)


def line(name: str, model: str, seconds: float, real: Cut, made: Cut) -> None:
    print(
        f"| {name} | {model} | {seconds:.0f} | {discriminative(real, made, True):.3f} | {predictive(real, made, True):.4f} | {discriminative(real, made):.3f} | {predictive(real, made):.4f} "
        f"| {np.abs(acf(real) - acf(made)).mean():.3f} | {np.sqrt(((spectrum(real) - spectrum(made)) ** 2).mean()):.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--epsilon", type=float)
    asked = parser.parse_args()
    sources = {f.__name__: f for f in (cmapss, occupancy, nab)}
    models = [n for n, k in MODELS.items() if k.events and k.trained]
    print(
        "| series | model | fit, s | paper's discriminative | paper's predictive | discriminative | predictive | acf | spectrum, dB |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in [n for n in sources if n in asked.words] or list(sources):
        table, roles = sources[name](asked.folder)
        columns = [c for c in table.columns if c not in (roles.entity, roles.time)]
        low, high = (table.select(getattr(pl.col(columns), f)()).to_numpy()[0].astype(float) for f in ("min", "max"))
        real = windows(table, roles, low, high, columns, 1)
        half = len(real) // 2
        line(name, "real against real", 0, real[:half], real[half:])
        for model in [m for m in models if m in asked.words] or models:
            if model == "sequence-transformer" and not roles.entity:
                # one series is one example to it
                continue
            began = time.process_time()
            made = fit(table, model, 0, asked.seconds, epsilon=asked.epsilon, roles=roles)
            seconds = time.process_time() - began
            whole = made.sample_frame(SERIES if roles.entity and model in WHOLE else WINDOWS, 1)
            key = Roles(made.columns[0], roles.time)
            line(name, model, seconds, real, windows(whole, key, low, high, columns, 2))


if __name__ == "__main__":
    main()
