"""Customers and their households: who they are, what they live on, how they stand with their credit."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Slot
from ...core.samplers.text import Address, Company, Email, Name, Phone
from ...core.stream import F64, U64, Stream
from ...core.tables import ROW, Tables, picked
from .calendar import DAY
from .draws import choose, enum, keep, poisson
from .life import NEVER, died_on, homes, job_changed_on, joined_on, last_used, left_on, moved_on, told_on
from .people import COUNTRIES, ages, around, businesses, cities, heads, origins, postcodes, sample
from .reference import employer_share

YEAR = 365.25
CURRENCIES = ("GBP", "EUR", "USD", "JPY", "KWD", "CLF", "UYW")
"""In the order of the schema's codes: those of customers first."""

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
    business, company = businesses(block, units)
    age, employment = ages(block, units), employment_of(block, units)
    income = np.exp(p("customer.income_log_mean") + p("customer.income_log_sigma") * prosperity(block, units))
    takings = p("customer.takings") * np.where(company, 1 + p("customer.company_staff"), 1.0)
    income = np.round(income * np.where(business, takings, 1.0) * 100).astype(np.int64)
    profile = np.select(
        [
            company,
            business,
            employment == 5,
            employment == 3,
            income >= np.exp(p("customer.income_log_mean") + 1.2816 * p("customer.income_log_sigma")) * 100,
        ],
        [5, 4, 3, 0, 2],
        1,
    )
    jobs, joined, until = job_changed_on(block, units), joined_on(block, units), last_used(block, units)
    left, told = left_on(block, units), told_on(block, units)
    head = heads(block, units)
    names, _, _ = cities(block)
    unwritten = pl.Series([None], dtype=pl.String).new_from_index(0, len(units))
    changed = stream.child("changed").uniform(units)
    share = p("customer.contact_change") * block.window.days / YEAR
    when = block.window.start + np.floor(changed / share * block.window.days * 86_400).astype(np.int64) * 1_000_000
    frame = pl.DataFrame(
        {
            "customer_id": units.astype(np.int64),
            "household_id": head.astype(np.int64),
            "segment": enum(business.astype(np.int64) + company, ["retail", "small-business", "company"]),
            "profile": enum(profile, PROFILES),
            "employment": enum(employment, EMPLOYMENT),
            "employer_id": keep(employers_of(block, units, german, employment)[0], ~business),
            "job_changed_on": keep(
                pl.Series(jobs.astype(np.int32)).cast(pl.Date),
                (jobs < np.minimum(until // DAY, NEVER)) & (employment == 0) & ~business,
            ),
            **dict.fromkeys(WRITTEN, unwritten),
            "sex": enum(male, ["female", "male"]),
            "birth_date": pl.Series((today - np.floor(age * YEAR)).astype(np.int32)).cast(pl.Date),
            "city": pl.Series(names).gather(homes(block, units)[1]),
            "country": enum(german, COUNTRIES),
            "currency": enum(german, CURRENCIES),
            "income_minor": income,
            "opened_on": pl.Series(np.where(joined < NEVER, joined, since(block, units)).astype(np.int32)).cast(
                pl.Date
            ),
            "closed_on": keep(pl.Series(left.astype(np.int32)).cast(pl.Date), left < NEVER),
            "contact_changed_at": keep(when, (changed < share) & (when < until)),
            "deceased_on": keep(pl.Series(died_on(block, units).astype(np.int32)).cast(pl.Date), told < NEVER),
        }
    )
    return {"customer": frame.with_columns(_credit(block, stream.child("credit"), age, male).get_columns())}


WRITTEN = ("legal_name", "given_name", "family_name", "email", "phone", "street", "postcode")
"""What is written of customers, and decides nothing: it is made last, where nobody has set it."""


def contact(block: Block, tables: Tables) -> Tables:
    """The step that writes customers' names, addresses and numbers."""
    customer = tables["customer"]
    units, stream = customer["customer_id"].to_numpy().astype(np.uint64), block.stream.child("customer")
    german, _ = origins(block, units)
    name = holder_names(block, units)
    # who lives together has one address
    address = sample(Address, stream, heads(block, units), german)
    made = {
        "legal_name": keep(
            sample(lambda locale: Company("legal_name", locale), stream, units, german)["legal_name"],
            businesses(block, units)[1],
        ),
        "given_name": name["given_name"],
        "family_name": name["family_name"],
        "email": Email().sample(name.with_columns(pl.Series(ROW, units)), stream)["email"],
        "phone": sample(lambda locale: Phone("phone", locale), stream, units, german)["phone"],
        "street": address["street"],
        "postcode": postcodes(block, heads(block, units), homes(block, units)[1]),
    }
    return {
        "customer": customer.with_columns(pl.coalesce(n, texts.cast(pl.String)).alias(n) for n, texts in made.items())
    }


def rents(block: Block, units: U64) -> NDArray[np.int64]:
    """What each household's first customer pays a landlord a month, in whole major units; 0 of owners, of others and of companies."""
    p, stream = block.priors, block.stream.child("household", "rent")
    tenant = np.array([p("rent.tenants")[c] for c in COUNTRIES])[origins(block, units)[0].astype(np.int64)]
    rents = (stream.child("tenant").uniform(units) < tenant) & (heads(block, units) == units)
    rents &= ~businesses(block, units)[1]
    income = np.exp(p("customer.income_log_mean") + p("customer.income_log_sigma") * prosperity(block, units))
    sigma = p("rent.share_log_sigma")
    share = p("rent.share") * np.exp(sigma * stream.child("share").normal(units) - sigma**2 / 2)
    return np.where(rents, np.maximum(np.round(income * share), 1) * 100, 0).astype(np.int64)


EMPLOYMENT = ("employed", "self-employed", "unemployed", "student", "inactive", "retired")
PROFILES = ("student", "working", "affluent", "retired", "sole-trader", "company")


def since(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) from which those who were there before the window are customers."""
    stream, first = block.stream.child("customer", "opened"), block.priors("customer.first_account")
    stay = -np.log(stream.uniform(units)) * block.priors("customer.tenure_years")
    # who has been with the bank for all of their life has been so since an account for the young
    began = first["least"] + (first["most"] - first["least"]) * stream.child("young").uniform(units)
    years = np.minimum(stay, ages(block, units) - began)
    return block.window.start // DAY - 1 - np.floor(years * YEAR).astype(np.int64)


def employment_of(block: Block, units: U64) -> NDArray[np.int64]:
    """What people live on: places in `EMPLOYMENT`."""
    p, age = block.priors, ages(block, units)
    drawn = choose(block.stream.child("customer", "employment").uniform(units), p("customer.employment").values())
    # nobody is a student for long
    drawn = np.where((drawn == 3) & (age > 35), 0, drawn)
    return np.where(businesses(block, units)[0], 1, np.where(age >= p("customer.pension_age"), 5, drawn))


def prosperity(block: Block, units: U64) -> F64:
    """How far the log of a person's income is from the mean of all, in standard deviations: those who live on benefits have less."""
    p = block.priors
    usual = np.array([p("customer.income_by_employment")[name] for name in EMPLOYMENT])
    own = p("customer.income_own") * block.stream.child("customer", "income").normal(units)
    return usual[employment_of(block, units)] + own


def employers_of(
    block: Block, units: U64, german: NDArray[np.bool_], employment: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who pays each customer at the start of the window, and after a change of job: keys of `employer`."""
    each, stream = block.priors("employer.count"), block.stream.child("customer", "employer")
    cum = np.cumsum(employer_share(each))
    first = german.astype(np.int64) * (each + 2)
    found = []
    for name in ("first", "next"):
        rank = np.minimum(np.searchsorted(cum, stream.child(name).uniform(units)), each - 1)
        at = np.select([employment == 5, (employment == 2) | (employment == 4)], [0, 1], 2 + rank)
        found.append(first + at)
    return found[0], found[1]


def households(block: Block, tables: Tables) -> Tables:
    """The households whose first customer is in the block."""
    p, units, stream = block.priors, block.units, block.stream.child("household")
    first = heads(block, units) == units
    head, index = units[first], np.flatnonzero(first)
    members = np.bincount(np.searchsorted(head, heads(block, units)), minlength=len(head))
    alone = stream.child("alone").uniform(head) < p("household.alone")
    more = poisson(stream.child("more").uniform(head), np.full(len(head), p("household.more_adults")))
    adults = np.maximum(np.where(alone, 1, 2 + more), members)
    # families have one child as often as two, and rarely more
    u = stream.child("children").uniform(head) / p("household.children")
    children = np.where(u < 1, 1 + np.searchsorted(np.cumsum(p("household.number_of_children")), u), 0)
    before, now = (x[index] for x in homes(block, units))
    latitude, longitude = around(block, now, stream, head)
    day = moved_on(block, units)[index]
    names, _, _ = cities(block)
    return {
        "household": pl.DataFrame(
            {
                "household_id": head.astype(np.int64),
                "customer_id": head.astype(np.int64),
                "adults": adults.astype(np.int32),
                "children": np.minimum(children, 4).astype(np.int32),
                "city": pl.Series(names).gather(now),
                "country": tables["customer"]["country"].gather(index),
                "latitude": latitude,
                "longitude": longitude,
                "moved_on": keep(pl.Series(day.astype(np.int32)).cast(pl.Date), day < NEVER),
                "moved_from": keep(pl.Series(names).gather(before), day < NEVER),
            }
        )
    }


def holder_names(block: Block, units: U64) -> pl.DataFrame:
    """Given name, family name and both of any customers, also those of other blocks. Who lives together has one family name."""
    german, male = origins(block, units)
    sex, stream = pl.Series(np.where(male, "male", "female")), block.stream.child("customer", "name")
    own = sample(lambda locale: Name(locale, "sex"), stream, units, german, sex=sex)
    head = heads(block, units)
    at = np.flatnonzero(head != units)
    if not len(at):
        return own
    named = sample(
        lambda locale: Name(locale, "sex"),
        stream,
        head[at],
        german[at],
        sex=pl.Series(np.where(origins(block, head[at])[1], "male", "female")),
    )
    family = own["family_name"].scatter(at, named["family_name"])
    return own.with_columns(
        family_name=family, name=own["name"].scatter(at, picked(own["given_name"], at) + " " + named["family_name"])
    )


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
