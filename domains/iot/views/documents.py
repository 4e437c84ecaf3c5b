"""Documents of a fleet: InfluxDB line protocol, SenML, CloudEvents, WoT Thing Descriptions, SensorThings entities. All by column expressions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from ....core.render_json import Pick, Raw, Text, render
from ....core.tables import Table, Tables
from ..population import CHANNELS
from ..profiles import Profile
from ..readings import FAN

Profiles = Mapping[str, Profile]
_SLICE = 1 << 15
"""Readings at a time: their texts stay in the cache."""

SENML_UNITS = {
    "Cel": "Cel",
    "W": "W",
    "V": "V",
    "A": "A",
    "lx": "lx",
    "m/s": "m/s",
    "W/m2": "W/m2",
    "deg": "deg",
    "kW": "kW",
    "kW.h": "kWh",
    "mm/s": "mm/s",
    "km/h": "km/h",
    "hPa": "hPa",
    "[ppm]": "ppm",
    "{beats}/min": "beat/min",
}
"""UCUM to the units that SenML registers (RFC 8428, and RFC 8798 for the secondary ones); of others the unit is left out."""
_SYMBOLS = {"Cel": "°C", "[ppm]": "ppm", "kW.h": "kWh", "m3/m3": "m³/m³", "W/m2": "W/m²", "1": "1"}


def influx(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """One line for each reading: the profile as measurement, site and device as tags, the signal as field, nanoseconds. The protocol has no
    NaN, infinity or null: such readings have no line."""
    names = named(profiles, tables).select(
        "channel_id",
        head=pl.concat_str(
            _escaped("profile"),
            pl.lit(",site="),
            "site_id",
            pl.lit(",device="),
            "device_id",
            pl.lit(" "),
            _escaped("signal"),
            pl.lit("="),
        ),
    )
    numbers, heads = names["channel_id"].to_numpy(), names["head"]
    reading = tables["reading"].select("channel_id", "value", pl.col("observed_at").to_physical())
    parts = []
    for part in reading.iter_slices(_SLICE) if reading.height else [reading]:
        if not part["value"].is_finite().fill_null(False).all():
            part = part.filter(pl.col("value").is_finite())
        head = heads.gather(np.searchsorted(numbers, part["channel_id"].to_numpy()))
        parts.append(part.select(text=pl.concat_str(head, "value", pl.lit(" "), "observed_at", pl.lit("000"))))
    return {"reading": pl.concat(parts)}


def _escaped(column: str) -> pl.Expr:
    """A measurement or field key: a comma, an equals sign and a space are escaped, a line's end is none; without a name, `unnamed`."""
    text = pl.col(column).cast(pl.String).str.replace_all(r"[\r\n]", " ").str.replace_all(r"([,= ])", r"\$1")
    return pl.when(text.str.len_bytes() > 0).then(text).otherwise(pl.lit("unnamed"))


def senml(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """One pack (a JSON array) a line for each message: what a device sampled at a time."""
    return {"reading": packs(profiles, tables).select("text")}


def cloudevents(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """One event a line for each message, with its SenML pack as data; in order of arrival."""
    pack = packs(profiles, tables).sort("received_at", "message")
    text = render(
        pack,
        {
            "specversion": "1.0",
            "id": Text("message-", pl.col("message").cast(pl.String)),
            "source": pl.col("device_urn"),
            "type": "org.populace.iot.message",
            "time": pl.col("observed_at"),
            "datacontenttype": "application/senml+json",
            "data": Raw(pl.col("text")),
        },
    )
    return {"message": text.alias("text").to_frame()}


def things(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """One W3C WoT Thing Description (1.1) for each device."""
    channel = named(profiles, tables)
    about = render(
        channel,
        {
            "title": pl.col("title"),
            "type": "number",
            "unit": pl.col("unit_code"),
            "minimum": pl.col("low"),
            "maximum": pl.col("high"),
            "multipleOf": pl.col("resolution"),
            "readOnly": True,
            "observable": True,
            "forms": [
                {
                    "href": Text("mqtts://broker.invalid/", pl.col("device_urn"), "/", pl.col("signal")),
                    "op": ["observeproperty", "unobserveproperty"],
                    "contentType": "application/senml+json",
                }
            ],
        },
    )
    listed = channel.with_columns(pl.concat_str(pl.lit('"'), "signal", pl.lit('":'), about).alias("signal"))
    one = listed.group_by("device_id", maintain_order=True).agg(pl.col("signal").str.join(","))
    device = tables["device"].join(one, on="device_id", maintain_order="left")
    text = render(
        device,
        {
            "@context": ["https://www.w3.org/2022/wot/td/v1.1"],
            "id": pl.col("urn"),
            "title": pl.col("urn"),
            "description": Pick(pl.col("profile"), {p.name: p.title for p in profiles.values()}),
            "version": {"instance": pl.col("firmware")},
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}},
            "security": "nosec_sc",
            "properties": Raw(pl.concat_str(pl.lit("{"), "signal", pl.lit("}"))),
        },
    )
    return {"thing": device.select(name=pl.concat_str(pl.lit("device-"), "device_id"), text=text)}


def sensorthings(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """OGC SensorThings entities, one a line: Things with their Locations, Datastreams with Sensor and ObservedProperty, Observations."""
    device = tables["device"].join(tables["site"], on="site_id", maintain_order="left")
    title = Pick(pl.col("profile"), {p.name: p.title for p in profiles.values()})
    thing = {
        "@iot.id": pl.col("device_id"),
        "name": pl.col("urn"),
        "description": title,
        "properties": {"profile": pl.col("profile"), "firmware": pl.col("firmware"), "site": pl.col("site_id")},
        "Locations": [
            {
                "@iot.id": pl.col("site_id"),
                "name": Text("site ", pl.col("site_id").cast(pl.String)),
                "description": pl.col("kind"),
                "encodingType": "application/geo+json",
                "location": {"type": "Point", "coordinates": [pl.col("longitude"), pl.col("latitude")]},
            }
        ],
    }
    datastream = {
        "@iot.id": pl.col("channel_id"),
        "name": pl.col("urn"),
        "description": pl.col("title"),
        "observationType": "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement",
        "unitOfMeasurement": {
            "name": pl.col("unit_code"),
            "symbol": pl.col("unit_code").replace(_SYMBOLS),
            "definition": Text("http://unitsofmeasure.org/", pl.col("unit_code")),
        },
        "Thing": {"@iot.id": pl.col("device_id")},
        "ObservedProperty": {
            "name": pl.col("signal"),
            "definition": Text("urn:populace:signal:", pl.col("signal")),
            "description": pl.col("title"),
        },
        "Sensor": {
            "name": pl.col("profile"),
            "description": title,
            "encodingType": "text/html",
            "metadata": Text("urn:populace:profile:", pl.col("profile")),
        },
    }
    observation = {
        "@iot.id": pl.col("reading_id"),
        "phenomenonTime": pl.col("observed_at"),
        "resultTime": pl.col("received_at"),
        "result": pl.col("value"),
        "resultQuality": pl.col("quality").cast(pl.String),
        "Datastream": {"@iot.id": pl.col("channel_id")},
    }
    return {
        "Things": render(device, thing).alias("text").to_frame(),
        "Datastreams": render(named(profiles, tables), datastream).alias("text").to_frame(),
        "Observations": render(tables["reading"], observation).alias("text").to_frame(),
    }


def named(profiles: Profiles, tables: Tables) -> Table:
    """The channels with what is said of their devices, and their titles."""
    device = tables["device"].select("device_id", "site_id", "profile", pl.col("urn").alias("device_urn"))
    titles = [(p.name, c.signal, c.title) for p in profiles.values() for c in p.channels]
    known = pl.DataFrame(titles, schema=["profile", "signal", "title"], orient="row")
    channel = tables["channel"].sort("channel_id").join(device, on="device_id", maintain_order="left")
    channel = channel.join(known, on=["profile", "signal"], how="left", maintain_order="left")
    return channel.with_columns(pl.col("title").fill_null(pl.col("signal")))


def packs(profiles: Profiles, tables: Tables) -> Table:
    """For each message, in order of device and grid: `message`, `device_urn`, `observed_at`, `received_at` and its pack as `text`."""
    names = named(profiles, tables).select(
        "channel_id", "device_urn", "unit_code", component=pl.col("urn").str.strip_prefix(pl.col("device_urn"))
    )
    # a device's channels are sampled at once, on the same points of the grid; a message is a device and a point
    device = pl.col("channel_id") // CHANNELS
    reading = (
        tables["reading"]
        .with_columns(message=device * FAN + pl.col("reading_id") % FAN)
        .sort("message", "channel_id")
        .join(names, on="channel_id", maintain_order="left")
    )
    first = pl.col("message") != pl.col("message").shift().fill_null(-1)
    seconds = pl.col("observed_at").to_physical() / 1_000_000
    record = render(
        reading.with_columns(bn=pl.when(first).then("device_urn"), bt=pl.when(first).then(seconds)),
        {
            "bn": pl.col("bn"),
            "bt": pl.col("bt"),
            "n": pl.col("component"),
            "u": Pick(pl.col("unit_code"), SENML_UNITS),
            "v": pl.col("value"),
        },
    )
    return (
        reading.with_columns(text=record)
        .group_by("message", maintain_order=True)
        .agg(
            pl.col("device_urn", "observed_at", "received_at").first(),
            pl.concat_str(pl.lit("["), pl.col("text").str.join(","), pl.lit("]")).alias("text"),
        )
    )
