"""Random amounts and moments, for many patients at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .values import DAY, UNITS, Amount


def sample(amount: Amount, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value for each uniform, by inversion, in the amount's own unit."""
    has = amount.parameters
    if amount.kind == "EXACT":
        value = np.full(len(u), has["value"])
    elif amount.kind == "UNIFORM":
        value = has["low"] + u * (has["high"] - has["low"])
    elif amount.kind == "GAUSSIAN":
        from scipy.special import ndtri

        value = has["mean"] + has["standardDeviation"] * ndtri(u)
        value = np.minimum(np.maximum(value, has.get("min", -np.inf)), has.get("max", np.inf))
    elif amount.kind == "EXPONENTIAL":
        # the framework's exponential begins at one
        value = 1.0 - has["mean"] * np.log(u)
    else:
        low, mode, high = has["min"], has["mode"], has["max"]
        turn = (mode - low) / (high - low) if high > low else 0.0
        rising = low + np.sqrt(u * (high - low) * (mode - low))
        value = np.where(u < turn, rising, high - np.sqrt((1 - u) * (high - low) * (high - mode)))
    if amount.round:
        value = np.floor(value + 0.5)
    if amount.decimals is not None:
        value = np.round(value, amount.decimals)
    return value


def duration(amount: Amount, u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Microseconds; what is drawn below zero is zero."""
    value = sample(amount, u)
    if amount.whole:
        value = np.trunc(value)
    return (np.maximum(value, 0.0) * UNITS[amount.unit]).astype(np.int64)


def fixed(amount: Amount) -> bool:
    """Whether it takes no random number."""
    return amount.kind == "EXACT"


def month_day(birth: NDArray[np.int64], months: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """The moment at which each person completes so many months of age, all the same or each their own. Who is born on a day that the month does not have
    completes it on the first of the next."""
    day = birth // DAY
    date = day.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    within = (date - month.astype("datetime64[D]")).astype(np.int64)
    due = month + np.asarray(months).astype("timedelta64[M]")
    start, after = (m.astype("datetime64[D]").astype(np.int64) for m in (due, due + np.timedelta64(1, "M")))
    return np.minimum(start + within, after) * DAY + (birth - day * DAY)
