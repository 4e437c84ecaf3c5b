"""Blood counts and chemistry: values of a panel whose analytes hang together as in a survey, in a person and in a single specimen alike."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.priors import Priors
from ...core.stream import Stream
from .curves import by_sex

if TYPE_CHECKING:
    from .physiology import Body

ALBUMIN, PHOSPHATASE, UREA, CHLORIDE, SODIUM = "1751-7", "6768-6", "3094-0", "2075-0", "2951-2"
HEMOGLOBIN, HEMATOCRIT, ERYTHROCYTES, LEUKOCYTES = "718-7", "4544-3", "789-8", "6690-2"
PANEL = (ALBUMIN, PHOSPHATASE, UREA, CHLORIDE, SODIUM, HEMOGLOBIN, HEMATOCRIT, ERYTHROCYTES, LEUKOCYTES)
CREATININE = "2160-0"
KNOTS = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
"""The quantiles that `blood.quantiles` gives."""


@cache
def _factor(pairs: tuple[tuple[str, tuple[float, float]], ...]) -> dict[str, NDArray[np.float64]]:
    """Cholesky factors of the analytes' correlations, by sex."""
    made = {}
    for at, sex in enumerate(("female", "male")):
        matrix = np.eye(len(PANEL))
        for pair, values in pairs:
            a, b = pair.split(" ")
            if a in PANEL and b in PANEL:
                i, j = PANEL.index(a), PANEL.index(b)
                matrix[i, j] = matrix[j, i] = values[at]
        made[sex] = np.linalg.cholesky(matrix)
    return made


def normals(priors: Priors, stream: Stream, rows: NDArray, male: NDArray, code: str) -> NDArray[np.float64]:
    """Standard normals of an analyte per row, correlated with the others' as the survey's: it rests on those that stand before it."""
    factor = _factor(tuple((k, tuple(v)) for k, v in priors("blood.correlation").items()))
    at = PANEL.index(code)
    z = np.zeros(len(rows))
    for n, before in enumerate(PANEL[: at + 1]):
        hers, his = factor["female"][at, n], factor["male"][at, n]
        if hers or his:
            z += np.where(male, his, hers) * stream.child(before).normal(rows)
    return z


def value(body: Body, code: str) -> NDArray[np.float64]:
    """The value of one analyte for each row, in the code's unit."""
    from scipy.special import ndtri

    priors = body.priors
    quantiles, variation = priors("blood.quantiles")[code], priors("blood.within")[code]
    specimen = normals(priors, body.stream.child("specimen"), body.rows, body.male, code)
    knots = ndtri(KNOTS)
    made = np.empty(len(body.rows))
    for sex, who in (("female", ~body.male), ("male", body.male)):
        curve = np.array(quantiles[sex], float)
        # the share of the variance that is within a person: that of the published variation
        within = min(0.9, (variation / 100 * curve[3] / ((curve[5] - curve[1]) / (knots[5] - knots[1]))) ** 2)
        z = np.sqrt(1 - within) * body.traits[code][who] + np.sqrt(within) * specimen[who]
        if code == UREA:
            z = _with_creatinine(body, z, who, sex)
        made[who] = np.interp(z, knots, curve) + _beyond(z, knots, curve)
    return made


def _with_creatinine(body: Body, z: NDArray, who: NDArray, sex: str) -> NDArray[np.float64]:
    """Urea nitrogen follows the filtration that creatinine shows."""
    from .physiology import measure

    subject = body.take(who)
    normal = by_sex(body.priors("body.normal"), subject.age, subject.male, "creatinine_")
    spread = np.hypot(*body.priors("body.spread")["creatinine_log"])
    creatinine = np.log(measure(subject, CREATININE) / normal) / spread
    on = body.priors("blood.correlation")[f"{UREA} {CREATININE}"][sex == "male"]
    return on * creatinine + np.sqrt(1 - on**2) * z


def _beyond(z: NDArray, knots: NDArray, curve: NDArray) -> NDArray[np.float64]:
    """Past the outermost quantiles, on along their last slope."""
    low = (curve[1] - curve[0]) / (knots[1] - knots[0]) * np.minimum(z - knots[0], 0)
    high = (curve[-1] - curve[-2]) / (knots[-1] - knots[-2]) * np.maximum(z - knots[-1], 0)
    return low + high
