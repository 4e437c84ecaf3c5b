"""What there is: sites, the gateways and devices in them, and the channels of each device."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.errors import UserError
from ...core.priors import Priors
from ...core.samplers.rules import choose
from ...core.schema import load_schema
from ...core.stream import F64, U64, Stream
from ...core.tables import Table, Tables

SCHEMA = load_schema("iot")
GATEWAYS, DEVICES, CHANNELS = (SCHEMA[t].fan for t in ("gateway", "device", "channel"))
DAY = 86_400_000_000

PROFILES = {
    "room-climate": ("air-temperature", "relative-humidity", "carbon-dioxide"),
    "energy-meter": ("active-power", "voltage"),
    "pump-vibration": ("vibration-velocity", "bearing-temperature"),
}
"""The channels of each kind of device, in order."""
RADIO = ("room-climate",)
"""Profiles that send by radio. A site has one gateway for its radio and one for its wires."""


def sites(block: Block, tables: Tables) -> Tables:
    stream, units, priors = block.stream.child("site"), block.units, block.priors
    return {
        "site": pl.DataFrame(
            {
                "site_id": units.astype(np.int64),
                "kind": _pick(stream.child("kind"), units, priors("site.kind")),
                "latitude": _between(stream.child("latitude"), units, priors("site.latitude")),
                "longitude": _between(stream.child("longitude"), units, priors("site.longitude")),
                "utc_offset_minutes": np.full(len(units), priors("site.utc_offset_minutes")),
            }
        )
    }


def fleet(block: Block) -> Table:
    """Every device of the block's sites, also those beyond the size of the dataset: they share the sites' crews."""
    stream, priors = block.stream.child("device"), block.priors
    ids = np.arange(block.first * DEVICES, block.last * DEVICES, dtype=np.uint64)
    key = ids.astype(np.int64)
    site = key // DEVICES
    profile = _pick(stream.child("profile"), ids, priors("device.profile"))
    return pl.DataFrame(
        {
            "device_id": key,
            "site_id": site,
            "gateway_id": site * GATEWAYS + (~np.isin(profile, RADIO)),
            "profile": profile,
            "firmware": _pick(stream.child("firmware"), ids, priors("device.firmware")),
            "installed_on": pl.Series(block.window.start // DAY - _ages(stream.child("age").uniform(ids), priors))
            .cast(pl.Int32)
            .cast(pl.Date),
        }
    )


def devices(block: Block, tables: Tables) -> Tables:
    product = pl.col("profile").str.replace("-", ".", literal=True)
    frame = fleet(block).filter(pl.col("device_id") < block.size)
    return {"device": frame.with_columns(urn=_urn(product, "device_id"))}


def gateways(block: Block, tables: Tables) -> Tables:
    """The gateways that a device sends through. What they stored goes out as fast as the platform takes it; that of devices beyond
    the size is counted too, so that a larger fleet changes nothing."""
    key = tables["device"]["gateway_id"].unique().sort().to_numpy()
    ids = key.astype(np.uint64)
    live = (
        fleet(block)
        .group_by("gateway_id")
        .agg(
            (1e6 / pl.col("profile").replace_strict(block.priors("device.interval_us"), return_dtype=pl.Float64)).sum()
        )
    )
    rate = dict(live.iter_rows())
    most = block.priors("gateway.messages_per_second")
    uplink = _pick(block.stream.child("gateway", "uplink"), ids, block.priors("gateway.uplink"))
    return {
        "gateway": pl.DataFrame({"gateway_id": key, "site_id": key // GATEWAYS, "uplink": uplink}).with_columns(
            urn=_urn(pl.lit("gateway"), "gateway_id"),
            backfill_speed=pl.Series([max(1, int(most / rate[k])) for k in key.tolist()]),
        )
    }


def channels(block: Block, tables: Tables) -> Tables:
    """The channels of each device. A device samples all of them at once; its grid starts at a moment of its own."""
    device, priors = tables["device"], block.priors
    interval = priors("device.interval_us")
    most = (block.window.end - block.window.start) // min(interval.values()) + 1
    if most > SCHEMA["reading"].fan:
        raise UserError(
            f"device.interval_us is {min(interval.values())}: {most:,} samples of a channel between --start and --end,"
            f" at most {SCHEMA['reading'].fan:,} can be numbered"
        )
    kinds = pl.DataFrame(
        [_kind(profile, k, name, priors) for profile, names in PROFILES.items() for k, name in enumerate(names)]
    )
    u = block.stream.child("device", "phase").uniform(device["device_id"].to_numpy())
    step = device["profile"].replace_strict(interval, return_dtype=pl.Int64).to_numpy()
    frame = device.select(
        "device_id",
        "profile",
        pl.col("urn").alias("device_urn"),
        pl.Series("first_sample_at", block.window.start + (u * step).astype(np.int64)),
        pl.Series("interval_us", step),
        pl.lit(priors("device.jitter_us")).alias("jitter_us"),
    ).join(kinds, on="profile", maintain_order="left_right")
    return {
        "channel": frame.with_columns(
            channel_id=pl.col("device_id") * CHANNELS + pl.col("k"),
            jitter_us=pl.min_horizontal("jitter_us", pl.col("interval_us") // 2),
            urn=pl.concat_str("device_urn", pl.lit("_"), pl.col("signal").str.replace_all("-", ".", literal=True)),
        )
    }


def _kind(profile: str, k: int, signal: str, priors: Priors) -> dict[str, object]:
    prior = priors[f"signal.{signal}"]
    limits = {name: prior.value[name] for name in ("resolution", "low", "high")}
    return {"profile": profile, "k": k, "signal": signal, "unit_code": prior.unit, **limits}


def _ages(u: F64, priors: Priors) -> NDArray[np.int64]:
    """Days in service of a fleet that grew at a steady rate: exponential, between the least and the greatest age."""
    low, high = priors("device.age_days")
    mean = 365.25 / np.log1p(priors("device.growth"))
    return (low - mean * np.log1p(-u * -np.expm1(-(high - low) / mean))).astype(np.int64)


def _pick(stream: Stream, rows: U64, shares: dict[str, float]) -> NDArray[np.str_]:
    return np.array(list(shares))[choose(stream.uniform(rows), list(shares.values()))]


def _between(stream: Stream, rows: U64, bounds: list[float]) -> F64:
    return bounds[0] + stream.uniform(rows) * (bounds[1] - bounds[0])


def _urn(product: pl.Expr, key: str) -> pl.Expr:
    return pl.concat_str(pl.lit("urn:dev:ops:32473-"), product, pl.lit("-"), pl.col(key).cast(pl.String).str.zfill(9))
