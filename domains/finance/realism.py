"""What published figures speak of, measured on the tables: each measure gives a value and its standard error, or None where there are too few rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.scenario import Use, load_scenarios
from ...core.stream import Stream
from ...core.tables import Table, Tables
from .bearing import statements
from .motifs import recovered, seen

FEWEST = 200
ROUNDS = 60
ZONES = {"GB": "Europe/London", "DE": "Europe/Berlin"}
CARD = pl.col("channel").cast(pl.String).is_in(["card-present", "card-not-present"])

Measured = tuple[float, float] | None


def log_amount(tables: Tables, category: str, moment: str) -> Measured:
    """Mean or standard deviation of the log of card amounts, in major units, at merchants of a category."""
    logs = np.log(_amounts(tables, category) / 100)
    if len(logs) < FEWEST:
        return None
    mean, spread = logs.mean(), logs.std()
    return (mean, spread / np.sqrt(len(logs))) if moment == "mean" else (spread, spread / np.sqrt(2 * len(logs)))


def first_digit(tables: Tables, digit: int, category: str | None = None) -> Measured:
    """Percent of card amounts that begin with a digit."""
    amounts = _amounts(tables, category)
    return None if len(amounts) < FEWEST else _percent(amounts // 10 ** np.floor(np.log10(amounts)) == digit)


def benford_distance(tables: Tables) -> Measured:
    """Mean absolute deviation, in percent points, of the nine first digits of card amounts from Benford's law."""
    amounts = _amounts(tables, None)
    if len(amounts) < FEWEST:
        return None
    digits = (amounts // 10 ** np.floor(np.log10(amounts))).astype(int)
    expected = np.log10(1 + 1 / np.arange(1, 10))
    off = np.abs(np.bincount(digits, minlength=10)[1:10] / len(digits) - expected)
    return float(100 * off.mean()), float(100 * np.sqrt((expected * (1 - expected)).mean() / len(digits)))


def payer_zipf(tables: Tables) -> Measured:
    """How fast the number of people paid falls with an employer's rank: minus the slope of their logs over the 30 largest, where each pays two at least."""
    paid = (
        tables["transaction"]
        .filter(pl.col("type").cast(pl.String) == "RCDT/SALA")
        .select("account_id", "counterparty_id")
        .unique()
    )
    party = tables["counterparty"].select("counterparty_id", "iban")
    employer = tables["employer"].filter(pl.col("kind").cast(pl.String).is_in(["company", "public"]))["iban"]
    paid = paid.join(party, on="counterparty_id").filter(pl.col("iban").is_in(employer.implode()))
    counts = paid.group_by("iban", maintain_order=True).len()["len"].to_numpy()
    if (counts >= 2).sum() < 30:
        return None
    rank = np.log(np.arange(1, 31))
    return _bootstrapped(counts, lambda x: float(-np.polyfit(rank, np.log(np.sort(x)[::-1][:30]), 1)[0]))


def median_amount(tables: Tables) -> Measured:
    """Median of card amounts in major units; the error by the sign test's order statistics."""
    amounts = np.sort(_amounts(tables, None)) / 100
    if len(amounts) < FEWEST:
        return None
    half = 0.98 * np.sqrt(len(amounts))
    low, high = amounts[int(len(amounts) / 2 - half)], amounts[int(len(amounts) / 2 + half)]
    return float(np.median(amounts)), float((high - low) / (2 * 1.96))


def hours(tables: Tables, first: int, last: int) -> Measured:
    """Percent of card payments in the holder's local hours from first to last (both included)."""
    return _percent_by_customer(tables, pl.col("local").dt.hour().is_between(first, last))


def weekdays(tables: Tables, first: int, last: int) -> Measured:
    """Percent of card payments on the holder's local weekdays, Monday 1 to Sunday 7."""
    return _percent_by_customer(tables, pl.col("local").dt.weekday().is_between(first, last))


def customer_gini(tables: Tables) -> Measured:
    """Gini coefficient of card payments per customer who made any."""
    return _bootstrapped(_local(tables).group_by("customer_id").len()["len"].to_numpy(), _gini)


def customer_tail(tables: Tables) -> Measured:
    """The 90th percentile of card payments per customer, over the median."""
    counts = _local(tables).group_by("customer_id").len()["len"].to_numpy()
    return _bootstrapped(counts, lambda x: float(np.quantile(x, 0.9) / np.quantile(x, 0.5)))


def waiting_variation(tables: Tables) -> Measured:
    """Standard deviation over mean of the time between a customer's card payments; the error by drawing customers again."""
    at = _local(tables).sort("customer_id", "authorised_at")
    gaps = at.select(
        "customer_id", gap=pl.col("authorised_at").diff().over("customer_id").dt.total_seconds()
    ).drop_nulls()
    each = gaps.group_by("customer_id", maintain_order=True).agg(
        n=pl.len().cast(pl.Float64),
        s=pl.col("gap").cast(pl.Float64).sum(),
        q=pl.col("gap").cast(pl.Float64).pow(2).sum(),
    )

    def variation(sums: NDArray) -> float:
        n, s, q = sums.sum(axis=0)
        return float(np.sqrt(q / n - (s / n) ** 2) / (s / n))

    return _bootstrapped(each.select("n", "s", "q").to_numpy(), variation)


def merchant_gini(tables: Tables, category: str) -> Measured:
    """Gini coefficient of card payments per merchant of a category in the countries that customers live in."""
    home = tables["customer"]["country"].cast(pl.String).unique()
    shops = tables["merchant"].filter(
        (pl.col("category").cast(pl.String) == category) & pl.col("country").cast(pl.String).is_in(home.implode())
    )
    paid = tables["transaction"].filter(CARD).group_by("merchant_id").len()
    counts = shops.join(paid, on="merchant_id", how="left", maintain_order="left")["len"].fill_null(0).to_numpy()
    return _bootstrapped(counts, _gini) if counts.sum() >= FEWEST else None


def merchant_zipf(tables: Tables, category: str) -> Measured:
    """How fast card payments fall with a merchant's rank: minus the slope of their logs over the 100 busiest of a category."""
    shops = tables["merchant"].filter(pl.col("category").cast(pl.String) == category)["merchant_id"]
    paid = tables["transaction"].filter(CARD & pl.col("merchant_id").is_in(shops.implode()))
    counts = paid.group_by("merchant_id", maintain_order=True).len()["len"].to_numpy()
    if len(counts) < 100:
        return None
    rank = np.log(np.arange(1, 101))
    return _bootstrapped(counts, lambda x: float(-np.polyfit(rank, np.log(np.sort(x)[::-1][:100]), 1)[0]))


def amount_quantile(tables: Tables, category: str, share: float) -> Measured:
    """A quantile of card amounts at merchants of a category, in major units; the error by order statistics."""
    amounts = np.sort(_amounts(tables, category)) / 100
    if len(amounts) < FEWEST:
        return None
    half, at = 1.96 * np.sqrt(share * (1 - share) * len(amounts)), share * (len(amounts) - 1)
    low, high = (amounts[int(np.clip(at + s * half, 0, len(amounts) - 1))] for s in (-1, 1))
    return float(np.quantile(amounts, share)), float((high - low) / (2 * 1.96))


def usual_merchants(tables: Tables, category: str) -> Measured:
    """Merchants of a category that a customer paid by card, the mean over those who paid any."""
    shops = tables["merchant"].filter(pl.col("category").cast(pl.String) == category)["merchant_id"]
    paid = tables["transaction"].filter(CARD & pl.col("merchant_id").is_in(shops.implode()))
    paid = paid.join(tables["account"].select("account_id", "customer_id"), on="account_id")
    each = paid.group_by("customer_id").agg(pl.col("merchant_id").n_unique())["merchant_id"].to_numpy()
    return None if len(each) < FEWEST else (float(each.mean()), float(each.std() / np.sqrt(len(each))))


def active(tables: Tables) -> Measured:
    """Percent of months in which a customer pays by card, over whole months of the record."""
    local = _local(tables).with_columns(month=pl.col("local").dt.truncate("1mo"))
    if local.height < FEWEST:
        return None
    first, last = local["month"].min(), local["month"].max()
    whole = local.filter((pl.col("month") > first) & (pl.col("month") < last))
    months, customers = whole["month"].n_unique(), tables["customer"].height
    if not months:
        return None
    seen = whole.group_by("customer_id").agg(pl.col("month").n_unique())["month"].to_numpy() / months
    each = np.concatenate([seen, np.zeros(max(0, customers - len(seen)))])
    return float(100 * each.mean()), float(100 * each.std() / np.sqrt(len(each)))


def round_transfers(tables: Tables) -> Measured:
    """Percent of transfers that customers send on their own whose amount is a multiple of 5 major units."""
    kind, side = pl.col("type").cast(pl.String), pl.col("direction").cast(pl.String)
    amounts = tables["transaction"].filter((kind == "ICDT/ESCT") & (side == "DBIT"))["amount_minor"].to_numpy()
    return None if len(amounts) < FEWEST else _percent(amounts % 500 == 0)


def standing_payees(tables: Tables) -> Measured:
    """Out-degree of the payment graph by standing orders: whom a customer who has any pays so, the mean."""
    sent = tables["transaction"].filter(pl.col("type").cast(pl.String) == "ICDT/STDO")
    sent = sent.join(tables["account"].select("account_id", "customer_id"), on="account_id")
    each = sent.group_by("customer_id").agg(pl.col("counterparty_id").n_unique())["counterparty_id"].to_numpy()
    return None if len(each) < FEWEST else (float(each.mean()), float(each.std() / np.sqrt(len(each))))


def carried_over(tables: Tables) -> Measured:
    """Percent of credit card accounts, of those that owe something, that carry some of a statement over: the mean over accounts of the share of their months."""
    made = _statements(tables)
    if made is None:
        return None
    each = made.filter(pl.col("falls") & (pl.col("owed") > 0)).group_by("account_id").agg(pl.col("carried").mean())
    return _mean(100 * each["carried"].to_numpy())


def card_rate(tables: Tables, currency: str) -> Measured:
    """Interest charged in a year over what is carried over, in percent, of credit cards in a currency."""
    made = _statements(tables)
    if made is None:
        return None
    made = made.filter(
        pl.col("carried") & pl.col("posts") & (pl.col("days") < 0) & (pl.col("currency").cast(pl.String) == currency)
    )
    charged = made.group_by("account_id", maintain_order=True).agg(pl.col("interest").sum(), owed=-pl.col("days").sum())
    interest, owed = charged["interest"].to_numpy() * 36_500.0, charged["owed"].to_numpy().astype(float)
    if len(owed) < FEWEST // 4:
        return None
    rate = interest.sum() / owed.sum()
    return float(rate), float(np.sqrt(((interest - rate * owed) ** 2).sum()) / owed.sum())


def _statements(tables: Tables) -> pl.DataFrame | None:
    if "repays" not in tables["account"].columns:
        return None
    none = pl.DataFrame(schema={"table": pl.String, "row_key": pl.Int64})
    made = statements({n: t.lazy() for n, t in {"label": none, **tables}.items()})
    return None if made.height < FEWEST else made


def _mean(each: NDArray) -> Measured:
    return None if len(each) < FEWEST else (float(each.mean()), float(each.std() / np.sqrt(len(each))))


def motifs_recovered(tables: Tables) -> Measured:
    """Percent of labelled instances of laundering typologies whose pattern a matcher finds that sees no label, with the typologies' default settings; None
    where none was cast."""
    label = tables.get("label")
    if label is None or not label.height:
        return None
    label = label.with_columns(pl.col("scenario", "table", "effect").cast(pl.String))
    known = {n: s for n, s in load_scenarios("finance").items() if s.match}
    what = seen(tables)
    found = []
    for name in label["scenario"].unique().sort():
        if name in known:
            use = Use(known[name], {p.name: p.default for p in known[name].parameters.values()}, 1)
            found += recovered(what, use, label)[0]["found"].to_list()
    return _percent(np.array(found)) if found else None


def defaulted(tables: Tables) -> Measured:
    """Percent of customers with a credit limit who default in the next month."""
    known = tables["customer"]["defaulted"].drop_nulls().to_numpy()
    return None if len(known) < FEWEST else _percent(known)


def fraud_value(tables: Tables, channels: list[str], scenarios: list[str]) -> Measured:
    """Percent of the value paid through channels that belongs to one of the scenarios; None where none of them took any there."""
    label = tables.get("label")
    if label is None:
        return None
    mine = (pl.col("table").cast(pl.String) == "transaction") & pl.col("scenario").cast(pl.String).is_in(scenarios)
    marked = label.filter(mine)["row_key"]
    if not len(marked):
        return None
    # what was charged back later was paid all the same
    mine = pl.col("channel").cast(pl.String).is_in(channels) & pl.col("cleared_at").is_not_null()
    paid = tables["transaction"].filter(mine & (pl.col("direction").cast(pl.String) == "DBIT"))
    if paid.height < FEWEST:
        return None
    amounts = paid["amount_minor"].to_numpy().astype(float)
    taken = np.where(paid["transaction_id"].is_in(marked.implode()).to_numpy(), amounts, 0.0)
    if not taken.any():
        return None
    share = taken.sum() / amounts.sum()
    return float(100 * share), float(100 * np.sqrt(((taken - share * amounts) ** 2).sum()) / amounts.sum())


MEASURES: dict[str, Callable[..., Measured]] = {
    m.__name__: m
    for m in (
        log_amount,
        first_digit,
        benford_distance,
        payer_zipf,
        median_amount,
        hours,
        weekdays,
        customer_gini,
        customer_tail,
        waiting_variation,
        merchant_gini,
        merchant_zipf,
        amount_quantile,
        usual_merchants,
        active,
        round_transfers,
        standing_payees,
        carried_over,
        card_rate,
        motifs_recovered,
        defaulted,
        fraud_value,
    )
}


def _amounts(tables: Tables, category: str | None) -> NDArray[np.int64]:
    paid = tables["transaction"].filter(CARD & (pl.col("amount_minor") > 0))
    if category:
        shops = tables["merchant"].filter(pl.col("category").cast(pl.String) == category)["merchant_id"]
        paid = paid.filter(pl.col("merchant_id").is_in(shops.implode()))
    return paid["amount_minor"].to_numpy()


def _local(tables: Tables) -> Table:
    """Card payments with the holder and the holder's local time."""
    holder = tables["account"].select("account_id", "customer_id")
    home = tables["customer"].select("customer_id", home=pl.col("country").cast(pl.String))
    paid = tables["transaction"].filter(CARD).select("account_id", "authorised_at")
    paid = paid.join(holder, on="account_id").join(home, on="customer_id")
    at = pl.col("authorised_at")
    local = pl.coalesce(
        pl.when(pl.col("home") == c).then(at.dt.convert_time_zone(z).dt.replace_time_zone(None))
        for c, z in ZONES.items()
    )
    return paid.with_columns(local=local).drop_nulls("local")


def _percent(is_so: NDArray[np.bool_]) -> tuple[float, float]:
    share = float(is_so.mean())
    return 100 * share, 100 * float(np.sqrt(max(share * (1 - share), 1 / len(is_so)) / len(is_so)))


def _percent_by_customer(tables: Tables, is_so: pl.Expr) -> Measured:
    """A share of payments; customers have habits, so the error is that of a ratio over customers."""
    each = _local(tables).group_by("customer_id", maintain_order=True).agg(n=pl.len(), k=is_so.sum())
    if each["n"].sum() < FEWEST:
        return None
    n, k = (each[c].to_numpy().astype(float) for c in ("n", "k"))
    share = k.sum() / n.sum()
    return float(100 * share), float(100 * np.sqrt(((k - share * n) ** 2).sum()) / n.sum())


def _bootstrapped(each: NDArray, statistic: Callable[[NDArray], float]) -> Measured:
    """A statistic of units and the spread of it over samples drawn from them again (Efron 1979)."""
    if len(each) < FEWEST // 4:
        return None
    stream = Stream.root(0).child("bootstrap")
    at = np.arange(len(each))
    again = [statistic(each[(stream.child(n).uniform(at) * len(each)).astype(int)]) for n in range(ROUNDS)]
    return statistic(each), float(np.std(again))


def _gini(counts: NDArray) -> float:
    x = np.sort(counts.astype(float))
    return float((2 * np.arange(1, len(x) + 1) - len(x) - 1) @ x / (len(x) * x.sum()))
