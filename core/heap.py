"""What the allocators do with memory that is freed: the C library's, and the one that polars brings. A block takes and gives back the same arrays a hundred
times over; as a rule each comes from the kernel anew, page by page, which is a tenth of a run's time."""

from __future__ import annotations

import os

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Names of glibc's `mallopt`, from its `malloc.h`."""
KEPT = 1 << 28
"""Bytes of freed memory that a process keeps for its next array, at most."""
ARRAY = 1 << 25
"""Bytes of an array that still comes from what is kept: glibc's own limit."""
TOLD_JEMALLOC = ("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:10000,muzzy_decay_ms:0")
"""What polars' allocator reads when polars is loaded. All threads share one heap, so that what one of them frees serves the others: of several each keeps its
own, which was up to a sixth of a run's memory. Free pages go back after ten seconds: blocks follow each other faster, and need them again. They go back at
once then: pages that the kernel may take when it likes count as the process's until it does. From jemalloc's manual (opt.narenas, opt.dirty_decay_ms,
opt.muzzy_decay_ms)."""


def keep_freed_memory() -> bool:
    """Have this process, and those that it starts, keep what they free: polars' allocator for some seconds, if polars is not loaded yet, the C library's up to
    256 MiB. False where that one is not glibc's, or where the user's environment tunes it."""
    os.environ.setdefault(*TOLD_JEMALLOC)
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another C library, another system
        return False
    return all([mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, ARRAY), mallopt(MMAP_THRESHOLD, ARRAY)])
