"""What a detector makes of labelled payments: gradient boosting trained on the first 70 % in time, judged on the rest.

Raw row columns, causal aggregates per account and payee, one column alone, a tree of depth 3, ids and format, labels dealt out anew. The method
is that of the Fraud Detection Handbook (Le Borgne et al. 2022, Machine Learning for Credit Card Fraud Detection, chapter 5): split in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from populace.core.tables import Tables

TRAINED = 0.7
RAW = (
    "channel", "type", "direction", "mcc", "amount_minor", "currency", "entry_mode", "country", "merchant_id", "hour", "weekday",
    "response_code", "balance_after_minor", "to_customer",
)  # fmt: skip
FORMAT = ("cents", "id_digit", "ref_digit", "ref_length", "second", "place", "nulls")
NULLS = ("card_id", "device_id", "merchant_id", "counterparty_id", "mcc", "entry_mode", "country", "response_code")
SPANS = ("1d", "7d", "30d")


def payments(frames: Tables) -> pl.DataFrame:
    """Card payments, cash and transfers in order of time, with `fraud` (whether any scenario made or changed the row) and all features."""
    label = (
        frames["label"]
        .filter(table="transaction")
        .drop_nulls("row_key")
        .unique("row_key", keep="first", maintain_order=True)
    )
    named = label.select("scenario", transaction_id="row_key")
    at, account = pl.col("authorised_at"), "account_id"
    party = frames["counterparty"].select("counterparty_id", "added_at")
    device = frames["device"].select("device_id", "first_seen_at")
    rows = (
        frames["transaction"]
        .join(named, on="transaction_id", how="left", maintain_order="left")
        .with_columns(fraud=pl.col("scenario").is_not_null())
        .filter(pl.col("channel").cast(pl.String).is_in(["card-present", "card-not-present", "atm", "transfer"]))
        .join(party, on="counterparty_id", how="left")
        .join(device, on="device_id", how="left")
        .sort("authorised_at", "transaction_ref")
    )
    rows = rows.with_columns(
        hour=at.dt.hour(),
        weekday=at.dt.weekday(),
        second=at.dt.second(),
        to_customer=pl.col("counterparty_account_id").is_not_null(),
        cents=pl.col("amount_minor") % 100,
        id_digit=pl.col("transaction_id") % 10,
        ref_digit=pl.col("transaction_ref") % 10,
        ref_length=pl.col("transaction_ref").cast(pl.String).str.len_chars(),
        # among what happens on the account in one hour, and which columns hold nothing
        place=pl.int_range(pl.len()).over("account_id", at.dt.truncate("1h"), order_by="transaction_id"),
        nulls=sum(pl.col(c).is_null().cast(pl.Int64) * 2**n for n, c in enumerate(NULLS)),
        party_age=(at - pl.col("added_at")).dt.total_seconds(),
        device_age=(at - pl.col("first_seen_at")).dt.total_seconds(),
        since=(at - at.shift(1).over(account)).dt.total_seconds(),
        times_party=pl.col("counterparty_id").cum_count().over("counterparty_id"),
        times_shop=pl.int_range(pl.len()).over(account, "merchant_id"),
        usual=pl.col("amount_minor")
        / (pl.col("amount_minor").cum_sum().over(account) / (1 + pl.int_range(pl.len()).over(account))),
    )
    one, refused = pl.lit(1), (pl.col("response_code").cast(pl.String).fill_null("00") != "00").cast(pl.Int64)
    inward = (pl.col("direction").cast(pl.String) == "CRDT").cast(pl.Int64)
    payee = pl.coalesce("counterparty_account_id", -1 - pl.col("transaction_id"))
    rows = rows.with_columns(one=one, refused=refused, received=inward * pl.col("amount_minor"), payee=payee)
    for span in SPANS:
        rows = rows.with_columns(_within("amount_minor", span, account, "sum"), _within("one", span, account, "count"))
    rows = rows.with_columns(
        _within("refused", "1d", account, "refused"),
        _within("received", "7d", account, "received"),
        _within("one", "1d", "merchant_id", "shop"),
        _within("one", "30d", "merchant_id", "shop"),
        _within("refused", "1d", "merchant_id", "shop_refused"),
        _within("one", "7d", "payee", "payee"),
        times_country=pl.int_range(pl.len()).over(account, "country"),
    )
    return rows.join(_undone(rows), on="transaction_id", how="left", maintain_order="left")


def _within(column: str, span: str, whose: str, name: str) -> pl.Expr:
    """The sum of a column over the span up to each row, by account, shop or payee."""
    return pl.col(column).rolling_sum_by("authorised_at", span).over(whose).alias(f"{name}_{span}")


def _undone(rows: pl.DataFrame) -> pl.DataFrame:
    """How many payments of the account have come back by the time of each."""
    back = rows.filter(pl.col("reversed_at").is_not_null()).select("account_id", at="reversed_at")
    back = back.sort("at").with_columns(undone=pl.int_range(1, pl.len() + 1).over("account_id"))
    asked = rows.select("transaction_id", "account_id", at="authorised_at").sort("at")
    return asked.join_asof(back, on="at", by="account_id", strategy="backward", check_sortedness=False).select(
        "transaction_id", pl.col("undone").fill_null(0)
    )


AGGREGATES = (
    *RAW, "party_age", "device_age", "since", "times_party", "times_shop", "times_country", "usual", "undone", "refused_1d", "received_7d",
    "shop_1d", "shop_30d", "shop_refused_1d", "payee_7d", *(f"{a}_{s}" for a in ("sum", "count") for s in SPANS),
)  # fmt: skip


def matrix(rows: pl.DataFrame, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """Numbers for columns, -1 for absent ones."""
    return rows.select(pl.col(c).to_physical().cast(pl.Float64).fill_null(-1.0) for c in columns).to_numpy()


def boosting() -> HistGradientBoostingClassifier:
    """The detector. Labels are rare, one payment in some thousand: without weight on its leaves, boosting gives the few that hold labels so much of it that the
    rest is lost (on 2 million payments: AUC 0.71 without, 0.90 with)."""
    return HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.05,
        l2_regularization=10.0,
        min_samples_leaf=100,
        early_stopping=False,
        random_state=0,
    )


def score(
    rows: pl.DataFrame,
    columns: tuple[str, ...],
    *,
    depth: int | None = None,
    shuffled: int | None = None,
    thin: float | None = None,
) -> tuple[float, float]:
    """Area under the ROC curve, and average precision, of a detector on the last part in time. With `depth` a single tree of that depth;
    with `shuffled` the labels are dealt out anew by this seed first;
    with `thin` only so many of the genuine payments are looked at, which changes no area."""
    if thin:
        dice = np.random.default_rng(0).random(rows.height) < thin
        rows = rows.filter(pl.col("fraud") | pl.Series(dice))
    x, y = matrix(rows, columns), rows["fraud"].to_numpy()
    if shuffled is not None:
        y = np.random.default_rng(shuffled).permutation(y)
    cut = int(len(y) * TRAINED)
    if depth:
        model = DecisionTreeClassifier(max_depth=depth, class_weight="balanced", random_state=0)
    else:
        model = boosting()
    with threadpool_limits(1):
        guess = model.fit(x[:cut], y[:cut]).predict_proba(x[cut:])[:, 1]
    return float(roc_auc_score(y[cut:], guess)), float(average_precision_score(y[cut:], guess))


def within(rows: pl.DataFrame, columns: tuple[str, ...], *by: str) -> float:
    """The area under the curve among payments alike in `by`, the mean over all kinds of them by their labelled payments."""
    areas, weights = [], []
    for part in rows.partition_by(by):
        cut = int(part.height * TRAINED)
        labelled = part["fraud"][:cut].sum(), part["fraud"][cut:].sum()
        if min(labelled) >= 10:
            areas.append(score(part, columns, depth=3)[0])
            weights.append(labelled[1])
    return float(np.average(areas, weights=weights))


def decayed(rows: pl.DataFrame, columns: tuple[str, ...]) -> float:
    """The area on the last part in time, by a model that was trained on the first and never again."""
    return score(rows, columns, thin=0.3)[0]


def per_scenario(ranks: Iterable[pl.DataFrame], least: int = 5) -> Mapping[str, tuple[float, float]]:
    """For each scenario with so many payments in the last part of the banks together: the mean rank that its payments get among genuine ones of their bank, by
    raw columns and with aggregates."""
    each = pl.concat(ranks).group_by("scenario")
    each = each.agg(pl.col("raw").mean(), pl.col("aggregates").mean(), n=pl.len()).filter(pl.col("n") >= least)
    return {name: (raw, aggregates) for name, raw, aggregates, _ in each.iter_rows()}


def ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """The labelled payments of the last part, with the ranks `raw` and `aggregates`."""
    dice = np.random.default_rng(0).random(rows.height) < 0.3
    rows = rows.filter(pl.col("fraud") | pl.Series(dice))
    y = rows["fraud"].to_numpy()
    cut = int(len(y) * TRAINED)
    ranks = []
    for columns in (RAW, AGGREGATES):
        x = matrix(rows, columns)
        model = boosting()
        with threadpool_limits(1):
            guess = model.fit(x[:cut], y[:cut]).predict_proba(x[cut:])[:, 1]
        genuine = np.sort(guess[~y[cut:]])
        ranks.append(np.searchsorted(genuine, guess) / len(genuine))
    last = rows[cut:].select("scenario", "fraud", raw=pl.Series(ranks[0]), aggregates=pl.Series(ranks[1]))
    return last.filter("fraud").drop("fraud")


def report(rows: pl.DataFrame) -> Mapping[str, tuple[float, float]]:
    """Every figure of the bands, by name."""
    return {
        "raw": score(rows, RAW),
        "aggregates": score(rows, AGGREGATES),
        "tree": score(rows, RAW, depth=3),
        "format": score(rows, FORMAT),
        "shuffled": score(rows, AGGREGATES, shuffled=1),
        **{f"only {c}": score(rows, (c,)) for c in RAW},
    }
