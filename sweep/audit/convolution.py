"""Local minima of one convolution below ReQU neurons ([B] Theorem 2), by another route.

In θ itself, with autograd. Kinks are the places whose preactivation is rounding; the filters on
which they stay form a subspace T. On it, and in the neurons that are not zero, F has a positive
definite Hessian and a Newton step within the radius. Across it the one-sided derivative of F, with
every kink on the side that the direction leads to, is positive along many directions: all there
are, if T lacks one dimension. For neurons at zero max_{‖u‖=1} |Σᵢ qᵢ max(u·(hᵢ, 1), 0)²| is below
their λ. With 50 digits, for a sample: F as stored, and no point of the certified sphere lower.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
v       the filter                                             (s,)
h       what the last layer sees                               (N, H)
k       active neurons: a (k,), rows (w, b)                    (k, H+1)
======  =====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mpmath
import numpy as np
import torch

from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.curvature import EIGEN_ROOM
from sweep.audit.findings import Audited
from sweep.audit.measures import values
from sweep.audit.points import Points
from sweep.audit.precise import DIGITS, Number, Precise, cubes, loss_at
from sweep.audit.rounding import ROUTES
from sweep.audit.sphere import below, greatest
from sweep.seeds import stream
from sweep.verdicts import Certificate

# A preactivation this small, relative to Σ|v||x|, is on its kink, and so is a singular value of the
# kinks' rows that is this small nothing.
ON_KINK, NO_ROW = 1e-10, 1e-9
# |a| and ‖(w, b)‖ of a balanced neuron differ by rounding, and by twice the radius at most.
BALANCED = 1e-12
# Directions tried across a face; derivatives along them below this share of ‖∂F/∂v‖ are rounding.
ACROSS, LEVEL = 64, 1e-12
# Members per arm that are looked at with 50 digits and whose sphere is covered; points of a sphere.
SAMPLE, SPHERE = 2, 6


@dataclass(frozen=True, eq=False)
class Beside:
    """F near a member's point: the active neurons (k,), places on a kink (N, H), T and T⊥."""

    formula: ConvolutionFormula
    theta: torch.Tensor
    lam: torch.Tensor
    active: torch.Tensor
    kinks: torch.Tensor
    along: torch.Tensor
    across: torch.Tensor

    @classmethod
    def of(cls, formula: ConvolutionFormula, theta: np.ndarray, lam: np.ndarray) -> Beside:
        """The surroundings of θ (P,) with λ (m,)."""
        point = torch.as_tensor(theta)
        (v,), _, _, a = formula.parts(point)
        x, size = formula.x, formula.x.shape[1]
        room = ON_KINK * (x.abs() @ formula.matrix(v, size).abs().T)
        rows = torch.func.jacrev(lambda v: x @ formula.matrix(v, size).T)(v)
        z = x @ formula.matrix(v, size).T
        kinks = (z.abs() <= room) & (rows.abs().sum(2) > 0)
        rank, basis = 0, torch.eye(len(v), dtype=v.dtype)
        if bool(kinks.any()):
            _, sizes, basis = torch.linalg.svd(rows[kinks])
            rank = int((sizes > NO_ROW * sizes[0]).sum())
        strengths = torch.as_tensor(lam.copy())
        active = torch.nonzero(a)[:, 0]
        return cls(formula, point, strengths, active, kinks, basis[rank:].T, basis[:rank].T)

    def on_side(self, v: torch.Tensor, towards: torch.Tensor) -> torch.Tensor:
        """The h of a filter v, kinks on the side of the direction `towards`; zero for none."""
        size = self.formula.x.shape[1]
        z, ahead = (self.formula.x @ self.formula.matrix(one, size).T for one in (v, towards))
        (here,) = self.formula.parts(self.theta)[0]
        own = self.formula.x @ self.formula.matrix(here, size).T > 0
        h = torch.where(torch.where(self.kinks, ahead > 0, own), z, self.formula.slope * z)
        return h if bool(towards.any()) else torch.where(self.kinks, 0.0, h)

    def value(self, v: torch.Tensor, neurons: torch.Tensor, towards: torch.Tensor) -> torch.Tensor:
        """F of a filter and active neurons (k, H+2), rows (w, b, a)."""
        w, b, a = neurons[:, :-2], neurons[:, -2], neurons[:, -1]
        h = self.on_side(v, towards)
        f = torch.clamp(h @ w.T + b, min=0.0) ** 2 @ a
        cubes = a.abs() ** 3 + 2 * (neurons[:, :-1] ** 2).sum(1) ** 1.5
        total = self.formula.losses(f).sum() + (self.lam[self.active] * cubes).sum() / 3
        return total + (self.formula.strength or 0.0) / 4 * ((v**2).sum() - 1) ** 2

    @property
    def neurons(self) -> torch.Tensor:
        """Rows (w, b, a) of the active ones, (k, H+2)."""
        _, W, b, a = self.formula.parts(self.theta)
        return torch.cat([W, b[:, None], a[:, None]], dim=1)[self.active]

    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian of F in (coordinates of T, active neurons)."""
        (v,), d, none = self.formula.parts(self.theta)[0], self.along.shape[1], self.along[:, :0]

        def restricted(flat: torch.Tensor) -> torch.Tensor:
            neurons = flat[d:].reshape(self.neurons.shape)
            return self.value(v + self.along @ flat[:d], neurons, none.sum(1))

        start = torch.cat([torch.zeros(d, dtype=v.dtype), self.neurons.reshape(-1)])
        gradient = torch.func.grad(restricted)(start)
        hessian = torch.func.jacrev(torch.func.grad(restricted))(start)
        return gradient.numpy(), ((hessian + hessian.T) / 2).numpy()

    def least_across(self) -> tuple[float, float]:
        """The least one-sided derivative of F off the face, and what its rounding is relative to.

        (inf, 1) where there is no other side.
        """
        (v,), ways = self.formula.parts(self.theta)[0], self.across.T
        if not len(ways):
            return np.inf, 1.0
        if len(ways) > 1:
            drawn = stream("audit", "across", len(ways)).standard_normal((ACROSS, len(ways)))
            ways = torch.as_tensor(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)) @ ways
        found, scale = np.inf, 0.0
        for way in (*ways, *-ways):
            slope = torch.func.grad(self.value)(v, self.neurons, way)
            found = min(found, float(slope @ way))
            scale = max(scale, float(slope.norm()))
        return found, scale

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """∂ℓᵢ/∂fᵢ (N,) and (h, 1), (N, H+1)."""
        y, h = self.formula.y, self.formula.seen(self.theta)[0]
        q = -y * self.formula.loss.slope(-y * self.formula.base(self.theta))
        return q.numpy(), torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], dim=1).numpy()


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
    if formula.filters != 1 or formula.strength is None or formula.weight_decay:
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
        return f"another certificate, with {int(beside.kinks.sum())} kinks of the filter"
    gradient, hessian = beside.derivatives()
    spectrum = np.linalg.eigvalsh(hessian)
    least, largest = float(spectrum[0]), float(np.abs(spectrum).max())
    if not least > EIGEN_ROOM * largest:
        return f"least eigenvalue {least!r} beside a largest of {largest!r}"
    step = float(np.linalg.norm(np.linalg.solve(hessian, gradient)))
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


class ConvolutionPrecise(Precise):
    """One member's objective with 50 digits; θ in the row's order."""

    def __init__(self, formula: ConvolutionFormula, lam: np.ndarray) -> None:
        self.of_filter = formula
        self.strengths: list[float] = lam.tolist()
        self.x = formula.x.tolist()
        self.y = formula.y.tolist()

    def objective(self, theta: Sequence[Number]) -> Number:
        """F."""
        formula = self.of_filter
        s, m, size = formula.length, formula.width, len(self.x[0])
        seen = size + s - 1
        with mpmath.workdps(DIGITS):
            v, rest = theta[:s], theta[s:]
            w = [rest[j * seen : (j + 1) * seen] for j in range(m)]
            b, a = rest[m * seen : m * seen + m], rest[m * seen + m :]
            live = [j for j in range(m) if a[j] != 0]
            total = mpmath.mpf(formula.strength or 0.0) / 4 * (sum(t * t for t in v) - 1) ** 2
            for x, y in zip(self.x, self.y, strict=True):
                padded = [0.0] * (s - 1) + x + [0.0] * (s - 1)
                z = [mpmath.fdot(v, padded[p : p + s]) for p in range(seen)]
                h = [t if t > 0 else mpmath.mpf(formula.slope) * t for t in z]
                t = [(j, mpmath.fdot(w[j], h) + b[j]) for j in live]
                total += loss_at(formula.loss, -y * sum(a[j] * up**2 for j, up in t if up > 0))
            return total + cubes(self.strengths, w, b, a)


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
            move[formula.length :] = 0.0
        move *= radius / np.linalg.norm(move)
        if exact.objective(exact.moved(theta, move)) <= here:
            reason = "a point of its sphere, no higher than the centre (50 digits)"
            found.add(points.where[i], "certificate_radius", radius, reason)
            return
