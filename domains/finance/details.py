"""What follows from a payment, whoever made it: terminal, 3-D Secure, disputes, the other currency, scheme and references. Because it is derived after all
scenarios have played, nothing here tells a scenario's rows from others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Step
from ...core.schema import Schema
from ...core.stream import U64, join_rows
from ...core.tables import ROW, Tables, filled, is_there, picked, plain
from .calendar import DAY, HOUR, working_day
from .currencies import exchanges
from .draws import below, choose, enum, keep, lane
from .holdings import ACCOUNTS, CREDIT, LANDLORD, addresses
from .life import stay
from .payments import part_refunded
from .reference import TERMINALS

IPS = 4
COUNTRIES = ("GB", "DE", "NL", "IE", "KW")
"""Where those who are paid bank."""
BANKS = {"GB": "TESTGB20", "DE": "TESTDE20", "NL": "TESTNL20", "IE": "TESTIE20", "KW": "TESTKW20"}
AT_ONCE = ("BOOK", "FPS", "SCT-INST")
"""Schemes that settle on any day."""
AREAS = np.array(["GBP", "EUR", "EUR", "EUR", "KWD"])
"""The currency of each of them: what is paid from one area to another goes by correspondent banks."""
HOME_BANKS = {"GB": "POPUGB20", "DE": "POPUDE20"}
"""Banks by country: the eighth character of a test BIC is 0."""


def _bits(block: Block, rows: U64) -> U64:
    return block.stream.child("transaction", "detail").bits(rows)


def lifecycle(schema: Schema):
    """The step that adds each card payment's terminal and 3-D Secure outcome, and what becomes of payments that are reversed or disputed."""
    spec = schema["transaction"].columns
    channels, codes = (list(spec[c].codes) for c in ("channel", "response_code"))
    reversals, outcomes = (list(spec[c].codes) for c in ("reversal", "three_ds"))
    present, remote, atm = (channels.index(c) for c in ("card-present", "card-not-present", "atm"))

    def run(block: Block, tables: Tables) -> Tables:
        payment, p = tables["transaction"], block.priors
        rows = payment[ROW].to_numpy()
        bits = _bits(block, rows)
        channel = plain(payment["channel"])
        merchant = block.reference["merchant"]
        # a payment without merchant is at none of its terminals
        shop = payment["merchant_id"].fill_null(len(merchant)).to_numpy()
        tills = merchant["terminals"].to_numpy()
        at_till = (channel == present) | (channel == atm)
        many = tills[np.minimum(shop, len(tills) - 1)].astype(np.int64)
        terminal = shop * TERMINALS + ((lane(bits, 0) * many) >> 16)

        online = np.flatnonzero(channel == remote)
        seen = is_there(picked(payment["device_row"], online))
        answer = filled(picked(payment["response_code"], online), 0)
        smooth = lane(bits[online], 1) < below(p("three_ds.frictionless"))
        failed = (answer != codes.index("00")) & (lane(bits[online], 3) < below(p("three_ds.failed")))
        asked = np.where(failed, outcomes.index("failed"), np.where(smooth, 0, 1))
        asked = np.where(seen, asked, outcomes.index("none"))
        three_ds = np.zeros(len(rows), np.uint8)
        three_ds[online] = asked

        cleared = is_there(payment["cleared_at"])
        undone = is_there(payment["reversed_at"])
        carded = is_there(payment["card_id"])
        lost = np.flatnonzero(_disputed(block, bits) & cleared & ~undone & carded)
        lost = lost[_stay(block, payment["account_id"].to_numpy()[lost]) & _holder_wins(block, rows[lost])]
        claimed = tables["fraud_report"].filter(pl.col("charged_back_at").is_not_null())
        made = [
            keep(terminal, at_till & (many > 0) & (shop < len(tills))).alias("terminal_id"),
            enum(three_ds, outcomes, channel == remote).alias("three_ds"),
        ]
        if undone.any() or len(lost) or claimed.height:
            made += _undone(block, payment, np.flatnonzero(undone), lost, reversals, cleared & carded, claimed)
        return {"transaction": payment.with_columns(made)}

    return run


def _undone(
    block: Block,
    payment: pl.DataFrame,
    undone: NDArray,
    lost: NDArray,
    reversals: list[str],
    card: NDArray[np.bool_],
    claimed: pl.DataFrame,
) -> list[pl.Series]:
    """Reason and amount of every reversal that has none yet; the chargebacks of disputes that the holder wins, and of cleared card payments whose
    reports are upheld (`claimed`: which, and when)."""
    amount, rows = payment["amount_minor"].to_numpy(), payment[ROW].to_numpy()
    cleared = is_there(payment["cleared_at"])
    why = payment["reversal"].to_physical().cast(pl.Int64)
    how_much, when = payment["reversed_minor"], payment["reversed_at"]
    chargeback = reversals.index("chargeback")
    bare = undone[picked(why, undone).is_null().to_numpy()]
    if len(bare):
        kind = np.where(~cleared[bare], reversals.index("void"), reversals.index("refund"))
        kind = np.where(cleared[bare] & ~card[bare], reversals.index("recall"), kind)
        kind = np.where(card[bare] & np.isin(rows[bare], claimed["transaction_row"].to_numpy()), chargeback, kind)
        why = why.scatter(bare, kind)
    none = undone[picked(how_much, undone).is_null().to_numpy()]
    if len(none):
        refund = picked(why, none).to_numpy() == reversals.index("refund")
        how_much = how_much.scatter(
            none, np.where(refund, part_refunded(block, rows[none], amount[none]), amount[none])
        )
    asked, at = _claims(payment, claimed, card & when.is_null().to_numpy())
    if len(lost):
        _, charged = _dispute_times(block, rows[lost], picked(payment["cleared_at"], lost).to_numpy())
        asked, at = np.append(lost, asked), np.append(charged, at)
    if len(asked):
        why = why.scatter(asked, np.full(len(asked), chargeback))
        how_much, when = how_much.scatter(asked, amount[asked]), when.scatter(asked, at)
    where = is_there(why)
    return [enum(filled(why, 0), reversals, where).alias("reversal"), how_much, when]


def _claims(payment: pl.DataFrame, claimed: pl.DataFrame, open_: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """The positions of payments that are charged back as their reports say, a day after they cleared at the earliest, and when."""
    at = payment.select(ROW, "cleared_at").with_row_index("place").filter(pl.Series(open_))
    found = at.join(claimed.select("charged_back_at", pl.col("transaction_row").alias(ROW)), on=ROW)
    found = found.unique("place", keep="first", maintain_order=True).sort("place")
    moment = np.maximum(found["charged_back_at"].to_numpy(), found["cleared_at"].to_numpy() + DAY)
    return found["place"].to_numpy().astype(np.int64), moment


def _disputed(block: Block, bits: U64) -> NDArray[np.bool_]:
    # 32 bits: the rate is a few in ten thousand
    return (bits >> np.uint64(32)) < np.uint64(block.priors("dispute.rate") * 2**32)


def _stay(block: Block, account: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whose holders neither leave nor die within the window: who does has the payments of before disputed by nobody here."""
    return stay(block, (account // ACCOUNTS).astype(np.uint64))


def _holder_wins(block: Block, rows: U64) -> NDArray[np.bool_]:
    return block.stream.child("dispute", "wins").uniform(rows) < block.priors("dispute.holder_wins")


def _dispute_times(block: Block, rows: U64, cleared: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When a payment is disputed, within 120 days, and charged back, some days later."""
    stream, days = block.stream.child("dispute"), block.priors("dispute.days")
    wait = np.minimum(-np.log(stream.child("wait").uniform(rows)) * days, 120.0)
    opened = cleared + HOUR + np.floor(wait * 86_400).astype(np.int64) * 1_000_000
    return opened, opened + DAY + stream.child("charged").integers(rows, 5 * 86_400) * 1_000_000


def details(schema: Schema) -> tuple[Step, ...]:
    """The steps that make what hangs on single transactions: addresses, other currencies, value dates, partial reversals, disputes, payment orders, mandates,
    standing orders."""
    made: dict[str, tuple[Callable[[Block, pl.DataFrame, Tables], pl.DataFrame], tuple[str, ...]]] = {
        "exchange": (
            lambda b, paid, tables: exchanges(schema, b, paid, tables["counterparty"], tables["account"]),
            ("counterparty", "account"),
        ),
        "value_date": (lambda b, paid, _: _valued(paid), ()),
        "adjustment": (lambda b, paid, _: _adjustments(b, paid), ()),
        "dispute": (lambda b, paid, tables: _disputes(schema, b, paid, tables["fraud_report"]), ("fraud_report",)),
        "credit_transfer": (lambda b, paid, tables: _orders(schema, b, tables, paid), ("counterparty",)),
        "mandate": (lambda b, paid, _: _mandates(paid), ()),
        "standing_order": (lambda b, paid, _: _standing(paid), ()),
    }

    def of_own(name: str, make: Callable[[Block, pl.DataFrame, Tables], pl.DataFrame]):
        def run(block: Block, tables: Tables) -> Tables:
            return {name: make(block, _own(block, tables["transaction"]), tables)}

        return run

    return (
        Step("origin", ("transaction.ip_address_id",), _origin, ("transaction", "device")),
        Step("ip-address", ("ip_address",), _addresses, ("device",)),
        *(Step(name, (name,), of_own(name, make), ("transaction", *needs)) for name, (make, needs) in made.items()),
    )


def _own(block: Block, payment: pl.DataFrame) -> pl.DataFrame:
    """The payments of the block's own accounts: those that merely concern it hang on another."""
    unit = payment["account_id"].to_numpy() // ACCOUNTS
    mine = (unit >= block.first) & (unit < block.last)
    return payment if mine.all() else payment.filter(pl.Series(mine))


def _origin(block: Block, tables: Tables) -> Tables:
    """Which of its addresses a device was on when it was used for a payment."""
    payment, device = tables["transaction"], tables["device"]
    known = is_there(payment["device_id"])
    at = np.flatnonzero(known)
    used = picked(payment["device_id"], at).to_numpy()
    held, mobile = device["device_id"].to_numpy(), (device["type"] == "phone").to_numpy()
    # a phone is on the mobile network as often as at home
    odd = lane(_bits(block, payment[ROW].to_numpy()[at]), 2) % 2 == 1
    roams = np.isin(used, held[mobile]) & odd if len(held) else np.zeros(len(used), bool)
    found = np.zeros(len(known), np.int64)
    found[at] = used * IPS + roams
    return {"transaction": payment.with_columns(keep(found, known).alias("ip_address_id"))}


def _addresses(block: Block, tables: Tables) -> Tables:
    """The fixed line that a device was seen on, and for phones an address of the mobile network."""
    device = tables["device"]
    held, mobile = device["device_id"].to_numpy(), (device["type"] == "phone").to_numpy()
    away = addresses(block.stream.child("device", "mobile"), device[ROW].to_numpy())
    parts = [(held, device["ip"], 0), (held[mobile], away.filter(pl.Series(mobile)), 1)]
    found = pl.concat(
        pl.DataFrame(
            {
                "ip_address_id": ids * IPS + n,
                "device_id": ids,
                "network": enum(np.full(len(ids), n), ["fixed", "mobile"]),
                "ip": ip,
            }
        )
        for ids, ip, n in parts
    )
    return {"ip_address": found.sort("ip_address_id")}


def _valued(payment: pl.DataFrame) -> pl.DataFrame:
    """Transfers that are booked on a later day than they were made have the value date of that day."""
    made = pl.col("authorised_at") // DAY
    late = payment.filter((pl.col("channel") == "transfer") & (pl.col("cleared_at") // DAY > made))
    return late.select(
        value_date_id="transaction_id",
        transaction_id="transaction_id",
        value_on=made.cast(pl.Int32).cast(pl.Date),
    )


def _adjustments(block: Block, payment: pl.DataFrame) -> pl.DataFrame:
    """Automatic pumps authorise a fixed sum before fuel flows and release what was not used."""
    pump = block.priors("adjustment.pump_minor")
    paid = payment.filter(
        (pl.col("mcc") == "5542") & pl.col("cleared_at").is_not_null() & (pl.col("amount_minor") <= pump)
    )
    return paid.select(
        adjustment_id="transaction_id",
        transaction_id="transaction_id",
        authorised_minor=pl.lit(pump, pl.Int64),
        cleared_minor="amount_minor",
        released_minor=pump - pl.col("amount_minor"),
    )


FRAUD = "10.4"
"""The reason of a chargeback by who says that somebody else paid."""


def _disputes(schema: Schema, block: Block, payment: pl.DataFrame, report: pl.DataFrame) -> pl.DataFrame:
    """The disputes of card payments: who reports a payment as fraud claims it back as that, others for what prevails among the rest."""
    bits = _bits(block, payment[ROW].to_numpy())
    p, stream = block.priors, block.stream.child("dispute")
    charged = (payment["reversal"] == "chargeback").fill_null(False).to_numpy()
    eligible = payment["cleared_at"].is_not_null() & payment["card_id"].is_not_null() & payment["reversal"].is_null()
    # nobody can dispute what was never booked
    charged &= is_there(payment["cleared_at"])
    kept = np.flatnonzero(_disputed(block, bits) & eligible.to_numpy() & ~charged)
    charged[kept[_stay(block, payment["account_id"].to_numpy()[kept])]] = True
    disputed = payment.filter(pl.Series(charged))
    rows, cleared = disputed[ROW].to_numpy(), disputed["cleared_at"].to_numpy()
    opened, back = _dispute_times(block, rows, cleared)
    won = (disputed["reversal"] == "chargeback").fill_null(False).to_numpy()
    # a scenario says itself when its payments are charged back
    stated = filled(disputed["reversed_at"], 0)
    back = np.where(won, stated, back)
    opened = np.maximum(np.where(opened > back, back - DAY, opened), cleared)
    opened = np.minimum(opened, back)
    others = {name: share for name, share in p("dispute.reason").items() if name != FRAUD}
    others = others if any(others.values()) else {FRAUD: 1.0}
    reason = choose(stream.child("reason").uniform(rows), others.values())
    told = disputed["transaction_id"].is_in(report["transaction_id"].implode()).to_numpy()
    reasons = np.where(told, FRAUD, np.array(list(others))[reason])
    codes = list(schema["dispute"].columns["reason"].codes)
    again = back + 5 * DAY + stream.child("again").integers(rows, 25 * 86_400) * 1_000_000
    return pl.DataFrame(
        {
            "dispute_id": disputed["transaction_id"],
            "transaction_id": disputed["transaction_id"],
            "reason": enum(np.array([codes.index(r) for r in reasons], np.uint32), codes),
            "amount_minor": disputed["amount_minor"],
            "opened_at": opened,
            "charged_back_at": back,
            "represented_at": keep(again, ~won),
            "outcome": enum(~won, ["holder", "merchant"]),
        }
    )


def _orders(schema: Schema, block: Block, tables: Tables, payment: pl.DataFrame) -> pl.DataFrame:
    """Transfers and pay as payment orders: scheme by currency, counterpart and speed."""
    p = block.priors
    columns = (
        ROW,
        "transaction_id",
        "account_id",
        "type",
        "direction",
        "currency",
        "authorised_at",
        "cleared_at",
        "amount_minor",
        "counterparty_id",
        "counterparty_account_id",
        "counterparty_row",
    )
    paid = payment.filter(pl.col("channel").is_in(["transfer", "salary"])).select(columns)
    party = tables["counterparty"].select(
        "counterparty_id", other=pl.col("iban").str.slice(0, 2).cast(pl.Enum(COUNTRIES), strict=False)
    )
    paid = paid.join(party, on="counterparty_id", how="left", maintain_order="left")
    rows = paid[ROW].to_numpy()
    # places in COUNTRIES: the bank's own country by currency, the other side's by its IBAN
    home = (paid["currency"] == "EUR").to_numpy().astype(np.int64)
    other = paid["other"].to_physical().fill_null(len(COUNTRIES)).to_numpy()
    other = np.where(other < len(COUNTRIES), other, home)
    inside = is_there(paid["counterparty_account_id"])
    fast = block.stream.child("transfer", "instant").uniform(rows) < p("transfer.instant_sepa")
    kind = paid["type"].cast(pl.String).to_numpy()
    batch = np.isin(kind, ["RCDT/SALA", "ICDT/SALA"])
    large = (paid["amount_minor"] > 100_000_000).to_numpy()
    schemes = list(schema.code_lists["transfer_scheme"].codes)
    scheme = np.select(
        [inside, AREAS[home] != AREAS[other], (home == 0) & batch, (home == 0) & large, home == 0, fast],
        [schemes.index(s) for s in ("BOOK", "SWIFT", "BACS", "CHAPS", "FPS", "SCT-INST")],
        schemes.index("SCT"),
    )
    instant = np.isin(scheme, [schemes.index(s) for s in AT_ONCE])
    booked = (paid["cleared_at"].fill_null(paid["authorised_at"]) // DAY).to_numpy()
    settled = np.where(instant, booked, working_day(booked, home, later=True))
    purposes = list(schema.code_lists["payment_purpose"].codes)
    purpose = np.select(
        [
            batch,
            filled(paid["counterparty_account_id"], 0) % ACCOUNTS == CREDIT,
            _rent(paid),
            kind == "ICDT/STDO",
        ],
        [purposes.index(c) for c in ("SALA", "CCRD", "RENT", "SAVG")],
        purposes.index("OTHR"),
    )
    debit = (paid["direction"] == "DBIT").to_numpy()
    ours = len(COUNTRIES) + home
    theirs = np.where(inside, ours, other)
    bics = pl.Series([*(BANKS[c] for c in COUNTRIES), *HOME_BANKS.values()])
    key = paid["transaction_id"]
    return pl.DataFrame(
        {
            "credit_transfer_id": key,
            "transaction_id": key,
            "scheme": enum(scheme, schemes),
            "settled_on": keep(pl.Series(settled.astype(np.int32)).cast(pl.Date), is_there(paid["cleared_at"])),
            "purpose": enum(purpose, purposes),
            "debtor_bic": picked(bics, np.where(debit, ours, theirs)),
            "creditor_bic": picked(bics, np.where(debit, theirs, ours)),
            "charges_borne_by": enum(np.where(scheme == schemes.index("SWIFT"), 1, 2), ["DEBT", "SHAR", "SLEV"]),
            "remittance": creditor_reference(
                block.stream.child("transfer", "remittance").bits(rows) % np.uint64(10**12)
            ),
        }
    )


def _rent(paid: pl.DataFrame) -> NDArray[np.bool_]:
    unit = (paid["account_id"].to_numpy() // ACCOUNTS).astype(np.uint64)
    landlord = join_rows(unit, np.full(len(unit), LANDLORD))
    return (filled(paid["counterparty_row"], 0) == landlord) & (paid["type"] == "ICDT/STDO").to_numpy()


def creditor_reference(value: NDArray[np.uint64]) -> pl.Series:
    """ISO 11649 references of twelve digits: RF, two check digits by ISO 7064 modulo 97, then the number."""
    # RF00 at the end as digits: R is 27, F is 15
    rest = (value % np.uint64(97) * np.uint64(10**6 % 97) + np.uint64(271500)) % np.uint64(97)
    check = np.uint64(98) - rest
    digits = pl.Series(value).cast(pl.String).str.zfill(12)
    return "RF" + pl.Series(check).cast(pl.String).str.zfill(2) + digits


def _mandates(payment: pl.DataFrame) -> pl.DataFrame:
    found = payment.filter(pl.col("type") == "RDDT/ESDD", pl.col("merchant_id").is_not_null()).sort("authorised_at")
    made = found.group_by("account_id", "merchant_id", maintain_order=True).agg(
        first_at=pl.col("authorised_at").first(),
        collections=pl.len().cast(pl.Int32),
        amount_minor=pl.col("amount_minor").last(),
        scheme=pl.when(pl.col("currency").first() == "EUR").then(pl.lit("SDD-CORE")).otherwise(pl.lit("BACS")),
    )
    return _numbered(made, "mandate_id", "merchant_id")


def _standing(payment: pl.DataFrame) -> pl.DataFrame:
    found = payment.filter(pl.col("type") == "ICDT/STDO", pl.col("counterparty_id").is_not_null()).sort("authorised_at")
    made = found.group_by("account_id", "counterparty_id", maintain_order=True).agg(
        first_at=pl.col("authorised_at").first(),
        payments=pl.len().cast(pl.Int32),
        amount_minor=pl.col("amount_minor").last(),
    )
    return _numbered(made, "standing_order_id", "counterparty_id")


def _numbered(made: pl.DataFrame, key: str, tie: str) -> pl.DataFrame:
    made = made.sort("account_id", "first_at", tie)
    return made.with_columns((pl.col("account_id") * 64 + pl.int_range(pl.len()).over("account_id")).alias(key))
