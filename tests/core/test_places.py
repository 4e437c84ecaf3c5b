"""Keys and addresses looked up among others."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from populace.core.places import places, starts


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("many", [0, 1, 2, 3_000])
def test_each_is_found_where_it_stands_and_what_is_not_there_nowhere(many: int, shuffled: bool):
    rng = np.random.default_rng(many)
    known = rng.permutation(1 << 16)[:many].astype(np.uint64) * np.uint64(0x1_0000_0001)
    known = known if shuffled else np.sort(known)
    wanted = np.concatenate([rng.choice(known, 5_000) if many else known, np.arange(1 << 12, dtype=np.uint64)])
    at = {key: place for place, key in enumerate(known.tolist())}
    for asked in (wanted, wanted[:20], wanted[-20:], np.repeat(wanted[:9], 3), wanted[:0]):
        assert places(pl.Series(known), asked).tolist() == [at.get(key, -1) for key in asked.tolist()]


def test_runs_of_texts_begin_where_they_differ_wherever_the_texts_lie():
    """The same texts from two columns lie in two places; short ones within the column itself; a part begins in the middle."""
    one = pl.Series(["a", "a", "a text of some length", "a text of some length", "b"])
    column = pl.concat([one, one[3:], pl.Series(["b", "b", "", "a text of some length and more"])], rechunk=True)
    for part in (column, column[2:9], column[4:4], column[8:]):
        texts = part.to_list()
        assert starts(part).tolist() == [k for k, text in enumerate(texts) if not k or text != texts[k - 1]]
    assert starts(pl.Series([3, 3, 1, 1, 3])).tolist() == [0, 2, 4]
