"""A unit that saturates for ever below several outputs: F in many digits, brute force, attacks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest

from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge
from sweep.judge.escapes.directions import Way
from sweep.judge.numerics.balls import Ball
from sweep.judge.outputs.ray import Moving, Ray, Unit, find_ray, outward
from sweep.judge.outputs.task import OutputsTask
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import CrossEntropy, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.models.vector import VectorObjective
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

# (loss, activation, width): those whose starts slide.
SLIDES = [
    (loss, activation, width)
    for loss in (Squared(), CrossEntropy())
    for activation in ("tanh", "sigmoid")
    for width in (1, 2)
]


def steps() -> Data:
    """Two clusters with different shares of three classes: a step between them serves best."""
    rng = stream("test", "steps", 0)
    left = rng.uniform(-2.2, -0.8, size=(16, 2))
    x = np.vstack([left, rng.uniform(0.8, 2.2, size=(16, 2))])
    x[:, 1] = rng.normal(size=32)
    label = np.concatenate(
        [rng.choice(3, 16, p=[0.7, 0.2, 0.1]), rng.choice(3, 16, p=[0.1, 0.3, 0.6])]
    )
    label[np.argsort(np.abs(x[:16, 0]))[:6]] = 0
    label[16 + np.argsort(np.abs(x[16:, 0]))[:6]] = 2
    return Data(x, np.eye(3)[label])


def objective_of(loss: Any, activation: str, width: int, decay: float = 0.0) -> VectorObjective:
    model = Mlp(width, Choice(activation), 3)
    found = build_objective(steps(), model, NoAugmentation(), loss, NoRegularizer(), decay)
    assert isinstance(found, VectorObjective)
    return found


@cache
def slid(loss: Any, activation: str, width: int) -> Any:
    """Starts of that kind, judged."""
    return judged(objective_of(loss, activation, width), starts(activation, width))


def judged(objective: VectorObjective, params: np.ndarray) -> Any:
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return StandardJudge().judge(objective, Ended(params, stop), None)


def starts(activation: str, width: int, count: int = 30) -> np.ndarray:
    sizes = 3 * width + 3 * width + 3
    return 2 * stream("test", "slides", activation, width).normal(size=(count, sizes))


def unit_of(task: OutputsTask, theta: np.ndarray, j: int) -> Unit:
    at = task.split(theta)
    z = task.preactivations(at.W, np.zeros((*at.W.shape, 1)))
    return Unit(task, at.A[:, j], task.second(theta, np.zeros((len(theta), 1))).f, z[j])


def exact_way(task: OutputsTask, way: Way) -> list[Any]:
    """The d nearest to the computed one at which the tied points rest, in many digits."""
    d, X = [mpmath.mpf(v) for v in way.d], task.X[way.tied]
    if not len(X):
        return d
    rows = mpmath.matrix(X.tolist())
    left = rows * mpmath.matrix(d)
    share = mpmath.lu_solve(rows * rows.T, left)
    return [v - w for v, w in zip(d, rows.T * share, strict=True)]


def precise(task: OutputsTask, theta: np.ndarray, j: int, d: list[Any], t: float) -> Any:
    """F with unit j moved by t·d."""
    at, tanh = task.split(theta), task.code == 0
    W = [[mpmath.mpf(v) for v in row] for row in at.W.tolist()]
    W[j] = [w + t * v for w, v in zip(W[j], d, strict=True)]
    A, c, total = at.A.tolist(), at.c.tolist(), mpmath.mpf(0)
    for x, y in zip(task.X.tolist(), task.y.tolist(), strict=True):
        z = [mpmath.fdot(row, x) for row in W]
        h = [mpmath.tanh(v) if tanh else 1 / (1 + mpmath.exp(-v)) for v in z]
        f = [mpmath.fdot(row, h) + shift for row, shift in zip(A, c, strict=True)]
        if isinstance(task.loss, Squared):
            total += sum((u - v) ** 2 for u, v in zip(f, y, strict=True))
        else:
            total += mpmath.log(sum(map(mpmath.exp, f))) - mpmath.fdot(f, y)
    return total


@pytest.mark.parametrize(("loss", "activation", "width"), SLIDES, ids=str)
def test_f_falls_for_ever_and_towards_the_limit(loss: Any, activation: str, width: int) -> None:
    objective = objective_of(loss, activation, width)
    task = OutputsTask.of(objective)
    assert task is not None
    found = slid(loss, activation, width)
    members = np.flatnonzero(found.verdict == "escaping")
    assert len(members)
    kinds = {found.evidence[m]["tied"]: m for m in members.tolist()}
    for tied, member in kinds.items():
        theta = task.theta(found.params[member])
        ray = find_ray(task, theta)
        assert isinstance(ray, Ray)
        assert ray.way.tied.sum() == tied
        nearest = np.abs(task.X @ task.split(theta).W[ray.unit])[~ray.way.tied].min()
        with mpmath.workdps(80 + int(nearest + 40)):
            d = exact_way(task, ray.way)
            moves = np.array([float(mpmath.fdot(x, d)) for x in task.X.tolist()])
            sides = np.sign(task.X @ task.split(theta).W[ray.unit])
            low, high = outward(task.X, ray.way, sides)[:, ~ray.way.tied]
            inside = (sides * moves)[~ray.way.tied]
            assert (inside > 0).all()
            assert ((low <= inside) & (inside <= high)).all()
            assert (high - low < 1e-9).all()
            path = [precise(task, theta, ray.unit, d, t) for t in (0, 0.5, 1, 2, 4, 8, 16, 32)]
            assert all(after < before for before, after in pairwise(path))
            end = float(path[-1])
        assert found.limit_objective[member] == pytest.approx(end, rel=1e-12)
        F = objective.measure(found.params[[member]]).objective[0]
        assert found.limit_objective[member] <= F * (1 + 1e-14)
        limits = found.limit_error[member], found.limit_error_base[member]
        if isinstance(loss, Squared):
            assert np.isnan(limits).all()
        else:
            own = (task.y * ray.limit).sum(axis=1)
            told = own > np.where(task.y > 0, -np.inf, ray.limit).max(axis=1)
            assert limits == (np.mean(~told), np.mean(~told))


def test_slides_of_every_kind_are_met() -> None:
    kinds = set()
    for kind in SLIDES:
        kinds |= {(type(kind[0]), e["tied"]) for e in slid(*kind).evidence if "tied" in e}
    assert {(Squared, 0), (CrossEntropy, 0), (CrossEntropy, 1), (CrossEntropy, 2)} <= kinds


def test_what_breaks_the_fall_is_noticed() -> None:
    for loss in (Squared(), CrossEntropy()):
        task = OutputsTask.of(objective_of(loss, "tanh", 1))
        assert task is not None
        found = slid(loss, "tanh", 1)
        theta = task.theta(found.params[np.flatnonzero(found.verdict == "escaping")[0]])
        ray = find_ray(task, theta)
        assert isinstance(ray, Ray)
        unit = unit_of(task, theta, 0)
        N = len(task.X)
        assert unit.stops(ray.way) == -1
        assert unit.stops(replace(ray.way, d=-ray.way.d, moves=-ray.way.moves)) >= 0
        assert replace(unit, a=-unit.a).stops(ray.way) >= 0
        assert replace(unit, a=0 * unit.a).stops(ray.way) >= 0
        # Outputs, preactivations or moves that are not known well enough.
        wide = Ball(unit.f.mid, unit.f.known + 1.0)
        assert replace(unit, f=wide).stops(ray.way) >= 0
        wide = Ball(unit.z.mid, unit.z.known + 1e4)
        assert replace(unit, z=wide).stops(ray.way) >= 0
        tied = np.arange(N) == 3
        assert unit.stops(Way(ray.way.d, np.where(tied, 0.0, ray.way.moves), tied)) >= 0
        # Of other classes in the same places: what fell, rises.
        other = replace(task, y=np.roll(task.y, 1, axis=1))
        assert replace(unit, task=other).stops(ray.way) >= 0


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("entropy", [True, False])
def test_no_rise_is_overlooked(tanh: bool, entropy: bool) -> None:
    """Random points, weights and moves, compared with F′ at many places."""
    rng, times = stream("test", "rises", tanh, entropy), np.append(0, np.geomspace(1e-3, 60, 400))
    proven = rises = 0
    for _ in range(200):
        N, C = int(rng.integers(2, 6)), 3
        x, m = rng.uniform(0.3, 6, size=N), np.exp(rng.uniform(0, 1.5, size=N))
        m, s = m / m.min(), rng.choice([-1.0, 1.0], size=N)
        f, a, y = rng.normal(size=(N, C)), rng.normal(size=C), np.eye(C)[rng.integers(C, size=N)]
        y = np.where(rng.random((N, 1)) < 0.8, np.eye(C)[np.argmax(s[:, None] * a, axis=1)], y)
        pair = np.stack([x, x]), np.stack([m, m])
        moving = Moving(tanh, entropy, a, *pair, s, f, 0 * f, y)
        wide = x[:, None].astype(np.longdouble) + m[:, None] * times
        level = np.tanh(wide) if tanh else (1 + np.tanh(wide / 2)) / 2
        level = np.where(s[:, None] > 0, level, -level if tanh else 1 - level)
        there = f[:, None] + (level - level[:, :1])[:, :, None] * a
        q = 2 * (there - y[:, None])
        if entropy:
            q = np.exp(there) / np.exp(there).sum(axis=2, keepdims=True) - y[:, None]
        steep = 1 / np.cosh(wide if tanh else wide / 2) ** 2
        slope = ((q @ a) * s[:, None] * m[:, None] * steep).sum(axis=0)
        if moving.stops_for_ever() == -1:
            proven += 1
            assert (slope < 0).all()
        elif (slope >= 0).any():
            rises += 1
        # Of one interval, too, however wide, and of a half-line.
        for first, last in ((0, 40), (0, 400), (150, 300), (200, 400)):
            if moving.stops(times[first], times[last] if last < 400 else np.inf) == -1:
                assert (slope[first : last + 1] < 0).all()
    assert proven > 15
    assert rises > 15


def test_a_slope_that_cancels_proves_nothing() -> None:
    ones, a = np.ones((2, 2)), np.array([1e-13, 0.0, 0.0])
    y = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    still = Moving(True, False, a, ones, ones, np.ones(2), 0 * y, 0 * y, y)
    assert still.stops(0.0, 1e-13) >= 0
    assert replace(still, y=np.abs(y)).stops(0.0, 1e-13) == -1


def test_a_tail_that_comes_to_pull_uphill_is_noticed() -> None:
    x, ones, a = np.array([0.3, 5.0]), np.ones((2, 2)), np.array([1e-12, 0.0, 0.0])
    for share, proven in ((0.6, False), (1.1, True)):
        y = np.zeros((2, 3))
        # At once σ′ is 0.42 of its tail at the first point, and 1.00 of it at the second.
        y[:, 0] = [-1.0, share * np.exp(2 * (5.0 - 0.3))]
        pull = Moving(True, False, a, np.stack([x, x]), ones, np.ones(2), 0 * y, 0 * y, y)
        assert (pull.stops(0.0, np.inf) == -1) == proven
        assert pull.stops(0.0, 1e-3) == -1


@pytest.mark.parametrize("entropy", [True, False])
def test_what_underflows_may_pull_uphill(entropy: bool) -> None:
    """The slowest point pulls uphill, by less than float64 has: in the end nothing else is left."""
    x, m, C = np.array([40.0, 41.0]), np.array([1.0, 3.0]), 2
    pair = np.stack([x, x]), np.stack([m, m])
    y = np.eye(C)[[0, 1]]
    # Told by 1500, and its class's lead shrinks on the way; the other point's grows.
    f = np.array([[1500.0, 0.0], [0.0, 0.0]])
    a, s = np.array([-1e-30, 1e-30]), np.ones(2)
    told = Moving(False, True, a, *pair, s, f, 0 * f, y)
    # Squared: −a·q of the slowest point is half of the smallest number there is.
    miss = np.array([[0.25, 0.0], [-0.75, 0.0]])
    tiny = Moving(False, False, np.array([5e-324, 0.0]), *pair, s, y + miss, 0 * y, y)
    assert (told if entropy else tiny).stops_for_ever() >= 0
    # Where the slowest point pulls downhill, or is as fast, all is as it was.
    assert replace(told, y=y[[1, 1]], f=f[:, ::-1]).stops_for_ever() == -1


def test_outputs_of_which_nothing_is_known_may_pull_uphill() -> None:
    x, y = np.array([[1.0], [2.0], [3.0]]), np.eye(2)[[0, 1, 1]]
    model = Mlp(4, Choice("sigmoid"), 2)
    objective = build_objective(
        Data(x, y), model, NoAugmentation(), CrossEntropy(), NoRegularizer()
    )
    task = OutputsTask.of(objective)
    assert task is not None
    unknown = 0
    for k in range(20):
        # At x = 3 units of weight 1e20 cancel; what is left of their outputs rounds by thousands.
        W, b = np.array([1.0, 120.0, 200.0, 40.0]), np.array([0.0, k * 2.0**-30 - 359, -540, -60])
        share = 1 / (1 + np.exp(-(3 * W[1] + b[1])))
        A = np.array([[1.0, 0, 0, 0], [-1.0, 1e20, -1e20 * share, 60.0]])
        theta = task.theta(np.concatenate([W, b, A.ravel(), [16.0, 0.0]]))
        unit = unit_of(task, theta, 0)
        unknown += unit.f.known[2].max() > 355
        assert unit.stops(Way(np.array([1.0, 0.0]), np.arange(1.0, 4.0), np.zeros(3, bool))) >= 0
    assert unknown == 20


def test_no_ray_where_none_is() -> None:
    flat = replace(steps(), y=np.eye(3)[np.arange(32) % 3])
    for loss in (Squared(), CrossEntropy()):
        held = objective_of(loss, "tanh", 1, decay=1e-6)
        assert OutputsTask.of(held) is None
        assert not (judged(held, starts("tanh", 1, 4)).certificate == "ray").any()
        data = build_objective(
            flat, Mlp(2, Choice("softplus"), 3), NoAugmentation(), loss, NoRegularizer()
        )
        task = OutputsTask.of(data)
        assert task is not None
        for params in starts("softplus", 2, 4):
            assert find_ray(task, task.theta(params)) is None


@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()], ids=str)
def test_a_verdict_depends_on_the_member_alone(loss: Any) -> None:
    objective = objective_of(loss, "sigmoid", 1)
    params = starts("sigmoid", 1, 6)
    together = judged(objective, params)
    assert (together.verdict == "escaping").any()
    for k in range(6):
        alone = judged(objective, params[k : k + 1])
        assert (alone.params[0] == together.params[k]).all()
        assert alone.evidence[0] == together.evidence[k]
        both = [part.limit_objective[i] for part, i in ((alone, 0), (together, k))]
        assert both[0] == both[1] or np.isnan(both).all()
