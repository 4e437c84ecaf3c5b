"""Three charts of a dataset: who the patients are, what they have, and one patient's sepsis hour by hour."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from ...core.domain import Picture
from ...core.picture import ALARM, PALETTE, figure, to_svg
from ...core.priors import Priors
from ...core.schema import Schema
from ...core.tables import Table, Tables
from .physiology import HEART_RATE, LACTATE, RESPIRATORY_RATE, SATURATION, SYSTOLIC

OLDEST_BAND = 90


def pictures(schema: Schema, priors: Priors, tables: Tables) -> list[Picture]:
    """The charts that the tables allow: the last one needs a labelled sepsis."""
    made = [age_pyramid(tables["patient"]), prevalence(schema, priors, tables)]
    label = tables.get("label")
    if label is not None and "sepsis-deterioration" in label["scenario"]:
        made.append(deterioration(schema, tables, label))
    return made


def age_pyramid(patient: Table) -> Picture:
    """Living patients by sex and five-year age group."""
    alive = patient.filter(pl.col("death_at").is_null())
    band = pl.min_horizontal(pl.col("age_years") // 5 * 5, pl.lit(OLDEST_BAND))
    counts = alive.group_by("sex", band.alias("band")).len().sort("band")
    fig = figure(6.4, 3.6)
    ax = fig.subplots()
    for sex, sign, colour in (("female", -1, PALETTE[3]), ("male", 1, PALETTE[0])):
        mine = counts.filter(pl.col("sex") == sex)
        ax.barh(mine["band"].to_numpy() + 2.5, sign * mine["len"].to_numpy().astype(int), 4.4, color=colour, label=sex)
    ax.set_ylabel("age")
    ax.set_xlabel("patients")
    ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):,.0f}")
    ax.legend()
    return Picture("Age and sex", f"{alive.height:,} living patients, by five-year group.", to_svg(fig))


def prevalence(schema: Schema, priors: Priors, tables: Tables) -> Picture:
    """Share of living patients with each condition, beside the published one."""
    alive = tables["patient"].filter(pl.col("death_at").is_null())
    active = tables["condition"].filter(pl.col("abatement_at").is_null())
    shown = []
    for code, (least, published) in priors("published.prevalence").items():
        who = alive.filter(pl.col("age_years") >= least)["patient_id"]
        ill = active.filter(pl.col("code") == code)["patient_id"]
        shown.append((code, published, 100 * who.is_in(ill.implode()).to_numpy().mean() if len(who) else 0.0))
    fig = figure(6.4, 3.4)
    ax = fig.subplots()
    at = np.arange(len(shown))[::-1]
    ax.barh(at, [s[2] for s in shown], 0.6, color=PALETTE[0], label="here")
    ax.plot([s[1] for s in shown], at, "D", color=PALETTE[1], label="published, US")
    names = [schema.code_lists["condition"].codes[code].split(",")[0] for code, _, _ in shown]
    names = [n.removeprefix("Essential (primary) ").split(" without ")[0].capitalize() for n in names]
    ax.set_yticks(at, names)
    ax.set_xlabel("% of people")
    ax.legend()
    return Picture(
        "Conditions",
        "Share of the living with each condition, at the ages that the published figure is for.",
        to_svg(fig),
    )


def deterioration(schema: Schema, tables: Tables, label: Table) -> Picture:
    """The first labelled sepsis: vital signs and lactate, the peak marked."""
    mine = label.filter(
        (pl.col("scenario") == "sepsis-deterioration")
        & (pl.col("table") == "observation")
        & pl.col("row_key").is_not_null()
    )
    mine = mine.filter(pl.col("instance") == mine["instance"].min())
    rows = tables["observation"].join(mine, left_on="observation_id", right_on="row_key").sort("observation_id")
    start: dt.datetime = rows["at"][0]
    rows = rows.with_columns(hours=(pl.col("at") - start).dt.total_minutes() / 60)
    codes = (HEART_RATE, SYSTOLIC, RESPIRATORY_RATE, SATURATION, LACTATE)
    fig = figure(6.4, 6.0)
    axes = fig.subplots(len(codes), 1, sharex=True)
    for ax, code, colour in zip(axes, codes, PALETTE, strict=True):
        series = rows.filter(pl.col("code") == code)
        peak = series.filter(pl.col("effect") == "peak")
        ax.plot(series["hours"].to_numpy(), series["value"].to_numpy(), color=colour)
        ax.plot(peak["hours"].to_numpy(), peak["value"].to_numpy(), "o", color=ALARM, label="labelled peak")
        unit = schema.code_lists["observation_unit"].codes[code]
        ax.set_title(f"{schema.code_lists['observation'].codes[code].split(' [')[0].split(' in ')[0]}, {unit}")
    axes[0].legend()
    axes[-1].set_xlabel("hours since arrival")
    return Picture("Sepsis", "One cast patient, from the emergency room through intensive care.", to_svg(fig))
