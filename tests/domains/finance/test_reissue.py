"""A card that was reported is cancelled, and its holder pays with another number once it is there."""

from __future__ import annotations

import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.holdings import CARDS, REPLACEMENT


@pytest.fixture(scope="module")
def reported() -> Dataset:
    asked = (parse_request("lost-or-stolen-card:count=15"),)
    return generate(make_plan(Spec("finance", size=150, seed=2, scenarios=asked), DOMAIN))


@pytest.fixture(scope="module")
def used(reported: Dataset) -> pl.DataFrame:
    """What was paid with cards on the accounts concerned, with `since`, the first report, and `there`, the day on which the new card came."""
    frames = reported.frames
    label = frames["label"].filter(scenario="lost-or-stolen-card")
    told = label.filter(table="fraud_report").select(fraud_report_id="row_key").drop_nulls()
    since = (
        frames["fraud_report"]
        .join(told, on="fraud_report_id")
        .group_by("account_id")
        .agg(since=pl.col("reported_at").min())
    )
    new = frames["card"].filter(pl.col("card_id") % CARDS == REPLACEMENT).select("account_id", there="issued_on")
    fraud = label.filter(table="transaction")["row_key"].drop_nulls()
    paid = frames["transaction"].filter(pl.col("card_id").is_not_null(), pl.col("card_id") % CARDS < 16)
    paid = paid.join(since, on="account_id").join(new, on="account_id", how="left")
    return paid.with_columns(
        fraud=pl.col("transaction_id").is_in(fraud.implode()),
        day=pl.col("authorised_at").dt.date(),
        code=pl.col("response_code").cast(pl.String),
        renewed=pl.col("card_id") % CARDS == REPLACEMENT,
    )


def test_nothing_is_wrong_with_it(reported: Dataset):
    assert reported.validate().is_empty()


def test_the_old_card_is_cancelled_and_the_new_one_comes_within_seven_working_days(
    reported: Dataset, used: pl.DataFrame
):
    card = reported.frames["card"]
    each = used.unique("account_id").drop_nulls("there").select("account_id", "since", "there")
    assert each.height > 8
    wait = (each["there"] - each["since"].dt.date()).dt.total_days()
    assert wait.min() >= 2
    assert wait.max() <= 7 + 2 * 2 + 4, "weekends and holidays between"
    assert (each["there"].dt.weekday() <= 5).all()
    old = card.join(each, on="account_id").filter(
        pl.col("card_id") % CARDS < REPLACEMENT, pl.col("cancelled_on").is_not_null()
    )
    assert old.height == each.height
    assert (old["cancelled_on"] == old["since"].dt.date()).all()
    new = card.filter(pl.col("card_id") % CARDS == REPLACEMENT)
    assert not set(new["pan"]) & set(card.filter(pl.col("card_id") % CARDS != REPLACEMENT)["pan"])


def test_the_holder_pays_with_the_new_number_and_with_none_in_between(used: pl.DataFrame):
    own = used.filter(~pl.col("fraud"))
    late = own.filter(pl.col("authorised_at") > pl.col("since"), ~pl.col("code").is_in(["41", "43"]))
    assert late.height > 60
    assert late["renewed"].all()
    assert (late["day"] >= late["there"]).all()
    assert not own.filter(pl.col("authorised_at") <= pl.col("since"))["renewed"].any()


def test_whoever_has_the_old_one_is_refused_on_it(used: pl.DataFrame):
    tried = used.filter("fraud")
    after = tried.filter(pl.col("authorised_at") > pl.col("since"))
    assert after.height > 3
    assert not tried["renewed"].any()
    assert set(after["code"]) <= {"41", "43"}


def test_what_is_paid_with_a_cancelled_card_is_found(reported: Dataset, used: pl.DataFrame):
    """Planted in a payment that was refused: a refusal is no use of the card, an approval is."""
    tables = reported.frames
    late = used.filter(pl.col("fraud") & pl.col("code").is_in(["41", "43"]))["transaction_id"]
    row = pl.col("transaction_id") == late[-1]
    card = tables["card"].with_columns(pl.col("cancelled_on").dt.offset_by("-3d"))
    answer = pl.when(row).then(pl.lit("00")).otherwise(pl.col("response_code").cast(pl.String))
    told = {**tables, "card": card}
    found = [
        check_tables(DOMAIN, t, set(tables) - {"label"}).filter(check="transaction.card-valid", row_key=late[-1]).height
        for t in (told, {**told, "transaction": tables["transaction"].with_columns(answer.alias("response_code"))})
    ]
    assert found == [0, 1]
