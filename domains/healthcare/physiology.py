"""What a body measures: values of each LOINC code from hidden traits, age, sex, disease and the reason for the visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.priors import Priors
from ...core.stream import Stream
from . import blood
from .curves import YEAR, at_age, by_sex

ADULT = 18
"""Years: from here on adult limits and adult formulas hold."""

OBESE = 30.0
"""kg/m2: the definition of obesity in adults (WHO TRS 894)."""

HEIGHT, WEIGHT, BMI, HEAD = "8302-2", "29463-7", "39156-5", "9843-4"
SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"
HEART_RATE, RESPIRATORY_RATE, TEMPERATURE, SATURATION = "8867-4", "9279-1", "8310-5", "2708-6"
GLUCOSE, HBA1C, CREATININE, EGFR = "2339-0", "4548-4", "2160-0", "98979-8"
CHOLESTEROL, HDL, TRIGLYCERIDES, LDL = "2093-3", "2085-9", "2571-8", "13457-7"
COMA, LACTATE = "9269-2", "2524-7"


@dataclass(frozen=True)
class Body:
    """The people that are measured, one row a measurement: arrays by name, and the streams that their noise comes from."""

    rows: NDArray
    """Addresses of the measurements: name the noise within a person."""
    birth: NDArray
    at: NDArray
    male: NDArray
    traits: Mapping[str, NDArray]
    """Standard normals of the person, `mass`, `glycaemia`, …"""
    has: Mapping[str, NDArray]
    """Whether the condition is known at that time: I10, E11.9, E78.5, N18.9."""
    priors: Priors
    stream: Stream

    @property
    def age(self) -> NDArray[np.float64]:
        return np.maximum(0.0, (self.at - self.birth) / YEAR)

    def take(self, who: NDArray) -> Body:
        traits, has = ({k: v[who] for k, v in d.items()} for d in (self.traits, self.has))
        return Body(
            self.rows[who], self.birth[who], self.at[who], self.male[who], traits, has, self.priors, self.stream
        )

    def noise(self, name: str) -> NDArray[np.float64]:
        return self.stream.child("noise", name).normal(self.rows)


def adult_bmi_median(priors: Priors, age: NDArray, sex: str) -> NDArray[np.float64]:
    """Median body mass index (kg/m2) of adults of a sex."""
    return at_age(priors("body.bmi"), sex, age)


def measure(body: Body, code: str) -> NDArray[np.float64]:
    """The value of one code for each row, in the code's unit."""
    return (VALUES.get(code) or COMPUTED[code])(body)


def _height(b: Body) -> NDArray:
    z, grow = b.traits["height"], b.priors("growth.height")
    child = by_sex(grow, b.age, b.male) * (1 + at_age(grow, "variation", b.age) * z)
    adult = b.priors("body.height")
    mean, sd = (np.where(b.male, adult["male"][i], adult["female"][i]) for i in (0, 1))
    return _blend(b.age, child, mean + sd * z)


def _bmi(b: Body) -> NDArray:
    z, grow, adult = b.traits["mass"], b.priors("growth.bmi"), b.priors("body.bmi")
    child = by_sex(grow, b.age, b.male) * np.exp(at_age(grow, "sigma", b.age) * z)
    sigma = np.where(b.male, adult["sigma"][1], adult["sigma"][0])
    usual = by_sex(adult, b.age, b.male) * np.exp(sigma * z)
    # the obese lie further apart than the others: of obesity itself nothing changes
    tail = np.where(b.male, adult["tail"][1], adult["tail"][0])
    return _blend(b.age, child, np.where(usual > OBESE, OBESE * (usual / OBESE) ** tail, usual))


def _weight(b: Body) -> NDArray:
    return _bmi(b) * (_height(b) / 100) ** 2 * np.exp(b.priors("body.spread")["weight_log"][1] * b.noise("weight"))


def _head(b: Body) -> NDArray:
    grow = b.priors("growth.head")
    on_height = grow["on_height"]
    z = on_height * b.traits["height"] + np.sqrt(1 - on_height**2) * b.traits["head"]
    median, power, spread = (by_sex(grow, b.age, b.male, of) for of in ("", "power_", "spread_"))
    power = np.where(np.abs(power) < 1e-3, 1e-3, power)  # which changes sign in a girl's first year
    return median * np.maximum(1 + power * spread * z, 0) ** (1 / power)


def _blend(age: NDArray, child: NDArray, adult: NDArray) -> NDArray:
    share = np.clip((age - 18) / 2, 0, 1)
    return child + share * (adult - child)


def _pressure(b: Body, name: str) -> NDArray:
    between, within = b.priors("body.spread")[name]
    on_height = b.priors("body.loading").get(f"{name}_on_height", 0.0)
    narrow = at_age(b.priors("body.pressure_child"), "factor", b.age)
    own = narrow * between * (b.traits["pressure"] + on_height * b.traits["height"])
    disease = b.priors("disease.pressure")[name] * b.has["I10"]
    return at_age(b.priors("body.normal"), name, b.age) + own + disease + narrow * within * b.noise("pressure")


def _vital(name: str, trait: str) -> Any:
    def value(b: Body) -> NDArray:
        between, within = b.priors("body.spread")[name]
        level = b.priors("body.level").get(name)
        typical = at_age(b.priors("body.normal"), name, b.age) if level is None else level
        return typical + between * b.traits[trait] + within * b.noise(name)

    return value


def _hba1c(b: Body) -> NDArray:
    between, within = b.priors("body.spread")["hba1c"]
    least, median, sigma = b.priors("disease.hba1c")
    healthy = at_age(b.priors("body.normal"), "hba1c", b.age) + between * b.traits["glycaemia"]
    diabetic = least + median * np.exp(sigma * b.traits["control"])
    value = np.where(b.has["E11.9"], diabetic, np.minimum(healthy, least - 0.05))
    return value + within * b.noise("hba1c")


def _glucose(b: Body) -> NDArray:
    spread = b.priors("body.spread")
    above = _hba1c(b) - at_age(b.priors("body.normal"), "hba1c", b.age)
    sigma = np.where(b.has["E11.9"], spread["glucose_log_diabetes"][1], spread["glucose_log"][1])
    log = b.priors("body.glucose_slope") * above + sigma * b.noise("glucose")
    return b.priors("body.level")["glucose"] * np.exp(log + spread["glucose_log"][0] * b.traits["heart"])


def _creatinine(b: Body) -> NDArray:
    between, within = b.priors("body.spread")["creatinine_log"]
    shift, further = b.priors("disease.creatinine")
    normal = by_sex(b.priors("body.normal"), b.age, b.male, "creatinine_")
    disease = np.where(b.has["N18.9"], shift + further * np.abs(b.traits["control"]), 0.0)
    load = b.priors("body.loading")
    on_renal, on_height = load["creatinine_on_renal"], load["creatinine_on_height"]
    own = between * (on_renal * b.traits["renal"] + on_height * b.traits["height"])
    return normal * np.exp(own + disease + within * b.noise("creatinine"))


def _ldl(b: Body) -> NDArray:
    between, within = b.priors("body.spread")["ldl_log"]
    shift = b.priors("disease.lipids")
    treated = b.has["E78.5"] & b.has["E78.5 treated"]
    disease = shift["ldl"] * b.has["E78.5"] + shift["ldl_treated"] * treated
    normal = at_age(b.priors("body.normal"), "ldl", b.age)
    return normal * np.exp(between * b.traits["lipids"] + disease + within * b.noise("ldl"))


def _hdl(b: Body) -> NDArray:
    between, within = b.priors("body.spread")["hdl_log"]
    level = b.priors("body.level")
    normal = np.where(b.male, level["hdl_male"], level["hdl_female"])
    return normal * np.exp(between * b.traits["hdl"] + within * b.noise("hdl"))


def _triglycerides(b: Body) -> NDArray:
    between, within = b.priors("body.spread")["triglycerides_log"]
    normal = at_age(b.priors("body.normal"), "triglycerides", b.age)
    disease = b.priors("disease.triglycerides") * b.has["E11.9"]
    return normal * np.exp(between * b.traits["triglycerides"] + disease + within * b.noise("triglycerides"))


def _lactate(b: Body) -> NDArray:
    median, sigma = b.priors("lactate.normal")
    return median * np.exp(sigma * b.noise("lactate"))


def _coma(b: Body) -> NDArray:
    return b.priors("body.level")["coma"] + b.priors("body.spread")["coma"][1] * b.noise("coma")


VALUES = {
    HEIGHT: _height,
    WEIGHT: _weight,
    HEAD: _head,
    SYSTOLIC: lambda b: _pressure(b, "systolic"),
    DIASTOLIC: lambda b: _pressure(b, "diastolic"),
    HEART_RATE: _vital("heart_rate", "heart"),
    RESPIRATORY_RATE: _vital("respiratory_rate", "heart"),
    TEMPERATURE: _vital("temperature", "heart"),
    SATURATION: _vital("saturation", "hdl"),
    COMA: _coma,
    GLUCOSE: _glucose,
    HBA1C: _hba1c,
    CREATININE: _creatinine,
    LDL: _ldl,
    HDL: _hdl,
    TRIGLYCERIDES: _triglycerides,
    LACTATE: _lactate,
    **{code: partial(blood.value, code=code) for code in blood.PANEL},
}

COMPUTED = {
    BMI: lambda b: _weight(b) / (_height(b) / 100) ** 2,
    CHOLESTEROL: lambda b: _ldl(b) + _hdl(b) + _triglycerides(b) / 5,
    EGFR: lambda b: ckd_epi_2021(_creatinine(b), np.maximum(np.floor(b.age), ADULT), ~b.male),
}
"""What is not measured but follows from what is."""

DECIMALS = {HEIGHT: 1, WEIGHT: 1, BMI: 1, HEAD: 1, TEMPERATURE: 1, HBA1C: 1, CREATININE: 2, LACTATE: 1}
DECIMALS |= {blood.ALBUMIN: 1, blood.HEMOGLOBIN: 1, blood.HEMATOCRIT: 1, blood.ERYTHROCYTES: 2, blood.LEUKOCYTES: 1}
"""Decimals that are reported; every other code is a whole number."""


def report(body: Body, code: str, value: NDArray) -> NDArray[np.float64]:
    """A value as it is reported: within what is possible at that age, to the code's decimals."""
    low, high, adult_low, adult_high = body.priors("plausible.observation")[code]
    # two years of margin: the record's age counts completed years
    child = body.age < ADULT - 2
    held: NDArray[np.float64] = np.minimum(
        np.maximum(value, np.where(child, low, adult_low)), np.where(child, high, adult_high)
    )
    return held.round(DECIMALS.get(code, 0))


def ckd_epi_2021(creatinine: NDArray, age: NDArray, female: NDArray) -> NDArray[np.float64]:
    """eGFR in mL/min/1.73 m2 from serum creatinine (mg/dL) and age in completed years (18 and over), without race
    (Inker et al. 2021, NEJM 385:1737-1749)."""
    k = np.where(female, 0.7, 0.9)
    a = np.where(female, -0.241, -0.302)
    ratio = creatinine / k
    value = 142 * np.minimum(ratio, 1) ** a * np.maximum(ratio, 1) ** -1.200 * 0.9938**age
    return value * np.where(female, 1.012, 1.0)
