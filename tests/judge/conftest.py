"""Networks of several convolutions below ReQU neurons, and points of them; F of several outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.convolution.polish import newton, place_at
from sweep.judge.convolution.stack_polish import StackPath
from sweep.judge.outputs.task import OutputsTask
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.objective import Objective, build_objective
from sweep.problems.base import Data
from sweep.verdicts import Stop

CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
TURN = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
SLOPE, LAMBDA_C, LOGISTIC = 0.1, 0.7, Logistic()


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


def longer(task: OutputsTask, theta: np.ndarray) -> np.ndarray:
    """F of one hidden layer and several outputs at θ (K, P), in long double."""
    wide = theta.astype(np.longdouble)
    X, y, C, H = task.X.astype(np.longdouble), task.y, task.y.shape[1], task.width
    A, c, W = np.split(wide, [C * H, C * H + C], axis=1)
    z = np.einsum("kjn,in->kij", W.reshape(len(wide), H, -1), X)
    h = task.activation.formula.value(z, *task.activation.settings)
    f = np.einsum("kij,kcj->kic", h, A.reshape(len(wide), C, H)) + c[:, None]
    if isinstance(task.loss, Squared):
        return ((f - y) ** 2).sum(axis=(1, 2))
    top = f.max(axis=2, keepdims=True)
    total = np.log(np.exp(f - top).sum(axis=2)) + top[:, :, 0]
    return (total - (f * y).sum(axis=2)).sum(axis=1)
