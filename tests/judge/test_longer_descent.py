"""What is called a minimum of a tanh network holds a longer descent in more digits.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
S, P    members, parameters of one member
N, n    data points, D + 1
H       hidden units
x̃       data with a last column of ones                            (N, n)
θ       (w_j, b_j, a_j) unit by unit, then c                       (S, P)
J       ∂f_i/∂θ                                                    (S, N, P)
q       ∂ℓ_i/∂f_i                                                  (S, N)
g, A    ∇F, ∇²F                                                    (S, P), (S, P, P)
λ, L    least eigenvalue, Lipschitz constant of ∇²F, as the judge proved them
======  =========================================================  ==========

F = Σ_i max(1 − y_i f_i, 0)³ + (weight decay/2)‖θ‖², f_i = Σ_j a_j tanh(w_j·x_i + b_j) + c. Rows
hold the same θ in another order, so distances are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np
import pytest

from sweep.judge import JUDGES, Judgement
from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.training.base import OPTIMIZERS, STOPPING
from sweep.training.trainer import train

WIDTH = 2
LONG = np.longdouble
extended = pytest.mark.skipif(
    bool(np.finfo(LONG).eps > 1e-18), reason="this machine's long double is no longer than a double"
)


@dataclass(frozen=True)
class Landscape:
    """F in the digits of `number`, with the tanh of those digits."""

    x: np.ndarray
    y: np.ndarray
    decay: Any
    tanh: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, data: Data, decay: float, number: type = LONG) -> Landscape:
        x = np.column_stack([data.x, np.ones(len(data.y))])
        if number is LONG:
            return cls(x.astype(LONG), data.y.astype(LONG), LONG(decay), np.tanh)
        exact = np.frompyfunc(number, 1, 1)
        return cls(exact(x), exact(data.y), number(decay), np.frompyfunc(mpmath.tanh, 1, 1))

    def terms(self, theta: np.ndarray) -> tuple[np.ndarray, ...]:
        """(tanh (S, N, H), a (S, H), max(1 − yf, 0) (S, N))."""
        units = theta[:, :-1].reshape(len(theta), WIDTH, -1)
        t = self.tanh(np.einsum("shn,in->sih", units[:, :, :-1], self.x))
        a = units[:, :, -1]
        f = np.einsum("sih,sh->si", t, a) + theta[:, -1:]
        return t, a, np.maximum(1 - self.y * f, 0 * f)

    def value(self, theta: np.ndarray) -> np.ndarray:
        """F, (S,)."""
        loss = (self.terms(theta)[2] ** 3).sum(axis=1)
        return np.asarray(loss + self.decay / 2 * (theta**2).sum(axis=1))

    def jacobian(self, t: np.ndarray, a: np.ndarray) -> np.ndarray:
        """J (S, N, P) from the first two of `terms`."""
        inner = np.einsum("sih,sh,in->sihn", 1 - t**2, a, self.x)
        J = np.concatenate([inner, t[..., None]], axis=3).reshape(*t.shape[:2], -1)
        return np.concatenate([J, np.ones_like(J[:, :, :1])], axis=2)

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        t, a, u = self.terms(theta)
        q = -3 * self.y * u**2
        return np.asarray(np.einsum("si,sip->sp", q, self.jacobian(t, a)) + self.decay * theta)

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """∇²F, (S, P, P)."""
        t, a, u = self.terms(theta)
        first, n = 1 - t**2, self.x.shape[1]
        q = -3 * self.y * u**2
        J = self.jacobian(t, a)
        A = 6 * (u[:, :, None] * J).transpose(0, 2, 1) @ J
        for j in range(WIDTH):
            own = slice(j * (n + 1), j * (n + 1) + n)
            bend = q * -2 * t[:, :, j] * first[:, :, j] * a[:, j, None]
            A[:, own, own] += (bend[:, :, None] * self.x).transpose(0, 2, 1) @ self.x
            mixed = (q * first[:, :, j]) @ self.x
            A[:, own, own.stop] += mixed
            A[:, own.stop, own] += mixed
        P = range(theta.shape[1])
        A[:, P, P] += self.decay
        return np.asarray(A)


def solved(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    """A⁻¹g by elimination in the numbers' own digits: (S, P, P), (S, P) → (S, P)."""
    A, x = A.copy(), g.copy()
    size = x.shape[1]
    for k in range(size):
        for row in range(k + 1, size):
            share = A[:, row, k] / A[:, k, k]
            A[:, row] -= share[:, None] * A[:, k]
            x[:, row] -= share * x[:, k]
    for k in reversed(range(size)):
        x[:, k] = (x[:, k] - (A[:, k, k + 1 :] * x[:, k + 1 :]).sum(axis=1)) / A[:, k, k]
    return x


def length(moves: np.ndarray) -> np.ndarray:
    """‖·‖ over the last axis, in the numbers' own digits."""
    root = np.frompyfunc(mpmath.sqrt, 1, 1) if moves.dtype == object else np.sqrt
    return np.asarray(root((moves**2).sum(axis=-1)))


@dataclass(frozen=True)
class Way:
    """Where a descent ended (S, P), how far it ever was from its centre, ‖∇F‖ at the end (S,)."""

    end: np.ndarray
    farthest: np.ndarray
    slope: np.ndarray


def descend(F: Landscape, start: np.ndarray, centre: np.ndarray, gradient: int, newton: int) -> Way:
    """So many gradient steps, then so many Newton steps; F never rises beyond its rounding.

    A gradient step is doubled when it was accepted and halved when not. A Newton step that does not
    lead down is replaced by a gradient step. Where F no longer tells, ‖∇F‖ must fall.
    """
    theta, farthest = start.copy(), length(start - centre)
    value, g = F.value(theta), F.gradient(theta)
    pace, settled = np.full(len(theta), LONG(1e-3)), np.zeros(len(theta), dtype=bool)
    for step in range(gradient + newton):
        move = -pace[:, None] * g
        if step >= gradient:
            with np.errstate(divide="ignore", invalid="ignore"):
                sharp = -solved(F.hessian(theta), g)
                down = ((sharp * g).sum(axis=1) < 0) & np.isfinite(sharp).all(axis=1)
            move = np.where(down[:, None], sharp, move)
        waiting = ~settled
        for _ in range(1 if step < gradient else 20):
            if not waiting.any():
                break
            there = np.where(waiting[:, None], theta + move, theta)
            new, new_g = F.value(there), F.gradient(there)
            faint = (new <= value * (1 + 8 * np.finfo(LONG).eps)) & (length(new_g) < length(g))
            taken = waiting & ((new < value) | faint)
            theta, g = np.where(taken[:, None], there, theta), np.where(taken[:, None], new_g, g)
            value = np.where(taken, new, value)
            waiting &= ~taken
            move = move / 2
        pace = np.where(waiting, pace / 2, 2 * pace)
        settled |= waiting & (step >= gradient)
        farthest = np.maximum(farthest, length(theta - centre))
    return Way(theta, farthest, length(g))


def by_unit(params: np.ndarray, d: int) -> np.ndarray:
    """Rows' parameters (S, P) in the order of this file, in long double."""
    split = [WIDTH * d, WIDTH * (d + 1), WIDTH * (d + 2)]
    W, b, a, c = np.split(params.astype(LONG), split, axis=1)
    units = np.concatenate([W.reshape(len(W), WIDTH, d), b[..., None], a[..., None]], axis=2)
    return np.hstack([units.reshape(len(W), -1), c])


def judged(
    problem: str, decay: float, seeds: int, max_steps: int = 3000
) -> tuple[Data, Judgement, np.ndarray]:
    """(data, judgement, F) of tanh networks trained from so many seeds."""
    data = PROBLEMS.build(Choice(problem)).load()
    assert isinstance(data, Data)
    model, no_penalty = Mlp(WIDTH, Choice("tanh")), NoRegularizer()
    objective = build_objective(data, model, NoAugmentation(), HingePower(3), no_penalty, decay)
    start = objective.initial(KaimingUniform(), 0, list(range(seeds)))
    stopping = STOPPING.build(Choice("standard", {"max_steps": max_steps}))
    ending = train(objective, start, None, OPTIMIZERS.build(Choice("adam", {"lr": 0.01})), stopping)
    found = JUDGES.build(Choice("standard")).judge(objective, ending, None)
    return data, found, objective.measure(found.params).objective


def evidence(found: Judgement, members: np.ndarray, name: str) -> np.ndarray:
    return np.array([found.evidence[k][name] for k in members], dtype=LONG)


def under_the_rim(
    F: Landscape, centre: np.ndarray, top: np.ndarray, reach: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Starts within `reach` (S,) of the centre, as far as F stays below `top` (S,).

    Half of them lie along the direction of least curvature, the way that is easiest to leave by.
    """
    move = rng.standard_normal(centre.shape)
    flattest = np.linalg.eigh(F.hessian(centre).astype(np.float64))[1][:, :, 0]
    move[::2] = flattest[::2]
    step = (0.99 * reach / length(move))[:, None] * move.astype(LONG)
    for _ in range(60):
        high = F.value(centre + step) >= top
        step[high] /= 2
    assert (F.value(centre + step) < top).all()
    return np.asarray(centre + step)


def check_minima(
    data: Data, decay: float, found: Judgement, judged_F: np.ndarray, gradient: int, newton: int
) -> int:
    """Assert that no descent leaves any member that is called a minimum; how many there are.

    One descent starts at the certified radius, the other as far out as the proven rise of F allows.
    """
    members = np.flatnonzero(found.verdict == "local_minimum")
    if not len(members):
        return 0
    assert set(found.certificate[members]) == {"strict"}
    rng, F = stream("test", "longer descent"), Landscape.of(data, decay)
    centre, radius = by_unit(found.params[members], data.x.shape[1]), found.certificate_radius
    here, radius = F.value(centre), radius[members].astype(LONG)
    np.testing.assert_allclose(here.astype(float), judged_F[members], rtol=1e-13)
    move = rng.standard_normal(centre.shape)
    rim, rise = evidence(found, members, "rise_radius"), evidence(found, members, "rise")
    # The radius explains a drop of at most ‖∇F‖·radius; F itself rounds by about N of its units.
    explained = evidence(found, members, "gradient") * radius + 1e-17 * here
    for start in (
        centre + (radius / length(move))[:, None] * move,
        under_the_rim(F, centre, here + rise, rim, rng),
    ):
        way = descend(F, start, centre, gradient, newton)
        assert (way.farthest <= rim).all()
        assert (length(way.end - centre) <= radius).all()
        assert (here - F.value(way.end) <= explained).all()
        assert (way.slope <= 1e-3 * evidence(found, members, "gradient")).all()
    return len(members)


def fifty_digits(data: Data, decay: float, found: Judgement, members: np.ndarray) -> None:
    """Assert that Newton's method in fifty digits converges within the radius of each member."""
    with mpmath.workdps(50):
        F = Landscape.of(data, decay, mpmath.mpf)
        exact = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)
        centre = exact(by_unit(found.params[members], data.x.shape[1]))
        theta = centre.copy()
        for _ in range(6):
            theta = theta - solved(F.hessian(theta), F.gradient(theta))
        assert (length(F.gradient(theta)) < mpmath.mpf(10) ** -40).all()
        assert (length(theta - centre) <= found.certificate_radius[members]).all()
        assert (np.linalg.eigvalsh(F.hessian(theta).astype(np.float64))[:, 0] > 0).all()


@extended
def test_decayed_minima_hold_and_slides_do_not() -> None:
    data, found, value = judged("two_moons", 1e-2, 24, 100)
    assert check_minima(data, 1e-2, found, value, 40, 12) >= 20
    fifty_digits(data, 1e-2, found, np.flatnonzero(found.verdict == "local_minimum")[:1])
    # The same descent leaves points that are no minima, so it would leave a false one.
    data, found, _ = judged("two_moons", 0.0, 24, 100)
    slides = np.flatnonzero(found.verdict == "escaping")
    centre, F = by_unit(found.params[slides], data.x.shape[1]), Landscape.of(data, 0.0)
    way = descend(F, centre, centre, 0, 20)
    assert len(slides) >= 15 and (way.farthest > 1e-3).mean() >= 0.9
    assert (F.value(way.end) <= F.value(centre)).all()


@extended
def test_a_claim_beside_a_minimum_is_refused() -> None:
    data, found, value = judged("two_moons", 1e-2, 8, 100)
    moved = found.params.copy()
    moved[:, 0] += 1e-9
    with pytest.raises(AssertionError):
        check_minima(data, 1e-2, replace(found, params=moved), value, 40, 12)


@extended
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("problem", ["two_moons", "iris_pair", "xor"])
def test_no_descent_leaves_a_minimum_of_three_hundred_trained_networks(problem: str) -> None:
    data, found, value = judged(problem, 0.0, 300)
    assert (found.verdict == "unresolved").mean() <= 0.03
    plain = check_minima(data, 0.0, found, value, 300, 60)
    data, found, value = judged(problem, 1e-2, 300)
    decayed = check_minima(data, 1e-2, found, value, 300, 60)
    assert decayed >= 100
    fifty_digits(data, 1e-2, found, np.flatnonzero(found.verdict == "local_minimum")[:5])
    print(f"{problem}: minima that held, {plain} without decay and {decayed} with")
