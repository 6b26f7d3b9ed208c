"""The polish of any smooth objective through autograd: deep networks, modules, landscapes.

Trust-region Newton, monotone, 64 lanes at a time, each member with its own radius, acceptance and
end, so that its bits depend on it alone (see `sweep.models.lanes`). Small problems use the exact
Hessian: P backward passes serve all lanes. Beyond `EXACT` parameters the step comes from
Steihaug's conjugate gradients with Hessian-vector products.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
S       members of one block, in `LANE` lanes
P       parameters                                                 θ (P, LANE)
g, H    gradient, Hessian                                          (P, LANE), (LANE, P, P)
Δ       trust radius                                               (S,)
======  =========================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweep.judge.numerics.spectra import eigen
from sweep.judge.smooth.second_order import gradient_and_hessian, served
from sweep.judge.smooth.trust_region import (
    BUDGET,
    EPS,
    NOISE,
    STALLED,
    STATIONARY,
    WIDEST,
    trust_step,
)
from sweep.models.lanes import LANE, one_thread, to_lanes
from sweep.models.objective import Objective

# Up to this P the Hessian is formed: P backward passes and an eigendecomposition cost about as
# much as the P to 3P products that conjugate gradients need near a minimum.
EXACT = 32
FIRST_RADIUS = 0.1
# ‖∇F‖ below this share of (1+|F|)·√P: autograd gives no bound of its rounding; a few hundred terms
# near 1 round by 1e-14.
FLAT = 1e-13
SMALLEST_RADIUS = 1e-13


@dataclass(frozen=True, eq=False)
class Polished:
    """Where S members ended: θ (S, P), F, ‖∇F‖, λ_min (NaN above `EXACT`), status, steps, (S,)."""

    theta: np.ndarray
    objective: np.ndarray
    slope: np.ndarray
    min_eig: np.ndarray
    status: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True, eq=False)
class Oracle:
    """F and its derivatives at points (S, P), S ≤ LANE, for fixed λ (S, M)."""

    objective: Objective
    strengths: np.ndarray | None
    lam: torch.Tensor | None
    like: torch.Tensor

    @classmethod
    def of(cls, objective: Objective, lam: np.ndarray | None) -> Oracle:
        """The oracle of one block."""
        like = torch.empty(0, dtype=objective.dtype, device=objective.device)
        return cls(objective, lam, None if lam is None else to_lanes(lam, LANE, like), like)

    def value(self, theta: np.ndarray) -> np.ndarray:
        """F, (S,)."""
        with torch.no_grad():
            found = self.objective.value(to_lanes(theta, LANE, self.like), self.lam)
        return np.asarray(found.cpu().numpy()[: len(theta)])

    def gradient(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F (S,) and ∇F (S, P)."""
        value, grad = self.objective.value_and_grad(to_lanes(theta, LANE, self.like), self.lam)
        count = len(theta)
        return value.cpu().numpy()[:count], np.ascontiguousarray(grad.cpu().numpy()[:, :count].T)

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """∇²F, (S, P, P), symmetrised; compiled for networks that `second_order` serves."""
        if served(self.objective):
            return gradient_and_hessian(self.objective, theta, self.strengths)[2]
        point, grad = self._graph(theta)
        rows = [_rows(torch.autograd.grad, grad[k], point) for k in range(len(grad))]
        found = torch.stack(rows)[:, :, : len(theta)].permute(2, 0, 1).cpu().numpy()
        return np.asarray((found + found.transpose(0, 2, 1)) / 2)

    def product(self, theta: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The map v (S, P) → ∇²F·v (S, P) at θ."""
        point, grad = self._graph(theta)

        def times(v: np.ndarray) -> np.ndarray:
            along = (grad * to_lanes(v, LANE, self.like)).sum(0)
            return np.asarray(_rows(torch.autograd.grad, along, point)[:, : len(v)].cpu().numpy().T)

        return times

    def _graph(self, theta: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            point = to_lanes(theta, LANE, self.like).requires_grad_()
            value = self.objective.value(point, self.lam).sum()
            (grad,) = torch.autograd.grad(value, point, create_graph=True)
        return point, grad


def _rows(
    differentiate: Callable[..., tuple[torch.Tensor | None, ...]],
    output: torch.Tensor,
    point: torch.Tensor,
) -> torch.Tensor:
    """∂(Σ output)/∂point, zeros where the output does not depend on it; the graph is kept."""
    if not output.requires_grad:
        return torch.zeros_like(point)
    (found,) = differentiate(output.sum(), point, retain_graph=True, allow_unused=True)
    return torch.zeros_like(point) if found is None else found


def polish_block(
    objective: Objective, params: np.ndarray, lam: np.ndarray | None, budget: int
) -> Polished:
    """Members (S, P), S ≤ LANE, downhill; a member's result depends on it and its λ alone."""
    # A trial step may overflow; its F is then not finite, and it is refused.
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        return _Descent(Oracle.of(objective, lam), np.array(params, dtype=np.float64)).run(budget)


class _Descent:
    """The state of one block: points, radii, and who is still moving."""

    def __init__(self, oracle: Oracle, theta: np.ndarray) -> None:
        self.oracle, self.theta = oracle, theta
        count, self.P = theta.shape
        self.radius = FIRST_RADIUS * (1 + np.linalg.norm(theta, axis=1))
        self.status = np.full(count, BUDGET)
        self.steps = np.zeros(count, dtype=np.int64)
        self.least = np.full(count, np.nan)
        self.F, self.g = oracle.gradient(theta)

    @property
    def slope(self) -> np.ndarray:
        return np.asarray(np.linalg.norm(self.g, axis=1))

    def run(self, budget: int) -> Polished:
        moving = np.isfinite(self.F)
        for _ in range(budget):
            if not moving.any():
                break
            d, gain = self._steps(moving)
            moving &= self.status == BUDGET
            if not moving.any():
                break
            self._try(d, gain, moving)
        return Polished(self.theta, self.F, self.slope, self.least, self.status, self.steps)

    def _flat(self) -> np.ndarray:
        return np.asarray(self.slope <= FLAT * (1 + np.abs(self.F)) * np.sqrt(self.P))

    def _steps(self, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps (S, P) within the radii and the decrease that the model promises, (S,)."""
        if self.P > EXACT:
            self.status[moving & self._flat()] = STATIONARY
            return steihaug(self.oracle.product(self.theta), self.g, self.radius)
        d, gain = np.zeros_like(self.theta), np.zeros(len(self.theta))
        hessian, flat = self.oracle.hessian(self.theta), self._flat()
        for member in np.flatnonzero(moving).tolist():
            values, basis = eigen(hessian[member])
            if np.isnan(values[0]):
                self.status[member] = STALLED
                continue
            self.least[member] = values[0]
            if flat[member] and values[0] >= -NOISE * abs(values[-1]):
                self.status[member] = STATIONARY
                continue
            # einsum without optimisation sums in a fixed order.
            turned = np.einsum("kp,k->p", basis, self.g[member])
            step, gain[member] = trust_step(values, turned, self.radius[member])
            d[member] = np.einsum("kp,p->k", basis, step)
        return d, gain

    def _try(self, d: np.ndarray, gain: np.ndarray, moving: np.ndarray) -> None:
        """Take the steps that lead down, shrink the radius of the others."""
        length = np.linalg.norm(d, axis=1)
        trial = self.theta + d
        value, g = self.oracle.gradient(trial)
        blind = gain <= NOISE * np.abs(self.F)
        falls = np.linalg.norm(g, axis=1) < 0.9 * self.slope
        steady = blind & falls & (value <= self.F + NOISE * np.abs(self.F))
        down = ~blind & (value < self.F) & (self.F - value >= 1e-4 * gain)
        good = moving & (steady | down)
        bad = moving & ~good
        wide = good & (self.F - value > 0.5 * gain) & (length > 0.9 * self.radius)
        most = WIDEST * (1 + np.linalg.norm(trial, axis=1))
        self.radius[wide] = np.minimum(2 * self.radius, most)[wide]
        self.radius[bad] = 0.25 * np.minimum(self.radius, length)[bad]
        self.theta[good], self.F[good], self.g[good] = trial[good], value[good], g[good]
        self.steps[moving] += 1
        self.status[bad & (self.radius < SMALLEST_RADIUS)] = STALLED
        # As good as flat where nothing moves any more: only rounding is left.
        self.status[bad & blind & (self.slope <= 1e3 * FLAT * (1 + np.abs(self.F)))] = STATIONARY


def steihaug(
    times: Callable[[np.ndarray], np.ndarray], g: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Truncated conjugate gradients: steps d (S, P) with ‖d‖ ≤ radius and the model's decrease.

    Each member stops at negative curvature, at the boundary, or when its residual has fallen to
    min(0.1, √‖g‖)·‖g‖ (Steihaug 1983), at the latest after P products.
    """
    d, r, p = np.zeros_like(g), g.copy(), -g
    bend = np.zeros_like(g)  # ∇²F·d
    squares = (r * r).sum(1)
    size = np.sqrt(squares)
    enough = np.minimum(0.1, np.sqrt(size)) * size
    going = size > 0
    for _ in range(g.shape[1]):
        if not going.any():
            break
        Hp = times(p)
        curve = (p * Hp).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = np.where(curve > 0, squares / curve, np.inf)
        ahead = d + np.where(np.isfinite(alpha), alpha, 0.0)[:, None] * p
        out = going & ((curve <= 0) | (np.linalg.norm(ahead, axis=1) >= radius))
        alpha = np.where(out, _to_boundary(d, p, radius), alpha)
        alpha = np.where(going, alpha, 0.0)[:, None]
        d, bend, r = d + alpha * p, bend + alpha * Hp, r + alpha * Hp
        fresh = (r * r).sum(1)
        going &= ~out & (np.sqrt(fresh) > enough)
        with np.errstate(divide="ignore", invalid="ignore"):
            beta = np.where(going, fresh / squares, 0.0)
        p = -r + beta[:, None] * p
        squares = fresh
    return d, -((g * d).sum(1) + 0.5 * (d * bend).sum(1))


def _to_boundary(d: np.ndarray, p: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The τ ≥ 0 with ‖d + τp‖ = radius, (S,)."""
    a, b = (p * p).sum(1), (d * p).sum(1)
    c = np.minimum((d * d).sum(1) - radius**2, 0.0)
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    return np.asarray((root - b) / np.maximum(a, EPS**4))
