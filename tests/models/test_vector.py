"""Several outputs: the loss is torch's own, ties are errors, misfits are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.losses import CrossEntropy, HingePower, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice

CLOUDS = PROBLEMS.build(Choice("clouds")).load()
PLANE = PROBLEMS.build(Choice("planar_map")).load()


def vector(data, loss, width=4, outputs=None, augmentation=None, decay=0.0):
    model = Mlp(width, Choice("relu"), data.outputs if outputs is None else outputs)
    added = NoAugmentation() if augmentation is None else augmentation
    return build_objective(data, model, added, loss, NoRegularizer(), decay)


def module_of(theta, data, width):
    net = torch.nn.Sequential(
        torch.nn.Linear(data.x.shape[1], width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, data.y.shape[1]),
    ).double()
    torch.nn.utils.vector_to_parameters(torch.as_tensor(theta), net.parameters())
    return net(torch.as_tensor(data.x))


@pytest.mark.parametrize("loss", [CrossEntropy(), Squared()], ids=str)
def test_the_objective_is_that_of_a_torch_module(loss):
    objective = vector(CLOUDS, loss, decay=0.1)
    theta = np.random.default_rng(0).normal(size=(3, objective.n_params))
    measures = objective.measure(theta)
    label = torch.as_tensor(CLOUDS.y).argmax(1)
    for k, point in enumerate(theta):
        f = module_of(point, CLOUDS, 4)
        if isinstance(loss, CrossEntropy):
            expected = torch.nn.functional.cross_entropy(f, label, reduction="sum").item()
            assert measures.error[k] == (f.argmax(1) != label).double().mean().item()
        else:
            expected = (f - torch.as_tensor(CLOUDS.y)).square().sum().item()
        assert measures.loss[k] == pytest.approx(expected, rel=1e-13)
        decayed = expected + 0.05 * (point**2).sum()
        assert measures.objective[k] == pytest.approx(decayed, rel=1e-13)
    assert (measures.error is None) == isinstance(loss, Squared)


def test_gradients_are_central_differences():
    objective = vector(CLOUDS, CrossEntropy())
    theta = torch.as_tensor(np.random.default_rng(1).normal(size=(objective.n_params, 1)))
    _, grad = objective.value_and_grad(theta)
    for i in range(objective.n_params):
        shift = torch.zeros_like(theta)
        shift[i] = 1e-6
        difference = objective.value(theta + shift) - objective.value(theta - shift)
        torch.testing.assert_close(grad[i], difference / 2e-6, rtol=1e-6, atol=1e-6)


def test_a_tie_is_an_error():
    objective = vector(CLOUDS, CrossEntropy())
    assert objective.measure(np.zeros((1, objective.n_params))).error[0] == 1.0


def test_one_real_target_is_served_too():
    data = Data(PLANE.x, PLANE.y[:, :1])
    objective = vector(data, Squared())
    theta = np.random.default_rng(2).normal(size=(1, objective.n_params))
    f = module_of(theta[0], data, 4).detach().numpy()
    assert objective.measure(theta).loss[0] == pytest.approx(((f - data.y) ** 2).sum(), rel=1e-13)


@pytest.mark.parametrize(
    ("data", "loss", "outputs", "augmentation", "sentence"),
    [
        (CLOUDS, CrossEntropy(), 2, None, r"model\.outputs is 2 .* outputs 3 is accepted"),
        (CLOUDS, HingePower(), 3, None, "squared or cross_entropy is accepted"),
        (PLANE, CrossEntropy(), 2, None, "no classes: 'squared'"),
        (CLOUDS, CrossEntropy(), 3, ExpSkip(), "an arm without either"),
        (Data(PLANE.x, np.sign(PLANE.y[:, 0])), Squared(), 2, None, r"outputs is 2 .* 1 is"),
        (Data(PLANE.x, np.sign(PLANE.y[:, 0])), CrossEntropy(), 1, None, "hinge_power"),
    ],
)
def test_parts_that_do_not_fit_are_refused(data, loss, outputs, augmentation, sentence):
    with pytest.raises(UserError, match=sentence):
        vector(data, loss, outputs=outputs, augmentation=augmentation)


def test_a_tie_of_all_outputs_has_the_softmaxs_slope():
    objective = vector(CLOUDS, CrossEntropy())
    _, grad = objective.value_and_grad(torch.zeros((objective.n_params, 1), dtype=torch.float64))
    biases = grad[-CLOUDS.y.shape[1] :, 0].numpy()
    np.testing.assert_allclose(biases, (1 / CLOUDS.y.shape[1] - CLOUDS.y).sum(0), atol=1e-13)
