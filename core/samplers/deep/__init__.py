"""Deep samplers: networks that learn a table or a series (adversarial, variational, flow, autoregressive). They follow `Sampler`, as all do,
and are prefix-stable within one block. This is the only package that may import torch, an extra: `pip install 'populace[deep]'`."""
