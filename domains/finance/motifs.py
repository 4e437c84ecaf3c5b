"""Matchers: they see transfers and no label, and find the shapes that typologies of laundering make.

Each pattern takes edges (`edges`: one booked transfer a row, both parties as nodes) and a scenario's `match` settings, and returns the
transfers that take part: columns `match`, a group that hangs together, and `transaction_id`. Numbers are in hours, parties and major units.

    fan-in, fan-out     at least `degree` parties pay one, or are paid by one, within `hours`; amounts in [`least`, `below`)
    flow-through        an account is paid by at least `payers`, pays at least `payees`, and passes on at least `ratio` of it, within `hours`;
                        `quiet`: after so many days on which nothing happened to it
    path                at least `hops` transfers in a row, each within `gap` of the one before and at least `ratio` of it; `closed`: back to
                        where it began, after at most `most` hops and `besides` more
    scatter-gather      one party pays another through at least `degree` others, within `hours`
    bipartite           at least `payers` each pay at least `payees` within `hours`; `layers` = 2: those paid do the same
    repeat              one party pays another at least `times` within `hours`, the last at least `growth` times the first

Of all payments only those count that are `abroad`, `from_company` or `to_company`, where the settings say so.

Patterns of card payments and of sign-ins stand in `card_motifs`.

The shapes are those that the AMLSim wiki (IBM, Transaction Model: Alert Model) draws and that supervisors describe in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ...core.errors import unknown
from ...core.scenario import Use
from ...core.tables import Tables
from .card_motifs import ACCOUNT_PATTERNS, CARD_PATTERNS, card_payments, sessions

Found = pl.DataFrame
WORDS = ("pattern", "effects", "channel", "entry", "share")
"""Settings that are what they say, and no parameter's name."""
ROUNDING = 500
"""Minor units by which an amount passed on may be rounded down."""


def edges(tables: Tables) -> pl.DataFrame:
    """Booked transfers as a graph: `transaction_id`, `payer` and `payee` (hashes of their IBANs), `at`, `amount` in major units, and
    `abroad`, whether one of the two banks in another country than the other; `from_company` and `to_company`, whether the party at another bank is one."""
    account = tables["account"].select("account_id", iban="iban")
    party = tables["counterparty"].select(
        "counterparty_id", other="iban", company=pl.col("kind").cast(pl.String) == "company"
    )
    rows = (
        tables["transaction"]
        .filter((pl.col("channel").cast(pl.String) == "transfer") & pl.col("cleared_at").is_not_null())
        .filter(pl.col("counterparty_id").is_not_null())
        .join(account, on="account_id")
        .join(party, on="counterparty_id")
    )
    inward = pl.col("direction").cast(pl.String) == "CRDT"
    payer = pl.when(inward).then("other").otherwise("iban")
    payee = pl.when(inward).then("iban").otherwise("other")
    return rows.select(
        "transaction_id",
        payer=payer.hash(),
        payee=payee.hash(),
        at="authorised_at",
        amount=pl.col("amount_minor") / 100,
        abroad=payer.str.slice(0, 2) != payee.str.slice(0, 2),
        from_company=inward & pl.col("company"),
        to_company=~inward & pl.col("company"),
    ).sort("at", "transaction_id")


@dataclass(frozen=True)
class Seen:
    """What matchers look at: transfers as edges, card payments, and transfers with the device and payee that they were made with and to."""

    transfers: pl.DataFrame
    cards: pl.DataFrame
    sessions: pl.DataFrame


def seen(tables: Tables) -> Seen:
    """What there is to see in a dataset, without its labels."""
    return Seen(edges(tables), card_payments(tables), sessions(tables))


def match(what: Seen, use: Use) -> Found:
    """What the matcher of a scenario finds; its settings may name the use's parameters. Raises UserError for an unknown pattern."""
    settings = {
        k: use.parameters[v] if k not in WORDS and isinstance(v, str) else v for k, v in use.scenario.match.items()
    }
    name = settings.pop("pattern")
    if name in CARD_PATTERNS:
        return CARD_PATTERNS[name](what.cards, settings)
    if name in ACCOUNT_PATTERNS:
        return ACCOUNT_PATTERNS[name](what.sessions, settings)
    if name not in PATTERNS:
        raise unknown("pattern", name, [*PATTERNS, *CARD_PATTERNS, *ACCOUNT_PATTERNS], f"scenario {use.scenario.name}")
    return PATTERNS[name](_bounded(what.transfers, settings), settings)


def recovered(what: Seen, use: Use, label: pl.DataFrame, most: float = 1.0) -> tuple[pl.DataFrame, int]:
    """How a matcher does against the labels: per instance whether a share of its payments is found, four in five unless its
    settings say `share`, and no more than `most` (columns `instance`, `found`), and the number of matches that hold no labelled payment."""
    found, share = match(what, use), min(most, use.scenario.match.get("share", 0.8))
    effects = use.scenario.match.get("effects") or [
        f["effect"] for f in use.scenario.arguments["flow"] if not f.get("aside", False)
    ]
    mine = label.filter(
        (pl.col("scenario") == use.scenario.name) & (pl.col("table") == "transaction") & pl.col("effect").is_in(effects)
    ).select("instance", transaction_id="row_key")
    hit = pl.col("transaction_id").is_in(found["transaction_id"].implode())
    per = mine.group_by("instance").agg((hit.mean() >= share).alias("found")).sort("instance")
    labelled = label.filter(table="transaction")["row_key"].drop_nulls()
    groups = found.group_by("match").agg(pl.col("transaction_id").is_in(labelled.implode()).any().alias("labelled"))
    return per, groups.filter(~pl.col("labelled")).height


def _bounded(graph: pl.DataFrame, settings: Mapping[str, Any]) -> pl.DataFrame:
    """Only amounts and payments that the settings speak of."""
    if "least" in settings:
        graph = graph.filter(pl.col("amount") >= settings["least"])
    if "below" in settings:
        graph = graph.filter(pl.col("amount") < settings["below"])
    if "margin" in settings:
        floor = settings["below"] * (1 - settings["margin"]) - 2 * ROUNDING / 100
        graph = graph.filter(pl.col("amount") >= floor)
    for flag in ("abroad", "from_company", "to_company"):
        if settings.get(flag):
            graph = graph.filter(flag)
    return graph


def _period(hours: float) -> str:
    return f"{max(1, round(hours * 3_600))}s"


def _clusters(hits: pl.DataFrame, node: str, hours: float) -> Found:
    """Transfers around one node belong together as long as no gap between them is longer than `hours`."""
    hits = hits.unique([node, "transaction_id"]).sort(node, "at", "transaction_id")
    gap = (pl.col("at").diff() > pl.duration(seconds=round(hours * 3_600))) | (pl.col(node) != pl.col(node).shift(1))
    return hits.select(gap.fill_null(True).cum_sum().alias("match"), "transaction_id")


def _fan(node: str, other: str) -> Callable[[pl.DataFrame, Mapping[str, Any]], Found]:
    def run(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
        hours = settings["hours"]
        windows = (
            graph.sort(node, "at")
            .rolling("at", period=_period(hours), group_by=node)
            .agg(pl.col(other).n_unique().alias("degree"), pl.col("transaction_id"))
            .filter(pl.col("degree") >= settings["degree"])
        )
        hits = windows.select(node, pl.col("transaction_id")).explode("transaction_id")
        return _clusters(hits.join(graph.select("transaction_id", "at"), on="transaction_id"), node, hours)

    return run


def _flow_through(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    hours = settings["hours"]
    events = pl.concat(
        [
            graph.select("transaction_id", "at", "amount", node=side, other=other, inward=pl.lit(side == "payee"))
            for side, other in (("payer", "payee"), ("payee", "payer"))
        ]
    ).sort("node", "at")
    quiet = pl.duration(days=settings.get("quiet", 0))
    lone = pl.col("at").diff().over("node")
    # silence counts from the window's first day for an account that was never heard of
    begin = events["at"].min()
    events = events.with_columns(still=lone.fill_null(pl.col("at") - begin) >= quiet)
    inward, outward = pl.col("inward"), ~pl.col("inward")
    windows = (
        events.rolling("at", period=_period(hours), group_by="node")
        .agg(
            pl.col("other").filter(inward).n_unique().alias("payers"),
            pl.col("other").filter(outward).n_unique().alias("payees"),
            pl.col("amount").filter(inward).sum().alias("received"),
            pl.col("amount").filter(outward).sum().alias("paid"),
            pl.col("still").filter(inward).any().alias("still"),
            pl.col("transaction_id"),
        )
        .filter(
            (pl.col("payers") >= settings["payers"])
            & (pl.col("payees") >= settings["payees"])
            & (pl.col("paid") >= settings["ratio"] * pl.col("received"))
            & pl.col("still")
        )
    )
    hits = windows.select("node", "transaction_id").explode("transaction_id")
    return _clusters(hits.join(graph.select("transaction_id", "at"), on="transaction_id"), "node", hours)


def _path(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    closed, hops = settings.get("closed", False), int(settings["hops"])
    longest = int(settings.get("most", hops)) + int(settings.get("besides", 0)) if closed else hops
    step = graph.select("transaction_id", "payer", "payee", "at", "amount")
    paths = step.select(pl.concat_list("transaction_id").alias("path"), "at", "amount", origin="payer", end="payee")
    found = []
    for length in range(1, longest + 1):
        if length >= hops:
            whole = paths.filter(pl.col("origin") == pl.col("end")) if closed else paths
            found.append(whole.select("path"))
        if length == longest:
            break
        onward = paths.filter(pl.col("origin") != pl.col("end")) if closed else paths
        paths = (
            onward.join(step, left_on="end", right_on="payer", suffix="_next")
            .filter(
                (pl.col("at_next") > pl.col("at"))
                & (pl.col("at_next") - pl.col("at") <= pl.duration(seconds=round(settings["gap"] * 3_600)))
                & (pl.col("amount_next") >= settings["ratio"] * pl.col("amount") - 2 * ROUNDING / 100)
                & (pl.col("amount_next") <= settings.get("rise", 1.0) * pl.col("amount"))
            )
            .select(
                pl.concat_list("path", "transaction_id").alias("path"),
                "origin",
                end="payee",
                at="at_next",
                amount="amount_next",
            )
        )
    return pl.concat(found).with_row_index("match").explode("path").rename({"path": "transaction_id"})


def _scatter_gather(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    two = (
        graph.join(graph, left_on="payee", right_on="payer", suffix="_on")
        .filter((pl.col("at_on") > pl.col("at")) & (pl.col("payer") != pl.col("payee_on")))
        .filter(pl.col("at_on") - pl.col("at") <= pl.duration(seconds=round(settings["hours"] * 3_600)))
    )
    ends = ["payer", "payee_on"]
    wide = two.group_by(ends).agg(pl.col("payee").n_unique().alias("degree"))
    wide = wide.filter(pl.col("degree") >= settings["degree"]).drop("degree").with_row_index("match")
    both = two.join(wide, on=ends)
    return pl.concat([both.select("match", transaction_id=c) for c in ("transaction_id", "transaction_id_on")]).unique()


def _bipartite(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    near = pl.duration(seconds=round(settings["hours"] * 3_600))
    shared = (
        graph.join(graph, on="payee", suffix="_too")
        .filter((pl.col("payer") != pl.col("payer_too")) & ((pl.col("at") - pl.col("at_too")).abs() <= near))
        .with_columns(common=pl.col("payee").n_unique().over("payer", "payer_too"))
        .filter(pl.col("common") >= settings["payees"])
        .with_columns(partners=pl.col("payer_too").n_unique().over("payer"))
        .filter(pl.col("partners") >= settings["payers"] - 1)
    )
    hits = shared.select("transaction_id", "payer", "payee").unique()
    if settings.get("layers", 1) == 2:
        hits = hits.filter(
            pl.col("payee").is_in(hits["payer"].implode()) | pl.col("payer").is_in(hits["payee"].implode())
        )
    # payees that the same payers pay are one group: it is named after the least payer that pays them
    hits = hits.with_columns(match=pl.col("payer").min().over("payee"))
    return hits.select(pl.col("match").rank("dense").alias("match"), "transaction_id")


def _repeat(graph: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    windows = (
        graph.with_columns(pair=pl.struct("payer", "payee").hash())
        .sort("pair", "at")
        .rolling("at", period=_period(settings["hours"]), group_by="pair")
        .agg(
            pl.len().alias("times"),
            (pl.col("amount").max() / pl.col("amount").first()).alias("growth"),
            pl.col("transaction_id"),
        )
        .filter((pl.col("times") >= settings["times"]) & (pl.col("growth") >= settings.get("growth", 0.0)))
    )
    hits = windows.select("pair", "transaction_id").explode("transaction_id")
    return _clusters(hits.join(graph.select("transaction_id", "at"), on="transaction_id"), "pair", settings["hours"])


PATTERNS: Mapping[str, Callable[[pl.DataFrame, Mapping[str, Any]], Found]] = {
    "fan-in": _fan("payee", "payer"),
    "fan-out": _fan("payer", "payee"),
    "flow-through": _flow_through,
    "path": _path,
    "scatter-gather": _scatter_gather,
    "bipartite": _bipartite,
    "repeat": _repeat,
}
