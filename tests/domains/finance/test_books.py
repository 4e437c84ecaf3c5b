"""The books balance, whoever adds them up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.digest import digest
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

from .conftest import SCENARIOS


def test_nothing_is_wrong_with_what_is_generated(bank: Dataset):
    assert bank.validate().is_empty()


def test_postings_of_each_reference_sum_to_zero_added_up_by_hand(bank: Dataset):
    sums: dict[tuple, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for entry in bank.frames["ledger_entry"].head(20_000).iter_rows(named=True):
        sums[entry["account_id"], entry["transaction_ref"], entry["kind"]] += entry["amount_minor"]
        total[entry["currency"]] += entry["amount_minor"]
    assert len(sums) > 5_000
    assert set(sums.values()) == {0}


def test_balances_recompute_from_the_payments_alone(bank: Dataset):
    """An oracle that never looks at the ledger: opening balance and payments, in plain Python."""
    frames = bank.frames
    accounts = frames["account"].head(40)
    got = dict(frames["exchange"].select("transaction_id", "amount_minor").iter_rows())
    movements: dict[int, list[tuple]] = {a: [] for a in accounts["account_id"]}
    for t in frames["transaction"].iter_rows(named=True):
        if t["cleared_at"] is None:
            continue
        amount = t["amount_minor"] if t["direction"] == "CRDT" else -t["amount_minor"]
        # what is changed between own accounts arrives in the other's currency
        other = -amount if t["channel"] != "exchange" else got[t["transaction_id"]]
        for account, change in ((t["account_id"], amount), (t["counterparty_account_id"], other)):
            if account in movements:
                movements[account].append((t["cleared_at"], t["transaction_id"], 0, change))
                if t["reversed_at"] is not None:
                    back = t["reversed_minor"] if change > 0 else -t["reversed_minor"]
                    movements[account].append((t["reversed_at"], t["transaction_id"], 1, -back))
    booked = frames["ledger_entry"].filter(pl.col("internal_account_id").is_null())
    after = dict(
        zip(frames["transaction"]["transaction_id"], frames["transaction"]["balance_after_minor"], strict=True)
    )
    for account, opening in zip(accounts["account_id"], accounts["opening_balance_minor"], strict=True):
        balance, expected = opening, [opening]
        for _, transaction, kind, change in sorted(movements[account]):
            balance += change
            expected.append(balance)
            if kind == 0 and transaction // 1_000_000 == account:
                assert after[transaction] == balance
        assert booked.filter(account_id=account)["balance_minor"].to_list() == expected


def test_each_internal_account_mirrors_the_customers(bank: Dataset):
    entry = bank.frames["ledger_entry"]
    customers, internal = (
        entry.filter(side)["amount_minor"].sum()
        for side in (pl.col("internal_account_id").is_null(), pl.col("internal_account_id").is_not_null())
    )
    assert customers == -internal != 0
    clearing = bank.frames["internal_account"].filter(
        pl.col("purpose").is_in(["transfer-clearing", "wallet-settlement", "direct-debit-clearing"])
    )["internal_account_id"]
    both = bank.frames["transaction"].filter(
        pl.col("counterparty_account_id").is_not_null(),
        pl.col("cleared_at").is_not_null(),
        pl.col("channel") != "exchange",
    )["transaction_ref"]
    through = entry.filter(
        pl.col("transaction_ref").is_in(both.implode()), pl.col("internal_account_id").is_in(clearing.implode())
    )
    assert through.height == 2 * both.len()
    assert through["amount_minor"].sum() == 0, "what comes into clearing from one customer leaves it to the other"


def test_a_ring_across_blocks_is_the_ring_of_one_block(bank: Dataset):
    requests = tuple(parse_request(s) for s in SCENARIOS)
    scattered = generate(make_plan(Spec("finance", size=150, seed=3, scenarios=requests), replace(DOMAIN, block=11)))
    for name, frame in bank.frames.items():
        assert str(digest(frame)) == str(digest(scattered.frames[name])), name
    hops = hops_of(scattered)
    blocks = (hops["account_id"] // 8 // 11) != (hops["counterparty_account_id"] // 8 // 11)
    assert blocks.sum() > hops.height / 2, "the test is about rings that span blocks"


def hops_of(data: Dataset) -> pl.DataFrame:
    keys = data.frames["label"].filter(pl.col("effect") == "hop")
    return keys.join(data.frames["transaction"], left_on="row_key", right_on="transaction_id")


def cents(table: str, column: str, expr: pl.Expr, where: pl.Expr) -> tuple[str, pl.Expr]:
    return table, pl.when(where & (where.cum_sum() == 1)).then(expr).otherwise(pl.col(column)).alias(column)


FIRST = pl.int_range(pl.len()) == 5
CARD = pl.col("card_id").is_not_null()
PLANTED = {
    "ledger.double-entry": cents("ledger_entry", "amount_minor", pl.col("amount_minor") + 1, FIRST),
    "ledger.running-balance": cents("ledger_entry", "balance_minor", pl.col("balance_minor") + 1, (pl.int_range(pl.len()) == 6)),
    "ledger.posted": cents("transaction", "balance_after_minor", pl.col("balance_after_minor") - 1, pl.col("cleared_at").is_not_null()),
    "card.luhn": cents("card", "pan", pl.lit("9999000000000000"), FIRST),
    "account.iban-check-digits": cents("account", "iban", pl.col("iban").str.replace("[0-9]{2}", "01"), FIRST),
    "counterparty.iban-check-digits": cents("counterparty", "iban", pl.col("iban").str.replace("[0-9]{2}", "99"), FIRST),
    "transaction.card-valid": cents("transaction", "authorised_at", pl.col("authorised_at").dt.offset_by("-20y"), CARD),
    "transaction.account-open": cents("transaction", "authorised_at", pl.col("authorised_at").dt.offset_by("-200y"), ~CARD),
    "transaction.known-by-then": cents("transaction", "authorised_at", pl.col("authorised_at").dt.offset_by("-30y"), pl.col("device_id").is_not_null()),
    "transaction.clears-after-authorisation": cents("transaction", "cleared_at", pl.col("authorised_at").dt.offset_by("-1s"), pl.col("cleared_at").is_not_null()),
    "transaction.reverses-after-authorisation": cents("transaction", "reversed_at", pl.col("authorised_at").dt.offset_by("-1s"), pl.col("reversed_at").is_not_null()),
    "transaction.reverses-after-clearing": cents("transaction", "reversed_at", pl.col("cleared_at").dt.offset_by("-1s"), pl.col("reversed_at").is_not_null() & pl.col("cleared_at").is_not_null()),
    "account.iban.pattern": cents("account", "iban", pl.lit("GB29NWBK60161331926819"), FIRST),
    "card.pan.pattern": cents("card", "pan", pl.lit("4111111111111111"), FIRST),
    "transaction.merchant_id.reference": cents("transaction", "merchant_id", pl.lit(10**9), CARD),
    "ledger.currency": cents("ledger_entry", "currency", pl.lit("JPY"), FIRST),
    "account.within-limit": cents("account", "overdraft_limit_minor", pl.lit(-(10**12)), pl.col("type").cast(pl.String) == "credit"),
    "exchange.amount": cents("exchange", "amount_minor", pl.col("amount_minor") * 100, FIRST),
    "value_date.backdated": cents("value_date", "value_on", pl.col("value_on").dt.offset_by("9d"), pl.int_range(pl.len()) == 0),
    "adjustment.cleared": cents("adjustment", "cleared_minor", pl.col("cleared_minor") + 1, FIRST),
    "adjustment.sum": cents("adjustment", "released_minor", pl.col("released_minor") + 1, FIRST),
    "dispute.booked": cents("dispute", "opened_at", pl.col("opened_at").dt.offset_by("-20y"), pl.int_range(pl.len()) == 0),
    "fraud_report.charged-back": cents("fraud_report", "charged_back_at", pl.col("charged_back_at").dt.offset_by("1s"), pl.col("charged_back_at").is_not_null()),
    "instalment.schedule": cents("instalment", "interest_minor", pl.col("interest_minor") + 500, FIRST),
    "credit_transfer.order": cents("credit_transfer", "remittance", pl.lit("RF00123456789012"), FIRST),
    "transaction.belongs": cents("transaction", "terminal_id", pl.col("terminal_id") + 64, pl.col("terminal_id").is_not_null()),
    "employer.iban-check-digits": cents("employer", "iban", pl.col("iban").str.replace("[0-9]{2}", "01"), FIRST),
    "transaction.reversed-no-more-than-booked": cents("transaction", "reversed_minor", pl.col("amount_minor") + 1, pl.col("reversed_minor").is_not_null()),
    "transaction.reversed-has-amount": cents("transaction", "reversed_minor", pl.lit(1), pl.col("reversed_minor").is_null()),
    "transaction.terminal-for-cards": cents("transaction", "terminal_id", pl.lit(0), ~CARD),
    "transaction.mcc.codes": cents("transaction", "mcc", pl.lit("0000"), CARD),
    "merchant.country.codes": cents("merchant", "country", pl.lit("XX"), FIRST),
    "customer.email.pattern": cents("customer", "email", pl.lit("someone@gmail.com"), FIRST),
    "customer.phone.pattern": cents("customer", "phone", pl.lit("+44 7911 123456"), FIRST),
    "device.ip.pattern": cents("device", "ip", pl.lit("8.8.8.8"), FIRST),
    "ip_address.ip.pattern": cents("ip_address", "ip", pl.lit("10.0.0.1"), FIRST),
    "credit_transfer.creditor_bic.pattern": cents("credit_transfer", "creditor_bic", pl.lit("DEUTDEFFXXX"), FIRST),
    "employer.iban.pattern": cents("employer", "iban", pl.lit("DE89370400440532013000"), FIRST),
    "counterparty.iban.pattern": cents("counterparty", "iban", pl.lit("NL91ABNA0417164300"), FIRST),
    "customer.opened-after-birth": cents("customer", "birth_date", pl.col("opened_on").dt.offset_by("1d"), FIRST),
    "card.expires-after-issue": cents("card", "expires_on", pl.col("issued_on"), FIRST),
    "transaction.declined-is-final": cents("transaction", "status", pl.lit("declined"), pl.col("status") == "booked"),
    "transaction.booked-has-cleared": cents("transaction", "status", pl.lit("booked"), pl.col("status") == "declined"),
    "transaction.declined-has-reason": cents("transaction", "response_code", pl.lit("00"), pl.col("status") == "declined"),
    "transaction.approved-is-by-card": cents("transaction", "status", pl.lit("approved"), pl.col("status") == "booked"),
    "transaction.pin-where-entered": cents("transaction", "response_code", pl.lit("55"), (pl.col("status") == "declined") & (pl.col("channel") == "card-not-present")),
    "transaction.secured-online": cents("transaction", "three_ds", pl.lit("frictionless"), pl.col("terminal_id").is_not_null()),
    "customer.dies-after-birth": cents("customer", "deceased_on", pl.date(1900, 1, 1), FIRST),
    "alert.after-payment": cents("alert", "raised_at", pl.col("raised_at").dt.offset_by("-1y"), pl.int_range(pl.len()) == 0),
    "fraud_report.after-payment": cents("fraud_report", "reported_at", pl.col("reported_at").dt.offset_by("-1y"), pl.int_range(pl.len()) == 0),
    "account_holder.first": cents("account_holder", "customer_id", pl.col("customer_id") + 1, FIRST),
    "transaction.reversed-has-time": cents("transaction", "status", pl.lit("reversed"), pl.col("status") == "booked"),
    "transaction.card-channel-has-card": cents("transaction", "card_id", pl.lit(None, pl.Int64), CARD),
    "dispute.in-order": cents("dispute", "charged_back_at", pl.col("opened_at").dt.offset_by("-1s"), pl.int_range(pl.len()) == 0),
    "ledger_entry.balance-on-customer-side": cents("ledger_entry", "balance_minor", pl.lit(0), pl.col("internal_account_id").is_not_null()),
    "fraud_report.charges-back-after-report": cents("fraud_report", "charged_back_at", pl.col("reported_at").dt.offset_by("-1s"), pl.col("charged_back_at").is_not_null()),
    "account.overdraft_limit_minor.min": cents("account", "overdraft_limit_minor", pl.lit(-1), FIRST),
    "transaction.amount_minor.min": cents("transaction", "amount_minor", pl.lit(0), FIRST),
    "account.ended": cents("account", "closed_on", pl.lit(None, pl.Date), pl.col("closed_on").is_not_null()),
    "account.closed-empty": cents("account", "closed_on", pl.date(2025, 2, 1), pl.int_range(pl.len()) == 0),
    "mandate.payments": cents("mandate", "collections", pl.col("collections") + 1, FIRST),
    "standing_order.payments": cents("standing_order", "amount_minor", pl.col("amount_minor") + 1, FIRST),
    "loan.lent-to-adults": cents("loan", "paid_out_on", pl.col("paid_out_on").dt.offset_by("-70y"), FIRST),
    "transaction.void-is-before-clearing": cents("transaction", "reversal", pl.lit("void"), pl.col("reversal").cast(pl.String) == "refund"),
}  # fmt: skip


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_violation_is_found_and_named(bank: Dataset, check: str):
    table, spoil = PLANTED[check]
    tables = dict(bank.frames)
    frame = tables[table]
    # codes as a file has them: texts
    coded = [c for c, d in frame.schema.items() if isinstance(d, pl.Enum)]
    before = (
        frame.with_columns(pl.col(coded).cast(pl.String))
        if check.endswith(".codes") or spoil.meta.output_name() in coded
        else frame
    )
    tables[table] = before.with_columns(spoil)
    changed = tables[table].filter(tables[table].to_struct() != before.to_struct())
    assert changed.height == 1
    found = check_tables(DOMAIN, tables, set(tables) - {"label"}).filter(check=check)
    assert found.height >= 1
    key = DOMAIN.schema[table].key
    if check not in ("ledger.double-entry", "account.within-limit"):
        assert changed[key][0] in found["row_key"].to_list()


@pytest.mark.parametrize(
    ("table", "kind", "payee"),
    [("mandate", "RDDT/ESDD", "merchant_id"), ("standing_order", "ICDT/STDO", "counterparty_id")],
)
@pytest.mark.parametrize("wrong", ["amount", "day", "payee", "before", "missing", "twice"])
def test_payments_that_are_not_as_ordered_are_found(bank: Dataset, table: str, kind: str, payee: str, wrong: str):
    """Planted in the payments of one order: each is told at that order, or at the payment."""
    payment, check = bank.frames["transaction"], f"{table}.payments"
    mine = payment.filter(pl.col("type").cast(pl.String) == kind, pl.col(payee).is_not_null())
    group = mine.filter(pl.len().over("account_id", payee) >= 4).sort("account_id", payee, "authorised_at")
    first, *_, last = group.filter(pl.struct("account_id", payee).rle_id() == 0)["transaction_id"].to_list()
    at = lambda key: pl.col("transaction_id") == key  # noqa: E731
    stray = payment.filter(pl.col(payee).is_not_null() & (pl.col("account_id") != group["account_id"][0]))[payee][0]
    spoilt = {
        "amount": payment.with_columns(
            pl.when(at(last)).then(pl.col("amount_minor") + 1).otherwise("amount_minor").alias("amount_minor")
        ),
        "day": payment.with_columns(
            pl.when(at(first))
            .then(pl.col("authorised_at").dt.offset_by("25d"))
            .otherwise("authorised_at")
            .alias("authorised_at")
        ),
        "payee": payment.with_columns(pl.when(at(first)).then(stray).otherwise(payee).alias(payee)),
        "before": payment.with_columns(
            pl.when(at(first))
            .then(pl.col("authorised_at").dt.offset_by("-1mo"))
            .otherwise("authorised_at")
            .alias("authorised_at")
        ),
        "missing": payment.filter(~at(first)),
        "twice": pl.concat([payment, payment.filter(at(first)).with_columns(pl.col("transaction_id") + 10**15)]),
    }[wrong]
    assert check_tables(DOMAIN, bank.frames, set(bank.frames) - {"label"}).filter(check=check).is_empty()
    found = check_tables(DOMAIN, {**bank.frames, "transaction": spoilt}, set(bank.frames) - {"label"}).filter(
        check=check
    )
    order = bank.frames[table].filter(account_id=group["account_id"][0]).filter(pl.col(payee) == group[payee][0])
    assert order[f"{table}_id"][0] in found.filter(table=table)["row_key"].to_list()
    if wrong in ("day", "payee", "twice"):
        assert found.filter(table="transaction").height >= 1


def test_a_group_that_lost_its_shape_is_found_and_named():
    asked = ("mule-ring", "fan-in", "structuring:threshold=700")
    data = generate(make_plan(Spec("finance", size=400, seed=5, scenarios=tuple(map(parse_request, asked))), DOMAIN))
    assert data.validate().is_empty()
    label = data.frames["label"].filter(pl.col("table") == "transaction")

    def keys(scenario: str, effect: str) -> list[int]:
        found = label.filter(
            (pl.col("scenario") == scenario) & (pl.col("effect") == effect) & (pl.col("instance") == 0)
        )
        return found["row_key"].drop_nulls().to_list()

    def without(rows: list[int]) -> pl.DataFrame:
        payment = data.frames["transaction"]
        return payment.filter(~pl.col("transaction_id").is_in(rows))

    def larger(rows: list[int]) -> pl.DataFrame:
        amount = pl.when(pl.col("transaction_id") == rows[0]).then(70_000).otherwise("amount_minor")
        return data.frames["transaction"].with_columns(amount_minor=amount)

    effects = {
        s: label.filter(pl.col("scenario") == s)["effect"].mode()[0] for s in ("mule-ring", "fan-in", "structuring")
    }
    spoilt = {
        "mule-ring": without(keys("mule-ring", effects["mule-ring"])[1:3]),
        "fan-in": without(keys("fan-in", effects["fan-in"])[1:]),
        "structuring": larger(keys("structuring", effects["structuring"])),
    }
    for scenario, payment in spoilt.items():
        found = DOMAIN.patterns({**data.frames, "transaction": payment}, data.frames["label"], data.plan.uses)
        assert found["check"].unique().to_list() == ["label.pattern"]
        assert found["detail"].str.starts_with(scenario).all()
        assert found.height == 1


def test_transfers_into_another_currency_are_exchanged_at_the_days_rate_with_a_fee(bank: Dataset):
    party = bank.frames["counterparty"].filter(pl.col("iban").str.contains("^(NL|IE)"))["counterparty_id"]
    sent = bank.frames["transaction"].filter(
        pl.col("channel").cast(pl.String) == "transfer",
        pl.col("direction").cast(pl.String) == "DBIT",
        pl.col("currency").cast(pl.String) == "GBP",
        pl.col("counterparty_id").is_in(party.implode()),
    )
    rate = bank.frames["fx_rate"].filter(pl.col("currency").cast(pl.String) == "GBP").select("day", "per_euro")
    rows = sent.join(bank.frames["exchange"], on="transaction_id", suffix="_there").with_columns(
        day=pl.col("authorised_at").dt.date()
    )
    assert rows.height == sent.height > 5
    assert set(rows["currency_there"].cast(pl.String)) == {"EUR"}
    for row in rows.join(rate, on="day").iter_rows(named=True):
        assert row["rate"] == pytest.approx(1 / row["per_euro"], rel=1e-6)
        assert row["fee_minor"] == min(max(row["amount_minor"] // 400, 1_300), 3_500, row["amount_minor"] // 2)
