"""A peer learns a table in an interpreter of its own: `PYTHON model_peers.py PEER TABLE.csv META.json ROWS OUT.csv` writes rows and prints, as JSON, its
CPU-seconds of fitting and of drawing. It imports nothing of populace.

mbi brings inference, not mechanisms: `mbi-mst` and `mbi-aim` are written here after their papers (McKenna, Miklau and Sheldon 2021; McKenna et al. 2022), with
bins of the columns given to them for nothing, which is to their advantage.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

BINS = 24
EPSILON, DELTA = 1.0, 1e-6
Draw = Callable[[int], pd.DataFrame]


def sdv(name: str) -> Callable[[pd.DataFrame, dict[str, Any]], Draw]:
    """With as many epochs as `meta` says, where it says."""

    def learn(frame: pd.DataFrame, meta: dict[str, Any]) -> Draw:
        import sdv.single_table  # pyright: ignore[reportMissingImports]
        from sdv.metadata import Metadata  # pyright: ignore[reportMissingImports]

        more = {"epochs": meta["epochs"]} if "epochs" in meta and name != "GaussianCopula" else {}
        model = getattr(sdv.single_table, f"{name}Synthesizer")(
            Metadata.detect_from_dataframes({"table": frame}), **more
        )
        model.fit({"table": frame})

        def draw(n: int) -> pd.DataFrame:
            made = model.sample(n)
            return made["table"] if isinstance(made, dict) else made

        return draw

    return learn


def mostly(frame: pd.DataFrame, meta: dict[str, Any]) -> Draw:
    from mostlyai.engine import TabularARGN  # pyright: ignore[reportMissingImports]

    model = TabularARGN(verbose=0)
    model.fit(frame)
    return lambda n: model.sample(n)


def arf(frame: pd.DataFrame, meta: dict[str, Any]) -> Draw:
    from arfpy import arf as arfpy  # pyright: ignore[reportMissingImports]

    # it knows no gaps: a category's are a category, a number's are filled
    frame = frame.copy()
    for column in frame.columns:
        values = frame[column]
        if column in meta["categorical"]:
            frame[column] = (values if values.notna().all() else values.astype(object).fillna("")).astype("category")
        else:
            frame[column] = values.fillna(values.median())
    model = arfpy.arf(frame)
    model.forde()
    return model.forge


def mbi(mechanism: str) -> Callable[[pd.DataFrame, dict[str, Any]], Draw]:
    def learn(frame: pd.DataFrame, meta: dict[str, Any]) -> Draw:
        from mbi import Dataset, Domain  # pyright: ignore[reportMissingImports]

        codes, ends = {}, {}
        for column in frame.columns:
            values = frame[column]
            if column in meta["categorical"]:
                code, known = pd.factorize(values, sort=True)
                ends[column] = known
            else:
                edges = np.unique(np.quantile(values.dropna(), np.linspace(0, 1, BINS + 1)))
                code = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
                ends[column] = edges
            codes[column] = np.maximum(code, 0)
        domain = Domain.fromdict({c: int(x.max()) + 1 for c, x in codes.items()})
        model = (_mst if mechanism == "mst" else _aim)(Dataset(codes, domain), domain)

        def draw(n: int) -> pd.DataFrame:
            made, rng = model.synthetic_data(rows=n).to_dict(), np.random.default_rng(1)
            out = {}
            for column in frame.columns:
                code, known = np.asarray(made[column]), ends[column]
                if column in meta["categorical"]:
                    out[column] = np.asarray(known)[code]
                else:
                    right = known[np.minimum(code + 1, len(known) - 1)]
                    x = known[code] + rng.uniform(size=n) * (right - known[code])
                    out[column] = np.round(x) if pd.api.types.is_integer_dtype(frame[column]) else x
            return pd.DataFrame(out)

        return draw

    return learn


def _rho() -> float:
    """The zCDP that ε and δ allow, by the bound of Bun and Steinke 2016, proposition 1.3, solved for ρ."""
    root = np.sqrt(np.log(1 / DELTA))
    return float((np.sqrt(EPSILON + root**2) - root) ** 2)


def _measured(data: Any, columns: tuple[str, ...], sigma: float, rng: np.random.Generator) -> Any:
    from mbi import LinearMeasurement  # pyright: ignore[reportMissingImports]

    exact = np.asarray(data.project(columns).datavector())
    return LinearMeasurement(exact + rng.normal(0, sigma, exact.size), columns, stddev=float(sigma))


def _chosen(scores: np.ndarray, rho: float, sensitivity: float, rng: np.random.Generator) -> int:
    return int(np.argmax(np.sqrt(8 * rho) * scores / (2 * sensitivity) + rng.gumbel(size=len(scores))))


def _apart(data: Any, model: Any, columns: tuple[str, ...]) -> float:
    exact, told = (np.asarray(each.project(columns).datavector()) for each in (data, model))
    return float(np.abs(exact - told).sum())


def _mst(data: Any, domain: Any) -> Any:
    from mbi import estimation  # pyright: ignore[reportMissingImports]

    rng, rho, names = np.random.default_rng(1), _rho(), list(domain.attributes)
    log = [_measured(data, (c,), np.sqrt(3 * len(names) / (2 * rho)), rng) for c in names]
    first = estimation.MirrorDescent().estimate(domain, log, iters=1_000)
    far = {pair: _apart(data, first, pair) for pair in combinations(names, 2)}
    group = {c: c for c in names}
    edges = len(names) - 1
    for _ in range(edges):
        open_ = [p for p in far if group[p[0]] != group[p[1]]]
        a, b = open_[_chosen(np.array([far[p] for p in open_]), rho / 3 / edges, 1.0, rng)]
        log.append(_measured(data, (a, b), np.sqrt(3 * edges / (2 * rho)), rng))
        group = {c: group[a] if g == group[b] else g for c, g in group.items()}
    return estimation.MirrorDescent().estimate(domain, log, iters=5_000)


def _aim(data: Any, domain: Any, megabytes: float = 4.0) -> Any:
    import jax  # pyright: ignore[reportMissingImports]
    from mbi import estimation, junction_tree  # pyright: ignore[reportMissingImports]

    rng, rho, names = np.random.default_rng(1), _rho(), list(domain.attributes)
    step = rho / (16 * len(names))
    sigma = np.sqrt(1 / (2 * 0.9 * step))
    log = [_measured(data, (c,), sigma, rng) for c in names]
    spent = len(names) * 0.9 * step
    model = estimation.MirrorDescent().estimate(domain, log, iters=1_000)
    while spent < rho * (1 - 1e-9):
        step = rho - spent if rho - spent < 2 * step else step
        spent += step
        sigma = np.sqrt(1 / (2 * 0.9 * step))
        held = [set(q) for q in model.cliques]
        fits = [
            p
            for p in combinations(names, 2)
            if any(set(p) <= q for q in held)
            or junction_tree.hypothetical_model_size(domain, [*model.cliques, p]) <= megabytes * spent / rho
        ]
        scores = [_apart(data, model, p) - np.sqrt(2 / np.pi) * sigma * domain.size(p) for p in fits]
        pair = fits[_chosen(np.array(scores), 0.1 * step, 1.0, rng)]
        log.append(_measured(data, pair, sigma, rng))
        # no later round has use for this one's programs, and kept they end the run for want of memory
        jax.clear_caches()
        before = np.asarray(model.project(pair).datavector())
        model = estimation.MirrorDescent().estimate(domain, log, iters=1_000, warm_start=model)
        if np.abs(np.asarray(model.project(pair).datavector()) - before).sum() <= np.sqrt(2 / np.pi) * sigma * len(
            before
        ):
            step *= 4
    return model


PEERS: dict[str, Callable[[pd.DataFrame, dict[str, Any]], Draw]] = {
    "sdv-gaussian-copula": sdv("GaussianCopula"),
    "sdv-tvae": sdv("TVAE"),
    "sdv-ctgan": sdv("CTGAN"),
    "mostlyai": mostly,
    "arfpy": arf,
    "mbi-mst": mbi("mst"),
    "mbi-aim": mbi("aim"),
}


def main(peer: str, table: str, meta: str, rows: str, out: str) -> None:
    frame = pd.read_csv(table)
    with open(meta) as file:
        known = json.load(file)
    began = time.process_time()
    draw = PEERS[peer](frame, known)
    fitted = time.process_time()
    made = draw(int(rows))
    drawn = time.process_time()
    made.to_csv(out, index=False)
    print(json.dumps({"fit": fitted - began, "draw": drawn - fitted}))


if __name__ == "__main__":
    main(*sys.argv[1:])
