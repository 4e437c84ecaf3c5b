"""What customers hold and whom they know: accounts, cards, devices, counterparties."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.text import Company, Name
from ...core.stream import U64, Stream, join_rows
from ...core.tables import ROW, Tables, filled, is_there, picked, plain
from .calendar import DAY, HOUR
from .circles import contacts, members
from .currencies import FOREIGN, foreign, per_unit
from .draws import choose, enum, keep, poisson, siblings
from .identifiers import abroad, home_ibans, other_ibans, pans
from .life import NEVER, died_on, joined_on, last_used, left_on, stay, told_on
from .loans import ACCOUNTS, LOAN, loan_terms, most_owed
from .parties import CURRENCIES, YEAR, employers_of, holder_names, rents
from .people import heads, origins, sample

CURRENT, SAVINGS, CREDIT, WALLET = 0, 1, 2, 4
"""The place of each product among a customer's accounts: account_id = customer_id * ACCOUNTS + place; loans have LOAN."""
PRODUCTS = ("current", "business", "savings", "credit", "loan", "wallet", "currency")
VIRTUAL = 16
"""Virtual cards have numbers of their own among an account's cards: VIRTUAL + which renewal."""
REPLACEMENT = 8
"""And so has the card that replaces one that was reported; further ones of fixtures come after it."""
CARDS = 32
# devices and counterparties of a customer are addressed in ranges of their own
COUNTERPARTY = 1 << 20
NEXT_EMPLOYER = COUNTERPARTY + (1 << 19)
ESTATE = COUNTERPARTY + (1 << 17)
LANDLORD = COUNTERPARTY + (1 << 18)
KNOWN, NEXT, MET, FELLOW = -1, -2, -3, -100
"""No places among the others: customers of this bank, the next employer, landlords and payees whom a habit brings; from FELLOW on downwards the members of a club, by
their number in the circle."""


PASSES = "passes"
"""Whether the holder of an account comes, leaves or dies within the window: what scenarios ask before they cast it."""


def accounts(block: Block, tables: Tables) -> Tables:
    p, units, stream = block.priors, block.units, block.stream.child("account")
    customer = tables["customer"]
    terms = loan_terms(block, units, customer["income_minor"].to_numpy())
    country = plain(customer["country"]).astype(np.int64)
    abroad, money = foreign(block, units, country == 1)
    has = np.stack(
        [
            np.ones(len(units), bool),
            stream.child("savings").uniform(units) < p("account.savings"),
            stream.child("credit").uniform(units) < p("account.credit"),
            terms.there,
            stream.child("wallet").uniform(units) < p("account.wallet"),
            abroad,
        ],
        axis=1,
    )
    who, place = np.nonzero(has)
    account_id = units[who].astype(np.int64) * ACCOUNTS + place
    rows = account_id.astype(np.uint64)
    german = country[who] == 1
    currency = np.where(place == FOREIGN, money[who], country[who])
    business = plain(customer["segment"])[who] > 0
    income = customer["income_minor"].to_numpy()[who]
    z = stream.child("opening").normal(rows)
    months = np.exp(p("account.opening_months_log_mean") + p("account.opening_months_log_sigma") * z)
    savings = p("account.savings_months") * np.exp(z)
    statement = customer["statement_minor"].to_numpy()[who]
    opening = np.select(
        [place == CURRENT, place == SAVINGS, place == CREDIT, place == LOAN, place == FOREIGN],
        [
            income * months,
            income * savings,
            -np.maximum(statement, 0),
            -terms.owed[who],
            income * p("account.foreign_months") * np.exp(z) * per_unit(block, country[who], currency),
        ],
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
    # who comes within the window brings nothing yet
    joins = joined_on(block, units)[who] < NEVER
    opening = np.where(joins, 0, opening)
    since = plain(customer["opened_on"])[who].astype(np.int64)
    later = np.floor(stream.child("later").uniform(rows) * np.maximum(block.window.start // DAY - since, 0))
    opened = np.where(place == CURRENT, since, since + later)
    opened = np.where(place == LOAN, terms.paid_out[who], opened)
    left, told, died = (found(block, units)[who] for found in (left_on, told_on, died_on))
    kind = np.select([(place == CURRENT) & business, place == CURRENT], [1, 0], place + 1)
    return {
        "account": pl.DataFrame(
            {
                "account_id": account_id,
                "customer_id": units[who].astype(np.int64),
                "type": enum(kind, PRODUCTS),
                "iban": home_ibans(block.stream, german, account_id),
                "currency": enum(currency, CURRENCIES),
                "opened_on": pl.Series(opened.astype(np.int32)).cast(pl.Date),
                "overdraft_limit_minor": limit.astype(np.int64),
                "opening_balance_minor": np.round(opening).astype(np.int64),
                "frozen_on": keep(pl.Series(told.astype(np.int32)).cast(pl.Date), told < NEVER),
                "closed_on": keep(pl.Series(left.astype(np.int32)).cast(pl.Date), left < NEVER),
                PASSES: joins | (left < NEVER) | (died < NEVER),
            }
        )
    }


def account_holders(block: Block, tables: Tables) -> Tables:
    """Every account's first holder, and the second customer of a household where its first one's account is joint. Who leaves or dies holds none jointly."""
    units, account = block.units, tables["account"]
    ids, first = account["account_id"].to_numpy(), account["customer_id"].to_numpy()
    head = heads(block, units)
    # the second of a household is the one after its head
    second = (head != units) & (head == units - np.uint64(1)) & stay(block, units) & (died_on(block, head) == NEVER)
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
    account = tables["account"].filter(
        pl.col("type").cast(pl.String).is_in(["current", "business", "credit", "wallet"])
    )
    ids = account["account_id"].to_numpy()
    valid = valid_days(block)
    age = block.stream.child("card", "age").integers(ids.astype(np.uint64), valid)
    issued = np.maximum(block.window.start // DAY - 1 - age, plain(account["opened_on"]))
    closed = np.minimum(filled(account["closed_on"], NEVER), filled(account["frozen_on"], NEVER))
    count = (np.minimum(block.window.end // DAY, closed) - issued) // valid + 1
    virtual = virtual_cards(block, ids) & (ids % ACCOUNTS != WALLET)
    both = np.flatnonzero(virtual)
    ids, issued, count, closed = (np.concatenate([x, x[both]]) for x in (ids, issued, count, closed))
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
                "expires_on": expiry(day + valid),
                "cancelled_on": keep(pl.Series(closed[parent].astype(np.int32)).cast(pl.Date), closed[parent] < NEVER),
            }
        ).sort("card_id")
    }


def valid_days(block: Block) -> int:
    """Days after which a card is renewed."""
    return int(block.priors("card.validity_years") * YEAR)


def expiry(renewed: NDArray[np.int64]) -> pl.Series:
    """The last day of cards that are renewed on some days: they still work to the end of the month after."""
    return pl.Series(renewed.astype(np.int32)).cast(pl.Date).dt.offset_by("1mo").dt.month_end()


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
    # a household's first computer may be the one of several customers
    head = heads(block, units)[parent]
    theirs = choose(stream.child("os").uniform(join_rows(head, 0)), os.values())
    shared = (k == 0) & (system >= 2) & (theirs >= 2) & (stream.child("shared").uniform(head) < p("device.shared"))
    system, machine = np.where(shared, theirs, system), np.where(shared, join_rows(head, 0), rows)
    tablet = stream.child("tablet").uniform(rows) < p("device.tablet")
    kind = np.where(system >= 2, 2, np.where(tablet, 1, 0))
    # the first device was there before the window; the others came at any time around it
    span = block.window.end - block.window.start
    back = np.where(k == 0, -1.0, 1.0) * stream.child("seen").uniform(rows)
    seen = block.window.start + np.floor(back * span / 1e6).astype(np.int64) * 1_000_000
    since = tables["customer"]["opened_on"].to_physical().to_numpy()[parent].astype(np.int64) * DAY
    seen = np.minimum(np.maximum(seen, since + 10 * HOUR + k * 60_000_000), last_used(block, units)[parent])
    return {
        "device": pl.DataFrame(
            {
                ROW: rows,
                "customer_id": units[parent].astype(np.int64),
                "type": enum(kind, ["phone", "tablet", "computer"]),
                "os": enum(system, ["android", "ios", "windows", "macos"]),
                "ip": addresses(stream.child("ip"), head),
                "fingerprint": fingerprint(block, machine),
                "first_seen_at": seen,
            }
        )
    }


def fingerprint(block: Block, machine: U64) -> NDArray[np.int64]:
    """What a machine tells of itself, hashed: alike for all devices that are one machine."""
    return (block.stream.child("device", "fingerprint").bits(machine) >> np.uint64(1)).astype(np.int64)


def fingerprints(block: Block, tables: Tables) -> Tables:
    """The step that writes the fingerprints of devices that nobody else uses."""
    device = tables["device"]
    own = pl.Series(fingerprint(block, device[ROW].to_numpy()))
    return {"device": device.with_columns(pl.coalesce("fingerprint", own).alias("fingerprint"))}


def addresses(stream: Stream, rows: U64) -> pl.Series:
    """IP addresses from the ranges kept for documentation and benchmarks (RFC 5737, RFC 2544)."""
    net = pl.Series(["192.0.2.", "198.51.100.", "203.0.113.", "198.18.", "198.19."])
    at = stream.child("net").integers(rows, 131_840)
    # 131,072 of the 131,840 addresses are in 198.18.0.0/15
    which = np.where(at < 768, at // 256, 3 + (at - 768) // 65_536)
    third = pl.Series(((at - 768) // 256 % 256).astype(np.int64)).cast(pl.String) + "."
    third = pl.select(pl.when(pl.Series(at >= 768)).then(third).otherwise(pl.lit(""))).to_series()
    return picked(net, which) + third + pl.Series(at % 256).cast(pl.String)


def counterparties(block: Block, tables: Tables) -> Tables:
    """Per customer: 0 employer or payer, 1 own account elsewhere, 2 and 3 own savings and credit here, then people who bank elsewhere;
    after all these, with no place among them, the customers of this bank whom they know."""
    p, units, stream = block.priors, block.units, block.stream.child("counterparty")
    count = 5 + poisson(stream.child("count").uniform(units), np.full(len(units), p("counterparty.people")))
    parent, k = siblings(count)
    rows = join_rows(units[parent], COUNTERPARTY + k)
    there = np.ones(len(rows), bool)
    held = tables["account"].group_by("customer_id", maintain_order=True).agg("type")["type"]
    for place, name in ((SAVINGS, "savings"), (CREDIT, "credit")):
        there &= (k != 1 + place) | held.list.contains(name).to_numpy()[parent]
    before = stream.child("before").uniform(rows) < p("counterparty.added_before")
    span = (block.window.end - block.window.start) / 1e6
    sign = np.where(before | (k <= 4), -1.0, 1.0)
    added = (
        block.window.start + np.floor(sign * stream.child("added").uniform(rows) * span).astype(np.int64) * 1_000_000
    )
    base, customer, known = np.flatnonzero(there), tables["customer"], contacts(block)
    # who pays those that change job is known from that day on
    moved = np.flatnonzero(is_there(customer["job_changed_on"]))
    day = plain(picked(customer["job_changed_on"], moved)).astype(np.int64) * DAY
    here = np.flatnonzero(known.other < np.uint64(block.size))
    tenant = np.flatnonzero(rents(block, units) > 0)
    landlord = join_rows(units[tenant], LANDLORD)
    # an estate is paid out to who winds it up
    left, told = left_on(block, units), told_on(block, units)
    dead = np.flatnonzero((left < NEVER) & (told < NEVER))
    since = block.window.start - np.floor(stream.child("added").uniform(landlord) * span).astype(np.int64) * 1_000_000
    listed = (
        (rows[base], parent[base], added[base], k[base]),
        (join_rows(units[moved], NEXT_EMPLOYER), moved, day, np.full(len(moved), NEXT)),
        (landlord, tenant, since, np.full(len(tenant), MET)),
        (known.rows[here], known.who[here], known.added[here], np.full(len(here), KNOWN)),
    )
    row, who, since, place = (np.concatenate(x) for x in zip(*listed, strict=True))
    since = np.maximum(since, plain(customer["opened_on"]).astype(np.int64)[who] * DAY)
    since = np.minimum(since, last_used(block, units)[who])
    row, who = np.append(row, join_rows(units[dead], ESTATE)), np.append(who, dead)
    since, place = np.append(since, left[dead] * DAY), np.append(place, np.full(len(dead), MET))
    unwritten = pl.Series([None], dtype=pl.String).new_from_index(0, len(row))
    return {
        "counterparty": pl.DataFrame(
            {
                ROW: row,
                "customer_id": units.astype(np.int64)[who],
                "kind": enum((place != 0) & (place != NEXT), ["company", "person"]),
                "name": unwritten,
                "iban": unwritten,
                "added_at": since,
                "place": place,
            }
        )
    }


def payees(block: Block, tables: Tables) -> Tables:
    """The step that writes names and accounts of counterparties that have none yet: nothing else of them depends on these."""
    counterparty, customer = tables["counterparty"], tables["customer"]
    bare = np.flatnonzero(counterparty["name"].is_null().to_numpy())
    mine = counterparty[bare]
    rows, k, units = mine[ROW].to_numpy(), mine["place"].to_numpy(), mine["customer_id"].to_numpy().astype(np.uint64)
    p, stream = block.priors, block.stream.child("counterparty")
    who = (units - np.uint64(block.first)).astype(np.int64)
    german = plain(customer["country"])[who] == 1
    home = p("counterparty.country")["home"]
    u = stream.child("country").uniform(rows)
    away = abroad(block, np.clip((u - home) / max(1 - home, 1e-12), 0, 1))
    country = np.where(u < home, np.where(german, "DE", "GB"), away)
    ibans = other_ibans(stream.child("number"), country, rows)
    by_habit, habit = np.flatnonzero(k == MET), block.stream.child("habit", "payee")
    homely = np.where(german[by_habit], "DE", "GB")
    ibans = ibans.scatter(by_habit, other_ibans(habit.child("iban"), homely, rows[by_habit]))
    names = holder_names(block, block.units)["name"].gather(who)
    # accounts at this bank: the customer's own, or those of acquaintances
    known = contacts(block)
    met = np.flatnonzero(k == KNOWN)
    order = np.argsort(known.rows)
    other = units + np.uint64(0)
    other[met] = known.other[order[np.searchsorted(known.rows, rows[met], sorter=order)]]
    fellow = np.flatnonzero(k <= FELLOW)
    other[fellow] = members(units[fellow])[np.arange(len(fellow)), FELLOW - k[fellow]]
    met = np.append(met, fellow)
    inside = np.flatnonzero((k == 2) | (k == 3) | (k == KNOWN) | (k <= FELLOW))
    place = np.where(k[inside] < 0, CURRENT, k[inside] - 1)
    here = home_ibans(block.stream, origins(block, other[inside])[0], other[inside].astype(np.int64) * ACCOUNTS + place)
    # companies that are nobody's employer pay businesses
    business, employment = (plain(customer[c]) for c in ("segment", "employment"))
    payer, person = np.flatnonzero((k == 0) & (business[who] > 0)), np.flatnonzero(k >= 4)
    company = sample(lambda locale: Company("company", locale), stream, rows[payer], german[payer])["company"]
    people = sample(Name, stream.child("person"), rows[person], german[person])["name"]
    paid_by = employers_of(block, block.units, plain(customer["country"]) == 1, employment)
    first, then = np.flatnonzero((k == 0) & (business[who] == 0)), np.flatnonzero(k == NEXT)
    employers = np.concatenate([first, then])
    employer = np.concatenate([paid_by[0][who[first]], paid_by[1][who[then]]])
    names = names.scatter(payer, company).scatter(person, people)
    names = names.scatter(by_habit, sample(Name, habit, rows[by_habit], german[by_habit])["name"])
    names = names.scatter(met, holder_names(block, other[met])["name"])
    names = names.scatter(employers, block.reference["employer"]["name"].gather(employer))
    ibans = ibans.scatter(inside, here).scatter(employers, block.reference["employer"]["iban"].gather(employer))
    return {
        "counterparty": counterparty.with_columns(
            counterparty["name"].scatter(bare, names), counterparty["iban"].scatter(bare, ibans)
        )
    }
