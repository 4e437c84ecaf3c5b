"""Documents and tables that other systems read: ISO 20022, ISO 8583, ledger, graph, features, and the shapes of known data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....core.domain import View
from ....core.priors import Priors
from ....core.schema import Schema
from ....core.tables import Table, Tables
from . import cards, features, graph, iso20022, mt103, mt940, shapes

__all__ = ["views"]


TAKES: dict[str, dict[str, tuple[str, ...]]] = {
    "iso8583": dict.fromkeys(("merchant", "card", "transaction", "adjustment"), ()),
    "ledger": dict.fromkeys(("internal_account", "account", "ledger_entry"), ()),
    "graph": dict.fromkeys(("merchant", "employer", "customer", "account", "counterparty", "transaction"), ()),
    "amlworld": dict.fromkeys(("merchant", "account", "counterparty", "transaction", "exchange"), ()),
    "paysim": dict.fromkeys(("transaction", "ledger_entry"), ()),
    "sparkov": dict.fromkeys(("merchant", "customer", "household", "account", "card", "transaction"), ()),
    "transfers": {
        "account": ("account_id",),
        "counterparty": ("counterparty_id",),
        "transaction": (
            "transaction_id", "account_id", "counterparty_id", "counterparty_account_id", "channel", "direction", "amount_minor", "currency",
            "authorised_at", "cleared_at",
        ),
    },
}  # fmt: skip
"""What a view is rendered from: a run for it alone makes no more. Keys of the parties are there for their labels."""


def views(schema: Schema, priors: Priors) -> dict[str, View]:
    """The views by name."""
    inhabitants = {
        city: round(1_000_000 * entry[2]) for c in schema["customer"].columns["country"].codes
        for city, entry in priors(f"place.{c}").items()
    }  # fmt: skip
    channels = schema["transaction"].columns["channel"].codes
    tables: dict[str, tuple[str, Callable[[Tables, bool], Mapping[str, Table]]]] = {
        "iso8583": (
            "Card messages in ISO 8583 fields: authorisations, clearings, reversals, chargebacks, as CSV.",
            lambda t, _: {"iso8583": cards.iso8583(schema, t)},
        ),
        "ledger": ("The ledger as one plain CSV journal.", lambda t, _: {"ledger": cards.journal(t)}),
        "graph": (
            "The payment graph as CSV: nodes and edges with features and labels, and the labelled groups; for NetworkX and PyTorch Geometric.",
            lambda t, first: {
                "nodes": graph.nodes(t, first, channels),
                "edges": graph.edges(t),
                "groups": graph.groups(t),
            },
        ),
        "amlworld": (
            "CSV in the shape of AMLworld (IBM): Trans.csv and Patterns.csv.",
            lambda t, first: {"Trans": shapes.amlworld(t, first), "Patterns": shapes.patterns(t)},
        ),
        "transfers": (
            "Payments from account to account in six columns, as CSV: time in seconds since 1970, payer, payee, amount, currency, laundering.",
            lambda t, _: {"transfers": shapes.transfers(t)},
        ),
        "paysim": ("One CSV file in PaySim's columns.", lambda t, _: {"paysim": shapes.paysim(t)}),
        "sparkov": (
            "One CSV file in Sparkov's columns (Kaggle's fraudTrain.csv).",
            lambda t, _: {"sparkov": shapes.sparkov(t, inhabitants)},
        ),
        "features": (
            "One row for each payment asked for, with aggregates of what was known before it, as CSV: for detectors.",
            lambda t, _: {"features": features.features(t)},
        ),
    }
    statement = View(
        "mt940",
        "SWIFT MT940: monthly account statements, one file per account.",
        lambda t, _: {"mt940": mt940.statements(schema, t)},
        "sta",
    )
    wires = View(
        "mt103",
        "SWIFT MT103: credit transfers across borders, one file per settlement day and block of customers.",
        lambda t, _: {"mt103": mt103.transfers(schema, t)},
        "fin",
    )
    made = [
        *iso20022.views(schema),
        statement,
        wires,
        *(_table_view(name, doc, make) for name, (doc, make) in tables.items()),
    ]
    return {v.name: v for v in made}


def _table_view(name: str, doc: str, make: Callable[[Tables, bool], Mapping[str, Table]]) -> View:
    """Reference tables stand among the tables once, with the first block; every block may look things up in them."""

    def render(tables: Tables, reference: Tables) -> Mapping[str, Table]:
        return make({**reference, **tables}, "merchant" in tables)

    return View(name, doc, render, "csv", takes=TAKES.get(name, {}))
