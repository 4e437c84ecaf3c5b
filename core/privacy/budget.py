"""One accountant for differential privacy: zero-concentrated (zCDP), which adds up; and what an ε and a δ buy in it. Steps of learning, which cost a Rényi divergence at each
order that is no multiple of it, are added up order by order beside it.

Bun and Steinke 2016, "Concentrated differential privacy", TCC: mechanisms that are ρ₁- and ρ₂-zCDP are (ρ₁ + ρ₂)-zCDP together.
Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", NeurIPS, arXiv:2004.00010: what ρ means as (ε, δ).
Tables are neighbours if one has one row more than the other, or, of series, one entity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import UserError
from ..stream import F64
from .sampled_gaussian import ORDERS, curve

DELTA = 1e-6
_SLACK = 1e-9


@dataclass
class Budget:
    """What may be learnt of a private table, and what has been: `spend` is the only way to take from it, and refuses what is not there.

    Half of δ is for turning ρ into ε; the other half for releases that fail with a small probability, such as finding categories.
    """

    epsilon: float
    delta: float = DELTA
    ledger: list[dict[str, Any]] = field(default_factory=list)
    unit: str = "row"
    """What is protected: neighbouring tables have one more or less of it."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.epsilon) and 0 < self.epsilon <= 1_000):
            raise UserError(f"epsilon is {self.epsilon}, expected a number above 0 and at most 1,000")
        if not (np.isfinite(self.delta) and 1e-15 <= self.delta < 0.5):
            raise UserError(f"delta is {self.delta}, expected a number from 1e-15 to below 0.5")
        self.rho = rho_of(self.epsilon, self.delta / 2)

    @property
    def left(self) -> float:
        """The ρ that is left: after steps of learning, the most whose divergence fits beside theirs at some order."""
        spent = sum(entry["rho"] for entry in self.ledger)
        if not any("steps" in entry for entry in self.ledger):
            return self.rho - spent
        return max(float(np.max(self._room() / ORDERS)), 0.0)

    def _room(self) -> F64:
        """The divergence that is left at each of `ORDERS`: Canonne, Kamath and Steinke 2020, proposition 12, solved for it."""
        most = self.epsilon + (np.log(self.delta / 2) - ORDERS * np.log1p(-1 / ORDERS) + np.log(ORDERS - 1)) / (
            ORDERS - 1
        )
        spent = sum(entry["rho"] for entry in self.ledger) * ORDERS
        for entry in self.ledger:
            if "steps" in entry:
                spent = spent + curve(entry["noise"], entry["share"], entry["steps"])
        return most - spent

    @property
    def failures_left(self) -> float:
        """The δ that is left for releases that may fail."""
        return self.delta / 2 - sum(entry["delta"] for entry in self.ledger)

    def spend(self, what: str, rho: float, delta: float = 0.0) -> None:
        """Take from the budget, for good. Raises UserError, and takes nothing, where it is not there."""
        if not (rho >= 0 and delta >= 0 and rho + delta > 0):
            raise UserError(f"{what}: costs rho {rho} and delta {delta}, expected something to spend")
        if rho > self.left + _SLACK * self.rho or delta > self.failures_left + _SLACK * self.delta:
            raise UserError(
                f"{what}: costs rho {rho:.3g} and delta {delta:.3g}, and the budget has {self.left:.3g} and "
                f"{self.failures_left:.3g} left of epsilon {self.epsilon:g}, delta {self.delta:g}"
            )
        self.ledger.append({"what": what, "rho": float(rho), "delta": float(delta)})

    def spend_steps(self, what: str, noise: float, share: float, steps: int) -> None:
        """Take steps of learning from the budget, for good: sums over rows that each take part with probability `share`, with noise of so many times what one
        row adds at most. Raises UserError, and takes nothing, where they are not there."""
        room = self._room()
        if not (room - curve(noise, share, steps) >= -_SLACK).any():
            raise UserError(
                f"{what}: {steps:,} steps with noise {noise:.3g} cost more than is left of epsilon {self.epsilon:g}, delta {self.delta:g}"
            )
        self.ledger.append(
            {"what": what, "rho": 0.0, "delta": 0.0, "noise": float(noise), "share": float(share), "steps": int(steps)}
        )

    def noise_for(self, share: float, steps: int) -> float:
        """The least noise with which so many steps fit into what is left, to within a thousandth. Raises UserError if none does."""
        room = self._room()

        def fits(noise: float) -> bool:
            return bool((room - curve(noise, share, steps) >= 0).any())

        low, high = 0.0, 1.0
        while not fits(high):
            low, high = high, high * 2
            if high > 1e6:
                raise UserError(
                    f"nothing is left of epsilon {self.epsilon:g}, delta {self.delta:g} for {steps:,} steps"
                )
        while high - low > 1e-3 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def record(self) -> dict[str, Any]:
        """What was promised and spent, for the model's card."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "neighbours": f"one {self.unit} more or less",
            "rho": self.rho,
            "spent": self.rho - self.left,
            "ledger": [dict(entry) for entry in self.ledger],
        }


def delta_of(rho: float, epsilon: float) -> float:
    """The least δ for which ρ-zCDP is known to imply (ε, δ)-DP: Canonne, Kamath and Steinke 2020, corollary 13, at its best α."""
    from scipy.optimize import minimize_scalar

    def log_delta(log_order: float) -> float:
        order = np.exp(log_order)  # α − 1
        alpha = order + 1.0
        return float(order * (alpha * rho - epsilon) + alpha * np.log1p(-1.0 / alpha) - np.log(order))

    best = minimize_scalar(log_delta, bounds=(-12.0, 25.0), method="bounded", options={"xatol": 1e-9})
    return float(np.exp(min(best.fun, 0.0)))


@lru_cache(maxsize=256)
def rho_of(epsilon: float, delta: float) -> float:
    """The most ρ whose zCDP implies (ε, δ)-DP."""
    low, high = 0.0, epsilon + 2.0 * np.log(1.0 / delta)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, epsilon) <= delta else (low, middle)
    return low
