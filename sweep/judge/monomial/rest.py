"""Minima of monomial arms with the neuron at rest: a = 0.

Let Q range over all polynomials of degree ≤ p. Near a point of which every unit sits inside one
piece, f is an affine map A of x, and for p ≥ 1

    F = φ(A + a(w·x+b)^p) + λa²/2 ≥ φ(A + a(w·x+b)^p) ≥ min_Q φ(Q) .

If the best affine fit is the best polynomial fit of degree ≤ p as well, that is F at the point
itself with a = 0: a local minimum, whatever w and b, and bad where p is below the degree t that
separates the data (so [A] Prop. 1 does need p ≥ t). Two cases are exact, and no other is claimed:
p = 1, and data whose classes agree in the means of all monomials of degree ≤ p (parities of more
than p coordinates, XOR for p = 1): there qᵢ = ∂φ/∂fᵢ takes one value per class at the best
constant, and Σᵢ qᵢ m(xᵢ) = 0 for every such monomial m.

Everywhere else some Σᵢ qᵢ(w·xᵢ+b)^p is not zero, hence not zero near any (w, b), and a small a of
the right sign lowers F to first order: no minimum.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension                           x (N, D), y (N,)
q       ∂ℓᵢ/∂f̃ᵢ                                                (S, N)
φ       Σᵢ ℓ(−yᵢ Q(xᵢ))
======  =====================================================  ==========
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from sweep.judge.affine.verdicts import polish_affine, settle_affine
from sweep.judge.base import Judgement
from sweep.judge.cells.polish import polish_kinks
from sweep.judge.exponential.limit_problem import base_objective, pulls
from sweep.judge.kinks.deep import polish_deep
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.readings import read
from sweep.models.augmentations import Monomial
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# Σq·x̃ over Σ|q||x̃| below which a minimum at rest is looked for; the proof is the certificate's.
NEAR = 0.05
# Monomials times points of an exact comparison that takes some tenths of a second.
MOST_TERMS = 200_000


def settle_resting(found: Judgement, objective: DataObjective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members whose best affine fit no polynomial improves on."""
    added = objective.augmentation
    if not isinstance(added, Monomial) or not found.open.any():
        return
    x, y = objective.x.cpu().numpy(), objective.y.cpu().numpy()
    near = found.open & (_affine_moments(pulls(objective, found.params), x) <= NEAR)
    if not near.any():
        return
    agree = classes_agree(x, y, added.p)
    if not (added.p == 1 or agree):
        return
    base, n_base = base_objective(objective), objective.n_base
    rest = Judgement.unresolved(found.params[:, :n_base])
    rest.verdict[~near] = Verdict.FAILED.value  # the base network's judge leaves them alone
    for stage in (polish_kinks, polish_deep, polish_affine, settle_affine):
        stage(rest, base, None)
    before = read(objective, found.params, lam).objective
    points = found.params.copy()
    points[:, :n_base], points[:, n_base] = rest.params, 0.0
    after = read(objective, points, lam).objective
    lower = after <= before * (1 + SAFETY * (objective.n_data + 8) * UNIT)
    proven = lower & (rest.certificate == Certificate.AFFINE.value)
    if not agree:
        proven &= np.array([not one.get("constant", True) for one in rest.evidence])
    for member in np.flatnonzero(proven).tolist():
        found.polish_steps[member] += rest.polish_steps[member]
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.AFFINE,
            rest.evidence[member] | {"degree": added.p},
            params=points[member],
            margin=float(rest.certificate_margin[member]),
            radius=float(rest.certificate_radius[member]),
        )


def classes_agree(x: np.ndarray, y: np.ndarray, p: int) -> bool:
    """Whether both classes have the same mean of every monomial of degree 1 to p, exactly.

    False also for data that are too large for exact arithmetic.
    """
    D = x.shape[1]
    ways = [
        way for k in range(1, p + 1) for way in itertools.combinations_with_replacement(range(D), k)
    ]
    if len(ways) * len(y) > MOST_TERMS:
        return False
    points = [[Fraction(value) for value in row] for row in x.tolist()]
    share = {1.0: Fraction(1, max(1, int((y > 0).sum()))), -1.0: Fraction(0)}
    share[-1.0] = -Fraction(1, max(1, int((y < 0).sum())))
    for way in ways:
        total = Fraction(0)
        for point, label in zip(points, y.tolist(), strict=True):
            term = share[label]
            for d in way:
                term *= point[d]
            total += term
        if total != 0:
            return False
    return True


def _affine_moments(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The largest |Σ qᵢ x̃ᵢₖ| / Σ|qᵢ x̃ᵢₖ| over the coordinates and the constant, (S,)."""
    X = np.hstack([x, np.ones((len(x), 1))])
    size = np.abs(q) @ np.abs(X)
    share = np.divide(np.abs(q @ X), size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(share.max(axis=1))
