"""What the judge says of two and three convolutions below ReQU neurons, kinks of any layer held."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.convolution.stack_bounds import basis_of
from sweep.judge.convolution.stack_polish import StackPath
from sweep.judge.convolution.stack_proof import prove_stack
from sweep.verdicts import Certificate, Verdict

from .conftest import NARROW, STACKS, Stack, at_rest

CERTIFIED = {Certificate.KINK.value, Certificate.INACTIVE.value, Certificate.STRICT.value}
# Off a face F leans by its slope times the rounding of the filters.
ROUNDING = 3e-16


@pytest.fixture(scope="module")
def judged() -> dict[str, tuple[Judgement, np.ndarray]]:
    return {name: stack.judged(7, len(name)) for name, stack in STACKS.items()}


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
    assert len(certified) >= (2 if name == "duplicates" else 4)
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


def test_filters_of_zero_and_neurons_of_zero_prove_nothing():
    stack = STACKS["corners"]
    plain = stack.plain
    theta = np.zeros(stack.objective.n_params)
    lam = np.full(plain.last.m, 10.0)
    assert prove_stack(plain, theta, lam) is None
    theta[:4] = [0.6, 0.8, 1.0, 0.0]
    assert prove_stack(plain, theta, lam) is None


def test_data_beyond_all_sizes_are_left_open():
    x = np.array([[1.0, 1.0], [1e160, -1e-170], [-1.0, 1e-300], [0.0, -1.0]])
    found, _ = Stack(x, np.array([1.0, -1.0, 1.0, -1.0])).judged(12, 1)
    assert {*found.verdict} <= {"unresolved", "failed"}
