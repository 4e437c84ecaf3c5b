"""Patients for tests of the module engine: who they are, without a population."""

from __future__ import annotations

import numpy as np
from module_oracle import DAY

from populace.domains.healthcare.modules.people import People, Visits

YEAR = 365.25 * DAY
VITALS = {"Systolic Blood Pressure": 125.0, "Diastolic Blood Pressure": 78.0, "BMI": 27.0, "Oxygen Saturation": 97.0}


def vital(name: str, patient: int, at: int) -> float:
    return VITALS.get(name, 80.0) + 10 * np.sin(patient)


def make_people(n: int, first: int = 0, seed: int = 0) -> People:
    """People of all ages in 2025 with a check-up each year, who die at 40 to 100."""
    u = np.random.default_rng(seed).random((n + first, 8))[first:]
    birth = ((1925 - 1970) * YEAR + u[:, 0] * 90 * YEAR).astype(np.int64) // DAY * DAY
    death = birth + ((40 + 60 * u[:, 1]) * 365.25).astype(np.int64) * DAY
    end = np.full(n, int((2025 - 1970) * YEAR))
    patient = np.repeat(np.arange(n), 100)
    start = birth[patient] + ((np.tile(np.arange(100), n) + u[patient, 2]) * 365.25).astype(np.int64) * DAY + DAY // 3
    seen = start < np.minimum(death, end)[patient]
    visits = Visits(patient[seen], start[seen], start[seen] + DAY // 48)
    attributes = {
        "gender": np.where(u[:, 3] < 0.5, "F", "M"),
        "race": np.where(u[:, 4] < 0.7, "white", "black"),
        "ethnicity": np.where(u[:, 4] < 0.2, "hispanic", "nonhispanic"),
        "state": np.full(n, "Massachusetts"),
        "socioeconomic_category": np.where(u[:, 5] < 0.3, "Low", "Middle"),
        "smoker": u[:, 6] < 0.2,
        "drinker": np.array(["none", "moderate", "hazardous"])[np.searchsorted([0.2, 0.4], u[:, 6])],
        "diabetes": [True if x < 0.3 else None for x in u[:, 7]],
        "mi_risk": u[:, 7] * 0.001,
    }
    measured = lambda name, p, at: np.array([vital(name, first + i, 0) for i in p])  # noqa: E731
    return People(np.arange(first, first + n, dtype=np.uint64), birth, end, death, visits, attributes, measured)
