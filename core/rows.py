"""A few rows of a table at once, for a test that wants no dataset of its own: chosen by name from one that stands in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .dataset import Dataset, generate
from .domain import find_domain
from .errors import UserError, unknown
from .plan import make_plan
from .records import records
from .spec import Spec
from .stream import Stream

POOL = 100
"""Root entities among which rows are chosen."""
KEPT = 50_000
"""Rows of a table among which they are chosen, about: evenly thinned."""


def rows(
    domain: str,
    table: str | None = None,
    count: int = 20,
    seed: int = 0,
    as_: str | type | Callable[..., Any] = "dict",
) -> list[Any]:
    """`count` rows of a table (of the root entities, if none is named), in order of their keys: the same for the same seed. The first call for a domain
    makes what they are chosen from; from then on one takes milliseconds. The references of a row are those of that dataset.

    Raises UserError for an unknown domain, table or form, and where the table has not as many rows.
    """
    found = find_domain(domain)
    name = table or found.root
    data = _pool(domain)
    if name not in data.frames:
        raise unknown("table", name, data.frames, domain)
    frame = data.frames[name]
    if not 0 <= count <= frame.height:
        raise UserError(
            f"count is {count:,}; {domain}.{name} has {frame.height:,} rows to choose from. Generate a dataset for more."
        )
    chosen = Stream.root(seed).child("rows", name).generator().choice(frame.height, count, replace=False)
    return records(Dataset({name: frame[np.sort(chosen)]}, data.plan), name, as_)


@cache
def _pool(domain: str) -> Dataset:
    data = generate(make_plan(Spec(domain, size=POOL)))
    thin = {n: f.gather_every(max(1, f.height // KEPT)) for n, f in data.frames.items()}
    return Dataset(thin, data.plan)
