"""Where a device is that drives: out and back along a way of its own, during working hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core.priors import Priors
from ...core.stream import F64, Stream
from .noise import autoregression

if TYPE_CHECKING:
    from .terms import Setting

_KM_PER_DEGREE = 111.32
_STOPS = 12


def drive(s: Setting, stream: Stream, priors: Priors) -> tuple[F64, F64, F64]:
    """Latitude, longitude (deg) and speed (km/h) by grid point. It drives while people work, at the speed of
    free traffic, along straight legs around its site."""
    rng = stream.generator()
    at = s.at()
    mean, sigma, memory = (priors(f"way.{name}") for name in ("speed", "speed_sigma", "speed_memory"))
    speed = mean + autoregression(rng, s.count, sigma, float(np.exp(-s.seconds / memory)))
    np.maximum(speed, 0.0, out=speed)
    speed *= s.shared.driver("occupancy", at) >= priors("way.busy")
    travelled = speed.cumsum() * (s.seconds / 3600)
    # a closed round of stops, as far off as half a working day takes it
    angle = np.sort(rng.random(_STOPS)) * 2 * np.pi
    reach = mean * 4 / np.pi * rng.random(_STOPS)
    north, east = (np.concatenate([[0.0], reach * f(angle), [0.0]]) for f in (np.cos, np.sin))
    along = np.concatenate([[0.0], np.hypot(np.diff(north), np.diff(east)).cumsum()])
    place = travelled % along[-1]
    latitude = s.shared.latitude + np.interp(place, along, north) / _KM_PER_DEGREE
    scale = _KM_PER_DEGREE * np.cos(np.deg2rad(s.shared.latitude))
    return latitude, s.shared.longitude + np.interp(place, along, east) / scale, speed
