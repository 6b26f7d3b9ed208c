"""`kink` for several outputs: designed points of known multipliers, balls, attacks, verdicts.

For squared outputs any θ is stationary on a face, with any multipliers, for the right targets:
y = f − q/2 with a q that solves the equations of stationarity, which are linear in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import mpmath
import numpy as np
import pytest

from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge, standard
from sweep.judge.outputs.active import descend_over_kinks
from sweep.judge.outputs.face import FaceTask, face_of
from sweep.judge.outputs.kinks import _multipliers, prove_kink, settle_output_kinks
from sweep.judge.outputs.proof import prove
from sweep.judge.outputs.task import OutputsTask
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import CrossEntropy, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

from .conftest import longer

CLOUDS = PROBLEMS.build(Choice("clouds")).load()
RELU, LEAKY = Choice("relu"), Choice("leaky_relu", {"negative_slope": 0.1})
FALLING = Choice("two_piece", {"negative_slope": -0.5, "positive_slope": -2.0})
ACTIVATIONS = [RELU, LEAKY, FALLING]
# (loss, activation, width) whose minima on kinks random starts reach.
REACHED = [
    (Squared(), RELU, 2),
    (CrossEntropy(), RELU, 2),
    (Squared(), LEAKY, 2),
    (CrossEntropy(), Choice("two_piece", {"negative_slope": -0.5}), 2),
]
# Held pairs per unit of the designed points.
ONE, TWO, BOTH = [[3], []], [[3, 17], []], [[3], [8, 30]]


def objective_of(loss, activation, width, data=CLOUDS):
    model = Mlp(width, activation, data.y.shape[1] if data.y.ndim > 1 else 3)
    return build_objective(data, model, NoAugmentation(), loss, NoRegularizer())


def starts(objective, count):
    return stream("controls", "test", "starts").normal(size=(count, objective.n_params))


@dataclass(frozen=True)
class Designed:
    """Data for which θ is stationary on the face of the held pairs, with multipliers t."""

    data: object
    objective: object
    task: OutputsTask
    theta: np.ndarray
    held: np.ndarray


def designed(activation, pairs, t=0.4, pull=1.0, scale=0.1, beside=None, x=None, size=1.0):
    """`pull`: κ(s₊ − s₋)/scale of held pairs; `beside`: z of one more pair of the first unit.

    `size` is that of the output weights.
    """
    rng = stream("controls", "test", "designed")
    data = CLOUDS if x is None else replace(CLOUDS, x=x)
    plain = objective_of(Squared(), activation, len(pairs), data)
    task = OutputsTask.of(plain)
    (lo, hi), X = task.slopes, task.X
    theta = rng.normal(size=plain.n_params)
    at = task.split(theta)
    A, W = size * at.A, at.W.copy()
    held = np.zeros((len(W), len(X)), dtype=bool)
    for j, some in enumerate(pairs):
        held[j, some] = True
        wanted = X[some]
        target = np.zeros(len(some))
        if beside is not None and j == 0:
            wanted, target = np.vstack([wanted, X[20]]), np.append(target, beside)
        W[j] -= np.linalg.pinv(wanted) @ (wanted @ W[j] - target)
        W[j] /= np.linalg.norm(W[j]) if beside is None else 1.0
    theta = np.concatenate([A.ravel(), at.c, W.ravel()])
    z = np.where(held, 0.0, W @ X.T)
    slope = np.where(held, lo + t * (hi - lo), np.where(z > 0, hi, lo))
    h, (N, C) = slope * z, task.y.shape
    f = (A @ h).T + at.c
    J = np.zeros((N, C, len(theta)))
    for c in range(C):
        J[:, c, c * len(W) : (c + 1) * len(W)] = h.T
        J[:, c, C * len(W) + c] = 1.0
        inner = (A[c, :, None, None] * slope[:, :, None] * X).transpose(1, 0, 2)
        J[:, c, C * len(W) + C :] = inner.reshape(N, -1)
    rows = [J.reshape(N * C, -1).T]
    for j, i in np.argwhere(held):
        row = np.zeros((N, C))
        row[i] = A[:, j] * (hi - lo) / scale
        rows.append(row.reshape(1, -1))
    wanted = np.append(np.zeros(len(theta)), np.full(int(held.sum()), pull))
    rows = np.vstack(rows)
    q = scale * rng.normal(size=N * C)
    q += np.linalg.lstsq(rows, wanted - rows @ q, rcond=None)[0]
    assert np.abs(rows @ q - wanted).max() < 1e-11
    made = replace(data, y=f - q.reshape(N, C) / 2)
    objective = objective_of(Squared(), activation, len(pairs), made)
    return Designed(made, objective, OutputsTask.of(objective), theta, held)


def prove_designed(point):
    return prove_kink(point.task, point.theta, point.held)


def moves_of(task, theta, held, count, rng):
    """Unit moves: any, few coordinates, along held rows alone, on the face, nearly on it."""
    P, n, first = len(theta), task.X.shape[1], len(theta) - task.width * task.X.shape[1]
    rows = np.zeros((int(held.sum()), P))
    for row, (j, i) in zip(rows, np.argwhere(held), strict=True):
        row[first + j * n : first + (j + 1) * n] = task.X[i]
    off = rng.normal(size=(count, len(rows))) * (rng.random((count, len(rows))) < 0.7) @ rows
    free = rng.normal(size=(count, P))
    on = free - free @ np.linalg.pinv(rows) @ rows
    few = free * (rng.random((count, P)) < 0.15)
    found = np.concatenate([free, few, off, on, on + 1e-3 * off])
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(length > 0, length, 1.0)


def attacked(task, theta, held, room, rng, count=150):
    """How much lower F is somewhere near than `room` explains, over moves of many sizes."""
    moves = moves_of(task, theta, held, count, rng)
    here, worst = longer(task, theta[None])[0], -np.inf
    for size in 10.0 ** np.arange(-9, -3):
        there = theta.astype(np.longdouble) + size * moves
        worst = max(worst, float((here - room - longer(task, there)).max()))
    return worst


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda choice: choice.name)
@pytest.mark.parametrize("pairs", [ONE, TWO, BOTH], ids=str)
def test_designed_minima_are_proven_with_their_multipliers(activation, pairs):
    for t in (1e-4, 0.4, 1 - 1e-4):
        point = designed(activation, pairs, t)
        proof = prove_designed(point)
        assert proof is not None
        assert proof.kinks == point.held.sum()
        assert proof.off.least == pytest.approx(min(t, 0.5), rel=1e-5, abs=1e-8)
        assert proof.off.largest == pytest.approx(max(t, 0.5), rel=1e-5, abs=1e-8)
        assert 0 < proof.off.least <= min(t, 0.5) + 1e-12
        assert max(t, 0.5) - 1e-12 <= proof.off.largest < 1
        # Each unit may be rescaled, and nothing else is constant on these faces.
        assert proof.on.symmetries == 2
        rng = stream("controls", "test", "attack")
        assert attacked(point.task, point.theta, point.held, 1e-15, rng, 40) <= 0


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda choice: choice.name)
@pytest.mark.parametrize(
    "change",
    [
        {"t": -0.1},
        {"t": 1.1},
        {"t": 1e-8},
        {"t": 1 - 1e-8},
        {"pull": -1.0},
        {"pull": 1e-7},
        {"pull": 0.0},
        {"scale": 30.0},
        {"beside": 1e-8},
    ],
    ids=str,
)
def test_what_is_no_clear_minimum_on_kinks_is_refused(activation, change):
    good = {"beside": 1e-2} if "beside" in change else {}
    assert prove_designed(designed(activation, BOTH, **good)) is not None
    point = designed(activation, BOTH, **change)
    assert prove_designed(point) is None
    slope = point.task.slope(point.task.split(point.theta).W @ point.task.X.T)
    smooth = FaceTask.with_slopes(point.task, np.where(point.held, 0.0, slope))
    face = face_of(point.task, point.theta, point.held)
    on = prove(smooth, point.theta, face)
    if "scale" in change:
        # A saddle on the face, though F rises off it.
        assert on is None and _multipliers(point.task, face, 1e-12) is not None
    elif "beside" not in change:
        # On the face a minimum, and off it F falls, or may.
        assert on is not None
    lower = attacked(point.task, point.theta, point.held, 1e-15, stream("controls", "test", "a"))
    if change in ({"t": -0.1}, {"t": 1.1}, {"pull": -1.0}):
        assert lower > 0  # The attack finds what there is.


def test_dependent_rows_twins_and_points_beside_are_refused():
    point = designed(RELU, BOTH)
    task, at = point.task, point.task.split(point.theta)
    assert prove_designed(point) is not None
    # A second datum at a held one's place, exactly or nearly; and more rows than are independent.
    x = CLOUDS.x.copy()
    x[40] = x[3]
    with_two = designed(RELU, [[3, 40], []], x=x)
    assert face_of(with_two.task, with_two.theta, with_two.held) is None
    assert prove_designed(with_two) is None
    for gap, known in ((1e-9, False), (1e-3, True)):
        beside = replace(with_two.task, X=with_two.task.X + gap * (np.arange(45) == 40)[:, None])
        assert (face_of(beside, with_two.theta, with_two.held) is not None) == known
    # The same of a datum that is not said to be held: it is too near its kink.
    assert prove_designed(designed(RELU, ONE, x=x)) is None
    corner = point.held.copy()
    corner[0, [20, 21]] = True
    assert face_of(task, point.theta, corner) is None
    # A twin of either unit: F is flat there, or a saddle.
    larger = replace(task, width=3)
    for j, share in ((0, 0.5), (1, 0.5), (0, 1.5), (1, 1.5)):
        A = np.column_stack([at.A, (1 - share) * at.A[:, j]])
        A[:, j] *= share
        theta = np.concatenate([A.ravel(), at.c, np.vstack([at.W, at.W[j]]).ravel()])
        assert larger.value(theta) == pytest.approx(task.value(point.theta), rel=1e-13)
        assert prove_kink(larger, theta, np.vstack([point.held, point.held[j]])) is None
    # Not stationary: on the face, and off it.
    face = face_of(task, point.theta, point.held)
    move = 1e-3 * stream("controls", "test", "beside").normal(size=len(point.theta))
    assert prove_kink(task, face.projected(point.theta + move), point.held) is None
    assert prove_kink(task, point.theta + 1e-6 * move, point.held) is None


def precisely(task, face, theta):
    """θ projected onto the face, with 50 digits, and ∇F of the squared outputs there."""
    with mpmath.workdps(50):
        p = [mpmath.mpf(float(v)) for v in theta]
        C, H, n = task.y.shape[1], task.width, task.X.shape[1]
        for j in face.units:
            place = face.place(j)
            rows = mpmath.matrix(face.rows[j].tolist())
            w = mpmath.matrix(p[place])
            w = w - rows.T * mpmath.lu_solve(rows * rows.T, rows * w)
            p[place] = list(w)
        if len(theta) != C * H + C + H * n or task.loss != Squared():
            return np.array(p), None
        gradient = [mpmath.mpf(0)] * len(p)
        for i, x in enumerate(task.X.tolist()):
            slope = task.pattern[:, i].tolist()
            first = C * H + C
            h = [slope[j] * mpmath.fdot(p[first + j * n : first + j * n + n], x) for j in range(H)]
            for c in range(C):
                f = mpmath.fdot(p[c * H : c * H + H], h) + p[C * H + c]
                q = 2 * (f - mpmath.mpf(float(task.y[i, c])))
                gradient[C * H + c] += q
                for j in range(H):
                    gradient[c * H + j] += q * h[j]
                    for k in range(n):
                        gradient[first + j * n + k] += q * p[c * H + j] * slope[j] * x[k]
        return np.array(p), np.array(gradient)


def test_the_balls_of_a_face_hold_projections_and_gradient():
    point = designed(LEAKY, BOTH)
    task, theta, held = point.task, point.theta, point.held
    face = face_of(task, theta, held)
    slope = task.slope(task.split(theta).W @ task.X.T)
    smooth = FaceTask.with_slopes(task, np.where(held, 0.0, slope))
    p, gradient = precisely(smooth, face, theta)
    assert 0 < np.linalg.norm((p - theta).astype(float)) <= face.off < 1e-14
    here = smooth.second(theta, face.moves(face.tangent(np.zeros((len(theta), 1))), 0.0))
    ball = face.gradient(smooth, theta, here.hessian)
    apart = np.abs(gradient - ball.mid).astype(float)
    assert (apart <= ball.rad).all() and ball.rad.max() < 1e-13
    rng = stream("controls", "test", "moves")
    moves = rng.normal(size=(len(theta), 3))
    found = face.tangent(moves)
    for k in range(3):
        exact, _ = precisely(replace(smooth, loss=CrossEntropy()), face, moves[:, k])
        assert (np.abs(exact - found.mid[:, k]).astype(float) <= found.rad[:, k] + 1e-16).all()
    assert found.rad.max() < 1e-13
    assert np.abs(face.basis.T @ face.basis - np.eye(len(theta) - 3)).max() < 1e-14
    # A point off the face by more than its rounding: what its balls hold is the projection.
    loose = face_of(task, theta + 1e-7 * moves[:, 0], held)
    near = smooth.second(loose.projected(loose.theta), None)
    wide = smooth.second(loose.theta, loose.moves(loose.tangent(0 * moves), 0.0))
    assert (np.abs(near.hessian.mid - wide.hessian.mid) <= wide.hessian.rad + 1e-13).all()
    assert (np.abs(near.gradient.mid - wide.gradient.mid) <= wide.gradient.rad + 1e-13).all()
    # Derivatives at points of the face are in the balls that are meant to hold them.
    for r in (1e-6, 1e-2):
        wide = smooth.second(theta, face.moves(found, r))
        for way in rng.normal(size=(20, 3)):
            there = smooth.second(theta + found.mid @ (r * way / np.linalg.norm(way)), None)
            for name in ("f", "gradient", "hessian"):
                ball = getattr(wide, name)
                assert (np.abs(getattr(there, name).mid - ball.mid) <= ball.rad + 1e-12).all()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda choice: choice.name)
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_multipliers_all_around_are_within_their_bounds(activation, size):
    point = designed(activation, BOTH, t=0.3, pull=min(size, 1.0), size=size)
    rng = stream("controls", "test", "around")
    task, (lo, hi) = point.task, point.task.slopes
    face = face_of(task, point.theta, point.held)
    for radius in (1e-9, 1e-8):
        least, largest = _multipliers(task, face, radius)
        assert 0.3 - 3e7 * radius < least < 0.3 < 0.5 <= largest <= 0.5 + 3e7 * radius
        lowest = 1.0
        for way in rng.normal(size=(60, len(point.theta))):
            at = task.split(point.theta + radius * way / np.linalg.norm(way))
            z = at.W @ task.X.T
            q = 2 * ((at.A @ (np.where(z > 0, hi, lo) * z)).T + at.c - task.y)
            kappa = (q @ at.A).T
            for j in range(task.width):
                on = point.held[j]
                slope = np.where(z[j] > 0, hi, lo)
                pulled = (kappa[j] * slope)[~on] @ task.X[~on]
                tau = np.linalg.lstsq(task.X[on].T, -pulled, rcond=None)[0]
                t = (tau - kappa[j, on] * lo) / (kappa[j, on] * (hi - lo))
                lowest = min(lowest, t.min())
                assert (t <= largest + 1e-13).all()
        assert least - 1e-13 <= lowest < 0.3


@pytest.mark.parametrize(("loss", "activation", "width"), REACHED, ids=str)
def test_no_move_lowers_a_minimum_that_descent_reaches(loss, activation, width):
    objective = objective_of(loss, activation, width)
    task, rng = OutputsTask.of(objective), stream("controls", "test", "moves", activation.name)
    reached = 0
    for start in starts(objective, 8):
        begun = task.theta(start)
        theta, held, _ = descend_over_kinks(task, begun)
        assert task.value(theta) <= task.value(begun) * (1 + 1e-13)
        proof = prove_kink(task, theta, held)
        if proof is None:
            continue
        reached += 1
        room = proof.on.gradient**2 / proof.on.least + 1e-15
        assert attacked(task, theta, held, room, rng) <= 0
        # Held one pair fewer, or one more: not the same face, and no minimum on kinks.
        for j, i in [np.argwhere(held)[0], (0, int(np.argmax(~held[0])))]:
            other = held.copy()
            other[j, i] = ~other[j, i]
            assert prove_kink(task, theta, other) is None
    assert reached >= 3


def judged(objective, start):
    stop = np.full(len(start), Stop.STEPS.value, dtype=object)
    found = StandardJudge().judge(objective, Ended(start, stop), None)
    before, after = objective.measure(start).objective, objective.measure(found.params).objective
    assert (after <= before * (1 + 1e-13)).all()
    return found


def test_the_verdict_of_a_member_is_its_own_and_what_is_not_proven_stays_where_it_was(monkeypatch):
    objective = objective_of(Squared(), RELU, 2)
    task, start = OutputsTask.of(objective), starts(objective, 12)
    found = judged(objective, start)
    members = np.flatnonzero(found.certificate == "kink")
    assert len(members) >= 3
    for member in members:
        theta, evidence = task.theta(found.params[member]), found.evidence[member]
        held = np.abs(task.split(theta).W @ task.X.T) < 1e-12
        assert held.sum() == evidence["kinks"] > 0
        margin = found.certificate_margin[member]
        assert 1e-6 <= margin <= min(evidence["tau_min"], 1 - evidence["tau_max"])
        assert np.isnan(found.min_eig[member])
        assert found.certificate_radius[member] > evidence["within"] > 0
    for k in members[:2]:
        alone = judged(objective, start[k : k + 1])
        assert alone.certificate[0] == "kink"
        assert (alone.params[0] == found.params[k]).all()
        assert alone.evidence[0] == found.evidence[k]
    # Without this stage: the same members, but those that it names, at the same points.
    stages = tuple(s for s in standard.CERTIFICATES if s is not settle_output_kinks)
    assert len(stages) == len(standard.CERTIFICATES) - 1
    monkeypatch.setattr(standard, "CERTIFICATES", stages)
    before = judged(objective, start)
    same = before.certificate == found.certificate
    assert (before.certificate[~same] == "none").all()
    assert same.any()
    assert (before.params[same] == found.params[same]).all()
    for k in np.flatnonzero(same):
        assert before.evidence[k] == found.evidence[k]


def test_the_descent_finds_its_way_back_to_a_minimum_on_kinks():
    point = designed(RELU, BOTH)
    rng = stream("controls", "test", "back")
    lowest = point.task.value(point.theta)
    for way in rng.normal(size=(6, len(point.theta))):
        theta, held, _ = descend_over_kinks(point.task, point.theta + 1e-3 * way)
        assert (held == point.held).all()
        assert point.task.value(theta) == pytest.approx(lowest, rel=1e-13)
        assert prove_kink(point.task, theta, held) is not None


@pytest.mark.parametrize(("loss", "activation", "width"), REACHED, ids=str)
def test_a_minimum_on_kinks_is_one_when_it_is_judged_again(loss, activation, width):
    objective = objective_of(loss, activation, width)
    task = OutputsTask.of(objective)
    found = judged(objective, starts(objective, 10))
    members = np.flatnonzero(found.certificate == "kink")
    assert len(members) >= 1
    again = judged(objective, found.params[members])
    assert (again.certificate == "kink").all()
    assert np.abs(again.params - found.params[members]).max() < 1e-10
    # A unit at zero holds kinks that depend on each other: it is not taken to stay on them.
    zero = task.split(task.theta(found.params[members[0]]))
    idle = np.concatenate([zero.A.ravel(), zero.c, np.zeros(zero.W.size)])
    assert not descend_over_kinks(task, idle)[1].all()
