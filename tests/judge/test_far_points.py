"""Members far out, at denormal sizes, with dead or doubled units: no raise, no harm to others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

from sweep.judge import Judgement, StandardJudge, standard
from sweep.judge.numerics import spectra
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

SIZES = (5e-324, 1e-320, 1e-200, 1e-30, 1e8, 1e20, 1e50, 1e77, 1e100, 1e150, 1e154, 1e300)
ACTIVATIONS = ("relu", "leaky_relu", "identity", "tanh", "sigmoid", "softplus")
LOSSES = (HingePower(3), Logistic(), Squared())
ARMS: dict[str, tuple[Any, Any, float]] = {
    "none": (NoAugmentation(), NoRegularizer(), 0.0),
    "weight decay": (NoAugmentation(), NoRegularizer(), 1e-2),
    "extra neuron": (ExtraNeuron(1), NoRegularizer(), 0.0),
    "exp": (ExpSkip(), Augment(), 0.0),
    "exp unregularized": (ExpSkip(), NoRegularizer(), 0.0),
}
ORDINARY = 3


@dataclass
class Ended:
    params: np.ndarray
    stop: np.ndarray


def make(activation: str, arm: str, loss: Any, widths: tuple[int, ...] = (2,)) -> DataObjective:
    rng = stream("test", "far points")
    x = rng.normal(size=(6, 2))
    added, regularizer, decay = ARMS[arm]
    data = Data(x, np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0]))
    found = build_objective(data, Mlp(widths, Choice(activation)), added, loss, regularizer, decay)
    assert isinstance(found, DataObjective)
    return found


def far_points(P: int) -> np.ndarray:
    """Ordinary members first, then the strange ones; (S, P)."""
    rng = stream("test", "far points", P)
    ordinary = rng.normal(size=(ORDINARY, P))
    whole = [size * rng.normal(size=P) for size in SIZES]
    mixed = [rng.normal(size=P) * size ** rng.uniform(0, 1, size=P) for size in SIZES]
    single = [rng.normal(size=P) for _ in range(P)]
    for k, point in enumerate(single):
        point[k] *= SIZES[-1 - k % 8]
    doubled, dead = rng.normal(size=(2, P))
    doubled[:4] = np.tile(doubled[:2], 2)
    doubled[4:6], doubled[6:8] = doubled[4], doubled[6]
    dead[[0, 1, 4, 6]] = 0.0
    return np.vstack([ordinary, whole, mixed, single, doubled, dead, np.zeros(P), np.ones(P)])


def judge(f: DataObjective, params: np.ndarray) -> Judgement:
    lam = np.full((len(params), 1), 0.1) if f.n_lambda else None
    return StandardJudge().judge(f, Ended(params, np.full(len(params), Stop.STEPS)), lam)


def assert_sound(f: DataObjective, points: np.ndarray, found: Judgement) -> None:
    """No routine gave up, no number behind a verdict is missing, and no point went uphill."""
    lam = np.full((len(points), 1), 0.1) if f.n_lambda else None
    before, after = (f.measure(p, lam).objective for p in (points, found.params))
    for k, verdict in enumerate(found.verdict):
        assert "fault" not in found.evidence[k]
        json.dumps(found.evidence[k], allow_nan=False)
        if verdict == "failed":
            assert not np.isfinite(before[k])
            continue
        assert after[k] <= before[k] * (1 + 1e-9), (k, verdict)
        if verdict == "escaping":
            assert found.limit_objective[k] <= before[k] * (1 + 1e-9), k
        if verdict == "local_minimum":
            assert np.isfinite([after[k], found.certificate_radius[k]]).all(), k


def assert_same(some: Judgement, alone: Judgement) -> None:
    """The members of `alone` are the first ones of `some`, bit for bit."""
    count = len(alone.params)
    assert (some.verdict[:count] == alone.verdict).all()
    assert (some.certificate[:count] == alone.certificate).all()
    assert some.evidence[:count] == alone.evidence
    for name in ("params", "certificate_radius", "certificate_margin", "min_eig", "flat_dim"):
        assert getattr(some, name)[:count].tobytes() == getattr(alone, name).tobytes()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_far_points_harm_nobody(activation: str, loss: Any) -> None:
    for arm in ARMS:
        f = make(activation, arm, loss)
        points = far_points(f.n_params)
        found = judge(f, points)
        assert_sound(f, points, found)
        assert_same(found, judge(f, points[:ORDINARY]))


@pytest.mark.parametrize(
    ("activation", "arm", "loss"),
    [
        ("leaky_relu", "exp unregularized", Logistic()),
        ("relu", "extra neuron", Squared()),
        pytest.param("tanh", "exp", HingePower(3), marks=pytest.mark.slow),
        pytest.param("softplus", "weight decay", Squared(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_far_points_of_deep_networks_harm_nobody(activation: str, arm: str, loss: Any) -> None:
    f = make(activation, arm, loss, (2, 1))
    points = far_points(f.n_params)
    found = judge(f, points)
    assert_sound(f, points, found)
    assert_same(found, judge(f, points[:ORDINARY]))


def test_a_routine_that_gives_up_leaves_one_member_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(found: Judgement, objective: Any, lam: Any) -> None:
        if (found.params[:, 0] == 7.0).any():
            raise np.linalg.LinAlgError("did not converge")

    f = make("relu", "none", LOSSES[0])
    points = far_points(f.n_params)[:ORDINARY]
    alone = judge(f, points)
    monkeypatch.setattr("sweep.judge.standard.POLISHES", (gives_up, *standard.POLISHES))
    faulty = np.vstack([points, points[:1]])
    faulty[-1, 0] = 7.0
    found = judge(f, faulty)
    assert_same(found, alone)
    assert found.verdict[-1] == "unresolved" and "LinAlgError" in found.evidence[-1]["fault"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_spectra_of_what_is_not_finite_are_nan(bad: float) -> None:
    A = np.eye(3)
    A[1, 2] = A[2, 1] = bad
    for values, basis in (spectra.eigen(A), spectra.eigen_kernel(A)):
        assert np.isnan(values).all() and np.isnan(basis).all() and basis.shape == (3, 3)
    assert np.isnan(spectra.least_eigenvalue(A))
    assert np.isnan(spectra.singular_values(A[:2])).all()
    assert np.isnan(spectra.least_squares(A[:, :2], np.ones(3))).all()


def test_lapack_may_fail_to_converge() -> None:
    A = np.zeros((4, 4))
    A[np.triu_indices(4)] = [
        -4e-53,
        -4e10,
        4e295,
        -4e205,
        1e9,
        -6e79,
        1e55,
        -1e-248,
        -1e-151,
        7e-75,
    ]
    A = A + np.triu(A, 1).T
    for values, basis in (spectra.eigen(A), spectra.eigen_kernel(A)):
        assert values.shape == (4,) and basis.shape == (4, 4)
        assert np.isnan(values).all() == np.isnan(basis).all()


def test_spectra_are_numpys() -> None:
    for n, k in product((1, 4), range(3)):
        A = stream("test", "spectra", n, k).normal(size=(n, n))
        A = A + A.T
        values, basis = spectra.eigen_kernel(A)
        assert np.allclose((basis * values) @ basis.T, A, atol=1e-12)
        assert np.array_equal(spectra.eigen(A)[0], np.linalg.eigh(A)[0])
        assert spectra.least_eigenvalue(A) == pytest.approx(values[0], abs=1e-12)
