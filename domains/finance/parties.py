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
from .life import NEVER, homes, job_changed_on, moved_on
from .loans import loan_terms, most_owed
from .people import COUNTRIES, around, cities, heads, origins, sample
from .reference import employer_share

CURRENT, SAVINGS, CREDIT, LOAN, WALLET = range(5)
"""The place of each product among a customer's accounts: account_id = customer_id * 8 + place."""
PRODUCTS = ("current", "business", "savings", "credit", "loan", "wallet")
VIRTUAL = 16
"""Virtual cards have numbers of their own among an account's cards: VIRTUAL + which renewal."""
ACCOUNTS, CARDS = 8, 32
YEAR = 365.25
CURRENCIES = ("GBP", "EUR")
# devices and counterparties of a customer are addressed in ranges of their own
COUNTERPARTY = 1 << 20
NEXT_EMPLOYER = COUNTERPARTY + (1 << 19)

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
    edges = np.asarray(p("customer.age_bounds"), float)
    cum = np.concatenate(([0.0], np.cumsum(p("customer.age_share"))))
    age = np.interp(stream.child("age").uniform(units) * cum[-1], cum, edges)
    income = np.exp(
        p("customer.income_log_mean") + p("customer.income_log_sigma") * stream.child("income").normal(units)
    )
    takings = p("customer.takings") * np.where(company, 1 + p("customer.company_staff"), 1.0)
    income = np.round(income * np.where(business, takings, 1.0) * 100).astype(np.int64)
    employment = _employment(block, stream, age, business)
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
    jobs = job_changed_on(block, units)
    head = heads(block, units)
    tenure = np.minimum(-np.log(stream.child("opened").uniform(units)) * p("customer.tenure_years"), age - 17.0)
    name = holder_names(block, units)
    email = Email().sample(name.with_columns(pl.Series(ROW, units)), stream)["email"]
    phone = sample(lambda locale: Phone("phone", locale), stream, units, german)["phone"]
    # who lives together has one address
    address = sample(Address, stream, head, german)
    names, _, _ = cities(block)
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
                pl.Series(jobs.astype(np.int32)).cast(pl.Date), (jobs < NEVER) & (employment == 0) & ~business
            ),
            "legal_name": keep(
                sample(lambda locale: Company("legal_name", locale), stream, units, german)["legal_name"], company
            ),
            "given_name": name["given_name"],
            "family_name": name["family_name"],
            "sex": enum(male, ["female", "male"]),
            "birth_date": pl.Series((today - np.floor(age * YEAR)).astype(np.int32)).cast(pl.Date),
            "email": email,
            "phone": phone,
            "street": address["street"],
            "city": pl.Series(names).gather(homes(block, units)[1]),
            "postcode": address["postal_code"],
            "country": enum(german, COUNTRIES),
            "currency": enum(german, CURRENCIES),
            "income_minor": income,
            "opened_on": pl.Series((today - 1 - np.floor(tenure * YEAR)).astype(np.int32)).cast(pl.Date),
            "contact_changed_at": keep(when, changed < share),
        }
    )
    return {"customer": frame.with_columns(_credit(block, stream.child("credit"), age, male).get_columns())}


EMPLOYMENT = ("employed", "self-employed", "unemployed", "student", "inactive", "retired")
PROFILES = ("student", "working", "affluent", "retired", "sole-trader", "company")


def businesses(block: Block, units: U64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is a business, and which of these are companies with staff."""
    p, stream = block.priors, block.stream.child("customer", "segment")
    business = stream.uniform(units) < p("customer.small_business")
    return business, business & (stream.child("company").uniform(units) < p("customer.company"))


def _employment(block: Block, stream: Stream, age: NDArray, business: NDArray[np.bool_]) -> NDArray[np.int64]:
    p = block.priors
    drawn = choose(stream.child("employment").uniform(block.units), p("customer.employment").values())
    # nobody is a student for long
    drawn = np.where((drawn == 3) & (age > 35), 0, drawn)
    return np.where(business, 1, np.where(age >= p("customer.pension_age"), 5, drawn))


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
        family_name=family, name=own["name"].scatter(at, own["given_name"].gather(at) + " " + named["family_name"])
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


def accounts(block: Block, tables: Tables) -> Tables:
    p, units, stream = block.priors, block.units, block.stream.child("account")
    customer = tables["customer"]
    has = np.stack(
        [
            np.ones(len(units), bool),
            stream.child("savings").uniform(units) < p("account.savings"),
            stream.child("credit").uniform(units) < p("account.credit"),
            stream.child("loan").uniform(units) < p("account.loan"),
            stream.child("wallet").uniform(units) < p("account.wallet"),
        ],
        axis=1,
    )
    who, place = np.nonzero(has)
    account_id = units[who].astype(np.int64) * ACCOUNTS + place
    rows = account_id.astype(np.uint64)
    german = customer["country"].to_physical().to_numpy()[who] == 1
    business = customer["segment"].to_physical().to_numpy()[who] > 0
    income = customer["income_minor"].to_numpy()[who]
    z = stream.child("opening").normal(rows)
    months = np.exp(p("account.opening_months_log_mean") + p("account.opening_months_log_sigma") * z)
    savings = p("account.savings_months") * np.exp(z)
    statement = customer["statement_minor"].to_numpy()[who]
    terms = loan_terms(block, units, customer["income_minor"].to_numpy())
    opening = np.select(
        [place == CURRENT, place == SAVINGS, place == CREDIT, place == LOAN],
        [income * months, income * savings, -np.maximum(statement, 0), -terms.owed[who]],
        income * p("wallet.opening_months") * np.exp(z),
    )
    limit = np.select(
        [place == CURRENT, place == CREDIT, place == LOAN],
        [
            np.round(income * p("account.overdraft_months"), -4),
            customer["credit_limit_minor"].to_numpy()[who],
            most_owed(terms)[who],
        ],
        0,
    )
    since = customer["opened_on"].to_physical().to_numpy()[who].astype(np.int64)
    later = np.floor(stream.child("later").uniform(rows) * (block.window.start // DAY - since))
    opened = np.where(place == CURRENT, since, since + later)
    opened = np.where(place == LOAN, terms.paid_out[who], opened)
    kind = np.select([(place == CURRENT) & business, place == CURRENT], [1, 0], place + 1)
    return {
        "account": pl.DataFrame(
            {
                "account_id": account_id,
                "customer_id": units[who].astype(np.int64),
                "type": enum(kind, PRODUCTS),
                "iban": home_ibans(block.stream, german, account_id),
                "currency": enum(german, CURRENCIES),
                "opened_on": pl.Series(opened.astype(np.int32)).cast(pl.Date),
                "overdraft_limit_minor": limit.astype(np.int64),
                "opening_balance_minor": np.round(opening).astype(np.int64),
            }
        )
    }


def account_holders(block: Block, tables: Tables) -> Tables:
    """Every account's first holder, and the second customer of a household where its first one's account is joint."""
    units, account = block.units, tables["account"]
    ids, first = account["account_id"].to_numpy(), account["customer_id"].to_numpy()
    head = heads(block, units)
    # the second of a household is the one after its head
    second = (head != units) & (head == units - np.uint64(1))
    joint = second & (block.stream.child("household", "joint").uniform(head) < block.priors("household.joint"))
    shared = head[joint].astype(np.int64) * ACCOUNTS
    who = units[joint].astype(np.int64)
    return {
        "account_holder": pl.DataFrame(
            {
                "account_holder_id": np.concatenate([ids * 4, shared * 4 + 1]),
                "account_id": np.concatenate([ids, shared]),
                "customer_id": np.concatenate([first, who]),
                "role": enum(np.repeat([0, 1], [len(ids), len(shared)]), ["first", "joint"]),
            }
        ).sort("account_holder_id")
    }


def cards(block: Block, tables: Tables) -> Tables:
    """A card for each current, credit and wallet account, and their renewals in the window; some have a virtual one beside it."""
    p = block.priors
    account = tables["account"].filter(
        pl.col("type").cast(pl.String).is_in(["current", "business", "credit", "wallet"])
    )
    ids = account["account_id"].to_numpy()
    valid = int(p("card.validity_years") * YEAR)
    age = block.stream.child("card", "age").integers(ids.astype(np.uint64), valid)
    issued = np.maximum(block.window.start // DAY - 1 - age, account["opened_on"].to_physical().to_numpy())
    count = (block.window.end // DAY - issued) // valid + 1
    virtual = virtual_cards(block, ids) & (ids % ACCOUNTS != WALLET)
    both = np.flatnonzero(virtual)
    ids, issued, count = (np.concatenate([x, x[both]]) for x in (ids, issued, count))
    form = np.repeat([0, 1], [len(ids) - len(both), len(both)])
    parent, k = siblings(count)
    card_id = ids[parent] * CARDS + form[parent] * VIRTUAL + k
    day = issued[parent] + k * valid
    place = ids[parent] % ACCOUNTS
    return {
        "card": pl.DataFrame(
            {
                "card_id": card_id,
                "account_id": ids[parent],
                "pan": pans(block.stream, card_id),
                "kind": enum(np.select([place == CREDIT, place == WALLET], [1, 2], 0), ["debit", "credit", "prepaid"]),
                "form": enum(form[parent], ["plastic", "virtual"]),
                "issued_on": pl.Series(day.astype(np.int32)).cast(pl.Date),
                # the old card still works to the end of the month after the new one comes
                "expires_on": pl.Series((day + valid).astype(np.int32))
                .cast(pl.Date)
                .dt.offset_by("1mo")
                .dt.month_end(),
            }
        ).sort("card_id")
    }


def virtual_cards(block: Block, account_id: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the holder of an account has virtual cards for it."""
    rows = (account_id // ACCOUNTS).astype(np.uint64)
    return block.stream.child("card", "virtual").uniform(rows) < block.priors("card.virtual")


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
                "ip": addresses(stream.child("ip"), heads(block, units)[parent]),
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
    customer = tables["customer"]
    business = (customer["segment"].to_physical().to_numpy() > 0)[parent[payer]]
    employer = block.reference["employer"]
    paid_by = employers_of(
        block,
        units,
        (customer["country"].to_physical().to_numpy() == 1),
        customer["employment"].to_physical().to_numpy(),
    )
    payers = np.flatnonzero(~business)
    names = (
        names.scatter(payer, company)
        .scatter(payer[payers], employer["name"].gather(paid_by[0][parent[payer[payers]]]))
        .scatter(person, people)
    )
    ibans = ibans.scatter(payer[payers], employer["iban"].gather(paid_by[0][parent[payer[payers]]]))
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
    return {
        "counterparty": pl.concat(
            [frame.filter(pl.Series(there)), _next_employers(block, customer, paid_by[1]), _acquaintances(block)]
        )
    }


def _next_employers(block: Block, customer: pl.DataFrame, employer_id: NDArray[np.int64]) -> pl.DataFrame:
    """Who pays those that change job, known from that day on."""
    at = np.flatnonzero(customer["job_changed_on"].is_not_null().to_numpy())
    employer, units = block.reference["employer"], block.units[at]
    return pl.DataFrame(
        {
            ROW: join_rows(units, NEXT_EMPLOYER),
            "customer_id": units.astype(np.int64),
            "kind": enum(np.zeros(len(at)), ["company", "person"]),
            "name": employer["name"].gather(employer_id[at]),
            "iban": employer["iban"].gather(employer_id[at]),
            "added_at": customer["job_changed_on"].gather(at).to_physical().to_numpy().astype(np.int64) * DAY,
            "place": np.full(len(at), -2),
        }
    )


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
