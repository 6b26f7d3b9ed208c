"""The data of [B]: the simplex of Prop. 1 with its bad minimum, and a ball inside a shell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweep.cli.compose import compose
from sweep.errors import UserError
from sweep.lambdas import LAWS
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.objective import DataObjective, build_objective
from sweep.models.simplex_minimum import simplex_minimum
from sweep.problems.base import PROBLEMS, Data
from sweep.problems.shells import Shells
from sweep.problems.simplex import Simplex
from sweep.registry import Choice
from sweep.study.resolve import resolve


@pytest.mark.parametrize(("n", "radius"), [(2, None), (4, None), (8, 2.7), (32, None)])
def test_the_points_are_a_regular_simplex(n: int, radius: float | None) -> None:
    data = Simplex(n, 1, radius).load()
    size = math.sqrt(2 * (n - 1)) if radius is None else radius
    gram = data.x @ data.x.T
    expected = np.full((n, n), -(size**2) / (n - 1))
    np.fill_diagonal(expected, size**2)
    np.testing.assert_allclose(gram, expected, atol=1e-12 * size**2)
    assert np.abs(data.x.sum(axis=0)).max() < 1e-12 * size * n
    off = gram[~np.eye(n, dtype=bool)]
    assert off.max() < -1
    assert data.y.tolist() == [1.0] + [-1.0] * (n - 1)


@pytest.mark.parametrize("n", [4, 5, 9])
def test_the_papers_radius_2_serves_up_to_four_points(n: int) -> None:
    """‖Σxᵢ‖² = N·4 + N(N−1)·x·x′ ≥ 0, so x·x′ < −1 needs N < 5: a slip in [B] App. B."""
    if n <= 4:
        off = (Simplex(n, 1, 2.0).load().x @ Simplex(n, 1, 2.0).load().x.T)[0, 1]
        assert off < -1
    else:
        with pytest.raises(UserError, match="radius"):
            Simplex(n, 1, 2.0)


def objective(data: Data, m: int, loss: Loss) -> DataObjective:
    found = build_objective(data, RequModel(m), NoAugmentation(), loss, Coercive())
    assert isinstance(found, DataObjective)
    return found


CASES = [(2, 1), (4, 3), (8, 4), (16, 5), (32, 1), (32, 6), (32, 31)]


@pytest.mark.parametrize("loss", [Logistic(), HingePower()], ids=["logistic", "hinge"])
@pytest.mark.parametrize(("n", "m"), CASES)
def test_the_simplex_point_is_a_critical_point_with_the_claimed_error(
    n: int, m: int, loss: Loss
) -> None:
    """R ≥ 1 − m/N for λ in (0, ½)^m, and the gradient is zero to rounding."""
    data, rng = Simplex(n, m).load(), np.random.default_rng(n)
    f = objective(data, m, loss)
    lam = rng.uniform(0, 0.5, size=(3, m))
    theta = np.stack([simplex_minimum(data, loss, row) for row in lam])
    found = f.measure(theta, lam)
    assert found.error is not None
    assert np.all(found.error >= 1 - m / n)
    assert found.grad_norm.max() < 1e-12 * n
    # Nothing is served but its own point, with room on every side of the kinks.
    Z = np.hstack([data.x, np.ones((n, 1))])
    W, b = theta[0, : m * (n - 1)].reshape(m, n - 1), theta[0, m * (n - 1) : m * n]
    z = Z @ np.hstack([W, b[:, None]]).T
    own = np.eye(n, m, dtype=bool)
    assert z[own].min() > 0 and z[~own].max() < 0
    a = theta[0, m * n :]
    np.testing.assert_allclose(a, np.sqrt((W**2).sum(axis=1) + b**2), rtol=1e-13)  # eq. 9


@pytest.mark.parametrize("loss", [Logistic(), HingePower()], ids=["logistic", "hinge"])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (4, 3), (7, 4)])
def test_the_simplex_point_is_a_strict_minimum(n: int, m: int, loss: Loss) -> None:
    data, rng = Simplex(n, m).load(), np.random.default_rng(m)
    f, lam = objective(data, m, loss), rng.uniform(0.05, 0.5, size=m)
    theta = torch.as_tensor(simplex_minimum(data, loss, lam))
    strengths = torch.as_tensor(lam[:, None])

    def value(point: torch.Tensor) -> torch.Tensor:
        return f.value(point[:, None], strengths)[0]

    hessian = torch.autograd.functional.hessian(value, theta)
    least = float(torch.linalg.eigvalsh(hessian)[0])
    assert least > 1e-3
    # And so it looks from outside: F is larger at every point of a small sphere.
    around = rng.normal(size=(400, len(theta)))
    around *= 1e-3 / np.linalg.norm(around, axis=1, keepdims=True)
    here = np.repeat(lam[None], 400, axis=0)
    higher = f.measure(theta.numpy() + around, here).objective - value(theta).item()
    assert higher.min() > 0.4 * least * 1e-6


def test_the_simplex_minimum_refuses_what_it_does_not_serve() -> None:
    data = Simplex(4, 2).load()
    with pytest.raises(UserError, match="simplex"):
        simplex_minimum(Data(0.1 * data.x, data.y), Logistic(), np.full(2, 0.1))
    with pytest.raises(UserError, match="λ"):
        simplex_minimum(data, Logistic(), np.full(2, 100.0))


@pytest.mark.parametrize(
    "settings", [{"n": 1}, {"positive": 0}, {"n": 4, "positive": 4}, {"n": 9, "radius": 2.8}]
)
def test_no_simplex_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="problem"):
        PROBLEMS.build(Choice("simplex", settings))


@pytest.mark.parametrize(("n", "d", "gap"), [(40, 2, 0.5), (41, 5, 0.1), (6, 1, 2.0)])
def test_shells_are_separated_by_a_quadratic_of_the_raw_points(n: int, d: int, gap: float) -> None:
    problem = Shells(n, d, gap)
    raw = problem.raw()
    q = (raw.features**2).sum(axis=1) - (1 + gap / 2) ** 2
    assert np.all(raw.labels * q > 0)
    data = problem.load()
    assert sorted(set(data.y.tolist())) == [-1.0, 1.0]
    np.testing.assert_allclose(data.x.mean(axis=0), 0, atol=1e-12)
    # The quadratic in standardised features has the same signs: an affine map.
    back = data.x * raw.features.std(axis=0) + raw.features.mean(axis=0)
    assert np.all(data.y * ((back**2).sum(axis=1) - (1 + gap / 2) ** 2) > 0)


def test_above_the_threshold_zero_is_the_minimum_and_misclassifies_everything() -> None:
    """[B] Prop. 2 without λ₀ is false: its control arm draws λ above max |Σqᵢ(u·x̃ᵢ)²| at f = 0."""
    study, *_ = resolve(compose(["study=quadratic_prop_2"]))
    rng = np.random.default_rng(5)
    for cell in study.cells:
        (law,) = (arm.lam for arm in cell.arms if arm.name == "above")
        data = PROBLEMS.build(cell.problem).load()
        assert law is not None and isinstance(data, Data)
        X, m = np.hstack([data.x, np.ones((len(data.x), 1))]), cell.model.settings["width"]
        pull = (X.T * (data.y / (2 * math.log(2)))) @ X
        threshold = np.abs(np.linalg.eigvalsh(pull)).max()
        assert law.settings["low"] > threshold
        assert m >= 2 * data.x.shape[1] + 4
        f = build_objective(data, QuadraticModel(m), NoAugmentation(), Logistic(), Coercive())
        lam = LAWS.build(law).sample(0, 0, m)
        assert len(set(lam.tolist())) == m
        theta = rng.normal(size=(300, f.n_params)) * 10 ** rng.uniform(-3, 1, size=(300, 1))
        theta[0] = 0
        found = f.measure(theta, np.repeat(lam[None], 300, axis=0))
        assert found.error is not None and found.error[0] == 1.0
        assert np.all(found.objective[1:] > found.objective[0])
