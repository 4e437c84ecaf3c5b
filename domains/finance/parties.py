"""Customers and what they hold: accounts, cards, devices, counterparties."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Slot
from ...core.samplers.text import Address, Company, Email, Name, Phone
from ...core.stream import U64, Stream, join_rows
from ...core.tables import ROW, Tables
from .calendar import DAY, HOUR
from .circles import contacts
from .draws import choose, enum, keep, poisson, siblings
from .identifiers import home_ibans, other_ibans, pans
from .people import COUNTRIES, origins, sample

CURRENT, SAVINGS, CREDIT = 0, 1, 2
"""The place of each product among a customer's accounts: account_id = customer_id * 8 + place."""
ACCOUNTS, CARDS = 8, 32
YEAR = 365.25
CURRENCIES = ("GBP", "EUR")
# devices and counterparties of a customer are addressed in ranges of their own
COUNTERPARTY = 1 << 20

CREDIT_SLOT = Slot(
    "customer-credit",
    "Customers' credit columns, from a model fitted to a table like the UCI default of credit card clients.",
    given={"age": "birth_date", "sex": "sex"},
    makes={
        "limit_bal": "credit_limit_minor",
        "bill_amt1": "statement_minor",
        "pay_0": "months_past_due",
        "default": "defaulted",
    },
)


def customers(block: Block, tables: Tables) -> Tables:
    p, units, stream = block.priors, block.units, block.stream.child("customer")
    today = block.window.start // DAY
    german, male = origins(block, units)
    business = stream.child("segment").uniform(units) < p("customer.small_business")
    edges = np.asarray(p("customer.age_bounds"), float)
    cum = np.concatenate(([0.0], np.cumsum(p("customer.age_share"))))
    age = np.interp(stream.child("age").uniform(units) * cum[-1], cum, edges)
    income = np.exp(
        p("customer.income_log_mean") + p("customer.income_log_sigma") * stream.child("income").normal(units)
    )
    income = np.round(income * np.where(business, p("customer.takings"), 1.0) * 100).astype(np.int64)
    tenure = np.minimum(-np.log(stream.child("opened").uniform(units)) * p("customer.tenure_years"), age - 17.0)
    name = holder_names(block, units)
    email = Email().sample(name.with_columns(pl.Series(ROW, units)), stream)["email"]
    phone = sample(lambda locale: Phone("phone", locale), stream, units, german)["phone"]
    address = sample(Address, stream, units, german)
    changed = stream.child("changed").uniform(units)
    share = p("customer.contact_change") * block.window.days / YEAR
    when = block.window.start + np.floor(changed / share * block.window.days * 86_400).astype(np.int64) * 1_000_000
    frame = pl.DataFrame(
        {
            "customer_id": units.astype(np.int64),
            "segment": enum(business, ["retail", "small-business"]),
            "given_name": name["given_name"],
            "family_name": name["family_name"],
            "sex": enum(male, ["female", "male"]),
            "birth_date": pl.Series((today - np.floor(age * YEAR)).astype(np.int32)).cast(pl.Date),
            "email": email,
            "phone": phone,
            "street": address["street"],
            "city": address["city"],
            "postcode": address["postal_code"],
            "country": enum(german, COUNTRIES),
            "currency": enum(german, CURRENCIES),
            "income_minor": income,
            "opened_on": pl.Series((today - 1 - np.floor(tenure * YEAR)).astype(np.int32)).cast(pl.Date),
            "contact_changed_at": keep(when, changed < share),
        }
    )
    return {"customer": frame.with_columns(_credit(block, stream.child("credit"), age, male).get_columns())}


def holder_names(block: Block, units: U64) -> pl.DataFrame:
    """Given name, family name and both of any customers, also those of other blocks."""
    german, male = origins(block, units)
    sex = pl.Series(np.where(male, "male", "female"))
    return sample(lambda locale: Name(locale, "sex"), block.stream.child("customer", "name"), units, german, sex=sex)


def _credit(block: Block, stream: Stream, age: NDArray, male: NDArray[np.bool_]) -> pl.DataFrame:
    """The credit columns: by rule, or from the model in the slot where it has a value."""
    p, units = block.priors, block.units
    limit = np.exp(p("credit.limit_log_mean") + p("credit.limit_log_sigma") * stream.child("limit").normal(units))
    use = p("credit.utilisation")
    statement = limit * np.interp(
        stream.child("use").uniform(units), [0.0, 0.25, 0.5, 0.75, 0.97, 1.0], [*use, use[-1]]
    )
    late = choose(stream.child("late").uniform(units), p("credit.past_due_share"))
    defaulted = stream.child("default").uniform(units) < np.asarray(p("credit.default_by_past_due"))[late]
    made = pl.DataFrame({"limit_bal": limit, "bill_amt1": statement, "pay_0": late, "default": defaulted})
    if model := block.models.get(CREDIT_SLOT.name):
        given = pl.DataFrame({ROW: units, "age": np.floor(age), "sex": np.where(male, 1, 2)})
        drawn = model.sample(given, stream.child("model"))
        made = made.select(
            pl.coalesce(drawn[c].cast(pl.String).cast(pl.Float64, strict=False), pl.col(c).cast(pl.Float64)).alias(c)
            for c in made.columns
        )
    minor = p("credit.minor_per_ntd")
    return made.select(
        credit_limit_minor=(pl.col("limit_bal") * minor).clip(0).round().cast(pl.Int64),
        statement_minor=(pl.col("bill_amt1") * minor).round().cast(pl.Int64),
        # the public table counts -2 to 0 for accounts that are not late
        months_past_due=pl.col("pay_0").round().clip(0, 9).cast(pl.Int32),
        defaulted=pl.col("default").cast(pl.Float64) >= 0.5,
    )


def accounts(block: Block, tables: Tables) -> Tables:
    p, units, stream = block.priors, block.units, block.stream.child("account")
    customer = tables["customer"]
    has = np.stack(
        [
            np.ones(len(units), bool),
            stream.child("savings").uniform(units) < p("account.savings"),
            stream.child("credit").uniform(units) < p("account.credit"),
        ],
        axis=1,
    )
    who, place = np.nonzero(has)
    account_id = units[who].astype(np.int64) * ACCOUNTS + place
    rows = account_id.astype(np.uint64)
    german = customer["country"].to_physical().to_numpy()[who] == 1
    income = customer["income_minor"].to_numpy()[who]
    z = stream.child("opening").normal(rows)
    months = np.exp(p("account.opening_months_log_mean") + p("account.opening_months_log_sigma") * z)
    savings = p("account.savings_months") * np.exp(z)
    statement = customer["statement_minor"].to_numpy()[who]
    opening = np.select(
        [place == CURRENT, place == SAVINGS], [income * months, income * savings], -np.maximum(statement, 0)
    )
    limit = np.select(
        [place == CURRENT, place == CREDIT],
        [np.round(income * p("account.overdraft_months"), -4), customer["credit_limit_minor"].to_numpy()[who]],
        0,
    )
    since = customer["opened_on"].to_physical().to_numpy()[who].astype(np.int64)
    later = np.floor(stream.child("later").uniform(rows) * (block.window.start // DAY - since))
    opened = np.where(place == CURRENT, since, since + later)
    return {
        "account": pl.DataFrame(
            {
                "account_id": account_id,
                "customer_id": units[who].astype(np.int64),
                "type": enum(place, ["current", "savings", "credit"]),
                "iban": home_ibans(block.stream, german, account_id),
                "currency": enum(german, CURRENCIES),
                "opened_on": pl.Series(opened.astype(np.int32)).cast(pl.Date),
                "overdraft_limit_minor": limit.astype(np.int64),
                "opening_balance_minor": np.round(opening).astype(np.int64),
            }
        )
    }


def cards(block: Block, tables: Tables) -> Tables:
    """A debit card for each current account, a credit card for each credit account, and their renewals in the window."""
    account = tables["account"].filter(pl.col("type") != "savings")
    ids = account["account_id"].to_numpy()
    valid = int(block.priors("card.validity_years") * YEAR)
    age = block.stream.child("card", "age").integers(ids.astype(np.uint64), valid)
    issued = np.maximum(block.window.start // DAY - 1 - age, account["opened_on"].to_physical().to_numpy())
    count = (block.window.end // DAY - issued) // valid + 1
    parent, k = siblings(count)
    card_id = ids[parent] * CARDS + k
    day = issued[parent] + k * valid
    return {
        "card": pl.DataFrame(
            {
                "card_id": card_id,
                "account_id": ids[parent],
                "pan": pans(block.stream, card_id),
                "kind": enum(account["type"].to_physical().to_numpy()[parent] == CREDIT, ["debit", "credit"]),
                "issued_on": pl.Series(day.astype(np.int32)).cast(pl.Date),
                # the old card still works to the end of the month after the new one comes
                "expires_on": pl.Series((day + valid).astype(np.int32))
                .cast(pl.Date)
                .dt.offset_by("1mo")
                .dt.month_end(),
            }
        )
    }


def devices(block: Block, tables: Tables) -> Tables:
    p, units, stream = block.priors, block.units, block.stream.child("device")
    count = 1 + choose(stream.child("count").uniform(units), p("device.count"))
    parent, k = siblings(count)
    rows = join_rows(units[parent], k)
    os = p("device.os")
    system = choose(stream.child("os").uniform(rows), os.values())
    tablet = stream.child("tablet").uniform(rows) < p("device.tablet")
    kind = np.where(system >= 2, 2, np.where(tablet, 1, 0))
    # the first device was there before the window; the others came at any time around it
    span = block.window.end - block.window.start
    back = np.where(k == 0, -1.0, 1.0) * stream.child("seen").uniform(rows)
    seen = block.window.start + np.floor(back * span / 1e6).astype(np.int64) * 1_000_000
    since = tables["customer"]["opened_on"].to_physical().to_numpy()[parent].astype(np.int64) * DAY
    seen = np.maximum(seen, since + 10 * HOUR + k * 60_000_000)
    return {
        "device": pl.DataFrame(
            {
                ROW: rows,
                "customer_id": units[parent].astype(np.int64),
                "type": enum(kind, ["phone", "tablet", "computer"]),
                "os": enum(system, ["android", "ios", "windows", "macos"]),
                "ip": addresses(stream.child("ip"), rows),
                "first_seen_at": seen,
            }
        )
    }


def addresses(stream: Stream, rows: U64) -> pl.Series:
    """IP addresses from the ranges kept for documentation and benchmarks (RFC 5737, RFC 2544)."""
    net = pl.Series(["192.0.2.", "198.51.100.", "203.0.113.", "198.18.", "198.19."])
    at = stream.child("net").integers(rows, 131_840)
    # 131,072 of the 131,840 addresses are in 198.18.0.0/15
    which = np.where(at < 768, at // 256, 3 + (at - 768) // 65_536)
    third = pl.Series(((at - 768) // 256 % 256).astype(np.int64)).cast(pl.String) + "."
    third = pl.select(pl.when(pl.Series(at >= 768)).then(third).otherwise(pl.lit(""))).to_series()
    return net.gather(which) + third + pl.Series(at % 256).cast(pl.String)


def counterparties(block: Block, tables: Tables) -> Tables:
    """Per customer: 0 employer or payer, 1 own account elsewhere, 2 and 3 own savings and credit here, then people who bank elsewhere;
    after all these, with no place among them, the customers of this bank whom they know."""
    p, units, stream = block.priors, block.units, block.stream.child("counterparty")
    count = 5 + poisson(stream.child("count").uniform(units), np.full(len(units), p("counterparty.people")))
    parent, k = siblings(count)
    rows = join_rows(units[parent], COUNTERPARTY + k)
    german = (tables["customer"]["country"].to_physical().to_numpy() == 1)[parent]
    there = np.ones(len(rows), bool)
    held = tables["account"].group_by("customer_id", maintain_order=True).agg("type")["type"]
    for place, name in ((SAVINGS, "savings"), (CREDIT, "credit")):
        there &= (k != 1 + place) | held.list.contains(name).to_numpy()[parent]
    home = p("counterparty.country")["home"]
    country = np.where(stream.child("country").uniform(rows) < home, np.where(german, "DE", "GB"), "NL")
    inside = (k == 2) | (k == 3)
    here = home_ibans(block.stream, german[inside], units[parent].astype(np.int64)[inside] * ACCOUNTS + k[inside] - 1)
    ibans = other_ibans(stream.child("number"), country, rows).scatter(np.flatnonzero(inside), here)
    names = holder_names(block, units)["name"].gather(parent)
    payer, person = np.flatnonzero(k == 0), np.flatnonzero(k >= 4)
    company = sample(lambda locale: Company("company", locale), stream, rows[payer], german[payer])["company"]
    people = sample(Name, stream.child("person"), rows[person], german[person])["name"]
    names = names.scatter(payer, company).scatter(person, people)
    before = stream.child("before").uniform(rows) < p("counterparty.added_before")
    span = (block.window.end - block.window.start) / 1e6
    sign = np.where(before | (k <= 4), -1.0, 1.0)
    added = (
        block.window.start + np.floor(sign * stream.child("added").uniform(rows) * span).astype(np.int64) * 1_000_000
    )
    frame = pl.DataFrame(
        {
            ROW: rows,
            "customer_id": units[parent].astype(np.int64),
            "kind": enum(k != 0, ["company", "person"]),
            "name": names,
            "iban": ibans,
            "added_at": added,
            "place": k,
        }
    )
    return {"counterparty": pl.concat([frame.filter(pl.Series(there)), _acquaintances(block)])}


def _acquaintances(block: Block) -> pl.DataFrame:
    known = contacts(block)
    here = known.other < np.uint64(block.size)
    other, who = known.other[here], known.who[here]
    german, _ = origins(block, other)
    return pl.DataFrame(
        {
            ROW: known.rows[here],
            "customer_id": block.units.astype(np.int64)[who],
            "kind": enum(np.ones(len(other)), ["company", "person"]),
            "name": holder_names(block, other)["name"],
            "iban": home_ibans(block.stream, german, other.astype(np.int64) * ACCOUNTS),
            "added_at": known.added[here],
            "place": np.full(len(other), -1),
        }
    )
