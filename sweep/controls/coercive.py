"""Controls for the coercive networks of [B]: ReQU and quadratic neurons, order-3 regularizer.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension                           x (N, D), y (N,)
x̃       data with a last column of ones                        (N, D+1)
m       neurons                                                λ (m,)
q       ∂ℓᵢ/∂fᵢ at f = 0                                       (N,)
======  =====================================================  ==========

At θ = 0, F = N·ℓ(0), and ℓ is convex: F(θ) ≥ F(0) + Σⱼ [qᵢ aⱼσ(vⱼ·x̃ᵢ) + λⱼ|aⱼ|‖vⱼ‖²], so θ = 0 is a
minimum, with R = 1, if every λⱼ exceeds T = max_{‖u‖=1} |Σᵢ qᵢσ(u·x̃ᵢ)| and none if one λⱼ is below
it ([B] Prop. 2 forgets this bound in its statement).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.models.simplex_minimum import simplex_minimum
from sweep.models.strengths import epsilon_of, strength_bound
from sweep.problems.base import Data
from sweep.problems.simplex import Simplex
from sweep.verdicts import Verdict

ONLY = frozenset({Verdict.LOCAL_MINIMUM})
MINIMUM = Truth("local minimum", ONLY, ONLY, everywhere=False)
STATIONARY = frozenset({Verdict.LOCAL_MINIMUM, Verdict.SADDLE})
DESCENDS = Truth("descent, but no escape", STATIONARY, ONLY, falls=True)
SEPARATES = Truth("every minimum separates", STATIONARY, ONLY, separates=True)
BESIDE = 1e-3
NEIGHBOURS, SIMPLICES, STARTS = 4, 4, 6

Model = RequModel | QuadraticModel


def _objective(data: Data, model: Model, loss: HingePower | Logistic) -> Objective:
    return build_objective(data, model, NoAugmentation(), loss, Coercive())


def _draw_loss(rng: np.random.Generator) -> HingePower | Logistic:
    return HingePower(3) if rng.random() < 0.5 else Logistic()


def _beside(
    rng: np.random.Generator, objective: Objective, theta: np.ndarray, lam: np.ndarray, truth: Truth
) -> Batch:
    """The point θ (P,) itself and some neighbours, of one objective and λ (m,)."""
    size = BESIDE * max(1.0, float(np.linalg.norm(theta)))
    points, near = at_and_near(rng, np.tile(theta, (NEIGHBOURS, 1)), size)
    points, near = points[NEIGHBOURS - 1 :], near[NEIGHBOURS - 1 :]
    strengths = np.tile(lam, (len(points), 1))
    value = float(objective.measure(points[:1], strengths[:1]).objective[0])
    clear = np.ones(len(points), dtype=bool)
    value = np.nan if truth.falls else value
    return Batch(objective, truth, points, near, clear, strengths, value)


def simplex(rng: np.random.Generator) -> Iterator[Batch]:
    """[B] Prop. 1: m < N neurons, each at one corner of a simplex, R = 1 − m/N."""
    for _ in range(SIMPLICES):
        n = int(rng.integers(3, 13))
        m = int(rng.integers(1, n))
        data = Simplex(n, m, float(np.sqrt((n - 1) * (1.1 + 2 * rng.random())))).load()
        loss = _draw_loss(rng)
        lam = 0.5 * rng.random(m)
        theta = simplex_minimum(data, loss, lam)
        yield _beside(rng, _objective(data, RequModel(m), loss), theta, lam, MINIMUM)


def rest(rng: np.random.Generator) -> Iterator[Batch]:
    """The point θ = 0 where all λ are so large that it is a minimum."""
    for data, model, loss, above, _ in _cases(rng):
        lam = above * (1.01 + rng.exponential(size=model.width))
        objective = _objective(data, model, loss)
        yield _beside(rng, objective, np.zeros(objective.n_params), lam, MINIMUM)


def no_rest(rng: np.random.Generator) -> Iterator[Batch]:
    """The point θ = 0 where one λ is too small for that."""
    for data, model, loss, above, below in _cases(rng):
        lam = above * (1.01 + rng.exponential(size=model.width))
        lam[rng.integers(model.width)] = 0.9 * below
        objective = _objective(data, model, loss)
        yield _beside(rng, objective, np.zeros(objective.n_params), lam, DESCENDS)


def _cases(
    rng: np.random.Generator,
) -> Iterator[tuple[Data, Model, HingePower | Logistic, float, float]]:
    """Data, model, loss, and bounds of T from above and below."""
    for rectified in (True, False, True, False):
        N, D, width = (int(k) for k in rng.integers((4, 1, 2), (13, 4, 8)))
        data = Data(rng.normal(size=(N, D)), np.where(np.arange(N) % 2 == 0, 1.0, -1.0))
        loss = _draw_loss(rng)
        q = -epsilon_of(loss) * data.y
        X = np.hstack([data.x, np.ones((N, 1))])
        if not rectified:
            least = most = float(np.abs(np.linalg.eigvalsh((X.T * q) @ X)).max())
        else:
            # Each part of the sum alone, both half spaces counted: from above. Points: from below.
            sides = [np.linalg.eigvalsh((X.T * np.maximum(s * q, 0)) @ X)[-1] for s in (1, -1)]
            most = float(max(sides))
            u = X / np.linalg.norm(X, axis=1, keepdims=True)
            least = float(np.abs(np.maximum(np.vstack([u, -u]) @ X.T, 0) ** 2 @ q).max())
        model: Model = RequModel(width) if rectified else QuadraticModel(width)
        yield data, model, loss, most, least


def theorem_1(rng: np.random.Generator) -> Iterator[Batch]:
    """[B] Thm 1: ReQU, m ≥ N+1 and λ in (0, λ₀)^m: every local minimum has R = 0."""
    N, D = int(rng.integers(4, 9)), int(rng.integers(1, 4))
    y = np.where(rng.permutation(N) < N // 2, 1.0, -1.0)
    data, loss = Data(rng.normal(size=(N, D)), y), _draw_loss(rng)
    bound = strength_bound("requ", data, loss).value
    yield _from_anywhere(rng, data, RequModel(N + 1), loss, bound)


def proposition_2(rng: np.random.Generator) -> Iterator[Batch]:
    """[B] Prop. 2: quadratic neurons, m ≥ 2D+4, data that a quadratic form separates."""
    N, D = int(rng.integers(6, 13)), int(rng.integers(1, 4))
    x = rng.normal(size=(N, D))
    X = np.hstack([x, np.ones((N, 1))])
    form = rng.normal(size=(D + 1, D + 1))
    data, loss = Data(x, np.where(((X @ form) * X).sum(axis=1) > 0, 1.0, -1.0)), _draw_loss(rng)
    bound = strength_bound("square", data, loss).value
    yield _from_anywhere(rng, data, QuadraticModel(2 * D + 4), loss, bound)


def _from_anywhere(
    rng: np.random.Generator, data: Data, model: Model, loss: HingePower | Logistic, bound: float
) -> Batch:
    """Random points; wherever they are led, a minimum must separate the data."""
    objective = _objective(data, model, loss)
    points, near = at_and_near(rng, rng.normal(size=(STARTS, objective.n_params)), BESIDE)
    lam = bound * rng.random((len(points), model.width))
    return Batch(objective, SEPARATES, points, near, np.ones(len(points), dtype=bool), lam)


FAMILIES = (
    Family("simplex", "[B] Prop. 1: m < N ReQU neurons serve one corner each", simplex),
    Family("all inactive", "θ = 0 under large λ, ReQU and quadratic", rest),
    Family("one awake", "θ = 0 where one λ is too small", no_rest),
    Family("ReQU, m > N", "[B] Thm 1: random starts, λ below λ₀", theorem_1),
    Family("quadratic, m ≥ 2D+4", "[B] Prop. 2: random starts, λ below λ₀", proposition_2),
)
