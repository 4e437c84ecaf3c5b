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


class Way:
    """A closed round of stops around a site, and how far along it a device has come."""

    def __init__(self, stream: Stream, priors: Priors) -> None:
        self._stream, self._priors = stream, priors
        self._before: float | None = None
        self._travelled = 0.0

    def drive(self, s: Setting) -> tuple[F64, F64, F64]:
        """Latitude, longitude (deg) and speed (km/h) by grid point of a stretch. It drives while people work, at the speed of free
        traffic, along straight legs."""
        mean, sigma, memory = (self._priors(f"way.{name}") for name in ("speed", "speed_sigma", "speed_memory"))
        if self._before is None:
            self._rng = self._stream.generator()
            # as far off as half a working day takes it
            angle = np.sort(self._rng.random(_STOPS)) * 2 * np.pi
            reach = mean * 4 / np.pi * self._rng.random(_STOPS)
            self._north, self._east = (np.concatenate([[0.0], reach * f(angle), [0.0]]) for f in (np.cos, np.sin))
            self._along = np.concatenate([[0.0], np.hypot(np.diff(self._north), np.diff(self._east)).cumsum()])
        varies = autoregression(self._rng, s.count, sigma, float(np.exp(-s.seconds / memory)), self._before)
        self._before = float(varies[-1])
        speed = mean + varies
        np.maximum(speed, 0.0, out=speed)
        speed *= s.shared.driver("occupancy", s.at()) >= self._priors("way.busy")
        travelled = speed.cumsum()
        travelled *= s.seconds / 3600
        travelled += self._travelled
        self._travelled = float(travelled[-1])
        place = travelled % self._along[-1]
        scale = _KM_PER_DEGREE * np.cos(np.deg2rad(s.shared.latitude))
        latitude = s.shared.latitude + np.interp(place, self._along, self._north) / _KM_PER_DEGREE
        return latitude, s.shared.longitude + np.interp(place, self._along, self._east) / scale, speed
