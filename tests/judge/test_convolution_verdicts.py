"""What the judge says of one convolution below ReQU neurons: minima under kinks, near-misses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.convolution.local import Local
from sweep.judge.convolution.plain import Filtered
from sweep.judge.convolution.polish import newton, place_at
from sweep.judge.convolution.proof import prove
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.verdicts import Certificate, Stop, Verdict

CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
TURN = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


def judge(objective: Objective, params: np.ndarray, lam: np.ndarray | None) -> Judgement:
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return StandardJudge().judge(objective, Ended(params, stop), lam)


def convolved(x: np.ndarray, width: int, loss=None, length: int = 2, layers: int = 2, reg=None):
    data = Data(x, -CORNERS.prod(axis=1))
    model = Convolution(width, layers, length, 0.1)
    regularizer = reg or ConvolutionRegularizer()
    return build_objective(data, model, NoAugmentation(), loss or Logistic(), regularizer)


def drawn(objective: Objective, count: int, seed: int, high: float = 0.008):
    rng = np.random.default_rng(seed)
    params = 0.7 * rng.normal(size=(count, objective.n_params))
    return params, high * rng.random((count, objective.n_lambda))


@pytest.fixture(scope="module")
def minima():
    """Judged turned corners: (objective, λ, judgement), with and without kinks."""
    objective = convolved(CORNERS @ TURN.T, 8)
    params, lam = drawn(objective, 24, 3)
    return objective, lam, judge(objective, params, lam)


@pytest.mark.parametrize("loss", [Logistic(), HingePower(3)])
def test_every_random_start_ends_in_a_certified_minimum_of_error_zero(loss):
    objective = convolved(CORNERS, 25, loss)
    params, lam = drawn(objective, 12, 0)
    found = judge(objective, params, lam)
    assert (found.verdict == Verdict.LOCAL_MINIMUM.value).all()
    assert set(found.certificate) == {Certificate.KINK.value, Certificate.INACTIVE.value}
    measured = objective.measure(found.params, lam)
    assert measured.error is not None and (measured.error == 0).all()
    assert (measured.objective <= objective.measure(params, lam).objective).all()
    assert (found.certificate_radius < 1e-6).all() and (found.certificate_margin > 0).all()
    # A member's verdict depends on it alone.
    alone = judge(objective, params[5:6], lam[5:6])
    np.testing.assert_array_equal(alone.params[0], found.params[5])
    assert alone.evidence[0] == found.evidence[5]


def test_nothing_near_a_certified_point_is_lower(minima):
    objective, lam, found = minima
    assert (found.verdict == Verdict.LOCAL_MINIMUM.value).all()
    assert {Certificate.KINK.value, Certificate.INACTIVE.value} <= set(found.certificate)
    rng = np.random.default_rng(1)
    for theta, own in zip(found.params, lam, strict=True):
        moves = rng.normal(size=(90, len(theta)))
        moves[::3, 2:] = 0.0  # the filter alone, off its kink
        moves[1::3, 2:] *= theta[2:] != 0  # no dead neuron
        moves *= (np.geomspace(1e-9, 1e-5, 90) / np.linalg.norm(moves, axis=1))[:, None]
        around = objective.measure(theta + moves, np.tile(own, (90, 1))).objective
        here = objective.measure(theta[None], own[None]).objective[0]
        assert (around >= here * (1 - 1e-14)).all()


def test_the_slope_across_is_the_one_sided_derivative(minima):
    objective, lam, found = minima
    held = np.flatnonzero(found.certificate == Certificate.KINK.value)
    assert len(held) >= 3
    for k in held:
        v, proven = found.params[k, :2], found.evidence[k]["slope_across"]
        off = np.array([-v[1], v[0]]) / np.linalg.norm(v)
        step = 1e-6
        moved = np.tile(found.params[k], (3, 1))
        moved[1:, :2] += step * np.array([off, -off])
        F = objective.measure(moved, np.tile(lam[k], (3, 1))).objective
        assert proven > 0
        np.testing.assert_allclose((F[1:].min() - F[0]) / step, proven, rtol=1e-3)


def test_points_beside_a_minimum_prove_nothing(minima):
    objective, lam, found = minima
    plain = Filtered.of(objective)
    assert plain is not None
    rng = np.random.default_rng(2)
    for theta, own, certificate in zip(found.params, lam, found.certificate, strict=True):
        assert prove(plain, theta, own) is not None
        for size in (1e-3, 1e-5, 1e-7):
            moved = theta + size * rng.normal(size=len(theta)) * (theta != 0)
            with np.errstate(all="ignore"):  # as in the judge: balls too wide overflow
                proof = prove(plain, moved, own)
            # What is still proved is that a minimum lies within the radius, and so it does.
            assert proof is None or proof.radius >= np.linalg.norm(moved - theta)
        if certificate == Certificate.KINK:
            moved = theta.copy()
            moved[:2] += 1e-7 * np.array([-theta[1], theta[0]])
            assert prove(plain, moved, own) is None
        # An inactive neuron of too small a strength.
        a = plain.split(theta)[1].any(axis=1)
        if not a.all():
            lower = own.copy()
            lower[np.flatnonzero(~a)[0]] = 0.3 * own[a].min()
            assert prove(plain, theta, lower) is None


def at_rest_on_kink(plain: Filtered, seed: int):
    """A minimum on the line of a kink, however F goes off it: (place, λ), or None."""
    rng = np.random.default_rng(seed)
    m = plain.last.m
    lam = 0.01 + 0.02 * rng.random(m)
    Z, s = rng.normal(size=(m, plain.last.D + 1)), np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
    row = plain.C[seed % len(plain.y), 1]
    place = place_at(plain, Z, s, np.array([-row[1], row[0]]) / np.linalg.norm(row), lam, 1e-9)
    for _ in range(300):
        assert place is not None and place.face.held.sum() == 2
        local = place.local(plain, lam)
        following = newton(plain, place, local, local.gradient(), lam)
        if following is None:
            return place, lam
        place = following
    return None


def test_a_kink_that_leans_downhill_is_refused():
    """On its line the point is at rest; F off it, taken plainly, decides."""
    objective = convolved(CORNERS @ TURN.T, 3)
    plain = Filtered.of(objective)
    assert plain is not None
    refused = 0
    for seed in range(16):
        found = at_rest_on_kink(plain, seed)
        if found is None:
            continue
        place, lam = found
        theta = plain.balanced(place.v, place.Z, place.s)
        off = 1e-6 * np.array([-place.v[1], place.v[0]])
        moved = np.tile(theta, (3, 1))
        moved[1:, :2] += np.array([off, -off])
        F = objective.measure(moved, np.tile(lam, (3, 1))).objective
        if F[1:].min() < F[0]:
            refused += 1
            assert prove(plain, theta, lam) is None
            # The judge goes down there.
            again = judge(objective, theta[None], lam[None])
            assert objective.measure(again.params, lam[None]).objective[0] < F[0]
    assert refused >= 3


@pytest.mark.parametrize("length", [1, 2, 3])
def test_derivatives_on_a_face_are_those_of_autograd(length):
    objective = convolved(CORNERS @ TURN.T, 4, HingePower(3), length)
    plain = Filtered.of(objective)
    assert plain is not None
    rng = np.random.default_rng(length)
    v, Z, s = (
        rng.normal(size=length),
        rng.normal(size=(4, plain.last.D + 1)),
        np.sign(rng.normal(size=4)),
    )
    lam = 0.1 * rng.random(4)
    if length > 1:
        row = plain.C[0, 1] / np.linalg.norm(plain.C[0, 1])
        v -= row * (row @ v)
    face = plain.face(v)
    assert face is not None and face.B.shape[1] == (length if length == 1 else length - 1)
    tau = face.B.T @ v
    local = Local.at(plain, face, Z, s, lam, tau)
    A, y = torch.as_tensor(face.A), torch.as_tensor(plain.y)

    def value(flat: torch.Tensor) -> torch.Tensor:
        own, there = flat[: Z.size].reshape(Z.shape), flat[Z.size :]
        h = A @ there
        t = torch.clamp(h @ own[:, :-1].T + own[:, -1], min=0.0)
        loss = torch.clamp(1 - y * (t**2 @ torch.as_tensor(s)), min=0.0) ** 3
        pull = plain.strength / 4 * ((there**2).sum() - 1) ** 2
        return loss.sum() + (torch.as_tensor(lam) * (own**2).sum(1)).sum() + pull

    point = torch.as_tensor(np.concatenate([Z.ravel(), tau]))
    np.testing.assert_allclose(value(point).item(), plain.energy(Z, s, v, lam), rtol=1e-12)
    slope = torch.func.grad(value)(point).numpy()
    np.testing.assert_allclose(local.gradient(), slope, rtol=1e-10, atol=1e-10)
    second = torch.func.jacrev(torch.func.grad(value))(point).numpy()
    np.testing.assert_allclose(local.hessian(local.t > 0)[0], second, rtol=1e-9, atol=1e-9)


def test_rays_span_every_cell_across_a_face():
    """Between neighbouring rays no row changes its sign, so that D is linear there."""
    objective = convolved(CORNERS @ TURN.T, 2, length=3)
    plain = Filtered.of(objective)
    assert plain is not None
    rows = plain.C[[0, 1], [1, 2]]
    v = np.cross(*rows)
    face = plain.face(v)
    assert face is not None and face.B.shape[1] == 1
    rays = plain.rays(face)
    assert rays is not None
    np.testing.assert_allclose(rays @ face.B, 0, atol=1e-12)
    inside = rays @ face.Q
    order = np.argsort(np.arctan2(inside[:, 1], inside[:, 0]))
    held = plain.C[face.held]
    for one, other in pairwise([*order, order[0]]):
        assert ((held @ rays[one]) * (held @ rays[other]) > -1e-12).all()
    # At v = 0 all rows vanish at once, which no plane of rays covers.
    apex = plain.face(np.zeros(3))
    assert apex is not None and plain.rays(apex) is None


def test_rows_that_differ_by_rounding_alone_are_not_believed():
    x = np.array([[1.0, 1.0], [1.0, 1.0 + 2**-50], [-1.0, 1.0], [-1.0, -1.0]])
    plain = Filtered.of(convolved(x, 2))
    assert plain is not None
    assert plain.face(np.array([1.0, -1.0])) is None
    assert plain.face(np.array([1.0, 0.3])) is not None


def test_other_networks_and_strengths_of_zero_are_left_open():
    bare = convolved(CORNERS, 3, reg=NoRegularizer())
    deep = convolved(CORNERS, 3, layers=3)
    assert Filtered.of(bare) is None and Filtered.of(deep) is None
    objective = convolved(CORNERS, 6)
    params, lam = drawn(objective, 2, 5)
    lam[0, 2] = 0.0
    found = judge(objective, params, lam)
    assert list(found.verdict) == [Verdict.UNRESOLVED.value, Verdict.LOCAL_MINIMUM.value]
    np.testing.assert_array_equal(found.params[0], params[0])
