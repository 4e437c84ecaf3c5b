"""What it costs to add Gaussian noise again and again to sums over rows that were drawn by chance: DP-SGD's accountant.

Mironov, Talwar and Zhang 2019, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", arXiv:1908.10530, section 3.3, at whole orders, for tables of which one has one
row more than the other; each row takes part in a step with the same probability, by itself. As used by Abadi et al. 2016, "Deep Learning with Differential Privacy", CCS,
arXiv:1607.00133.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..stream import F64

ORDERS = np.concatenate((np.arange(2, 65), [72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 1024])).astype(float)
"""The orders α at which costs are added up."""


@lru_cache(maxsize=4096)
def _one_step(noise: float, share: float) -> tuple[float, ...]:
    from scipy.special import gammaln, logsumexp

    found = []
    for order in ORDERS:
        if share == 1.0:
            found.append(order / (2 * noise**2))
            continue
        k = np.arange(order + 1)
        ways = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        terms = ways + k * np.log(share) + (order - k) * np.log1p(-share) + (k * k - k) / (2 * noise**2)
        found.append(max(float(np.asarray(logsumexp(terms))), 0.0) / (order - 1))
    return tuple(found)


def curve(noise: float, share: float, steps: int) -> F64:
    """The Rényi divergence at each of `ORDERS` that so many steps cost together.

    `noise`: standard deviations of the noise, in what one row can add at most; `share`: the probability that a row takes part in a step.
    Raises ValueError for a noise of 0 or less, or a share that is no probability.
    """
    if not noise > 0 or not 0 < share <= 1 or steps < 0:
        raise ValueError(f"noise {noise}, share {share}, steps {steps}: expected noise above 0, a share from 0 to 1")
    return steps * np.array(_one_step(float(noise), float(share)))
