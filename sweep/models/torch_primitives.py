"""The primitives of `sweep.formulas.primitives` on tensors, differentiable."""

from __future__ import annotations

import torch

# Beyond this softplus(z) = z: exp(-40) is below half an ulp of 40 in float64 (and in float32).
SOFTPLUS_THRESHOLD = 40.0


def softplus(z: torch.Tensor) -> torch.Tensor:
    """ln(1+e^z), accurate to rounding for every z."""
    return torch.nn.functional.softplus(z, threshold=SOFTPLUS_THRESHOLD)


TORCH = {
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": softplus,
    "absolute": torch.abs,
    "positive_part": torch.relu,
    "where": torch.where,
    "power": torch.pow,
}
