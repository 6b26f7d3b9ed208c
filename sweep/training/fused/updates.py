"""One update of the optimizers, for a handful of members; any machine, as in `program`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweep.kernels.plain import Value, load, sqrt, store, where


def gd(
    theta: Any,
    before: Any,
    grad: Any,
    state: Any,
    rate: Value,
    spread: Value,
    active: Value,
    constants: Sequence[float],
    count: int,
) -> None:
    """θ ← θ − rate·g."""
    for p in range(count):
        old = load(theta, p)
        store(before, p, old)
        store(theta, p, where(active, old - rate * load(grad, p), old))


def momentum(
    theta: Any,
    before: Any,
    grad: Any,
    state: Any,
    rate: Value,
    spread: Value,
    active: Value,
    constants: Sequence[float],
    count: int,
) -> None:
    """V ← μ·v + g, θ ← θ − rate·v; constants (μ,)."""
    for p in range(count):
        old = load(theta, p)
        velocity = load(state, p) * constants[0] + load(grad, p)
        store(state, p, velocity)
        store(before, p, old)
        store(theta, p, where(active, old - rate * velocity, old))


def adam(
    theta: Any,
    before: Any,
    grad: Any,
    state: Any,
    rate: Value,
    spread: Value,
    active: Value,
    constants: Sequence[float],
    count: int,
) -> None:
    """Adam; `rate` is lr/(1 − β₁ᵗ), `spread` 1/(1 − β₂ᵗ); constants (β₁, β₂, ε)."""
    beta1, beta2, eps = constants[0], constants[1], constants[2]
    for p in range(count):
        g, old = load(grad, p), load(theta, p)
        first = load(state, p) * beta1 + g * (1 - beta1)
        second = load(state, count + p) * beta2 + g * g * (1 - beta2)
        store(state, p, first)
        store(state, count + p, second)
        store(before, p, old)
        step = rate * first / (sqrt(second * spread) + eps)
        store(theta, p, where(active, old - step, old))


OPTIMIZERS = {"gd": gd, "momentum": momentum, "adam": adam}
