"""Finance: one bank's customers, accounts, cards and payments, with a double-entry ledger under every balance."""

from __future__ import annotations

from ...core.domain import Domain, Step
from ...core.mix import load_mixes
from ...core.priors import load_priors
from ...core.scenario import load_scenarios
from ...core.schema import load_schema
from ...core.streams.events import load_events
from .bearing import CHECKS as BEARING
from .circles import CIRCLE
from .closing import closing
from .consistency import CHECKS as CONSISTENCY
from .deceased import CHECKS as DECEASED
from .details import details, lifecycle
from .funds import funds
from .habits import habits
from .holdings import account_holders, accounts, cards, counterparties, devices, fingerprints, payees
from .ledger import JOURNAL, balances, identities, postings
from .loans import loans
from .pace import pace
from .parties import CREDIT_SLOT, contact, customers, households
from .patterns import patterns
from .payments import purchases, rows_each
from .pictures import pictures
from .realism import MEASURES
from .reference import employers, internal_accounts, merchants, rates, terminals
from .reissued import reissued
from .relationship import CHECKS as RELATIONSHIP
from .reports import known, mistaken
from .scripts import SCRIPTS
from .scripts.casting import among_those_there, in_home_money
from .statements import MISSED, STATEMENTS
from .terms import terms
from .transfers import transfers
from .validators import CHECKS
from .views import views

_SCHEMA = load_schema("finance")
_PRIORS = load_priors("finance")
_SCENARIOS = among_those_there(load_scenarios("finance"))

DOMAIN = Domain(
    name="finance",
    doc="One bank's view: customers, accounts, cards, devices, payments by card and transfer, and the ledger.",
    root="customer",
    schema=_SCHEMA,
    events=load_events(_SCHEMA),
    priors=_PRIORS,
    scenarios=_SCENARIOS,
    mixes=load_mixes("finance", _SCENARIOS),
    size=1_000,
    window=("2025-01-01", "2025-07-01"),
    reference=(
        Step("merchant", ("merchant",), merchants(_SCHEMA)),
        Step("terminal", ("terminal",), terminals, ("merchant",)),
        Step("employer", ("employer",), employers),
        Step("fx-rate", ("fx_rate",), rates(_SCHEMA)),
        Step("internal-account", ("internal_account",), internal_accounts(_SCHEMA)),
    ),
    steps=(
        Step("customer", ("customer",), customers),
        Step("household", ("household",), households, ("customer",)),
        Step("account", ("account",), accounts, ("customer",)),
        Step("terms", ("account",), terms, ("customer", "account")),
        Step("loan", ("loan", "instalment"), loans, ("customer", "account")),
        Step("card", ("card",), cards, ("account",)),
        Step("device", ("device",), devices, ("customer",)),
        Step("counterparty", ("counterparty",), counterparties, ("customer", "account")),
        Step("purchase", ("transaction",), purchases(_SCHEMA), ("customer", "account", "card", "device")),
        Step(
            "transfer",
            ("transaction",),
            transfers(_SCHEMA),
            ("transaction", "customer", "account", "card", "device", "counterparty"),
        ),
        Step(
            "habit",
            ("device", "counterparty", "transaction"),
            habits(_SCHEMA),
            ("device", "counterparty", "transaction", "customer", "card"),
        ),
        Step("funds", ("transaction", MISSED), funds(_SCHEMA), ("transaction", "account")),
        Step("closing", ("transaction",), closing(_SCHEMA), ("transaction", "account", MISSED)),
        Step("report", ("fraud_report",), mistaken(_SCHEMA), ("transaction",)),
    ),
    derive=(
        Step("reissued", ("transaction.card_id", "card.issued_on"), reissued, ("transaction", "card")),
        Step(
            "lifecycle",
            tuple(f"transaction.{c}" for c in ("terminal_id", "three_ds", "reversal", "reversed_minor", "reversed_at")),
            lifecycle(_SCHEMA),
            ("transaction", "fraud_report"),
        ),
        STATEMENTS,
        *identities(_SCHEMA),
        Step("fingerprint", ("device.fingerprint",), fingerprints, ("device",)),
        Step("holder", ("account_holder",), account_holders, ("account",)),
        Step("payees", ("counterparty.name", "counterparty.iban"), payees, ("counterparty", "customer")),
        Step("contact", ("customer",), contact, ("customer",)),
        Step(
            "known",
            ("fraud_report", "alert"),
            known(_SCHEMA),
            ("transaction", "counterparty", "device", "fraud_report"),
        ),
        *details(_SCHEMA),
        Step("balance", ("transaction.balance_after_minor", JOURNAL), balances, ("transaction", "account")),
        Step("ledger", ("ledger_entry",), postings(_SCHEMA), (JOURNAL, "transaction", "account")),
    ),
    scripts=SCRIPTS,
    checks=(*CHECKS, *CONSISTENCY, *RELATIONSHIP, *BEARING, *DECEASED),
    patterns=patterns,
    views=views(_SCHEMA, _PRIORS),
    slots={CREDIT_SLOT.name: CREDIT_SLOT},
    block=4_000,
    weight=rows_each,
    rows=4_000_000,
    settled=in_home_money,
    pace=pace,
    circle=CIRCLE,
    showcase=("account-takeover", "card-testing", "mule-ring", "structuring", "romance-scam"),
    pictures=pictures,
    realism=MEASURES,
)
