"""Adam in one kernel for all parameters, without what `torch.optim` loads before its first step: torch's compiler, a second of CPU time in every process.

Kingma and Ba 2015, arXiv:1412.6980, with decay apart from gradients (Loshchilov and Hutter 2019, arXiv:1711.05101). The numbers are those of `torch.optim.AdamW(..., fused=True)`. Needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOMENTS, LEAST = (0.9, 0.999), 1e-8


class Adam:
    def __init__(
        self,
        torch: Any,
        parameters: Sequence[Any],
        rate: float,
        decay: float = 0.0,
        moments: tuple[float, float] = MOMENTS,
    ) -> None:
        self.torch, self.parameters, self.rate, self.decay, self.moments = torch, list(parameters), rate, decay, moments
        self.state: dict[int, dict[str, Any]] = {}
        """For each parameter that had a gradient: steps taken, the mean of gradients and of their squares."""

    def zero_grad(self) -> None:
        for t in self.parameters:
            t.grad = None

    def step(self) -> None:
        torch = self.torch
        some = [n for n, t in enumerate(self.parameters) if t.grad is not None]
        for n in some:
            if n not in self.state:
                t = self.parameters[n]
                self.state[n] = {
                    "step": torch.zeros((), device=t.device),
                    "exp_avg": torch.zeros_like(t, requires_grad=False),
                    "exp_avg_sq": torch.zeros_like(t, requires_grad=False),
                }
        steps, means, squares = ([self.state[n][k] for n in some] for k in ("step", "exp_avg", "exp_avg_sq"))
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                [self.parameters[n] for n in some], [self.parameters[n].grad for n in some], means, squares, [], steps,
                lr=self.rate, beta1=self.moments[0], beta2=self.moments[1], weight_decay=self.decay, eps=LEAST, amsgrad=False, maximize=False,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, held: Mapping[str, Any]) -> None:
        self.state = {n: {k: t.to(self.parameters[n].device) for k, t in s.items()} for n, s in held["state"].items()}
