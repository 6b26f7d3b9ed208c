"""One convolution below ReQU neurons where data are odd: whatever is certified there is a minimum.

By a formula of F of its own, in extended precision: duplicates, zeros, labels in conflict, a single
point, filters of one number, several kinks at once.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.coercive.kernels import loss_rows
from sweep.judge.convolution.plain import Filtered
from sweep.judge.convolution.polish import newton, place_at
from sweep.judge.convolution.proof import prove
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.problems.base import Data
from sweep.verdicts import Certificate, Stop, Verdict

SLOPE, LAMBDA_C = 0.3, 0.7
SEEDS = 24
DUPLICATES = np.array([[1.0, 0.5], [1.0, 0.5], [0.0, 0.0], [-1.0, 2.0], [-1.0, 2.0]])
PLUS_MINUS = np.array([[1.0, -0.4], [-1.0, 0.4], [0.3, 0.9], [-0.3, -0.9]])
CROSSED = np.array([[1.0, 0.2], [-1.0, -0.2], [0.2, 1.0], [-0.2, -1.0]])
BITS = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True, eq=False)
class Odd:
    """A problem: data, labels, filter length, neurons and loss."""

    x: np.ndarray
    y: tuple[float, ...]
    length: int
    width: int
    loss: HingePower | Logistic

    @property
    def objective(self) -> Objective:
        data, model = Data(self.x, np.array(self.y)), Convolution(self.width, 2, self.length, SLOPE)
        regularizer = ConvolutionRegularizer(LAMBDA_C)
        return build_objective(data, model, NoAugmentation(), self.loss, regularizer)

    def value(self, theta: np.ndarray, lam: np.ndarray) -> np.ndarray:
        """F of members (S, P) with one λ (m,), in extended precision."""
        s, m = self.length, self.width
        theta, lam, x = (np.asarray(part, dtype=np.longdouble) for part in (theta, lam, self.x))
        H = x.shape[1] + s - 1
        v, W, b, a = np.split(theta, [s, s + m * H, s + m * H + m], axis=1)
        # np.convolve turns the filter round, the convolution of [B] does not.
        z = np.array([[np.convolve(own[::-1], point) for point in x] for own in v])
        h = np.where(z > 0, z, np.longdouble(SLOPE) * z)
        rows = W.reshape(len(theta), m, H)
        t = np.maximum(np.einsum("knh,kmh->knm", h, rows) + b[:, None], 0)
        u = -np.array(self.y) * np.einsum("knm,km->kn", t**2, a)
        hinge = isinstance(self.loss, HingePower)
        two = np.log(np.longdouble(2))
        losses = np.maximum(u + 1, 0) ** 3 if hinge else np.logaddexp(0, u) / two
        cubes = np.abs(a) ** 3 + 2 * ((rows**2).sum(2) + b**2) ** 1.5
        pull = np.longdouble(LAMBDA_C) / 4 * ((v**2).sum(1) - 1) ** 2
        return np.asarray(losses.sum(1) + (lam * cubes).sum(1) / 3 + pull)

    def judged(self, count: int, seed: int) -> tuple[Judgement, np.ndarray]:
        """Random starts, judged, and their λ."""
        rng, objective = np.random.default_rng(seed), self.objective
        params = rng.normal(size=(count, objective.n_params))
        lam = 0.02 * (0.5 + rng.random((count, objective.n_lambda)))
        stop = np.full(count, Stop.STEPS.value, dtype=object)
        return StandardJudge().judge(objective, Ended(params, stop), lam), lam


ODD = {
    "in conflict": Odd(DUPLICATES, (1, -1, 1, -1, -1), 2, 3, Logistic()),
    "duplicates, filters of three": Odd(DUPLICATES, (1, 1, -1, -1, -1), 3, 3, HingePower(3)),
    "one point": Odd(DUPLICATES[:1], (1,), 2, 2, Logistic()),
    "filters of one number": Odd(PLUS_MINUS, (1, 1, -1, -1), 1, 4, Logistic()),
    "one input": Odd(PLUS_MINUS[:, :1], (1, 1, -1, -1), 2, 4, HingePower(3)),
    "opposites, filters of three": Odd(PLUS_MINUS, (1, 1, -1, -1), 3, 3, Logistic()),
    "bits": Odd(BITS, (1, -1, 1, -1), 2, 4, HingePower(3)),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_certified_on_odd_data_is_a_minimum(name):
    odd = ODD[name]
    found, lam = odd.judged(12, len(name))
    certified = np.flatnonzero(found.verdict == Verdict.LOCAL_MINIMUM.value)
    assert len(certified) >= 4
    rng = np.random.default_rng(0)
    for k in certified:
        theta, s = found.params[k], odd.length
        moves = rng.normal(size=(240, len(theta)))
        moves[::3, s:] = 0.0
        moves[1::3] *= theta != 0
        sizes = np.geomspace(1e-6, 1e-4, 240) / np.linalg.norm(moves, axis=1)
        around = odd.value(theta + moves * sizes[:, None], lam[k])
        here = odd.value(theta[None], lam[k])[0]
        assert (around >= here - 1e-16).all()
        assert float(here) == pytest.approx(found.evidence[k]["objective"], rel=1e-13)
        # Scaling the filter keeps its face, kinks or not. With w at rest as well,
        # λ_c(‖v‖² − 1)‖v‖² = 2 Σⱼ λⱼ|aⱼ|‖wⱼ‖². [B] App. H counts b too, which does not scale.
        size, m = float(theta[:s] @ theta[:s]), odd.width
        rows = theta[s : -2 * m].reshape(m, -1)
        pulled = 2 * float((lam[k] * np.abs(theta[-m:])) @ (rows**2).sum(1))
        assert LAMBDA_C * (size - 1) * size == pytest.approx(pulled, rel=1e-9, abs=1e-12)


def at_rest_on_two_kinks(plain: Filtered, seed: int):
    """A point at rest on the line of two kinks, however F goes off it: (θ, λ), or None."""
    rng = np.random.default_rng(seed)
    m, rows = plain.last.m, plain.C[[0, 2], [1, 2]]
    lam = 0.005 + 0.01 * rng.random(m)
    Z, s = rng.normal(size=(m, plain.last.D + 1)), np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
    place = place_at(plain, Z, s, rng.choice([-1.0, 1.0]) * np.cross(*rows), lam, 1e-9)
    for _ in range(300):
        if place is None or place.face.Q.shape[1] != 2 or not len(place.active):
            return None
        local = place.local(plain, lam)
        following = newton(plain, place, local, local.gradient(), lam)
        if following is None:
            lam[~(place.Z != 0).any(axis=1)] = 10.0
            return plain.balanced(place.v, place.Z, place.s), lam
        place = following
    return None


def test_between_two_kinks_the_proven_slope_is_the_least_of_all_directions():
    odd = Odd(CROSSED, (1, 1, -1, -1), 3, 3, Logistic())
    plain = Filtered.of(odd.objective)
    assert plain is not None
    turns = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    proven, refused = 0, 0
    for seed in range(SEEDS):
        found = at_rest_on_two_kinks(plain, seed)
        if found is None:
            continue
        theta, lam = found
        face = plain.face(theta[:3])
        assert face is not None
        off = np.zeros((len(turns), len(theta)), dtype=np.longdouble)
        off[:, :3] = 1e-8 * np.stack([np.cos(turns), np.sin(turns)], axis=1) @ face.Q.T
        least = ((odd.value(theta + off, lam) - odd.value(theta[None], lam)) / 1e-8).min()
        proof = prove(plain, theta, lam)
        if least < 0:
            refused += 1
            assert proof is None
        elif proof is not None:
            proven += 1
            # Rays lie between the directions that are looked at.
            assert 0 < proof.across <= least * (1 + 1e-6)
            assert proof.across > 0.9 * least
    assert proven >= 2 and refused >= 2


def test_a_neuron_at_zero_is_weighed_against_the_sphere():
    """Just below the maximum nothing is proved: a neuron along it lowers F."""
    odd = ODD["bits"]
    plain = Filtered.of(odd.objective)
    assert plain is not None
    found, lam = odd.judged(4, 1)
    checked = 0
    for theta, own, certificate in zip(found.params, lam, found.certificate, strict=True):
        v, Z, s = plain.split(theta)
        idle = np.flatnonzero(~Z.any(axis=1))
        if certificate not in {Certificate.KINK.value, Certificate.INACTIVE.value} or not len(idle):
            continue
        checked += 1
        task, j = plain.seen(v), idle[0]
        q = loss_rows(s @ np.maximum(Z @ task.X.T, 0) ** 2, task)[1]
        turns = np.random.default_rng(2).normal(size=(200_000, Z.shape[1]))
        turns /= np.linalg.norm(turns, axis=1, keepdims=True)
        heights = np.maximum(turns @ task.X.T, 0) ** 2 @ q
        best = np.abs(heights).argmax()
        own[idle] = 1.0
        assert prove(plain, theta, own) is not None
        own[j] = 0.999 * abs(heights[best])
        assert prove(plain, theta, own) is None
        Z[j], s[j] = 1e-3 * turns[best], -np.sign(heights[best])
        lower = odd.value(plain.balanced(v, Z, s)[None], own)
        assert lower[0] < odd.value(theta[None], own)[0]
    assert checked >= 3


def test_a_kink_of_thousands_of_points_needs_no_square_of_them():
    """A filter (1, 0) meets the kink of every point's first place at once."""
    x = np.random.default_rng(0).normal(size=(4000, 1))
    plain = Filtered.of(Odd(x, tuple(np.sign(x[:, 0])), 2, 2, Logistic()).objective)
    assert plain is not None
    tracemalloc.start()
    face = plain.face(np.array([1.0, 0.0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert face is not None and face.held.sum() == 4000 and face.B.shape == (2, 1)
    assert peak < 20_000_000
