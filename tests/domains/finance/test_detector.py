"""What gives scenarios away, and no longer does: judged by detectors, not by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.plan import make_plan
from populace.core.scenario import ScenarioRequest
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

from .detector import AGGREGATES, FORMAT, RAW, payments, score

LAUNDERING = (
    "bipartite", "fan-in", "fan-out", "gather-scatter", "layering-chain", "mule-herder", "mule-ring", "random-transfers", "scatter-gather",
    "smurfing", "stack",
)  # fmt: skip


def transfers(**settings: Any) -> pl.DataFrame:
    """One-off transfers that customers send: 600 customers, four months, two instances of each laundering typology."""
    requests = tuple(ScenarioRequest(name, {"count": 2}) for name in LAUNDERING)
    spec = Spec("finance", size=600, seed=1, end="2025-05-01", scenarios=requests, settings=settings)
    sent = pl.col("type").cast(pl.String).is_in(["ICDT/ESCT", "ICDT/BOOK"])
    return payments(generate(make_plan(spec, DOMAIN)).frames).filter(sent)


@pytest.fixture(scope="module")
def sent() -> pl.DataFrame:
    return transfers()


def test_that_the_payee_banks_here_does_not_give_laundering_away(sent: pl.DataFrame):
    """As it did when only scenarios had customers pay one another: that is what the setting brings back."""
    apart = transfers(**{"counterparty.same_bank": 0.0})
    before, now = (inward(rows) for rows in (apart, sent))
    assert before > 20 * now
    assert now < 0.75


def inward(rows: pl.DataFrame) -> float:
    """The odds that a payment from one customer to another is illicit."""
    other = pl.col("counterparty_account_id") // 8 != pl.col("account_id") // 8
    illicit = rows.filter(other)["fraud"]
    return illicit.sum() / max((~illicit).sum(), 0.5)


def test_labels_dealt_out_anew_cannot_be_learnt_and_a_planted_leak_is(sent: pl.DataFrame):
    shuffled = np.mean([score(sent, AGGREGATES, shuffled=n)[0] for n in range(5)])
    assert shuffled == pytest.approx(0.5, abs=0.06)
    leak = sent.with_columns(leak=pl.col("fraud").cast(pl.Int8))
    assert score(leak, (*RAW, "leak"))[0] > 0.99


def test_keys_references_seconds_and_cents_say_nothing(sent: pl.DataFrame):
    for column in FORMAT:
        area = score(sent, (column,))[0]
        assert abs(area - 0.5) < 0.1, f"{column}: {area}"
