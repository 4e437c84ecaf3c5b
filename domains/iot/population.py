"""What there is: sites, the gateways and devices in them, and the channels of each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Window
from ...core.errors import UserError, unknown
from ...core.priors import Priors
from ...core.samplers.rules import choose
from ...core.schema import load_schema
from ...core.stream import F64, U64, Stream
from ...core.tables import Table, Tables
from .civil import DAY, check_names
from .profiles import LINKS, Profile, load_profiles

SCHEMA = load_schema("iot")
ZONES, CREWS, OPERATORS, GATEWAYS, DEVICES, CHANNELS = (
    SCHEMA[t].fan for t in ("zone", "crew", "operator", "gateway", "device", "channel")
)
PROFILES = load_profiles()
MODEMS = LINKS.index("cellular")
"""The first place of a site's gateways that is one device's own: its modem, which has coverage or not wherever the device is."""


def sites(block: Block, tables: Tables) -> Tables:
    stream, units, priors = block.stream.child("site"), block.units, block.priors
    return {
        "site": pl.DataFrame(
            {
                "site_id": units.astype(np.int64),
                "kind": _pick(stream.child("kind"), units, priors("site.kind")),
                "latitude": _between(stream.child("latitude"), units, priors("site.latitude")),
                "longitude": _between(stream.child("longitude"), units, priors("site.longitude")),
            }
        ).with_columns(country=pl.lit(priors("site.country")), time_zone=pl.lit(priors("site.time_zone")))
    }


def zones(block: Block, tables: Tables) -> Tables:
    key = np.arange(block.first * ZONES, block.last * ZONES)
    name = pl.concat_str(pl.lit("Zone "), pl.col("zone_id") % ZONES + 1)
    return {"zone": pl.DataFrame({"zone_id": key, "site_id": key // ZONES}).with_columns(name=name)}


def crews(block: Block, tables: Tables) -> Tables:
    each = block.priors("repair.crews")
    site = np.repeat(block.units.astype(np.int64), each)
    return {
        "crew": pl.DataFrame({"crew_id": site * CREWS + np.tile(np.arange(each), len(block.units)), "site_id": site})
    }


def operators(block: Block, tables: Tables) -> Tables:
    each = block.priors("operator.shifts")
    site = np.repeat(block.units.astype(np.int64), each)
    shift = np.tile(np.arange(each), len(block.units))
    # the hours that do not come out even are the last one's
    start = (shift * (24 // each)).astype(np.int32)
    return {"operator": pl.DataFrame({"operator_id": site * OPERATORS + shift, "site_id": site, "shift_start": start})}


def fleet(block: Block) -> Table:
    """Every device of the block's sites, also those beyond the size of the dataset: they share the sites' crews. `life` is what its batch
    leaves of the life of its parts. Several steps ask for it, one after the other: it is drawn once for a block."""
    global _last
    known = _last
    if known is None or known[0] is not block:
        _last = known = block, _fleet(block)
    return known[1]


_last: tuple[Block, Table] | None = None


def _fleet(block: Block) -> Table:
    stream, priors = block.stream.child("device"), block.priors
    ids = np.arange(block.first * DEVICES, block.last * DEVICES, dtype=np.uint64)
    key = ids.astype(np.int64)
    site = key // DEVICES
    kind = np.repeat(sites(block, {})["site"]["kind"].to_numpy(), DEVICES)
    profile = _profiles(kind, stream.child("profile").uniform(ids), chosen(priors, block.library))
    links = {p.name: LINKS.index(p.link) for p in block.library.values()}
    link = np.array([links[name] for name in profile.tolist()], np.int64)
    start = block.window.start // DAY
    age = _ages(stream.child("age").uniform(ids), priors, (block.window.end - block.window.start) // DAY)
    installed = start - age
    months = installed.astype("M8[D]").astype("M8[M]").astype(np.int64)
    quarters = zip(profile.tolist(), (1970 + months // 12).tolist(), (months % 12 // 3 + 1).tolist(), strict=True)
    batch = [f"{name}-{year}-q{quarter}" for name, year, quarter in quarters]
    lives = _lives(block, sorted(set(batch)))
    return pl.DataFrame(
        {
            "device_id": key,
            "site_id": site,
            "zone_id": site * ZONES + stream.child("zone").integers(ids, ZONES),
            "gateway_id": site * GATEWAYS + np.where(link == MODEMS, MODEMS + key % DEVICES, link),
            "profile": profile,
            "firmware": _pick(stream.child("firmware"), ids, priors("device.firmware")),
            "installed_on": pl.Series(installed.astype(np.int32)).cast(pl.Date),
            "batch": batch,
            "life": [lives[name] for name in batch],
            "clock_ppm": np.round(stream.child("clock").uniform(ids) * priors("clock.ppm"), 3),
        }
    )


def _lives(block: Block, names: list[str]) -> Mapping[str, float]:
    """What each batch leaves of the life of its parts: a defect is the batch's own, wherever its devices stand."""
    share, life = block.priors("batch.defective"), block.priors("batch.life")
    zero = np.zeros(1, np.uint64)
    return {name: life if block.stream.child("batch", name).uniform(zero)[0] < share else 1.0 for name in names}


def chosen(priors: Priors, known: Mapping[str, Profile]) -> Mapping[str, Profile]:
    """The profiles that devices may have: all that are known and at home somewhere, or those that `device.profiles` names."""
    text = priors("device.profiles")
    if text == "all":
        # what stands at no kind of site is there for those who ask for it
        return {name: p for name, p in known.items() if p.sites}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise unknown("profile", name, known, "device.profiles")
    return {name: known[name] for name in names}


def samples(priors: Priors, window: Window, known: Mapping[str, Profile]) -> float:
    """Readings of a site, as many as are usual: of devices that are always awake, of all profiles alike. Raises UserError for a profile, a
    time zone or a country that there is not."""
    check_names(priors("site.time_zone"), priors("site.country"))
    rates = [len(p.channels) / interval_us(p, priors) for p in chosen(priors, known).values()]
    return DEVICES * (window.end - window.start) * sum(rates) / len(rates)


def _profiles(kind: NDArray[np.str_], u: F64, known: Mapping[str, Profile]) -> NDArray[np.str_]:
    """A profile for each device, all alike among those at home at its kind of site; where none is, among all that there are."""
    found = np.empty(len(kind), dtype=object)
    for name in np.unique(kind):
        here = [p.name for p in known.values() if name in p.sites] or list(known)
        at = kind == name
        found[at] = np.array(here)[(u[at] * len(here)).astype(np.int64)]
    return found.astype(str)


def interval_us(profile: Profile, priors: Priors) -> int:
    return max(1, round(profile.interval_s * priors("profile.interval") * 1e6))


def devices(block: Block, tables: Tables) -> Tables:
    product = pl.col("profile").str.replace_all("-", ".", literal=True)
    frame = fleet(block)
    frame = frame.head(max(0, block.size - block.first * DEVICES))
    return {"device": frame.with_columns(urn=_urn(product, "device_id"))}


def gateways(block: Block, tables: Tables) -> Tables:
    """The gateways that a device sends through. What they stored goes out as fast as the platform takes it; that of devices beyond
    the size is counted too, so that a larger fleet changes nothing."""
    key = tables["device"]["gateway_id"].unique().sort().to_numpy()
    ids = key.astype(np.uint64)
    pace = {name: 1e6 / interval_us(p, block.priors) for name, p in block.library.items()}
    rate: dict[int, float] = {}
    for gateway, profile in fleet(block).select("gateway_id", "profile").iter_rows():
        rate[gateway] = rate.get(gateway, 0.0) + pace[profile]
    most = block.priors("gateway.messages_per_second")
    uplink = _pick(block.stream.child("gateway", "uplink"), ids, block.priors("gateway.uplink"))
    uplink = np.where(is_modem(key), "cellular", uplink)
    return {
        "gateway": pl.DataFrame({"gateway_id": key, "site_id": key // GATEWAYS, "uplink": uplink}).with_columns(
            urn=_urn(pl.lit("gateway"), "gateway_id"),
            backfill_speed=pl.Series([max(1, int(most / rate[k])) for k in key.tolist()]),
        )
    }


def is_modem(gateway: int | NDArray[np.int64]) -> Any:
    """Whether a gateway, or which of several, by their keys, is a device's own."""
    return gateway % GATEWAYS >= MODEMS


def channels(block: Block, tables: Tables) -> Tables:
    """The channels of each device. A device samples all of them at once; its grid starts at a moment of its own."""
    device, priors = tables["device"], block.priors
    interval = {name: interval_us(p, priors) for name, p in block.library.items()}
    least = min(interval[name] for name in chosen(priors, block.library))
    most = (block.window.end - block.window.start) // least + 1
    if most > SCHEMA["reading"].fan:
        raise UserError(
            f"profile.interval is {priors('profile.interval')}: {most:,} samples of a channel between --start and --end,"
            f" at most {SCHEMA['reading'].fan:,} can be numbered"
        )
    u = block.stream.child("device", "phase").uniform(device["device_id"].to_numpy())
    step = np.array([interval[name] for name in device["profile"]], np.int64)
    frame = device.select(
        "device_id",
        "profile",
        pl.col("urn").alias("device_urn"),
        pl.Series("first_sample_at", block.window.start + (u * step).astype(np.int64)),
        pl.Series("interval_us", step),
        pl.lit(priors("device.jitter_us")).alias("jitter_us"),
    ).join(
        _kinds(block.library[name] for name in device["profile"].unique()), on="profile", maintain_order="left_right"
    )
    return {
        "channel": frame.with_columns(
            channel_id=pl.col("device_id") * CHANNELS + pl.col("k"),
            jitter_us=pl.min_horizontal("jitter_us", pl.col("interval_us") // 2),
            urn=pl.concat_str("device_urn", pl.lit("_"), pl.col("signal").str.replace_all("-", ".", literal=True)),
        )
    }


_KINDS = {
    "profile": pl.String,
    "k": pl.Int64,
    **dict.fromkeys(("signal", "kind", "unit_code"), pl.String),
    **dict.fromkeys(("resolution", "low", "high", "accuracy", "rate_per_s", "rollover"), pl.Float64),
}


def _kinds(profiles: Iterable[Profile]) -> Table:
    """A row for each channel of each profile."""
    rows = [
        (p.name, k, c.signal, c.kind, c.unit, c.resolution, c.low, c.high, c.accuracy, c.rate, c.rollover)
        for p in profiles
        for k, c in enumerate(p.channels)
    ]
    return pl.DataFrame(rows, _KINDS, orient="row")


def _ages(u: F64, priors: Priors, days: int) -> NDArray[np.int64]:
    """Days in service at the start of the window, of a fleet that grows at a steady rate: exponential, from the youngest (who are put
    into service in the window, of that many days: less than none) to the greatest age."""
    low, high = -days, priors("device.age_days")
    mean = 365.25 / np.log1p(priors("device.growth"))
    return np.floor(low - mean * np.log1p(-u * -np.expm1(-(high - low) / mean))).astype(np.int64)


def _pick(stream: Stream, rows: U64, shares: dict[str, float]) -> NDArray[np.str_]:
    return np.array(list(shares))[choose(stream.uniform(rows), list(shares.values()))]


def _between(stream: Stream, rows: U64, bounds: list[float]) -> F64:
    return bounds[0] + stream.uniform(rows) * (bounds[1] - bounds[0])


def _urn(product: pl.Expr, key: str) -> pl.Expr:
    return pl.concat_str(pl.lit("urn:dev:ops:32473-"), product, pl.lit("-"), pl.col(key).cast(pl.String).str.zfill(9))
