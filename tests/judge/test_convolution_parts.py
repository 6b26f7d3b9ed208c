"""The parts of the proof for several convolutions: balls, cones, the limit of one filter."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from sweep.judge import StandardJudge
from sweep.judge.convolution.plain import Filtered
from sweep.judge.convolution.proof import prove
from sweep.judge.convolution.stack_bounds import basis_of
from sweep.judge.convolution.stack_cones import across
from sweep.judge.convolution.stack_exact import vanish_together
from sweep.judge.convolution.stack_local import StackLocal
from sweep.judge.convolution.stack_polish import StackPath
from sweep.judge.convolution.stack_proof import prove_stack
from sweep.judge.numerics.balls import Ball, contract
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import Logistic
from sweep.models.objective import build_objective
from sweep.problems.base import Data
from sweep.verdicts import Certificate, Stop

from .conftest import CORNERS, LAMBDA_C, SLOPE, STACKS, TURN, Ended, Stack, at_rest


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


def test_the_arithmetic_of_balls_holds_the_exact_results():
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=(3, 4)) * 10.0 ** rng.integers(-8, 8, size=(3, 4)) for _ in range(2))
    exact = [[[Fraction(x) for x in row] for row in array.tolist()] for array in (a, b)]
    one, other = Ball.exact(a), Ball.exact(b)
    for found, expected in (
        (one + other, lambda x, y: x + y),
        (one * other, lambda x, y: x * y),
        (one * other - other, lambda x, y: x * y - y),
        ((one - other) * (one + other) * 0.1, lambda x, y: (x * x - y * y) * Fraction(0.1)),
    ):
        for i, j in np.ndindex(3, 4):
            off = abs(Fraction(found.mid[i, j]) - expected(exact[0][i][j], exact[1][i][j]))
            assert off <= Fraction(found.known[i, j])
    product = contract("ij,kj->ik", one, other * other)
    for i, k in np.ndindex(3, 3):
        total = sum(x * y * y for x, y in zip(exact[0][i], exact[1][k], strict=True))
        assert abs(Fraction(product.mid[i, k]) - total) <= Fraction(product.known[i, k])
    wide = Ball(a, np.abs(b)).positive() * Ball(b, np.full_like(b, 0.3))
    for t in (-1.0, -0.4, 0.0, 0.9, 1.0):
        inside = np.maximum(a + t * np.abs(b), 0) * (b - 0.3 * t)
        assert (np.abs(inside - wide.mid) <= wide.known * (1 + 1e-12)).all()


@pytest.mark.parametrize("apart", [0.0, 2.0**-50])
def test_windows_that_differ_by_rounding_alone_are_not_believed(apart):
    """Points that are the same share their kinks on all of a face; points 1e-15 apart do not."""
    x = np.array([[1.0, 0.6], [1.0, 0.6 + apart], [-1.0, 0.3], [-0.5, -1.0]])
    plain = Stack(x, np.array([1.0, 1.0, -1.0, -1.0])).plain
    for v in ([0.6, -1.0, 0.3, 0.8], [0.7, 0.9, 0.0, 0.0]):
        filters = np.array(v)
        z = plain.layers(filters)[0]
        if not filters[2:].any():
            # A kink of the second layer: at right angles to a window of the first point.
            h = np.where(z > 0, z, SLOPE * z)
            filters[2:] = [-h[0, 2], h[0, 1]]
        placed = plain.placed(filters)
        assert placed is not None
        face, on_face = placed
        assert face.kinks >= 2
        Z, s = np.ones((1, plain.last.D + 1)), np.ones(1)
        at = plain.local(face, Z, s, np.ones(1), on_face).at
        basis, Q = basis_of(at)
        assert Q.shape[1] == 1
        alone = [len(place[0]) < 2 for place in basis]
        assert vanish_together(plain, face, basis, alone) == (apart == 0)


def test_networks_beyond_the_largest_are_left_to_the_generic_route():
    wide = Stack(np.ones((50, 60)), np.ones(50), filters=3, length=20)
    assert StackPath.of(wide.objective) is None


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
