"""Sparkplug B 3.0: births, data and deaths of edge nodes (gateways) and their devices, in the order in which the host learns of them.

A gateway's connection is a session: it begins with NBIRTH, whose `seq` is 0, and ends with NDEATH, the will that the broker publishes when the
gateway is cut off; both have the session's `bdSeq`. `seq` counts the session's other messages, modulo 256. A device is born (DBIRTH) before it
sends, with every metric's name and alias, and dies (DDEATH) when it goes down; what was stored while the gateway was cut off is historical.
Source: Eclipse Sparkplug 3.0.0, sections 5 and 6; its sparkplug_b.proto.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.render_json import render
from ....core.render_protobuf import Piece, beside, double, messages, nested, text, varint
from ....core.tables import Table, Tables, plain
from ..gauges import AWAKE
from ..population import CHANNELS, DEVICES
from ..readings import FAN, I64

NAMESPACE = "spBv1.0"
KINDS = ("NDEATH", "NBIRTH", "DBIRTH", "DDATA", "DDEATH")
"""In the order in which those of one instant come."""
_NDEATH, _NBIRTH, _DBIRTH, _DDATA, _DDEATH = range(5)
_INT64, _DOUBLE, _BOOLEAN, _STRING = 4, 10, 11, 12
_ALIVE = (*AWAKE, "asleep")
_SLICE = 1 << 16


def sparkplug(tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """One message a line: when the host learns of it, its topic, and its payload in base64."""
    made = node_messages(tables)
    line = render(
        made.with_columns(pl.col("body").bin.encode("base64"), pl.col("at").cast(pl.Datetime("us", "UTC"))),
        {"at": pl.col("at"), "topic": pl.col("topic"), "payload": pl.col("body")},
    )
    return {"message": line.alias("text").to_frame()}


def node_messages(tables: Tables) -> Table:
    """All messages: `node`, `at` (microseconds since 1970), `rank`, `row` (its place in the node's order), `topic` and `body`."""
    plan = _plan(tables)
    node = plan["gateway_id"]
    site = plan["gateway_id"].replace_strict(dict(tables["gateway"].select("gateway_id", "site_id").iter_rows()))
    of_device = plan["kind"].is_in([_DBIRTH, _DDATA, _DDEATH])
    topic = pl.select(
        pl.concat_str(
            pl.lit(f"{NAMESPACE}/site-"),
            site,
            pl.lit("/"),
            plan["kind"].replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
            pl.lit("/gateway-"),
            node,
            pl.when(of_device).then(pl.concat_str(pl.lit("/device-"), plan["device_id"])).otherwise(pl.lit("")),
        ).alias("topic")
    ).to_series()
    made = plan.select(
        node=node, at="at", rank=pl.col("kind").cast(pl.Int32), row=pl.int_range(pl.len(), dtype=pl.Int64)
    ).with_columns(topic, _bodies(tables, plan).alias("body"))
    return made.sort("at", "rank", "row")


def told(tables: Tables, dataset: str) -> Table:
    """The same as a stream tells them; a node's messages stay in order."""
    made = node_messages(tables)
    return made.select(
        "at",
        "rank",
        "row",
        key="node",
        id=pl.concat_str(pl.lit(f"{dataset}-sparkplug-"), "node", pl.lit("-"), "row"),
        topic="topic",
        label=pl.col("node").cast(pl.String),
        headers=pl.lit("{}"),
        body="body",
    )


def _plan(tables: Tables) -> Table:
    """What is sent, node by node and in order: `gateway_id`, `at`, `kind`, `device_id`, `message`, `session` (from 0), `seq`, `late`."""
    home = tables["device"].select("device_id", "gateway_id")
    cuts = tables["gateway_event"].select("gateway_id", pl.col("started_at", "ended_at").to_physical().name.keep())
    cuts = cuts.filter(pl.col("ended_at") > pl.col("started_at")).sort("gateway_id", "started_at")
    # one outage that runs into the next is one
    reach = pl.col("ended_at").cum_max().over("gateway_id")
    apart = (pl.col("started_at") > reach.shift().over("gateway_id")).fill_null(True)
    cuts = (
        cuts.with_columns(n=apart.cum_sum())
        .group_by("gateway_id", "n", maintain_order=True)
        .agg(pl.col("started_at").min(), pl.col("ended_at").max())
    )
    life = tables["device_event"].select(
        "device_id",
        pl.col("started_at", "ended_at").to_physical().name.keep(),
        alive=pl.col("state").cast(pl.String).is_in(_ALIVE),
    )
    life = life.join(home, on="device_id").sort("device_id", "started_at")
    nodes = home["gateway_id"].unique()
    begin = life["started_at"].min()
    births = pl.concat(
        [
            pl.DataFrame({"gateway_id": nodes}).with_columns(at=pl.lit(begin, pl.Int64)),
            cuts.select("gateway_id", at="ended_at"),
        ]
    ).with_columns(kind=pl.lit(_NBIRTH))
    deaths = cuts.select("gateway_id", at="started_at", kind=pl.lit(_NDEATH))
    arrivals = (
        tables["reading"]
        .select(
            device_id=pl.col("channel_id") // CHANNELS,
            message=pl.col("channel_id") // CHANNELS * FAN + pl.col("reading_id") % FAN,
            at=pl.col("received_at").to_physical(),
            late=pl.col("quality").cast(pl.String) == "late",
        )
        .unique(["message", "at"], maintain_order=True)
        .join(home, on="device_id")
        .with_columns(kind=pl.lit(_DDATA))
    )
    turns = life.select(
        "gateway_id", "device_id", at="started_at", kind=pl.when("alive").then(_DBIRTH).otherwise(_DDEATH)
    )
    # a session that begins finds the devices as they are then
    again = births.join(life, on="gateway_id").filter(
        (pl.col("started_at") < pl.col("at")) & (pl.col("at") < pl.col("ended_at")) & pl.col("alive")
    )
    again = again.select("gateway_id", "device_id", "at", kind=pl.lit(_DBIRTH))
    whole = pl.concat([births, deaths, turns, again, arrivals], how="diagonal")
    whole = whole.sort("gateway_id", "at", "kind", "device_id", "message", nulls_last=True)
    whole = whole.with_columns(
        session=(pl.col("kind") == _NBIRTH).cum_sum().over("gateway_id") - 1,
        gone=(pl.col("kind") == _NDEATH).cum_sum().over("gateway_id"),
    )
    # while the gateway is cut off, nothing is sent
    whole = whole.filter((pl.col("gone") == pl.col("session")) | (pl.col("kind") == _NDEATH)).drop("gone")
    whole = _born(whole)
    order = pl.int_range(pl.len()).over("gateway_id", "session")
    return whole.with_columns(seq=order % 256)


def _born(whole: Table) -> Table:
    """No device's birth or death twice over, and none sends that is not born: what a dead one still has under way is sent between a birth and
    a death of its own."""
    at = ["gateway_id", "session", "device_id"]
    device = whole.filter(pl.col("device_id").is_not_null())
    turn = pl.when(pl.col("kind") != _DDATA).then(pl.col("kind"))
    device = device.with_columns(now=turn.forward_fill().over(at), before=turn.forward_fill().shift().over(at))
    device = device.filter(
        (pl.col("kind") == _DDATA)
        | ((pl.col("kind") == _DBIRTH) & (pl.col("before").fill_null(_DDEATH) != _DBIRTH))
        | ((pl.col("kind") == _DDEATH) & (pl.col("before") == _DBIRTH))
    )
    dead = (pl.col("kind") == _DDATA) & (pl.col("now").fill_null(_DDEATH) == _DDEATH)
    device = device.with_columns(dead=dead)
    first = device.filter(dead & ~pl.col("dead").shift().over(at).fill_null(False))
    last = device.filter(dead & ~pl.col("dead").shift(-1).over(at).fill_null(False))
    added = pl.concat(
        [first.with_columns(kind=pl.lit(_DBIRTH), message=None), last.with_columns(kind=pl.lit(_DDEATH), message=None)]
    )
    of_nodes = whole.filter(pl.col("device_id").is_null())
    found = pl.concat([of_nodes, device, added.cast(device.schema)], how="diagonal").drop("now", "before", "dead")
    return found.sort("gateway_id", "at", "kind", "device_id", "message", nulls_last=True)


def _bodies(tables: Tables, plan: Table) -> pl.Series:
    """The payload of each message of the plan, in its order."""
    place = plan.with_row_index("_at")
    parts = []
    for kinds, made in (
        ((_NBIRTH, _NDEATH), _of_nodes),
        ((_DBIRTH,), _of_births),
        ((_DDEATH,), _of_deaths),
        ((_DDATA,), _of_data),
    ):
        mine = place.filter(pl.col("kind").is_in(list(kinds)))
        for part in mine.iter_slices(_SLICE):
            parts.append(pl.DataFrame({"_at": part["_at"], "body": made(tables, part)}))
    found = pl.concat(parts) if parts else pl.DataFrame(schema={"_at": pl.UInt32, "body": pl.Binary})
    return found.sort("_at")["body"]


def _milliseconds(table: Table, column: str = "at") -> I64:
    return plain(table[column]) // 1_000


def _named(name: str, rows: int) -> Piece:
    return text(1, pl.Series([name]).new_from_index(0, rows))


def _seq(part: Table, there: NDArray[np.bool_] | None = None) -> Piece:
    return varint(3, part["seq"].to_numpy(), there)


def _of_nodes(tables: Tables, part: Table) -> pl.Series:
    rows, at = part.height, _milliseconds(part)
    born = (part["kind"] == _NBIRTH).to_numpy()
    stamp = varint(3, at)
    number = varint(11, part["session"].to_numpy() % 256)
    session = nested(2, _named("bdSeq", rows), stamp, _constant(4, _INT64, rows), number)
    rebirth = nested(
        2, _named("Node Control/Rebirth", rows), stamp, _constant(4, _BOOLEAN, rows), _constant(14, 0, rows), there=born
    )
    return messages(beside(varint(1, at), session, rebirth, _seq(part, born)))


def _of_births(tables: Tables, part: Table) -> pl.Series:
    """Each of the device's channels with name and alias, its value null until it is sent; its profile and firmware."""
    device = tables["device"].select("device_id", "profile", pl.col("firmware").fill_null(""))
    about = part.select("_at", "device_id", "at", "seq").join(device, on="device_id", how="left", maintain_order="left")
    channel = tables["channel"].select("device_id", "channel_id", pl.col("signal").cast(pl.String).fill_null(""))
    metric = about.join(channel.sort("channel_id"), on="device_id", how="left", maintain_order="left_right")
    first = (metric["_at"] != metric["_at"].shift()).fill_null(True).to_numpy()
    last = (metric["_at"] != metric["_at"].shift(-1)).fill_null(True).to_numpy()
    rows, at = metric.height, _milliseconds(metric)
    stamp = varint(3, at)
    signal = nested(
        2,
        text(1, metric["signal"]),
        varint(2, _alias(metric["channel_id"])),
        stamp,
        _constant(4, _DOUBLE, rows),
        _constant(7, 1, rows),
    )
    said = [
        nested(
            2,
            _named(f"Properties/{name}", rows),
            stamp,
            _constant(4, _STRING, rows),
            text(15, metric[name.lower()]),
            there=last,
        )
        for name in ("Profile", "Firmware")
    ]
    whole = beside(varint(1, at, first), signal, *said, _seq(metric, last))
    return messages(whole, np.flatnonzero(first))


def _of_deaths(tables: Tables, part: Table) -> pl.Series:
    return messages(beside(varint(1, _milliseconds(part)), _seq(part)))


def _of_data(tables: Tables, part: Table) -> pl.Series:
    """Metrics by their aliases, each with the time at which it was sampled."""
    wanted = part.select("_at", "message", "at", "seq", "late")
    reading = (
        tables["reading"]
        .select(
            "channel_id",
            "reading_id",
            "value",
            "observed_at",
            message=pl.col("channel_id") // CHANNELS * FAN + pl.col("reading_id") % FAN,
            at=pl.col("received_at").to_physical(),
        )
        .join(wanted, on=["message", "at"])
        .sort("_at", "channel_id")
    )
    first = (reading["_at"] != reading["_at"].shift()).fill_null(True).to_numpy()
    last = (reading["_at"] != reading["_at"].shift(-1)).fill_null(True).to_numpy()
    value = reading["value"].fill_null(np.nan).to_numpy()
    known = ~np.isnan(value)
    rows = reading.height
    metric = nested(
        2,
        varint(2, _alias(reading["channel_id"])),
        varint(3, _milliseconds(reading, "observed_at")),
        _constant(4, _DOUBLE, rows),
        varint(5, np.ones(rows, np.int64), reading["late"].to_numpy()),
        varint(7, np.ones(rows, np.int64), ~known),
        double(13, value, known),
    )
    whole = beside(varint(1, _milliseconds(reading), first), metric, _seq(reading, last))
    return messages(whole, np.flatnonzero(first))


def _constant(number: int, value: int, rows: int) -> Piece:
    return varint(number, np.full(rows, value, np.int64))


def _alias(channel: pl.Series) -> I64:
    """A metric's number within its node: one to the most channels that a gateway's devices have."""
    number = channel.to_numpy()
    return number % (DEVICES * CHANNELS) + 1
