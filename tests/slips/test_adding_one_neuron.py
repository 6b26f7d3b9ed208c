"""A slip in [A] (adding one neuron): Prop. 2 on data with a tie."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.judge.bounds import proven_bound
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import HingePower, Logistic
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice


@pytest.mark.parametrize("loss", [HingePower(), Logistic()], ids=str)
@pytest.mark.parametrize(("plus", "minus"), [(2, 1), (1, 1), (2, 2)])
def test_a_tie_forces_a_zero_output_which_is_an_error_everywhere(loss, plus, minus):
    """Prop. 2 says that a local minimum minimises R. With a tie the minimum has the largest R."""
    x = np.repeat([[0.0], [1.0]], [plus + minus, 2], axis=0)
    y = np.repeat([1.0, -1.0, 1.0], [plus, minus, 2])
    objective = build_objective(
        Data(x, y), Mlp(1, Choice("identity")), NoAugmentation(), loss, NoRegularizer()
    )
    # f(0) = t by the output bias; f(1) is far on the right side: all that counts is the point 0.
    outputs = np.linspace(-1, 1, 2001)
    theta = np.column_stack([40 - outputs, 0 * outputs, 1 + 0 * outputs, outputs])
    measures = objective.measure(theta)
    best = int(measures.objective.argmin())
    least_error = min(plus, minus) / len(y)
    assert measures.objective[best] == pytest.approx(proven_bound(loss, x, y).value, abs=1e-5)
    assert measures.error.min() == pytest.approx(least_error)
    if plus == minus:
        assert outputs[best] == pytest.approx(0, abs=1e-12)
        assert measures.error[best] == pytest.approx((plus + minus) / len(y))
    else:
        assert outputs[best] > 0.1
        assert measures.error[best] == pytest.approx(least_error)
