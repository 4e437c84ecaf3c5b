"""A fleet in the shapes of public benchmarks: TSBS (load), GutenTAG and TimeEval, NAB (labelled anomalies), C-MAPSS (run to failure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from ....core.tables import Table, Tables, plain
from ..population import CHANNELS
from ..readings import COPY, FAN
from .documents import Profiles

_MICROSECONDS = "%Y-%m-%d %H:%M:%S%.6f"
_SETTINGS = "0.0000 0.0000 100.0"
"""Operational settings of FD001: sea level, standing, throttle at 100."""


def tsbs(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """As TSBS (timescale/tsbs, `tsbs_generate_data --format influx`) writes its iot case: a line for each message, all channels as fields, in order
    of time."""
    device = tables["device"].join(tables["site"].select("site_id", pl.col("kind").cast(pl.String)), on="site_id")
    head = device.select(
        "device_id",
        head=pl.concat_str(
            pl.lit("readings,name=device_"), "device_id", pl.lit(",fleet="), "kind", pl.lit(",model="), "profile",
            pl.lit(",device_version="), pl.col("firmware").fill_null("none"), pl.lit(" "),
        ),
    )  # fmt: skip
    name = tables["channel"].select(
        "channel_id", field=pl.concat_str(pl.col("signal").str.replace_all("-", "_", literal=True), pl.lit("="))
    )
    reading = tables["reading"].filter(pl.col("value").is_finite())
    message = pl.col("channel_id") // CHANNELS * FAN + pl.col("reading_id") % FAN
    line = (
        reading.select("channel_id", "value", at=pl.col("observed_at").to_physical(), message=message)
        .join(name, on="channel_id", maintain_order="left")
        .sort("at", "message", "channel_id")
        .group_by("at", "message", maintain_order=True)
        .agg(pl.concat_str("field", "value").str.join(","))
        .with_columns(device_id=pl.col("message") // FAN)
        .join(head, on="device_id", maintain_order="left")
    )
    return {"tsbs": line.select(text=pl.concat_str("head", "field", pl.lit(" "), "at", pl.lit("000")))}


def gutentag(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """As GutenTAG writes and TimeEval reads them: a file for each device, `timestamp`, its channels, `is_anomaly`."""
    parts, seen = [], tables["anomaly"].filter(pl.col("rows_left") > 0)
    for number, wide, signals in _wide(tables):
        spans = seen.filter(pl.col("channel_id") // CHANNELS == number)
        at = plain(wide["observed_at"])
        label = np.zeros(len(at), np.int8)
        for t0, t1 in spans.select(pl.col("started_at", "ended_at").to_physical()).iter_rows():
            label[(wide["due"].to_numpy() >= t0) & (wide["due"].to_numpy() < t1)] = 1
        frame = wide.select(pl.col("observed_at").dt.strftime(_MICROSECONDS).alias("timestamp"), *signals).with_columns(
            is_anomaly=pl.Series(label)
        )
        parts.append(_lines(f"device-{number}", frame))
    return {"timeeval": _joined(parts)}


def nab(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """As the Numenta Anomaly Benchmark has them: a file for each channel (`data`), and its windows (`labels`; together they are
    `combined_windows.json`)."""
    data, windows = [], []
    seen = tables["anomaly"].filter(pl.col("rows_left") > 0)
    spans = seen.select("channel_id", pl.col("started_at", "ended_at").dt.strftime(_MICROSECONDS))
    known = {int(k[0]): part for k, part in spans.partition_by("channel_id", as_dict=True).items()}
    sound = tables["reading"].filter(pl.col("value").is_not_null()).sort("reading_id")
    for key, part in sound.partition_by("channel_id", as_dict=True, maintain_order=True).items():
        name = f"channel-{key[0]}"
        data.append(
            _lines(
                name, part.select(pl.col("observed_at").dt.strftime("%Y-%m-%d %H:%M:%S").alias("timestamp"), "value")
            )
        )
        listed = known[int(key[0])].select("started_at", "ended_at").rows() if int(key[0]) in known else []
        inside = ",".join(f'["{a}","{b}"]' for a, b in listed)
        windows.append({"name": f"{name}.json", "text": f'{{"{name}.csv":[{inside}]}}'})
    return {"data": _joined(data), "labels": pl.DataFrame(windows, schema={"name": pl.String, "text": pl.String})}


def cmapss(profiles: Profiles, tables: Tables, reference: Tables) -> Mapping[str, Table]:
    """As NASA's turbofan data has them: without a header, by spaces: unit, cycle, three settings, the sensors. Per profile that wears, the runs
    that end in failure (`train_…`), those that do not (`test_…`), and how many cycles these still have (`RUL_…`). A unit is one life of a part."""
    event = tables["device_event"].select(
        "device_id",
        pl.col("started_at", "ended_at").to_physical(),
        pl.col("state").cast(pl.String),
        "wear_start",
        "wear_end",
    )
    profile_of = dict(tables["device"].select("device_id", "profile").iter_rows())
    files: dict[str, list[str]] = {}
    for number, wide, signals in _wide(tables):
        profile = profiles.get(profile_of[number])
        if profile is None or profile.reliability.degraded is None:
            continue
        life = event.filter(device_id=number).sort("started_at")
        new = life.filter(pl.col("state") == "repair")["ended_at"].to_numpy()
        fails = life.filter(pl.col("state") == "failed")["started_at"].to_numpy()
        at = plain(wide["observed_at"])
        run = np.searchsorted(new, at, "right")
        sensors = wide.select(
            pl.concat_str([pl.col(s).fill_null(float("nan")) for s in signals], separator=" ")
        ).to_series()
        for part in np.unique(run):
            mine = np.flatnonzero(run == part)
            until = new[part] if part < len(new) else np.iinfo(np.int64).max
            ended = bool(((fails >= at[mine[0]]) & (fails < until)).any())
            unit, kind = number * 100 + int(part), "train" if ended else "test"
            files.setdefault(f"{kind}_{profile.name}", []).extend(
                f"{unit} {cycle} {_SETTINGS} {sensors[int(row)]}" for cycle, row in enumerate(mine, 1)
            )
            if not ended:
                files.setdefault(f"RUL_{profile.name}", []).append(
                    str(_left(life, int(at[mine[-1]]), profile.interval_s))
                )
    return {name: pl.DataFrame({"text": lines}) for name, lines in files.items()}


def _left(life: Table, at: int, interval_s: float) -> int:
    """Cycles until the part is spent, by the wear of the span that holds the time."""
    span = life.filter(
        (pl.col("started_at") <= at) & (pl.col("ended_at") > at) & (pl.col("wear_end") > pl.col("wear_start"))
    )
    if span.is_empty():
        return 0
    t0, t1, w0, w1 = span.select("started_at", "ended_at", "wear_start", "wear_end").row(0)
    return max(0, round((t0 + (1 - w0) / (w1 - w0) * (t1 - t0) - at) / (interval_s * 1e6)))


def _wide(tables: Tables) -> Iterator[tuple[int, Table, list[str]]]:
    """Each device's samples, a row each with a column for each of its channels; `due` is the grid's point. What came twice is there once."""
    channel = tables["channel"].select(
        "channel_id",
        "device_id",
        pl.col("signal").cast(pl.String),
        pl.col("first_sample_at").to_physical(),
        "interval_us",
    )
    known = {int(k[0]): part for k, part in channel.partition_by("device_id", as_dict=True).items()}
    reading = (
        tables["reading"]
        .select("channel_id", "observed_at", "value", index=pl.col("reading_id") % FAN)
        .filter(pl.col("index") < COPY)
        .with_columns(device_id=pl.col("channel_id") // CHANNELS)
        .sort("device_id", "index", "channel_id")
    )
    for key, part in reading.partition_by("device_id", as_dict=True, maintain_order=True).items():
        mine = known[int(key[0])].sort("channel_id")
        signals = mine["signal"].to_list()
        wide = part.group_by("index", maintain_order=True).agg(
            pl.col("observed_at").first(),
            *(
                pl.col("value").filter(pl.col("channel_id") == number).first().alias(signal)
                for number, signal in mine.select("channel_id", "signal").iter_rows()
            ),
        )
        first, interval = mine.select("first_sample_at", "interval_us").row(0)
        yield int(key[0]), wide.with_columns(due=first + pl.col("index") * interval), signals


def _lines(name: str, frame: Table) -> Table:
    """A table as the lines of a CSV file of this name."""
    text = frame.write_csv().splitlines()
    return pl.DataFrame({"name": [name] * len(text), "text": text})


def _joined(parts: list[Table]) -> Table:
    return pl.concat(parts) if parts else pl.DataFrame(schema={"name": pl.String, "text": pl.String})
