"""A piecewise-linear activation as a sum of hinges: another formula than that of the networks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch


def sum_of_hinges(settings: Mapping[str, Any]) -> dict[str, Any]:
    """σ(z) = level + s₀(z − t₁) + Σ (s_k − s_{k−1})·max(z − t_k, 0), as fields of `Activation`.

    `settings` are those of the activation `piecewise_linear`; what is missing has its default.
    """
    bends = tuple(map(float, settings.get("breakpoints", (-1.0, 1.0))))
    slopes = tuple(map(float, settings.get("slopes_between", (0.0, 1.0, 0.0))))
    level = float(settings.get("level", -1.0))
    changes = [b - a for a, b in pairwise(slopes)]

    def value(z: torch.Tensor) -> torch.Tensor:
        total = level + slopes[0] * (z - bends[0])
        for t, change in zip(bends, changes, strict=True):
            total = total + change * torch.clamp(z - t, min=0.0)
        return total

    sizes = [abs(slopes[0]), *map(abs, changes)]
    offset = abs(level) + sum(s * abs(t) for s, t in zip(sizes, (bends[0], *bends), strict=True))
    return {
        "value": value,
        "steepness": max(map(abs, slopes)),
        "curvature": 0.0,
        "bends": bends,
        "pieces": slopes,
        "rough": (sum(sizes), offset),
    }
