"""Electrocardiograms as FHIR R4: the ten seconds of lead II that a recording holds, as SampledData.

The tables say that an ECG was recorded, and what the heart did: its rate at the visit, atrial fibrillation, infarction. The trace is
computed from that, so that it agrees with the record; its noise is addressed by the recording's key and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.schema import Schema
from ....core.stream import Stream, join_rows
from ....core.tables import Table, Tables
from ..physiology import HEART_RATE
from .parts import Template, reference, term

Waves = Mapping[str, tuple[float, float, float]]
PRIORS = ("ecg.rate", "ecg.waves", "ecg.variation")
RECORDED = ("29303009", "268400002")
"""SNOMED CT: electrocardiographic procedure, 12 lead electrocardiogram."""
FIBRILLATION = ("49436004", "I48.91")
INFARCTION = ("22298006", "401303003", "I21.9")
RATE, SECONDS = 250, 10
"""Samples a second, seconds. A standard recording lasts ten seconds; 150 Hz must pass (Kligfield 2007), 250 samples a second suffice for the eye."""
FAR = 8.0
"""Standard deviations from its middle at which a wave has less than a millionth of a microvolt."""
OWN_ID = "ecg-"
"""How the ids of such observations begin after the type's prefix: views make them of procedures, and an import passes them over."""


def recordings(schema: Schema, tables: Tables, usual: float, waves: Waves, spread: Mapping[str, float]) -> Table:
    """One row for each ECG among the procedures, as rows of Observation: its columns and `samples`, microvolts as text. `usual`: the heart rate
    (per minute) where none was measured."""
    codes = schema.code_lists["procedure"].codes if "procedure" in tables else {}
    kinds = [c for c in RECORDED if c in codes]
    if not kinds:
        return pl.DataFrame()
    done = tables["procedure"].filter(pl.col("code").cast(pl.String).is_in(kinds))
    if done.is_empty():
        return pl.DataFrame()
    rate = tables["observation"].filter((pl.col("code").cast(pl.String) == HEART_RATE) & pl.col("value").is_not_null())
    rate = rate.group_by("encounter_id").agg(rate=pl.col("value").first())
    done = done.select("procedure_id", "patient_id", "encounter_id", "at").join(
        rate, on="encounter_id", how="left", nulls_equal=False, maintain_order="left"
    )
    fibrillates, infarcted = (_ill(tables["condition"], done, codes) for codes in (FIBRILLATION, INFARCTION))
    traces = lead_two(
        done["procedure_id"].to_numpy(), done["at"].to_physical().to_numpy(),
        done["rate"].fill_null(usual).to_numpy(), fibrillates, infarcted, waves, spread,
    )  # fmt: skip
    text = pl.DataFrame({"s": traces}, schema={"s": pl.Array(pl.Int32, traces.shape[1])}).select(
        pl.col("s").arr.to_list().cast(pl.List(pl.String)).list.join(" ")
    )
    return done.select(
        "patient_id", "encounter_id", "at", "procedure_id", observation_id=pl.format(f"{OWN_ID}{{}}", "procedure_id"),
    ).with_columns(samples=text.to_series())  # fmt: skip


def _ill(conditions: Table, done: Table, codes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Whether one of the conditions was there when each recording was made."""
    found = conditions.filter(pl.col("code").cast(pl.String).is_in(list(codes)))
    spans = found.select("patient_id", "onset_at", "abatement_at")
    held = done.select("procedure_id", "patient_id", "at").join(spans, on="patient_id")
    # an infarction is written down at the visit at which the trace shows it
    held = held.filter(pl.col("onset_at").dt.date() <= pl.col("at").dt.date())
    held = held.filter(pl.col("abatement_at").is_null() | (pl.col("at") <= pl.col("abatement_at")))
    return done["procedure_id"].is_in(held["procedure_id"].implode()).to_numpy()


def lead_two(
    keys: NDArray,
    at: NDArray,
    rate: NDArray,
    fibrillates: NDArray,
    infarcted: NDArray,
    waves: Waves,
    spread: Mapping[str, float],
) -> NDArray[np.int32]:
    """Lead II in microvolts, one row a recording, RATE * SECONDS samples: waves of a beat as Gaussians in time, intervals between beats
    that vary as at rest, or wholly irregularly without P waves in fibrillation; the ST segment is raised after an infarction.
    `waves`: offset and width (s) and height (mV) of each; `spread`: variation of the intervals, noise (microvolts)."""
    beats = SECONDS * 4
    rows = join_rows(np.repeat(join_rows(keys, at), beats), np.tile(np.arange(beats), len(keys)))
    stream = Stream.root(0).child("ecg")
    z = stream.child("interval").normal(rows).reshape(-1, beats)
    mean = 60 / np.clip(rate, 30, 220)
    share = np.where(fibrillates, spread["fibrillation"], spread["rest"])
    interval = np.maximum(mean[:, None] * (1 + share[:, None] * z), 0.25)
    begins = np.cumsum(interval, axis=1) - interval[:, :1] * stream.child("phase").uniform(rows[::beats])[:, None]
    samples = RATE * SECONDS
    trace = np.zeros(len(keys) * samples)
    first = np.arange(len(keys))[:, None, None] * samples
    # intervals within a beat shorten with the square root of the beat (Bazett)
    scale = np.sqrt(mean)[:, None, None]
    for name, (offset, width, height) in waves.items():
        tall = np.full(len(keys), float(height))
        if name == "P":
            tall[fibrillates] = 0
        if name == "ST":
            tall[~infarcted] = 0
        middle, sigma = begins[:, :, None] + offset * scale, width * (scale if name in "PT" else np.ones_like(scale))
        # a wave is nothing far from its middle
        reach = int(np.ceil(FAR * sigma.max(initial=0) * RATE))
        at_sample = np.rint(middle * RATE).astype(np.int64) + np.arange(-reach, reach + 1)
        wave = tall[:, None, None] * np.exp(-(((at_sample / RATE - middle) / sigma) ** 2) / 2)
        inside = (at_sample >= 0) & (at_sample < samples) & (wave != 0)
        trace += np.bincount((first + at_sample)[inside], wave[inside], len(trace))
    noise = stream.child("noise").normal(
        join_rows(np.repeat(join_rows(keys, at), samples), np.tile(np.arange(samples), len(keys)))
    )
    return np.round(1000 * trace + spread["noise"] * noise).astype(np.int32).reshape(len(keys), samples)


def sampled(unit: Any) -> Template:
    """The value of an observation that is a series (`sampled_data`)."""
    return {
        "origin": {"value": pl.col("origin"), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        "period": pl.col("period"),
        "factor": pl.col("factor"),
        "lowerLimit": pl.col("lower_limit"),
        "upperLimit": pl.col("upper_limit"),
        "dimensions": pl.col("dimensions"),
        "data": pl.col("value_text"),
    }


def template() -> Template:
    microvolts = {"value": 0, "unit": "uV", "system": "http://unitsofmeasure.org", "code": "uV"}
    code = term("http://loinc.org", "11524-6", "EKG study")
    code["coding"].append(
        {"system": "urn:iso:std:iso:11073:10101", "code": "131330", "display": "MDC_ECG_ELEC_POTL_II"}
    )
    return {
        "partOf": [reference("Procedure")],
        "status": "final",
        "category": [term("observation-category", "procedure", "Procedure")],
        "code": code,
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "effectiveDateTime": pl.col("at"),
        "valueSampledData": {
            "origin": microvolts, "period": 1000 // RATE, "dimensions": 1, "data": pl.col("samples"),
        },
    }  # fmt: skip
