"""Charts for the demo page."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Picture
from ...core.picture import ALARM, PALETTE, figure, to_svg
from ...core.schema import LABEL
from ...core.tables import Tables

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CARD = ("card-present", "card-not-present")


def pictures(tables: Tables) -> list[Picture]:
    """Amounts, hours of the week, what the scenarios did, and the balance of an account that they touched."""
    return [_amounts(tables), _week(tables), *_fraud(tables), _balance(tables)]


def _amounts(tables: Tables) -> Picture:
    payment = tables["transaction"]
    fig = figure()
    ax = fig.subplots()
    bins = np.geomspace(0.1, 20_000, 90).tolist()
    for name, channels in (("Cards", CARD), ("Transfers", ("transfer",)), ("Pay", ("salary",))):
        amount = payment.filter(pl.col("channel").is_in(channels))["amount_minor"].to_numpy() / 100
        ax.hist(amount, bins=bins, histtype="step", label=name)
    ax.set(xscale="log", yscale="log", xlabel="Amount, major units", ylabel="Transactions")
    ax.legend()
    return Picture("Amounts", "Card payments are log-normal; pay and round transfers stand apart.", to_svg(fig))


def _week(tables: Tables) -> Picture:
    at = pl.col("authorised_at").dt
    counted = (
        tables["transaction"]
        .filter(pl.col("channel").is_in(CARD))
        .group_by(at.weekday().alias("day"), at.hour().alias("hour"))
        .len()
    )
    grid = np.zeros((7, 24))
    grid[counted["day"].to_numpy() - 1, counted["hour"].to_numpy()] = counted["len"].to_numpy()
    fig = figure(6.4, 2.6)
    ax = fig.subplots()
    ax.grid(False)
    ax.pcolormesh(np.arange(25), np.arange(8), grid, cmap="Blues", rasterized=False)
    ax.invert_yaxis()
    ax.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
    ax.set_xticks(range(0, 25, 3))
    ax.set_xlabel("Hour, UTC")
    return Picture(
        "Hours of the week",
        "Card payments by hour and weekday: the peak is before the evening, weekends are busier.",
        to_svg(fig),
    )


def _fraud(tables: Tables) -> list[Picture]:
    label = tables[LABEL.name].filter(pl.col("table") == "transaction")
    if label.is_empty():
        return []
    payment = tables["transaction"].select("transaction_id", "authorised_at", "amount_minor")
    background = payment.gather_every(max(1, payment.height // 900))
    fig = figure()
    ax = fig.subplots()
    ax.scatter(
        background["authorised_at"].to_numpy(),
        background["amount_minor"].to_numpy() / 100,
        s=2,
        alpha=0.25,
        color=PALETTE[0],
        linewidths=0,
    )
    for (name,), rows in sorted(label.partition_by("scenario", as_dict=True).items()):
        hit = payment.join(rows.select(transaction_id="row_key"), on="transaction_id")
        mark = {"card-testing": "x", "account-takeover": "^", "mule-ring": "o"}.get(str(name), "s")
        ax.scatter(
            hit["authorised_at"].to_numpy(),
            hit["amount_minor"].to_numpy() / 100,
            s=18,
            color=ALARM,
            marker=mark,
            linewidths=0.8,
            label=str(name),
        )
    ax.set(yscale="log", ylabel="Amount, major units")
    ax.tick_params(axis="x", labelrotation=30)
    ax.legend()
    return [
        Picture("Labelled fraud", "Every row that a scenario made, over a sample of all transactions.", to_svg(fig))
    ]


def _balance(tables: Tables) -> Picture:
    label = tables[LABEL.name].filter((pl.col("table") == "transaction") & (pl.col("effect") == "drain"))
    payment, entry = tables["transaction"], tables["ledger_entry"]
    drains = payment.filter(pl.col("transaction_id").is_in(label["row_key"].implode()))
    account = int((drains if drains.height else payment)["account_id"][0])
    mine = entry.filter((pl.col("account_id") == account) & pl.col("balance_minor").is_not_null())
    fig = figure(6.4, 2.8)
    ax = fig.subplots()
    ax.step(mine["booked_at"].to_numpy(), mine["balance_minor"].to_numpy() / 100, where="post", linewidth=1.0)
    hit = mine.filter(pl.col("transaction_ref").is_in(drains["transaction_ref"].implode()))
    ax.scatter(hit["booked_at"].to_numpy(), hit["balance_minor"].to_numpy() / 100, s=16, color=ALARM, zorder=3)
    ax.set_ylabel("Balance, major units")
    ax.tick_params(axis="x", labelrotation=30)
    what = "an account that was taken over; the drains are marked" if drains.height else "one account"
    return Picture("Running balance", f"The booked balance of {what}.", to_svg(fig))
