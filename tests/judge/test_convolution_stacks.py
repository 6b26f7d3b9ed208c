"""What the judge says of two and three convolutions below ReQU neurons, kinks of any layer held."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch

from sweep.judge import StandardJudge
from sweep.judge.balls import Ball
from sweep.judge.base import Judgement
from sweep.judge.convolution_plain import Filtered
from sweep.judge.convolution_polish import newton, place_at
from sweep.judge.convolution_proof import prove
from sweep.judge.stack_bounds import basis_of
from sweep.judge.stack_cones import across
from sweep.judge.stack_local import StackLocal
from sweep.judge.stack_polish import StackPath
from sweep.judge.stack_proof import prove_stack
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.problems.base import Data
from sweep.verdicts import Certificate, Stop, Verdict

CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
TURN = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
SLOPE, LAMBDA_C, LOGISTIC = 0.1, 0.7, Logistic()
CERTIFIED = {Certificate.KINK.value, Certificate.INACTIVE.value, Certificate.STRICT.value}
# Off a face F leans by its slope times the rounding of the filters.
ROUNDING = 3e-16


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True, eq=False)
class Stack:
    """A problem: data, labels, convolutions, filter length, neurons and loss."""

    x: np.ndarray
    y: np.ndarray
    filters: int = 2
    length: int = 2
    width: int = 5
    loss: HingePower | Logistic = LOGISTIC

    @cached_property
    def objective(self) -> Objective:
        model = Convolution(self.width, self.filters + 1, self.length, SLOPE)
        regularizer = ConvolutionRegularizer(LAMBDA_C)
        data = Data(self.x, self.y)
        return build_objective(data, model, NoAugmentation(), self.loss, regularizer)

    @cached_property
    def plain(self) -> StackPath:
        plain = StackPath.of(self.objective)
        assert plain is not None
        return plain

    def judged(self, count: int, seed: int) -> tuple[Judgement, np.ndarray]:
        """Random starts, judged, and their λ."""
        rng, objective = np.random.default_rng(seed), self.objective
        params = 0.7 * rng.normal(size=(count, objective.n_params))
        lam = 0.03 * rng.random((count, objective.n_lambda))
        stop = np.full(count, Stop.STEPS.value, dtype=object)
        return StandardJudge().judge(objective, Ended(params, stop), lam), lam

    def value(self, theta: np.ndarray, lam: np.ndarray) -> np.ndarray:
        """F of members (S, P) with one λ (m,), in extended precision."""
        s, m, first = self.length, self.width, self.filters * self.length
        theta, lam, h = (np.asarray(part, dtype=np.longdouble) for part in (theta, lam, self.x))
        v = theta[:, :first].reshape(len(theta), self.filters, s)
        h = np.broadcast_to(h, (len(theta), *h.shape))
        for k in range(self.filters):
            padded = np.pad(h, ((0, 0), (0, 0), (s - 1, s - 1)))
            z = sum(
                v[:, k, a, None, None] * padded[:, :, a : a + h.shape[2] + s - 1] for a in range(s)
            )
            h = np.where(z > 0, z, np.longdouble(SLOPE) * z)
        W, b, a = np.split(theta[:, first:], [m * h.shape[2], m * h.shape[2] + m], axis=1)
        rows = W.reshape(len(theta), m, -1)
        t = np.maximum(np.einsum("knh,kmh->knm", h, rows) + b[:, None], 0)
        u = -self.y * np.einsum("knm,km->kn", t**2, a)
        hinge = isinstance(self.loss, HingePower)
        losses = (
            np.maximum(u + 1, 0) ** 3 if hinge else np.logaddexp(0, u) / np.log(np.longdouble(2))
        )
        cubes = np.abs(a) ** 3 + 2 * ((rows**2).sum(2) + b**2) ** 1.5
        pull = np.longdouble(LAMBDA_C) / 4 * (((v**2).sum(2) - 1) ** 2).sum(1)
        return np.asarray(losses.sum(1) + (lam * cubes).sum(1) / 3 + pull)


def some(seed: int, N: int = 6, D: int = 3, **settings: int) -> Stack:
    rng = np.random.default_rng(seed)
    return Stack(rng.normal(size=(N, D)), np.where(np.arange(N) % 2 == 0, 1.0, -1.0), **settings)


STACKS = {
    "corners": Stack(CORNERS, -CORNERS.prod(axis=1)),
    "turned": Stack(CORNERS @ TURN.T, -CORNERS.prod(axis=1), loss=HingePower(3)),
    "three layers": Stack(CORNERS, -CORNERS.prod(axis=1), filters=3),
    "filters of three": some(1, N=4, D=2, length=3, width=4),
    "random": some(2),
    "zeros": Stack((CORNERS + 1) / 2, -CORNERS.prod(axis=1)),
    "duplicates": Stack(
        np.array([[1.0, 0.5], [1.0, 0.5], [0.0, 0.0], [-1.0, 2.0], [-2.0, 4.0]]),
        np.array([1.0, -1.0, 1.0, -1.0, -1.0]),
    ),
}


NARROW = Stack(CORNERS @ TURN.T, -CORNERS.prod(axis=1), width=3)


@pytest.fixture(scope="module")
def judged() -> dict[str, tuple[Judgement, np.ndarray]]:
    return {name: stack.judged(8, len(name)) for name, stack in STACKS.items()}


def moves(rng: np.random.Generator, theta: np.ndarray, plain: StackPath, count: int) -> np.ndarray:
    """Moves (count, P) of many sizes: all numbers, single filters, along the face, across, live."""
    first, s = plain.n_filters, plain.length
    found = rng.normal(size=(count, len(theta)))
    placed = plain.placed(theta[:first])
    assert placed is not None
    B = placed[0].B
    for kind, part in enumerate(np.array_split(found, 6)):
        part[:, first:] *= kind in (0, 1)
        if kind == 1:
            part *= theta != 0
        if kind == 2:
            part[:, s:] = 0.0
        if kind == 3:
            part[:, : first - s] = 0.0
        if kind == 4:
            part[:, :first] = part[:, :first] @ B @ B.T
        if kind == 5 and B.shape[1] < first:
            part[:, :first] -= part[:, :first] @ B @ B.T
    sizes = 10.0 ** rng.uniform(-8, -3, size=count) * np.linalg.norm(theta)
    return found * (sizes / np.maximum(np.linalg.norm(found, axis=1), 1e-300))[:, None]


@pytest.mark.parametrize("name", STACKS)
def test_nothing_near_a_certified_point_is_lower(name, judged):
    stack, (found, lam) = STACKS[name], judged[name]
    certified = np.flatnonzero(found.verdict == Verdict.LOCAL_MINIMUM.value)
    assert len(certified) >= (2 if name == "duplicates" else 5)
    rng = np.random.default_rng(0)
    for k in certified:
        theta = found.params[k]
        here = stack.value(theta[None], lam[k])[0]
        assert float(here) == pytest.approx(found.evidence[k]["objective"], rel=1e-13)
        around = stack.value(theta + moves(rng, theta, stack.plain, 600), lam[k])
        assert (around >= here - ROUNDING).all()


def test_kinks_of_every_layer_are_held(judged):
    """Minima sit on those of the first layer, and on those that turn with the filter below."""
    assert all(set(found.certificate) <= CERTIFIED | {"none"} for found, _ in judged.values())
    layers = Counter()
    for name, stack in STACKS.items():
        found, _ = judged[name]
        for k in np.flatnonzero(found.certificate == Certificate.KINK.value):
            placed = stack.plain.placed(found.params[k][: stack.plain.n_filters])
            assert placed is not None
            first = int((placed[0].slopes[0] == 0).any())
            layers[first, bool((placed[0].slopes[-1] == 0).any())] += 1
    assert layers[1, False] and layers[0, True]


def test_no_inactive_neuron_is_better_switched_on(judged):
    stack, (found, lam) = STACKS["random"], judged["random"]
    rng, checked = np.random.default_rng(1), 0
    for k in np.flatnonzero(found.verdict == Verdict.LOCAL_MINIMUM.value):
        v, Z, s = stack.plain.split(found.params[k])
        idle = np.flatnonzero(~Z.any(axis=1))
        here = stack.value(found.params[k][None], lam[k])[0]
        for j in idle[:1]:
            checked += 1
            tried = []
            for size in np.geomspace(1e-5, 1e-2, 200):
                other, sign = Z.copy(), s.copy()
                way = rng.normal(size=Z.shape[1])
                other[j], sign[j] = size**1.5 * way / np.linalg.norm(way), rng.choice([-1.0, 1.0])
                tried.append(stack.plain.balanced(v, other, sign))
            assert (stack.value(np.array(tried), lam[k]) >= here - ROUNDING).all()
            # Of a strength that is too small nothing is proved.
            lower = lam[k].copy()
            lower[j] = 1e-9
            assert prove_stack(stack.plain, found.params[k], lower) is None
    assert checked >= 3


def at_rest(stack: Stack, seed: int, held: int):
    """A point at rest on a face of random places, however F goes off it: (place, θ, λ), or None."""
    rng, plain = np.random.default_rng(seed), stack.plain
    m = plain.last.m
    lam = 0.005 + 0.02 * rng.random(m)
    Z, s = rng.normal(size=(m, plain.last.D + 1)), np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
    v = rng.normal(size=plain.n_filters)
    mask = np.zeros(sum(z.size for z in plain.layers(v)), dtype=bool)
    mask[rng.integers(len(mask), size=held)] = True
    place = place_at(plain, Z, s, v, lam, 1e-9, mask & ~plain.blank)
    for _ in range(200):
        if place is None or not len(place.active) or not place.face.kinks:
            return None
        local = place.local(plain, lam)
        following = newton(plain, place, local, local.gradient(), lam)
        if following is None:
            # Neurons at zero shall not decide.
            lam[~place.Z.any(axis=1)] = 10.0
            return place, plain.balanced(place.v, place.Z, place.s), lam
        place = following
    return None


@pytest.mark.parametrize(("stack", "held"), [(NARROW, 1), (STACKS["filters of three"], 2)])
def test_the_slope_off_a_face_decides(stack, held):
    """At rest on a face: proved where F rises in all directions off it, refused where it falls."""
    outcomes = Counter()
    for seed in range(30):
        with np.errstate(all="ignore"):
            found = at_rest(stack, seed, held)
            if found is None:
                continue
            place, theta, lam = found
            proof = prove_stack(stack.plain, theta, lam)
        Q = basis_of(place.local(stack.plain, lam).at)[1]
        ways = np.random.default_rng(seed).normal(size=(600, Q.shape[1]))
        ways = np.concatenate([np.eye(Q.shape[1]), -np.eye(Q.shape[1]), ways])
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        off = np.zeros((len(ways), len(theta)), dtype=np.longdouble)
        off[:, : len(Q)] = 1e-9 * ways @ Q.T
        slopes = (stack.value(theta + off, lam) - stack.value(theta[None], lam)) / 1e-9
        least = float(slopes.min())
        if abs(least) < 1e-6:
            continue
        outcomes[proof is not None, least > 0] += 1
        assert proof is None or 0 < proof.across <= least * (1 + 1e-5)
    assert outcomes[False, False] >= 3 and outcomes[True, True] >= 1
    assert not outcomes[True, False]


def test_points_beside_a_minimum_prove_nothing(judged):
    stack, (found, lam) = STACKS["turned"], judged["turned"]
    rng = np.random.default_rng(2)
    for k in np.flatnonzero(found.verdict == Verdict.LOCAL_MINIMUM.value):
        theta, own = found.params[k], lam[k]
        assert prove_stack(stack.plain, theta, own) is not None
        for size in (1e-3, 1e-5, 1e-7, 1e-9):
            moved = theta + size * rng.normal(size=len(theta)) * (theta != 0)
            with np.errstate(all="ignore"):
                proof = prove_stack(stack.plain, moved, own)
            # What is still proved is that a minimum lies within the radius, and so it does.
            assert proof is None or proof.radius >= np.linalg.norm(moved - theta) - 1e-9
            if found.certificate[k] == Certificate.KINK.value and size > 1e-9:
                assert proof is None or not proof.held


def test_one_filter_is_told_the_same_by_both_proofs():
    """The face of one filter is flat: what holds for several convolutions, holds for it."""
    objective = build_objective(
        Data(CORNERS @ TURN.T, -CORNERS.prod(axis=1)),
        Convolution(6, 2, 2, SLOPE),
        NoAugmentation(),
        Logistic(),
        ConvolutionRegularizer(LAMBDA_C),
    )
    one = Filtered.of(objective)
    assert one is not None
    x, y = objective.x.numpy(), objective.y.numpy()
    several = StackPath(x, y, 1, 2, SLOPE, LAMBDA_C, one.loss, one.last)
    rng = np.random.default_rng(4)
    params, lam = 0.7 * rng.normal(size=(12, objective.n_params)), 0.01 * rng.random((12, 6))
    stop = np.full(12, Stop.STEPS.value, dtype=object)
    found = StandardJudge().judge(objective, Ended(params, stop), lam)
    certificates = Counter()
    for theta, own in zip(found.params, lam, strict=True):
        with np.errstate(all="ignore"):  # as in the judge: balls too wide overflow
            first, second = prove(one, theta, own), prove_stack(several, theta, own)
        assert first is not None and second is not None
        assert first.certificate == second.certificate and first.held == second.held
        certificates[first.certificate] += 1
        if first.held:
            assert second.across == pytest.approx(first.across, rel=1e-6)
    assert certificates[Certificate.KINK] and certificates[Certificate.INACTIVE]


@pytest.mark.parametrize("name", ["three layers", "filters of three"])
def test_balls_hold_what_they_stand_for(name):
    """Derivatives are those of autograd, and no point of a ball is outside of what is computed."""
    stack = STACKS[name]
    plain, rng = stack.plain, np.random.default_rng(3)
    v, Z = rng.normal(size=plain.n_filters), rng.normal(size=(3, plain.last.D + 1))
    s, lam = np.array([1.0, -1.0, 1.0]), rng.random(3)
    placed = plain.placed(v)
    assert placed is not None and placed[0].kinks == 0
    face = placed[0]

    def value(flat: torch.Tensor) -> torch.Tensor:
        own, filters = flat[: Z.size].reshape(Z.shape), flat[Z.size :].reshape(-1, plain.length)
        h = torch.as_tensor(plain.x)
        for one, slope in zip(filters, face.slopes, strict=True):
            sides = h.new_zeros(len(h), plain.length - 1)
            wide = torch.cat([sides, h, sides], dim=1)
            size = h.shape[1] + plain.length - 1
            h = sum(one[a] * wide[:, a : a + size] for a in range(plain.length))
            h = h * torch.as_tensor(slope)
        t = torch.clamp(h @ own[:, :-1].T + own[:, -1], min=0.0)
        u = -torch.as_tensor(plain.y) * (t**2 @ torch.as_tensor(s))
        losses = torch.nn.functional.softplus(u) / np.log(2)
        pull = plain.strength / 4 * ((filters**2).sum(1) - 1).square().sum()
        return losses.sum() + (torch.as_tensor(lam) * (own**2).sum(1)).sum() + pull

    point = np.concatenate([Z.ravel(), v])
    assert float(value(torch.as_tensor(point))) == pytest.approx(plain.energy(Z, s, v, lam))
    width = 1e-6
    local = StackLocal.at(
        plain,
        face,
        Ball(Z, np.full_like(Z, width)),
        s,
        lam,
        Ball(v, np.full_like(v, width)),
    )
    on = local.t.mid > 0
    assert (np.abs(local.t.mid) > local.t.known).all()
    slope, second = local.gradient(), local.hessian(on)
    for k in range(20):
        moved = torch.as_tensor(point + width * (k > 0) * rng.uniform(-1, 1, size=len(point)))
        exact = torch.func.grad(value)(moved).numpy()
        assert (np.abs(exact - slope.mid) <= slope.known + 1e-12).all()
        exact = torch.func.jacrev(torch.func.grad(value))(moved).numpy()
        assert (np.abs(exact - second.mid) <= second.known + 1e-11).all()


def test_cones_find_the_least_slope_of_all_directions():
    """Against many directions, each followed by itself through the layers."""
    stack = STACKS["filters of three"]
    plain, checked = stack.plain, 0
    for seed in range(12):
        with np.errstate(all="ignore"):
            found = at_rest(stack, seed, 2)
        if found is None:
            continue
        place, theta, lam = found
        at = place.local(plain, lam).at
        Q = basis_of(at)[1]
        seen = across(at, Q)
        assert seen is not None
        ways = np.random.default_rng(seed).normal(size=(4000, Q.shape[1]))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        off = np.zeros((len(ways), len(theta)), dtype=np.longdouble)
        off[:, : len(Q)] = 1e-9 * ways @ Q.T
        slopes = (stack.value(theta + off, lam) - stack.value(theta[None], lam)) / 1e-9
        scale = np.abs(slopes).max()
        assert seen.slopes.min() <= float(slopes.min()) + 1e-5 * scale
        checked += 1
    assert checked >= 4


def test_filters_of_zero_and_neurons_of_zero_prove_nothing():
    stack = STACKS["corners"]
    plain = stack.plain
    theta = np.zeros(stack.objective.n_params)
    lam = np.full(plain.last.m, 10.0)
    assert prove_stack(plain, theta, lam) is None
    theta[:4] = [0.6, 0.8, 1.0, 0.0]
    assert prove_stack(plain, theta, lam) is None
