from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.escapes.ray import falls_for_ever, find_ray
from sweep.judge.escapes.scaling import settle_scaling
from sweep.judge.escapes.smooth import settle_saturating
from sweep.judge.numerics.kernel_losses import HINGE, LOGISTIC
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.kernels import PLAIN, SIGMOID, TANH, Task
from sweep.judge.smooth.polish import pack, plain_task, polish_member, polish_smooth
from sweep.judge.smooth.strict import settle_strict, strict
from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import INITIALISERS
from sweep.models.losses import HingePower, Logistic
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream


def make(problem: Any, activation: str = "tanh", loss: Any = None, width: Any = 2) -> DataObjective:
    data = PROBLEMS.build(Choice(problem)).load() if isinstance(problem, str) else problem
    assert isinstance(data, Data)
    model, loss = Mlp(width, Choice(activation)), loss or HingePower(3)
    found = build_objective(data, model, NoAugmentation(), loss, NoRegularizer())
    assert isinstance(found, DataObjective)
    return found


def judged(objective: DataObjective, count: int) -> Judgement:
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    found = Judgement.unresolved(objective.initial(init, 5, list(range(count))))
    polish_smooth(found, objective, None)
    settle_strict(found, objective, None)
    settle_saturating(found, objective, None)
    return found


def noisy() -> DataObjective:
    """Data with so many wrong labels that tanh networks have strict minima without decay."""
    draw = stream("test", "noisy", 2)
    x = draw.normal(size=(200, 2))
    signal = np.tanh(2 * x[:, 0]) - np.tanh(1.5 * x[:, 1] - 0.3)
    return make(Data(x, np.where(signal + 0.8 * draw.normal(size=200) > 0, 1.0, -1.0)))


def test_moons_slide_to_infinity() -> None:
    f = make("two_moons")
    found = judged(f, 40)
    verdicts = found.verdict.tolist()
    assert verdicts.count("local_minimum") == 0
    assert verdicts.count("escaping") >= 25
    assert verdicts.count("unresolved") <= 4
    out = found.verdict == "escaping"
    # An escape leads below its own point, and to an error a network of this width can have.
    assert (found.limit_objective[out] < f.measure(found.params).objective[out]).all()
    assert ((found.limit_error[out] >= 0) & (found.limit_error[out] <= 0.5)).all()


def test_a_single_unit_saturates() -> None:
    # Separable points on a line: one tanh unit grows without end.
    X = np.array([[-2.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    y = np.array([-1.0, -1.0, 1.0, 1.0])
    task = Task(X, y, np.array([PLAIN]), np.zeros(4), TANH, 0, 3.0)
    z = X @ np.array([3.0, 0.0])
    f, none = 0.9 * np.tanh(z), np.zeros(4)
    assert falls_for_ever(task, PLAIN, 0.9, np.stack([f, none]), z, X[:, 0].copy()) == -1
    # With wrong labels on the slowest points saturation costs.
    worse = task._replace(y=np.array([-1.0, 1.0, -1.0, 1.0]))
    assert falls_for_ever(worse, PLAIN, 0.9, np.stack([f, none]), z, X[:, 0].copy()) >= 0
    # Nor is a fall certain where outputs may err by more than they miss the margin.
    assert falls_for_ever(task, PLAIN, 0.9, np.stack([f, none + 0.2]), z, X[:, 0].copy()) >= 0
    # Outputs beyond the margin pull nowhere: F does not fall.
    assert (
        falls_for_ever(task, PLAIN, 1.5, np.stack([1.5 * np.sign(z), none]), z, X[:, 0].copy()) >= 0
    )


def test_a_told_point_may_pull_uphill_in_the_end() -> None:
    # Of a margin of 2000 the logistic loss leaves less than float64 has; the other point is faster.
    X, y = np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([1.0, -1.0])
    task = Task(X, y, np.array([PLAIN]), np.zeros(3), SIGMOID, LOGISTIC, 1.0)
    z, d, f = 40.0 * X[:, 0], X[:, 0].copy(), np.zeros((2, 2))
    f[0] = [2000.0, 1.0]
    assert falls_for_ever(task, PLAIN, -1.0, f, z, d) >= 0
    # At a hinge such a point pulls nowhere, and one that goes the other way pulls downhill.
    assert falls_for_ever(task._replace(loss=HINGE, p=3.0), PLAIN, -1.0, f, z, d) == -1
    f[0, 0] *= -1
    assert falls_for_ever(task._replace(y=-np.ones(2)), PLAIN, -1.0, f, z, d) == -1
    # Nor is anything known of products that are no more than the smallest number there is.
    f[0] = [0.5, 1.0]
    assert falls_for_ever(task, PLAIN, -5e-324, f, z, d[::-1].copy()) >= 0


def test_strict_minima_never_escape() -> None:
    f = noisy()
    shallow, task = Shallow.of(f), plain_task(f)
    assert shallow is not None and task is not None
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    theta, _ = pack(task, shallow.split(f.initial(init, 5, list(range(30)))))
    minima = 0
    for point in theta:
        end = polish_member(task, point)
        if strict(task, end.theta) is not None:
            minima += 1
            assert find_ray(task, end.theta) is None
    assert minima >= 5


@pytest.mark.parametrize(("activation", "width"), [("relu", 3), ("tanh", (3, 2))])
def test_logistic_on_separated_data_escapes(activation: str, width: Any) -> None:
    x = np.array([-2.0, -1.8, 1.8, 2.0])[:, None]
    f = make(Data(x, np.where(x[:, 0] > 0, 1.0, -1.0)), activation, Logistic(), width)
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    params = f.initial(init, 5, list(range(40)))
    found = Judgement.unresolved(params)
    settle_scaling(found, f, None)
    separates = f.measure(params).error == 0
    assert separates.any() and not separates.all()
    assert (found.verdict[~separates] == "unresolved").all()
    assert (found.verdict[separates] == "escaping").all()
    assert (found.limit_objective[separates] == 0).all()
    hinge = make(Data(x, np.sign(x[:, 0])), activation, HingePower(3), width)
    other = Judgement.unresolved(params)
    settle_scaling(other, hinge, None)
    assert other.open.all()
