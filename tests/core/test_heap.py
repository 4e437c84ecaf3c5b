"""Freed memory is kept for the next array, where the C library can be told so."""

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


def faults(how):
    ran = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return ran.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept(tmp_path, monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    told, kept = faults("keep")
    _, without = faults("leave")
    assert told == "True"
    assert int(kept) * 4 < int(without)


def test_an_environment_that_tunes_memory_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    from populace.core.heap import keep_freed_memory

    assert not keep_freed_memory()
