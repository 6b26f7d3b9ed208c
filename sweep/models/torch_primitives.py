"""The primitives of `sweep.formulas.primitives` on tensors, differentiable."""

from __future__ import annotations

import torch

from sweep.formulas.primitives import Value

# Beyond this softplus(z) = z: exp(-40) is below half an ulp of 40 in float64 (and in float32).
SOFTPLUS_THRESHOLD = 40.0


def softplus(z: torch.Tensor) -> torch.Tensor:
    """ln(1+e^z), accurate to rounding for every z."""
    return torch.nn.functional.softplus(z, threshold=SOFTPLUS_THRESHOLD)


def where(condition: torch.Tensor, a: Value, b: Value) -> torch.Tensor:
    """Elementwise a where the condition holds, else b; of two numbers in float64."""
    if not isinstance(a, torch.Tensor) and not isinstance(b, torch.Tensor):
        # torch would take them for float32.
        a = torch.tensor(a, dtype=torch.float64, device=condition.device)
    return torch.where(condition, a, b)


TORCH = {
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": softplus,
    "absolute": torch.abs,
    "positive_part": torch.relu,
    "where": where,
    "power": torch.pow,
}
