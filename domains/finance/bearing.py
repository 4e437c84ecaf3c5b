"""Checks of what accounts earn and cost by the month, worked out again from the ledger: cards' payments and interest, the interest of savings."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from ...core.domain import Check
from ...core.schema import LABEL
from .calendar import DAY, micros, month_after, working_day
from .validators import CUSTOMER_SIDE, Lazy, violations

YEAR = 365
FOUND = {"table": pl.String, "row_key": pl.Int64, "detail": pl.String}


def periods(tables: Lazy, kind: str) -> pl.DataFrame:
    """The months of all accounts of a kind, in order: from day `begin` until before day `cut` (since 1970), what they held when it began (`held`), how much
    moved in it, and the sum of the balance at the end of each of its days (`days`). The month before the record is among them, and empty."""
    account = tables["account"].filter(pl.col("annual_rate").is_not_null(), pl.col("type").cast(pl.String) == kind)
    account = account.with_columns(on=pl.coalesce("statement_day", pl.lit(1, pl.Int32)).cast(pl.Int64)).collect()
    moved = (
        tables["ledger_entry"]
        .filter(CUSTOMER_SIDE & pl.col("account_id").is_in(account["account_id"].implode()))
        .select("account_id", "kind", "amount_minor", at=pl.col("booked_at").dt.epoch("us"))
        .collect()
    )
    opening = (
        moved.filter(pl.col("kind") == "opening").group_by("account_id").agg(start=(pl.col("at").min() + 1) // DAY)
    )
    account = account.join(opening, on="account_id")
    # scenarios may pay beyond the end of the record
    marked = (
        tables[LABEL.name].filter(pl.col("table").cast(pl.String) == "transaction").select(transaction_id="row_key")
    )
    paid = tables["transaction"].select("transaction_id", "authorised_at").join(marked, on="transaction_id", how="anti")
    last = paid.select(pl.col("authorised_at").dt.epoch("us").max() // DAY).collect().item()
    if account.is_empty() or last is None:
        return pl.DataFrame()
    first, months = int(account["start"].min()), []  # type: ignore[arg-type]
    month = month_after((dt.date(1970, 1, 1) + dt.timedelta(first)).replace(day=1), -1)
    while micros(month) // DAY <= last:
        months.append(micros(month) // DAY)
        month = month_after(month, 1)
    # nothing is charged on a card once its account is frozen
    last_day = ("closed_on", "frozen_on") if kind == "credit" else ("closed_on",)
    ended = pl.min_horizontal(*last_day)
    until = ended.cast(pl.Int64).fill_null(1 << 30)
    cuts = account.join(pl.DataFrame({"month": months}), how="cross").with_columns(
        nominal=pl.col("month") + pl.col("on") - 1
    )
    cuts = cuts.filter(pl.col("nominal") < pl.min_horizontal(until, last + 1))
    ends = account.filter(ended.is_not_null()).with_columns(nominal=until)
    cuts = pl.concat([cuts.drop("month"), ends.select(cuts.drop("month").columns)]).sort("account_id", "nominal")
    # of what lies before the record the last statement alone matters
    later = pl.col("nominal").shift(-1).over("account_id")
    cuts = cuts.filter((pl.col("nominal") >= pl.col("start")) | (later >= pl.col("start")) | later.is_null())
    cuts = cuts.with_columns(cut=pl.max_horizontal("nominal", "start"))
    cuts = cuts.with_columns(
        begin=pl.col("cut").shift(1).over("account_id").fill_null(pl.col("start")),
        posts=pl.col("nominal") >= pl.col("start"),
    )
    moved = moved.join(account.select("account_id", "start"), on="account_id").with_columns(
        day=pl.max_horizontal(pl.col("at") // DAY, "start")
    )
    moved = moved.sort("day").join_asof(
        cuts.select("account_id", "cut").sort("cut"),
        left_on="day", right_on="cut", by="account_id", strategy="forward", allow_exact_matches=False, check_sortedness=False,
        coalesce=False,
    ).drop_nulls("cut")  # fmt: skip
    sums = moved.group_by("account_id", "cut").agg(
        total=pl.col("amount_minor").sum(), weighted=(pl.col("amount_minor") * (pl.col("cut") - pl.col("day"))).sum()
    )
    cuts = cuts.join(sums, on=["account_id", "cut"], how="left", maintain_order="left").with_columns(
        # what lies before the record holds no day of it; the opening balance moves in the first month that does
        pl.when(pl.col("cut") > pl.col("begin")).then(c).fill_null(0).alias(c)
        for c in ("total", "weighted")
    )
    held = pl.col("total").cum_sum().over("account_id") - pl.col("total")
    cuts = cuts.with_columns(held=held, until=until)
    return cuts.with_columns(days=pl.col("held") * (pl.col("cut") - pl.col("begin")) + pl.col("weighted"))


def _charges(tables: Lazy, channel: str, direction: str) -> pl.DataFrame:
    """What was booked through a channel, by account and day."""
    rows = tables["transaction"].filter(
        pl.col("channel").cast(pl.String) == channel, pl.col("direction").cast(pl.String) == direction, pl.col("cleared_at").is_not_null()
    )  # fmt: skip
    return rows.select(
        "transaction_id", "account_id", "amount_minor", cut=pl.col("cleared_at").dt.epoch("us") // DAY
    ).collect()


def statements(tables: Lazy) -> pl.DataFrame:
    """The periods of credit accounts with what was asked of each and paid (`asked`, `paid`, of the statement before, which owed `owed`), what was charged
    (`interest`, `transaction_id`), and whether a balance was carried over (`carried`) and is therefore charged for."""
    cuts = periods(tables, "credit")
    if cuts.is_empty():
        return cuts
    keys = ["account_id", "cut"]
    interest, fee = (_charges(tables, c, "DBIT") for c in ("interest", "fee"))
    cuts = cuts.join(
        interest.group_by(keys).agg(interest=pl.col("amount_minor").sum(), transaction_id=pl.col("transaction_id").first()), on=keys, how="left", maintain_order="left"
    )  # fmt: skip
    cuts = cuts.join(
        fee.group_by(keys).agg(fee=pl.col("amount_minor").sum()), on=keys, how="left", maintain_order="left"
    )
    posts = pl.col("posts")
    cuts = cuts.with_columns(
        pl.when(posts).then(pl.col(c).fill_null(0)).otherwise(0).alias(c) for c in ("interest", "fee")
    )
    empty = pl.col("cut") == pl.col("begin")
    booked = pl.when(empty).then("opening_balance_minor").otherwise(pl.col("held") + pl.col("total"))
    balance = booked - pl.col("interest") - pl.col("fee")
    cuts = cuts.with_columns(statement=balance)
    # the last day by which direct debits can be collected
    due = (pl.col("nominal").shift(1) + pl.col("due_days").cast(pl.Int64).shift(1)).over("account_id")
    cuts = cuts.with_columns(due=due, owed=pl.max_horizontal(-pl.col("statement").shift(1).over("account_id"), 0))
    known = cuts["due"].fill_null(cuts["begin"]).to_numpy().astype(np.int64)
    money = (cuts["currency"].cast(pl.String) == "EUR").to_numpy().astype(np.int64)
    cuts = cuts.with_columns(collected=pl.Series(working_day(known, money, later=False)))
    falls = (
        pl.col("due").is_not_null() & (pl.col("collected") >= pl.col("start")) & (pl.col("collected") < pl.col("until"))
    )
    paid = payments(tables).sort("day")
    paid = paid.join_asof(
        cuts.filter(~empty).select("account_id", "cut", at="cut").sort("cut"), left_on="day", right_on="cut", by="account_id",
        strategy="forward", allow_exact_matches=False, check_sortedness=False, coalesce=False,
    ).drop_nulls("at")  # fmt: skip
    each = paid.group_by("account_id", "at").agg(
        paid=pl.col("amount_minor").filter(pl.col("booked")).sum(), asked=pl.col("amount_minor").sum(), payment_id=pl.col("transaction_id").first(), day=pl.col("day").first(), n=pl.len()
    )  # fmt: skip
    cuts = cuts.join(each, left_on=keys, right_on=["account_id", "at"], how="left", maintain_order="left").with_columns(
        pl.when(empty).then(0).otherwise(pl.col(c).fill_null(0)).alias(c) for c in ("paid", "asked")
    )
    carries = pl.when(falls).then(pl.col("paid") < pl.col("owed")).forward_fill().over("account_id")
    at_first = (pl.col("repays").cast(pl.String) != "full") & (pl.col("opening_balance_minor") < 0)
    return cuts.with_columns(carried=carries.fill_null(at_first), falls=falls)


def payments(tables: Lazy) -> pl.DataFrame:
    """Direct debits and standing orders that pay a credit account: which account, on which day, whether booked."""
    card = tables["account"].filter(pl.col("repays").is_not_null()).select(counterparty_account_id="account_id")
    paid = tables["transaction"].filter(
        pl.col("type").cast(pl.String).is_in(["RDDT/ESDD", "ICDT/STDO"])
        & pl.col("counterparty_account_id").is_not_null()
    )
    return paid.join(card, on="counterparty_account_id").select(
        "transaction_id", "amount_minor", account_id="counterparty_account_id",
        day=pl.col("authorised_at").dt.epoch("us") // DAY, booked=pl.col("cleared_at").is_not_null(),
    ).collect()  # fmt: skip


def card_interest(tables: Lazy) -> pl.DataFrame:
    """Interest is charged on what was carried over, by the balance at the end of each day, and on nothing else."""
    made = statements(tables)
    if made.is_empty():
        return pl.DataFrame(schema=FOUND)
    charge = (pl.max_horizontal(-pl.col("days"), 0) * pl.col("annual_rate") / YEAR).round()
    due = pl.when(pl.col("carried") & pl.col("posts")).then(charge).otherwise(0).cast(pl.Int64)
    return _off(made.with_columns(expected=due, found=pl.col("interest")), _charges(tables, "interest", "DBIT"))


def savings_interest(tables: Lazy) -> pl.DataFrame:
    """Savings bear interest by the balance at the end of each day, credited on the first of the next month."""
    made = periods(tables, "savings")
    if made.is_empty():
        return pl.DataFrame(schema=FOUND)
    borne = _charges(tables, "interest", "CRDT")
    keys = ["account_id", "cut"]
    got = borne.group_by(keys).agg(found=pl.col("amount_minor").sum(), transaction_id=pl.col("transaction_id").first())
    made = made.join(got, on=keys, how="left", maintain_order="left").with_columns(
        found=pl.when(pl.col("posts")).then(pl.col("found").fill_null(0)).otherwise(0),
        expected=pl.when(pl.col("posts")).then((pl.max_horizontal("days", 0) * pl.col("annual_rate") / YEAR).round()).otherwise(0).cast(pl.Int64),
    )  # fmt: skip
    return _off(made, borne)


def _off(made: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    off = made.filter((pl.col("found") - pl.col("expected")).abs() > 1)
    words = pl.format("interest of {}, expected {}", "found", "expected")
    booked, missing = off.drop_nulls("transaction_id"), off.filter(pl.col("transaction_id").is_null())
    such = made.select("account_id").unique()
    stray = rows.join(such, on="account_id").join(made.filter("posts"), on=["account_id", "cut"], how="anti")
    return pl.concat(
        [
            violations("transaction", "transaction_id", booked.lazy(), words),
            violations("account", "account_id", missing.lazy(), words),
            violations(
                "transaction", "transaction_id", stray.lazy(), "interest on a day that ends no month of the account"
            ),
        ]
    )


def card_payment(tables: Lazy) -> pl.DataFrame:
    """A statement is asked for once, by its due date, and no more than it says: all of it where the holder pays in full."""
    made = statements(tables)
    if made.is_empty():
        return pl.DataFrame(schema=FOUND)
    full = pl.col("repays").cast(pl.String) == "full"
    wrong = (
        (pl.col("asked") > pl.col("owed")) | (full & (pl.col("asked") != pl.col("owed"))) | (pl.col("n") > 1) | (pl.col("day") > pl.col("due"))
    )  # fmt: skip
    off = made.drop_nulls("payment_id").filter(wrong | ~pl.col("falls"))
    never = made.filter(
        pl.col("falls") & (pl.col("owed") > 0) & pl.col("payment_id").is_null() & (pl.col("cut") > pl.col("begin"))
    )
    words = pl.format("asked for {} of {} owed", "asked", "owed")
    return pl.concat(
        [
            violations("transaction", "transaction_id", off.drop("transaction_id").rename({"payment_id": "transaction_id"}).lazy(), words),
            violations("account", "account_id", never.lazy(), words),
        ]
    )  # fmt: skip


BOOKS = ("account", "transaction", "ledger_entry", LABEL.name)
CHECKS = (
    Check("card.interest", BOOKS, "Credit accounts are charged interest on what is carried over, by daily balances, and on nothing else.", card_interest),
    Check("card.payment", BOOKS, "Statements are asked for once, by their due date, and no more than they say.", card_payment),
    Check("savings.interest", BOOKS, "Savings bear interest by daily balances, credited monthly.", savings_interest),
)  # fmt: skip
