"""Controls for coercive networks whose neurons all have the same λ.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
n, m    D + 1, neurons
A       Σⱼ aⱼvⱼvⱼᵀ, all that a quadratic network does          (n, n)
======  =====================================================  ==========

A quadratic network of m ≥ n neurons can have any A, and the least regularizer that gives it is
λ·Σ|eigenvalues of A|: the global minimum is that of Σℓ(−yᵢ x̃ᵢᵀAx̃ᵢ) + λ‖A‖₁ over symmetric A, which
is convex. It is found here by proximal gradient steps, which shrink eigenvalues.

A minimum whose neurons are halved stays one: halves may share their work in any proportion. Where
its m < N neurons had left corners of a simplex without one, 2m neurons could serve more of them, so
that it is no global minimum.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.controls.coercive import BESIDE, MINIMUM, NEIGHBOURS, SIMPLICES, STARTS
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import Logistic
from sweep.models.objective import build_objective
from sweep.models.simplex_minimum import simplex_minimum
from sweep.problems.base import Data
from sweep.problems.simplex import Simplex
from sweep.verdicts import Verdict

GLOBAL = frozenset({Verdict.GLOBAL_MINIMUM})
CONVEX = Truth("one value for all minima", GLOBAL | {Verdict.SADDLE}, GLOBAL, least=True)
PROBLEMS, STEPS = 3, 20_000


def halves(rng: np.random.Generator) -> Iterator[Batch]:
    """[B] Prop. 1's minimum, every neuron in two parts."""
    for _ in range(SIMPLICES):
        N = int(rng.integers(3, 9))
        m = int(rng.integers(1, N))
        data = Simplex(N, m, float(np.sqrt((N - 1) * (1.1 + 2 * rng.random())))).load()
        lam = 0.05 + 0.4 * rng.random()
        whole = simplex_minimum(data, Logistic(), np.full(m, lam))
        D = data.x.shape[1]
        W, b, a = np.split(whole, [m * D, m * D + m])
        # A neuron is of degree 3: shares of its work are cubes.
        share = 0.2 + 0.6 * rng.random(m)
        roots = [np.cbrt(share), np.cbrt(1 - share)]
        theta = np.concatenate(
            [
                *[(root[:, None] * W.reshape(m, D)).ravel() for root in roots],
                *[root * b for root in roots],
                *[root * a for root in roots],
            ]
        )
        objective = build_objective(
            data, RequModel(2 * m), NoAugmentation(), Logistic(), Coercive()
        )
        points, near = at_and_near(rng, np.tile(theta, (NEIGHBOURS, 1)), BESIDE)
        points, near = points[NEIGHBOURS - 1 :], near[NEIGHBOURS - 1 :]
        strengths = np.full((len(points), 1), lam)
        value = float(objective.measure(points[:1], strengths[:1]).objective[0])
        clear = np.ones(len(points), dtype=bool)
        yield Batch(objective, MINIMUM, points, near, clear, strengths, value)


def convex(rng: np.random.Generator) -> Iterator[Batch]:
    """Quadratic networks with one λ, from random points."""
    for _ in range(PROBLEMS):
        N, D = int(rng.integers(5, 12)), int(rng.integers(1, 3))
        data = Data(rng.normal(size=(N, D)), np.where(rng.permutation(N) < N // 2, 1.0, -1.0))
        lam = 0.05 + rng.exponential(0.3)
        objective = build_objective(
            data, QuadraticModel(2 * D + 4), NoAugmentation(), Logistic(), Coercive()
        )
        points, near = at_and_near(rng, rng.normal(size=(STARTS, objective.n_params)), BESIDE)
        strengths, clear = np.full((len(points), 1), lam), np.ones(len(points), dtype=bool)
        yield Batch(objective, CONVEX, points, near, clear, strengths, least_value(data, lam))


def least_value(data: Data, lam: float) -> float:
    """The least of Σ log₂(1 + exp(−yᵢ x̃ᵢᵀAx̃ᵢ)) + λ‖A‖₁, by accelerated proximal steps."""
    X = np.hstack([data.x, np.ones((len(data.x), 1))])
    step = 4 * np.log(2) / float((X**2).sum(axis=1) @ (X**2).sum(axis=1))
    A = ahead = np.zeros((X.shape[1],) * 2)
    momentum = 1.0
    for _ in range(STEPS):
        z = -data.y * np.einsum("ij,jk,ik->i", X, ahead, X)
        q = -data.y / (1 + np.exp(-z)) / np.log(2)
        values, basis = np.linalg.eigh(ahead - step * (X.T * q) @ X)
        values = np.sign(values) * np.maximum(np.abs(values) - step * lam, 0.0)
        new = (basis * values) @ basis.T
        # Restarted where momentum points uphill.
        if ((ahead - new) * (new - A)).sum() > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        moved = float(np.abs(new - A).max())
        ahead = new + (momentum - 1) / following * (new - A)
        A, momentum = new, following
        if moved < 1e-14:
            break
    z = -data.y * np.einsum("ij,jk,ik->i", X, A, X)
    return float(np.logaddexp(0, z).sum() / np.log(2) + lam * np.abs(np.linalg.eigvalsh(A)).sum())


FAMILIES = (
    Family("simplex, halves", "the same in 2m neurons of one λ, and a flat set around it", halves),
    Family("quadratic, one λ", "random starts; F is convex in Σ a v vᵀ", convex),
)
