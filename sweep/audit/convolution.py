"""Local minima of convolutions below ReQU neurons ([B] Theorem 2), by another route.

In θ itself, with autograd. Kinks are the places whose preactivation is rounding, zero handed on at
those below. The filters on which they stay form a set M, to first order its tangent T: a subspace,
which with one filter is M itself. Along it, and in the neurons that are not zero, F has a positive
definite Hessian, that of F + Σ μᵢzᵢ with the multipliers μ of the kinks' preactivations z, and a
Newton step to its minimum on M within the radius. Across it the one-sided derivative of F, with
every kink on the side that the direction leads to, is positive along many directions: all there
are, if T lacks one dimension. For neurons at zero max_{‖u‖=1} |Σᵢ qᵢ max(u·(hᵢ, 1), 0)²| is below
their λ. With 50 digits, for a sample: F as stored, and no point of the certified sphere lower.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
K, s    filters, numbers of each
v       the filters, one after the other                       (K·s,)
z, h    before and after σ in a layer                          (N, L)
sides   slopes of σ, layer by layer                            (N, L)
k       active neurons: a (k,), rows (w, b)                    (k, H+1)
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath
import numpy as np
import torch

from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.convolution_precise import ConvolutionPrecise
from sweep.audit.curvature import EIGEN_ROOM
from sweep.audit.findings import Audited
from sweep.audit.measures import values
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.audit.sphere import below, greatest
from sweep.seeds import stream
from sweep.verdicts import Certificate

# A preactivation this small, relative to ‖v‖ and what it sees, is on its kink; a singular value of
# the kinks' rows this small, relative to the largest, is nothing.
ON_KINK, NO_ROW = 1e-10, 1e-9
# |a| and ‖(w, b)‖ of a balanced neuron differ by rounding, and by twice the radius at most.
BALANCED = 1e-12
# Directions tried across a face; derivatives along them below this share of ‖∂F/∂v‖ are rounding.
ACROSS, LEVEL = 64, 1e-12
# Members per arm that are looked at with 50 digits and whose sphere is covered; points of a sphere.
SAMPLE, SPHERE = 2, 6


@dataclass(frozen=True, eq=False)
class Beside:
    """F near a member's point: the active neurons (k,), kinks and `sides` of all layers, T and T⊥.

    `sides` are those on M: zero at the kinks.
    """

    formula: ConvolutionFormula
    theta: torch.Tensor
    lam: torch.Tensor
    active: torch.Tensor
    kinks: torch.Tensor
    sides: list[torch.Tensor]
    along: torch.Tensor
    across: torch.Tensor
    away: float

    @classmethod
    def of(cls, formula: ConvolutionFormula, theta: np.ndarray, lam: np.ndarray) -> Beside:
        """The surroundings of θ (P,) with λ (m,)."""
        point = torch.as_tensor(theta)
        filters, _, _, a = formula.parts(point)
        h, sides, kinks = formula.x, [], []
        ever = (formula.x != 0).to(formula.x.dtype)
        for v in filters:
            C = formula.matrix(v, h.shape[1])
            # What a place sees under filters of ones; of numbers that are not always zero.
            every = formula.matrix(torch.ones_like(v), h.shape[1]).T
            ever, z = (ever @ every > 0).to(h.dtype), h @ C.T
            kinks.append((z.abs() <= ON_KINK * v.norm() * (h**2 @ every).sqrt()) & (ever > 0))
            sides.append(torch.where(kinks[-1], torch.zeros_like(z), leaning(z, formula.slope)))
            h = sides[-1] * z
        held = torch.cat([mask.reshape(-1) for mask in kinks])
        v = torch.cat(filters)
        rank, basis, away = 0, torch.eye(len(v), dtype=v.dtype), 0.0
        if bool(held.any()):
            rows = torch.func.jacrev(lambda v: preactivations(formula, v, sides))(v)[held]
            z = preactivations(formula, v, sides)[held]
            lengths = rows.norm(dim=1)
            # A place above kinks alone is zero with them, whatever its own filter.
            rows, z = rows[lengths > 0], z[lengths > 0]
            _, sizes, basis = torch.linalg.svd(rows)
            rank = int((sizes > NO_ROW * sizes[0]).sum())
            away = float((torch.linalg.pinv(rows, rtol=NO_ROW) @ z).norm())
        strengths, active = torch.as_tensor(lam.copy()), torch.nonzero(a)[:, 0]
        ways = basis[rank:].T, basis[:rank].T
        return cls(formula, point, strengths, active, held, sides, *ways, away)

    @property
    def v(self) -> torch.Tensor:
        """All filters, (K·s,)."""
        return torch.cat(self.formula.parts(self.theta)[0])

    def towards(self, way: torch.Tensor) -> list[torch.Tensor]:
        """The sides with every kink on the side that a direction (K·s,) leads to."""
        formula, found = self.formula, []
        h, turned = formula.x, torch.zeros_like(formula.x)
        filters = formula.parts(self.theta)[0]
        for v, own, side in zip(filters, torch.split(way, formula.length), self.sides, strict=True):
            C = formula.matrix(v, h.shape[1])
            ahead = turned @ C.T + h @ formula.matrix(own, h.shape[1]).T
            found.append(torch.where(side == 0, leaning(ahead, formula.slope), side))
            h, turned = side * (h @ C.T), found[-1] * ahead
        return found

    def value(
        self, v: torch.Tensor, neurons: torch.Tensor, sides: list[torch.Tensor]
    ) -> torch.Tensor:
        """F of the filters and active neurons (k, H+2), rows (w, b, a), with these slopes of σ."""
        w, b, a = neurons[:, :-2], neurons[:, -2], neurons[:, -1]
        h = self.formula.x
        for own, side in zip(torch.split(v, self.formula.length), sides, strict=True):
            h = side * (h @ self.formula.matrix(own, h.shape[1]).T)
        f = torch.clamp(h @ w.T + b, min=0.0) ** 2 @ a
        cubes = a.abs() ** 3 + 2 * (neurons[:, :-1] ** 2).sum(1) ** 1.5
        total = self.formula.losses(f).sum() + (self.lam[self.active] * cubes).sum() / 3
        squares = (v.reshape(-1, self.formula.length) ** 2).sum(1)
        return total + (self.formula.strength or 0.0) / 4 * ((squares - 1) ** 2).sum()

    @property
    def neurons(self) -> torch.Tensor:
        """Rows (w, b, a) of the active ones, (k, H+2)."""
        _, W, b, a = self.formula.parts(self.theta)
        return torch.cat([W, b[:, None], a[:, None]], dim=1)[self.active]

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian along M in (coordinates of T, active neurons)."""
        v, d = self.v, self.along.shape[1]
        slope = torch.func.grad(self.value)(v, self.neurons, self.sides)
        mu = torch.zeros(0, dtype=v.dtype)
        if bool(self.kinks.any()):
            rows = torch.func.jacrev(self._kinked)(v)
            mu = -torch.linalg.pinv(rows.T, rtol=NO_ROW) @ slope

        def restricted(flat: torch.Tensor) -> torch.Tensor:
            neurons, own = flat[d:].reshape(self.neurons.shape), v + self.along @ flat[:d]
            total = self.value(own, neurons, self.sides)
            return total + mu @ self._kinked(own) if len(mu) else total

        start = torch.cat([torch.zeros(d, dtype=v.dtype), self.neurons.reshape(-1)])
        gradient = torch.func.grad(restricted)(start)
        hessian = torch.func.jacrev(torch.func.grad(restricted))(start)
        return gradient.numpy(), ((hessian + hessian.T) / 2).numpy()

    def _kinked(self, v: torch.Tensor) -> torch.Tensor:
        """Preactivations of the kinks, zero handed on at all of them."""
        return preactivations(self.formula, v, self.sides)[self.kinks]

    def least_across(self) -> tuple[float, float]:
        """The least one-sided derivative of F off the face, and what its rounding is relative to.

        (inf, 1) where there is no other side.
        """
        ways = self.across.T
        if not len(ways):
            return np.inf, 1.0
        if len(ways) > 1:
            drawn = stream("audit", "across", len(ways)).standard_normal((ACROSS, len(ways)))
            ways = torch.as_tensor(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)) @ ways
        found, scale = np.inf, 0.0
        for way in (*ways, *-ways):
            slope = torch.func.grad(self.value)(self.v, self.neurons, self.towards(way))
            found = min(found, float(slope @ way))
            scale = max(scale, float(slope.norm()))
        return found, scale

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """∂ℓᵢ/∂fᵢ (N,) and (h, 1), (N, H+1)."""
        y, h = self.formula.y, self.formula.seen(self.theta)[0]
        q = -y * self.formula.loss.slope(-y * self.formula.base(self.theta))
        return q.numpy(), torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], dim=1).numpy()


def leaning(z: torch.Tensor, slope: float) -> torch.Tensor:
    """The slopes of σ at z."""
    one = torch.ones_like(z)
    return torch.where(z > 0, one, slope * one)


def preactivations(
    formula: ConvolutionFormula, v: torch.Tensor, sides: list[torch.Tensor]
) -> torch.Tensor:
    """All of them, layer by layer, with these slopes of σ."""
    h, found = formula.x, []
    for own, side in zip(torch.split(v, formula.length), sides, strict=True):
        found.append(h @ formula.matrix(own, h.shape[1]).T)
        h = side * found[-1]
    return torch.cat([z.reshape(-1) for z in found])


def check_convolution(points: Points, formula: ConvolutionFormula, found: Audited) -> None:
    """Check the local minima of one arm of such a network under its regularizer."""
    for i, where in enumerate(points.where):
        lam = np.broadcast_to(points.lam[i], formula.width)
        reason = _unlikely(formula, points, i, lam)
        if reason is None:
            beside = Beside.of(formula, points.theta[i], lam)
            reason = _not_a_minimum(beside, str(points.certificate[i]), float(points.radius[i]))
            reason = reason or _not_idle(beside, i < SAMPLE)
            if i < SAMPLE:
                _check_precisely(points, formula, i, lam, found)
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)
        if not np.isnan(points.min_eig[i]):
            least = float(points.min_eig[i])
            found.add(where, "judged_min_eig", least, "null: F has no Hessian at a kink")


def _unlikely(formula: ConvolutionFormula, points: Points, i: int, lam: np.ndarray) -> str | None:
    """What rules the certificate out at first sight."""
    if formula.filters < 1 or formula.strength is None or formula.weight_decay:
        return "nothing: not for this network"
    if not (lam > 0).all():
        return "nothing: the objective is not known to be coercive"
    if not points.radius[i] > 0:
        return "no radius within which the minimum lies"
    _, W, b, a = formula.parts(torch.as_tensor(points.theta[i]))
    lengths = torch.sqrt((W**2).sum(1) + b**2)
    apart = (a.abs() - lengths).abs()
    if not bool((apart <= BALANCED * lengths + 2 * points.radius[i]).all()):
        return f"|a| and ‖(w, b)‖ of a neuron that differ by {float(apart.max())!r}"
    return None


def _not_a_minimum(beside: Beside, certificate: str, radius: float) -> str | None:
    kinks, idle = bool(beside.kinks.any()), len(beside.active) < beside.formula.width
    own = Certificate.INACTIVE if idle else Certificate.STRICT
    if certificate != (Certificate.KINK if kinks else own):
        return f"another certificate, with {int(beside.kinks.sum())} kinks of the filters"
    gradient, hessian = beside.derivatives()
    spectrum = np.linalg.eigvalsh(hessian)
    least, largest = float(spectrum[0]), float(np.abs(spectrum).max())
    if not least > EIGEN_ROOM * largest:
        return f"least eigenvalue {least!r} beside a largest of {largest!r}"
    step = float(np.linalg.norm(np.linalg.solve(hessian, gradient))) + beside.away
    if not step <= 2 * radius:
        return f"a Newton step of {step:.3g}, longer than the radius"
    down, scale = beside.least_across()
    if not down > LEVEL * scale:
        return f"a direction across the kinks along which F changes by {down!r}"
    return None


def _not_idle(beside: Beside, covered: bool) -> str | None:
    idle = np.setdiff1d(np.arange(beside.formula.width), beside.active.numpy())
    if not len(idle):
        return None
    level, (q, X) = float(beside.lam[idle].min()), beside.slopes()
    highest = greatest(q, X, True)
    if highest >= level or (covered and below(q, X, True, level) is False):
        return f"a direction with |Σ q σ(u·x)| = {highest!r}, not below λ = {level!r}"
    return None


def _check_precisely(
    points: Points, formula: ConvolutionFormula, i: int, lam: np.ndarray, found: Audited
) -> None:
    """F as stored, and no lower point on the certified sphere: filter, active neurons, all."""
    found.precise += 1
    theta, radius = points.theta[i], float(points.radius[i])
    exact = ConvolutionPrecise(formula, lam)
    here = exact.objective(exact.moved(theta, np.zeros_like(theta)))
    _, error = values(formula, theta[None], points.lam[i : i + 1])
    if abs(float(here) - points.objective[i]) > ROUTES * error[0]:
        digits = f"{mpmath.nstr(here, 20)} with 50 digits"
        found.add(points.where[i], "judged_objective", float(points.objective[i]), digits)
    rng = stream("audit", "convolution sphere", len(theta))
    for k in range(SPHERE):
        move = rng.standard_normal(len(theta))
        if k % 3 == 1:
            move[theta == 0] = 0.0
        if k % 3 == 2:
            move[formula.filters * formula.length :] = 0.0
        move *= radius / np.linalg.norm(move)
        if exact.objective(exact.moved(theta, move)) <= here:
            reason = "a point of its sphere, no higher than the centre (50 digits)"
            found.add(points.where[i], "certificate_radius", radius, reason)
            return
