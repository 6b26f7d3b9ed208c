"""`escaping` for several outputs: F along the claimed path by another formula, attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.escapes.scaling import settle_scaling
from sweep.judge.numerics.rounding import network_errors
from sweep.judge.readings import leads
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import CrossEntropy, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.models.vector import VectorObjective
from sweep.problems import PROBLEMS
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

HARD_TANH = np.longdouble([-1, 1])
OWN = {
    "relu": lambda z: np.where(z > 0, z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.logaddexp(0, z),
    "requ": lambda z: np.where(z > 0, z * z, 0),
    "square": lambda z: z * z,
    "piecewise_linear": lambda z: np.clip(z, *HARD_TANH),
    "leaky_relu": lambda z: np.where(z > 0, z, np.longdouble(0.01) * z),
}
NETWORKS = [(name, width) for name in OWN for width in (16, (7, 16))]


def some_data(classes: int = 3, n: int = 6) -> Data:
    rng = stream("test", "escapes", classes)
    return Data(rng.normal(size=(n, 2)), np.eye(classes)[np.arange(n) % classes])


def objective_of(
    activation: str, width: Any, data: Data | None = None, loss: Any = None, decay: float = 0.0
) -> VectorObjective:
    data = data or some_data()
    model = Mlp(width, Choice(activation), data.y.shape[1])
    idle = NoAugmentation(), loss or CrossEntropy(), NoRegularizer()
    found = build_objective(data, model, *idle, decay)
    assert isinstance(found, VectorObjective)
    return found


def outputs(objective: VectorObjective, params: np.ndarray) -> np.ndarray:
    """f (N, C) of one member in long double."""
    name = type(objective.network.activation).__name__
    sigma = {key.replace("_", ""): value for key, value in OWN.items()}[name.lower()]
    h, at = objective.x.numpy().astype(np.longdouble), 0
    sizes = (*objective.network.widths, objective.network.outputs)
    for layer, size in enumerate(sizes):
        end = at + size * h.shape[1]
        W, b = params[at:end].reshape(size, -1), params[end : end + size]
        z = (h[:, None, :] * W).sum(axis=2) + b
        h, at = z if layer == len(sizes) - 1 else sigma(z), end + size
    return h


def entropies(f: np.ndarray, y: np.ndarray) -> np.longdouble:
    """Σ ln(1 + Σ e^{−m}) in long double."""
    m = (f * y).sum(axis=1, keepdims=True) - f
    return np.log1p(np.where(y > 0, 0, np.exp(-m)).sum(axis=1)).sum()


def lead_of(f: np.ndarray, y: np.ndarray) -> np.longdouble:
    """How far the own classes are ahead, the least."""
    return np.where(y > 0, np.inf, (f * y).sum(axis=1, keepdims=True) - f).min()


def separating(objective: VectorObjective, count: int, size: float = 1.0) -> np.ndarray:
    """Random hidden layers below output layers that fit the classes."""
    rng, y = stream("test", "separating"), objective.scene.data.y
    found: list[np.ndarray] = []
    while len(found) < count:
        params = rng.normal(size=objective.n_params)
        last = (objective.network.widths[-1] + 1) * y.shape[1]
        point = torch.as_tensor(params)[:, None]
        h = objective.network.hidden(point, objective.x)[-1][:, :, 0].numpy().T
        fit = np.linalg.lstsq(np.column_stack([h, np.ones(len(h))]), y, rcond=None)[0]
        params[-last:] = size * np.concatenate([fit[:-1].T.ravel(), fit[-1]])
        if lead_of(outputs(objective, params.astype(np.longdouble)), y) > 1e-2 * size:
            found.append(params)
    return np.array(found)


def scaled(objective: VectorObjective, params: np.ndarray) -> Judgement:
    found = Judgement.unresolved(params)
    settle_scaling(found, objective, None)
    return found


def judged(objective: VectorObjective, params: np.ndarray) -> Judgement:
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return StandardJudge().judge(objective, Ended(params, stop), None)


@pytest.mark.parametrize(("activation", "width"), NETWORKS, ids=str)
def test_f_falls_to_zero_along_the_scaled_output_layer(activation: str, width: Any) -> None:
    objective = objective_of(activation, width)
    params, y = separating(objective, 4), objective.scene.data.y
    found = judged(objective, params)
    assert (found.certificate == "ray").all()
    # Recognised where training ended: nothing is polished.
    assert (found.params == params).all()
    assert not found.moved.any()
    assert not found.polish_steps.any()
    last = (objective.network.widths[-1] + 1) * 3
    for member, point in enumerate(params):
        assert found.verdict[member] == "escaping"
        limits = found.limit_objective, found.limit_error, found.limit_error_base
        assert [column[member] for column in limits] == [0.0, 0.0, 0.0]
        f = outputs(objective, point.astype(np.longdouble))
        lead = lead_of(f, y)
        assert 0 < found.certificate_margin[member] < lead
        assert found.certificate_margin[member] > lead - 1e-6
        before = entropies(f, y)
        assert before == pytest.approx(objective.measure(point[None]).objective[0], rel=1e-9)
        for t in 2.0 ** np.arange(1, 12):
            scaled_up = point.astype(np.longdouble)
            scaled_up[-last:] *= t
            here = entropies(outputs(objective, scaled_up), y)
            assert 0 < here < before
            before = here
        assert before < 1e-60


@pytest.mark.parametrize(("activation", "width"), NETWORKS, ids=str)
def test_outputs_err_by_no_more_than_their_bounds(activation: str, width: Any) -> None:
    objective = objective_of(activation, width)
    for size in (1e-3, 1.0, 30.0):
        params = size * stream("test", "errors").normal(size=(4, objective.n_params))
        theta = torch.as_tensor(np.ascontiguousarray(params.T))
        computed = objective.outputs(theta).numpy()
        bounds = network_errors(objective.network, theta, objective.x).numpy()
        assert computed.shape == bounds.shape
        for k, point in enumerate(params.astype(np.longdouble)):
            exact = outputs(objective, point).T
            error = np.abs(computed[:, :, k] - exact).astype(float)
            assert (error <= bounds[:, :, k]).all()
            assert size > 1 or (bounds[:, :, k] < 1e-8).all()


def test_a_lead_that_rounding_can_have_made_proves_nothing() -> None:
    objective = objective_of("tanh", (7, 16))
    (params,), y = separating(objective, 1, 1e3), objective.scene.data.y
    f = outputs(objective, params.astype(np.longdouble))
    lead = np.where(y > 0, np.inf, (f * y).sum(axis=1, keepdims=True) - f)
    c = int(np.argmin(lead.min(axis=0)))
    points = np.repeat(params[None], 60, axis=0)
    # One class is brought up to the nearest point of another one.
    gaps = np.concatenate([[1e-6], np.linspace(-1e-12, 1e-12, 59)])
    points[:, len(params) - 3 + c] += float(lead[:, c].min()) - gaps
    margin, sure = leads(objective, points)
    assert (margin[1:] > 0).any()
    assert (sure[1:] <= 0).all()
    found = scaled(objective, points)
    assert found.verdict.tolist() == ["escaping"] + ["unresolved"] * 59


def test_no_claim_where_scaling_proves_nothing() -> None:
    params = separating(objective_of("relu", 16), 3)
    assert (scaled(objective_of("relu", 16), params).verdict == "escaping").all()
    for other in ({"loss": Squared()}, {"decay": 1e-3}):
        assert scaled(objective_of("relu", 16, **other), params).open.all()
    tied = params.copy()
    rows, c = tied[:, -51:-3].reshape(-1, 3, 16), tied[:, -3:]
    rows[:, 2], c[:, 2] = rows[:, 1], c[:, 1]
    assert scaled(objective_of("relu", 16), tied).open.all()
    wrong = params.copy()
    wrong[:, -3:] += [0.0, 3.0, 0.0]
    assert scaled(objective_of("relu", 16), wrong).open.all()
    for beyond in (np.inf, np.nan, 1e308):
        far = params.copy()
        far[:, -4] = beyond
        assert scaled(objective_of("relu", 16), far).open.all()
    one = objective_of("relu", 16, some_data(1))
    assert scaled(one, separating(one, 2)).open.all()
    # An output layer too small for float64 to know its products.
    small = params.copy()
    small[:, -51:] *= 1e-303
    assert scaled(objective_of("relu", 16), small).open.all()


def test_a_verdict_depends_on_the_member_alone() -> None:
    data = PROBLEMS.build(Choice("clouds")).load()
    assert isinstance(data, Data)
    objective = objective_of("tanh", 60, data)
    wide, rng = separating(objective, 6), stream("test", "mixed")
    params = np.vstack([wide[:3], rng.normal(size=wide.shape)[:3], wide[3:]])
    together = scaled(objective, params)
    assert together.open.tolist() == [False] * 3 + [True] * 3 + [False] * 3
    for k in range(9):
        alone = scaled(objective, params[k : k + 1])
        assert alone.verdict[0] == together.verdict[k]
        assert alone.evidence[0] == together.evidence[k]
        both = alone.certificate_margin[0], together.certificate_margin[k]
        assert both[0] == both[1] or np.isnan(both).all()


def test_a_polish_that_comes_to_separate_ends_in_the_same_verdict() -> None:
    objective = objective_of("tanh", 8, some_data(3, 9))
    params = stream("test", "polish").normal(size=(12, objective.n_params))
    before = objective.measure(params).error
    found = judged(objective, params)
    out = found.verdict == "escaping"
    assert (out & (before > 0)).any()
    assert (objective.measure(found.params).error[out] == 0).all()
