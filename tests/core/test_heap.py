"""Freed memory is kept for the next array, where the allocators can be told so."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from populace.core.heap import keep_freed_memory
told = keep_freed_memory() if sys.argv[1] == "keep" else None
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(20):
        parts = [np.ones(400_000) for _ in range(4)]
work()
before = faults()
work()
print(told, faults() - before)
"""

OF_POLARS = """
import resource, sys, time
from populace.core.heap import keep_freed_memory
told = keep_freed_memory() if sys.argv[1] == "keep" else None
import polars as pl
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    for _ in range(3):
        column = pl.repeat(1, 4_000_000, dtype=pl.Int64, eager=True)
        del column
        time.sleep(1)
        pl.repeat(1, 10, dtype=pl.Int64, eager=True)
work()
before = faults()
work()
print(told, faults() - before)
"""


def faults(how, program=FAULTS):
    ran = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
    return ran.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept(tmp_path, monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    told, kept = faults("keep")
    _, without = faults("leave")
    assert told == "True"
    assert int(kept) * 4 < int(without)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="polars brings jemalloc on Linux alone")
def test_what_polars_frees_is_kept(monkeypatch):
    monkeypatch.delenv("_RJEM_MALLOC_CONF", raising=False)
    _, kept = faults("keep", OF_POLARS)
    _, without = faults("leave", OF_POLARS)
    assert int(kept) * 4 < int(without)


def test_an_environment_that_tunes_memory_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    from populace.core.heap import keep_freed_memory

    assert not keep_freed_memory()
