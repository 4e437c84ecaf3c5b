"""`make bench`: every speed that matters, on one core, in one run, as ratios against walls and peers. Prints one markdown table.

Figures are CPU-seconds of this process, the best of three runs after a warm-up; on a shared machine only the ratios mean anything.
"""

from __future__ import annotations

import os

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from populace.core.heap import TOLD_JEMALLOC, keep_freed_memory

os.environ.setdefault(*TOLD_JEMALLOC)  # which polars reads when it is loaded

from . import iot, peers, populace_work, walls

Work = Callable[[Path], float | Callable[[], float]]
"""Does the work in an empty folder and returns how many units it made, or what counts them: to count them is no part of it."""


def measure(work: Work, runs: int = 3) -> float:
    """Units per CPU-second: the best of some runs after a warm-up."""
    best = 0.0
    for n in range(runs + 1):
        folder = Path(tempfile.mkdtemp(prefix="populace-bench-"))
        try:
            began = time.process_time()
            made = work(folder)
            took = time.process_time() - began
            rate = (made() if callable(made) else made) / took
        finally:
            shutil.rmtree(folder)
        best = max(best, rate) if n else 0.0
    return best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="words that a line's name must have one of")
    only = parser.parse_args().only
    keep_freed_memory()  # as the command line does; walls and peers have it too
    print(
        "| work | rate on one core | against | that rate | ratio | at least |\n|---|---:|---|---:|---:|---:|",
        flush=True,
    )
    for name, unit, work, against, goal in populace_work.LINES:
        if only and not any(word in name for word in only):
            continue
        rate = measure(work)
        other = {**walls.WALLS, **peers.PEERS, **iot.WALLS}[against] if against else None
        if other is None:
            print(f"| {name} | {rate:,.0f} {unit} | | | | {goal} |", flush=True)
            continue
        base = measure(other, runs=1 if against in peers.PEERS else 3)
        print(f"| {name} | {rate:,.0f} {unit} | {against} | {base:,.0f} | {rate / base:,.2f} × | {goal} |", flush=True)


if __name__ == "__main__":
    main()
