"""Steps of learning in the one budget: their cost against an independent accountant, and nothing beyond what is left."""

from __future__ import annotations

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import rdp_privacy_accountant as rdp

from populace.core.errors import UserError
from populace.core.privacy.budget import Budget
from populace.core.privacy.sampled_gaussian import ORDERS, curve


@pytest.mark.parametrize(
    ("noise", "share", "steps"), [(1.1, 0.01, 1_000), (0.7, 0.1, 50), (4.0, 0.005, 10_000), (2.0, 1.0, 7)]
)
def test_the_divergence_is_that_of_an_independent_accountant(noise: float, share: float, steps: int):
    accountant = rdp.RdpAccountant(list(ORDERS))
    step = dp_event.GaussianDpEvent(noise)
    accountant.compose(dp_event.PoissonSampledDpEvent(share, step) if share < 1 else step, steps)
    theirs = np.array(accountant._rdp)
    ours = curve(noise, share, steps)
    known = np.isfinite(theirs)
    assert np.allclose(ours[known], theirs[known], rtol=1e-6, atol=1e-9)


def test_a_budget_of_steps_alone_keeps_its_promise():
    budget = Budget(1.0, 1e-6)
    noise = budget.noise_for(0.01, 500)
    budget.spend_steps("steps", noise, 0.01, 500)
    accountant = rdp.RdpAccountant(list(ORDERS))
    accountant.compose(dp_event.PoissonSampledDpEvent(0.01, dp_event.GaussianDpEvent(noise)), 500)
    # half of the delta is for the conversion
    epsilon = accountant.get_epsilon(1e-6 / 2)
    assert epsilon <= 1.0 + 1e-6
    assert epsilon > 0.97
    with pytest.raises(UserError, match="cost more than is left"):
        budget.spend_steps("more", noise, 0.01, 50)
    assert len(budget.ledger) == 1


def test_counts_and_steps_share_one_budget():
    budget = Budget(2.0, 1e-6)
    whole = budget.left
    budget.spend("counts", 0.3 * whole)
    noise = budget.noise_for(0.02, 300)
    alone = Budget(2.0, 1e-6).noise_for(0.02, 300)
    assert noise > alone
    budget.spend_steps("steps", noise, 0.02, 300)
    accountant = rdp.RdpAccountant(list(ORDERS))
    accountant.compose(dp_event.PoissonSampledDpEvent(0.02, dp_event.GaussianDpEvent(noise)), 300)
    accountant.compose(dp_event.ZCDpEvent(0.3 * whole))
    assert accountant.get_epsilon(1e-6 / 2) <= 2.0 + 1e-6
    assert budget.left < 0.05 * whole
    with pytest.raises(UserError, match="has"):
        budget.spend("counts again", 0.3 * whole)
    assert budget.record()["spent"] > 0.95 * whole


@pytest.mark.parametrize(("noise", "share", "steps"), [(0.0, 0.1, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.1, -1)])
def test_steps_that_are_none_are_refused(noise: float, share: float, steps: int):
    with pytest.raises(ValueError, match="expected noise above 0"):
        curve(noise, share, steps)
