from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sweep.judge.base import Judgement
from sweep.judge.escapes.tail import from_chart, to_chart
from sweep.judge.saddle import polish_generic, settle_saddles
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.autograd import polish_block
from sweep.judge.smooth.kernels import TAIL, Task, differentiate, outputs
from sweep.judge.smooth.polish import (
    pack,
    plain_task,
    polish_member,
    polish_smooth,
    task_of,
    unpack,
)
from sweep.judge.smooth.trust_region import STATIONARY
from sweep.models.augmentations import ExtraNeuron, NoAugmentation
from sweep.models.initialisers import INITIALISERS
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice


def make(
    problem: str = "two_moons",
    activation: str = "tanh",
    loss: Any = None,
    decay: float = 0.0,
    augment: Any = None,
    width: Any = 2,
) -> DataObjective:
    data = PROBLEMS.build(Choice(problem)).load()
    assert isinstance(data, Data)
    model = Mlp(width, Choice(activation))
    loss, augment = loss or HingePower(3), augment or NoAugmentation()
    found = build_objective(data, model, augment, loss, NoRegularizer(), decay)
    assert isinstance(found, DataObjective)
    return found


def starts(objective: DataObjective, count: int) -> np.ndarray:
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    return objective.initial(init, 3, list(range(count)))


def packed(objective: DataObjective, params: np.ndarray) -> tuple[Task, np.ndarray]:
    shallow, task = Shallow.of(objective), plain_task(objective)
    assert shallow is not None and task is not None
    return task, pack(task, shallow.split(params))[0]


CASES = [
    ("tanh", HingePower(3), 0.0, None),
    ("sigmoid", Logistic(), 1e-2, None),
    ("softplus", Squared(), 1e-3, None),
    ("tanh", HingePower(4.5), 1e-2, ExtraNeuron(1)),
]


@pytest.mark.parametrize(("activation", "loss", "decay", "augment"), CASES)
def test_kernels_agree_with_autograd(
    activation: str, loss: Any, decay: float, augment: Any
) -> None:
    f = make(activation=activation, loss=loss, decay=decay, augment=augment)
    point = 2.0 * starts(f, 1)
    shallow, (task, theta) = Shallow.of(f), packed(f, point)
    assert shallow is not None
    value, g, hess, _ = differentiate(theta[0], np.zeros(len(task.kinds)), task)

    def scalar(vector: torch.Tensor) -> torch.Tensor:
        return f.value(vector[:, None])[0]

    vector = torch.as_tensor(point[0])
    # The kernels' order of parameters, as a permutation.
    order = pack(task, shallow.split(np.arange(len(vector))[None].astype(float)))[0][0].astype(int)
    expected_g = torch.autograd.functional.jacobian(scalar, vector).numpy()[order]
    expected_h = torch.autograd.functional.hessian(scalar, vector).numpy()[np.ix_(order, order)]
    assert value == pytest.approx(float(scalar(vector)), rel=1e-13)
    np.testing.assert_allclose(g, expected_g, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(hess, expected_h, rtol=1e-10, atol=1e-10)


def test_pack_and_unpack_are_inverse() -> None:
    f = make(augment=ExtraNeuron(2))
    shallow = Shallow.of(f)
    assert shallow is not None
    task = task_of(shallow)
    assert task is not None
    point = starts(f, 3)
    theta, shifts = pack(task, shallow.split(point))
    np.testing.assert_array_equal(shallow.join(unpack(task, theta, shifts)), point)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_chart_is_the_same_network(activation: str, sign: float) -> None:
    f = make(activation=activation)
    point = starts(f, 1)
    task, theta = packed(f, point)
    theta[0, 3] = 4.0 * sign
    still = np.zeros(2)
    there, chart, shifts = to_chart(task, theta[0], still, 0)
    assert there.kinds[0] == TAIL and chart[3] > 0
    expected = outputs(theta[0], still, task)
    np.testing.assert_allclose(outputs(chart, shifts, there), expected, atol=1e-13)
    back, plain, zero = from_chart(there, chart, shifts)
    np.testing.assert_allclose(outputs(plain, zero, back), expected, atol=1e-13)


def test_chart_derivatives() -> None:
    f = make()
    task, theta = packed(f, starts(f, 1))
    theta[0, 3] = 2.0
    there, chart, shifts = to_chart(task, theta[0], np.zeros(2), 0)
    _, g, hess, _ = differentiate(chart, shifts, there)
    h = 1e-6
    for k in range(len(chart)):
        step = h * np.eye(len(chart))[k]
        up, g_up, _, _ = differentiate(chart + step, shifts, there)
        down, g_down, _, _ = differentiate(chart - step, shifts, there)
        assert g[k] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(hess[k], (g_up - g_down) / (2 * h), rtol=1e-5, atol=1e-5)


def test_polish_never_climbs_and_comes_to_rest() -> None:
    f = make(decay=1e-2)
    task, theta = packed(f, starts(f, 12))
    for point in theta:
        before = differentiate(point, np.zeros(2), task)[0]
        end = polish_member(task, point)
        assert end.objective <= before
        assert end.status == STATIONARY and end.slope < 1e-11


def test_members_are_polished_alone() -> None:
    f = make(problem="xor", decay=1e-2)
    params = starts(f, 5)
    together, alone = Judgement.unresolved(params), Judgement.unresolved(params[3:4])
    polish_smooth(together, f, None)
    polish_smooth(alone, f, None)
    np.testing.assert_array_equal(together.params[3], alone.params[0])
    deep = make(problem="xor", decay=1e-2, width=(2, 2))
    params = starts(deep, 5)
    many, one = (polish_block(deep, some, None, 8) for some in (params, params[3:4]))
    np.testing.assert_array_equal(many.theta[3], one.theta[0])


def test_conjugate_gradients_find_the_same_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    f = make(problem="xor", decay=1e-1, width=(2, 2))
    params = starts(f, 4)
    exact = polish_block(f, params, None, 200)
    monkeypatch.setattr("sweep.judge.smooth.autograd.EXACT", 0)
    free = polish_block(f, params, None, 400)
    assert (exact.slope < 1e-10).all() and (free.slope < 1e-9).all()


def test_product_landscape_ends_at_its_minimum() -> None:
    landscape = PROBLEMS.build(Choice("xyz_product")).load()
    assert not isinstance(landscape, Data)
    f = build_objective(landscape, None, NoAugmentation(), HingePower(3), NoRegularizer())  # type: ignore[arg-type]  # a landscape has no model
    # On the path to infinity, on the saddles (0, y, 0), and at the origin, a saddle of third order.
    points = [[1 / t, -t, 1e-3] for t in (1.0, 5.0)] + [[0, y, 0] for y in (-2.0, 1.0, 0.0)]
    found = Judgement.unresolved(np.array(points))
    polish_generic(found, f, None)
    settle_saddles(found, f, None)
    assert not (found.verdict == "escaping").any()
    ended = f.measure(found.params).objective
    np.testing.assert_array_less(ended[found.verdict != "saddle"], 1e-20)
