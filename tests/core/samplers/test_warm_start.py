"""A network that learnt a simulated domain, tuned on a few hundred real rows, is nearer to real rows it never saw than one that learnt from these few alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import populace
from populace.core.models import fit

FEW, SUBSETS = 300, 4
CROWNS = 35.0
"""Korunas for a euro in 1998, about, when the bank's records end: the simulated amounts are in euros."""
OPERATION = {
    "CNTR/CDPT": "credit in cash",
    "CNTR/CWDL": "withdrawal in cash",
    "CCRD/CWDL": "withdrawal in cash",
    "CCRD/POSD": "credit card withdrawal",
    "RCDT/SALA": "collection from another bank",
    "RCDT/ESCT": "collection from another bank",
    "ICDT/STDO": "remittance to another bank",
    "ICDT/ESCT": "remittance to another bank",
    "RDDT/ESDD": "remittance to another bank",
    "CSLN/PPAY": "remittance to another bank",
}
"""ISO 20022's families and subfamilies of transactions as the bank's words for them."""
PURPOSE = {"MDOP/INTR": "interest credited", "MDOP/CHRG": "payment for statement", "RDDT/ESDD": "household"}
COLUMNS = ("type", "operation", "k_symbol", "amount", "balance", "day")


def simulated() -> pl.DataFrame:
    """Transactions of populace's bank, in the columns and the money of the real one."""
    made = pl.DataFrame(populace.generate("finance", size=150, seed=1)["transaction"])
    kind = pl.col("type").cast(pl.String)
    return made.filter(pl.col("balance_after_minor").is_not_null()).select(
        type=pl.when(pl.col("direction").cast(pl.String) == "CRDT")
        .then(pl.lit("credit"))
        .otherwise(pl.lit("withdrawal")),
        operation=kind.replace_strict(OPERATION, default=None),
        k_symbol=kind.replace_strict(PURPOSE, default=None),
        amount=pl.col("amount_minor") / 100 * CROWNS,
        balance=pl.col("balance_after_minor") / 100 * CROWNS,
        day=pl.col("booked_on").dt.day().cast(pl.Int64),
    )


def apart(made: pl.DataFrame, real: pl.DataFrame) -> float:
    """The mean over pairs of columns of the total variation distance between tables, numbers in tenths of the real ones."""
    codes = []
    for column in COLUMNS:
        values = pl.concat([made[column], real[column]])
        if values.dtype.is_numeric():
            ends = np.quantile(real[column].to_numpy(), np.linspace(0.1, 0.9, 9))
            codes.append(np.searchsorted(ends, values.to_numpy()))
        else:
            codes.append(values.fill_null("").rank("dense").to_numpy().astype(int))
    total = []
    for a, b in combinations(codes, 2):
        pair = a * 100 + b
        ours, theirs = (np.bincount(x, minlength=2_000) / len(x) for x in np.split(pair, [made.height]))
        total.append(np.abs(ours - theirs).sum() / 2)
    return float(np.mean(total))


@pytest.mark.slow
def test_a_few_hundred_real_rows_are_learnt_better_from_a_model_of_the_simulated_bank(real_data: Path):
    real = pl.read_csv(real_data / "tabular/berka/trans.csv.gz", try_parse_dates=True).select(
        *COLUMNS[:5], day=pl.col("date").dt.day().cast(pl.Int64)
    )
    start = fit(simulated(), "autoregressive", epochs=8)
    order = np.random.default_rng(1).permutation(real.height)
    held = real[order[-10_000:]]
    gains = []
    for k in range(SUBSETS):
        few = real[order[k * FEW : (k + 1) * FEW]]
        tuned, anew = (fit(few, "autoregressive", k, start=s).sample_frame(10_000) for s in (start, None))
        gains.append(apart(anew, held) - apart(tuned, held))
    print(gains)
    assert min(gains) > 0
