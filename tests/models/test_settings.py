"""What settings are accepted, and how they are written into a study's identity."""

from __future__ import annotations

import pytest
import torch

import sweep.models  # noqa: F401  (fills the registries)
from sweep.errors import UserError
from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExtraNeuron
from sweep.models.base import MODELS
from sweep.models.initialisers import INITIALISERS
from sweep.models.losses import LOSSES
from sweep.registry import Choice


@pytest.mark.parametrize(("given", "normal"), [(3, 3), ("4", 4), (2.0, 2), ([5, 2], [5, 2])])
def test_width_stays_a_number_or_a_list(given: object, normal: object) -> None:
    assert MODELS.normalise(Choice("mlp", {"width": given})).settings["width"] == normal


@pytest.mark.parametrize("width", [0, -1, 2.5, [3, 0], [], "two"])
def test_impossible_widths_are_refused(width: object) -> None:
    with pytest.raises(UserError, match=r"model\.width"):
        MODELS.build(Choice("mlp", {"width": width}))


def test_equal_activations_have_one_identity() -> None:
    spellings = [
        "leaky_relu",
        {"name": "leaky_relu"},
        {"name": "leaky_relu", "negative_slope": 0.01},
    ]
    found = [MODELS.identity(Choice("mlp", {"activation": a})) for a in spellings]
    assert found[0] == found[1] == found[2]
    assert MODELS.identity(Choice("mlp", {"width": 2, "activation": "relu"})) == {"name": "mlp"}


def test_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'tanh'"):
        MODELS.build(Choice("mlp", {"activation": "tahn"}))


def test_a_hinge_below_three_is_refused_and_whole_powers_are_integers() -> None:
    with pytest.raises(UserError, match=r"loss\.p is 2\.5"):
        LOSSES.build(Choice("hinge_power", {"p": 2.5}))
    assert repr(LOSSES.normalise(Choice("hinge_power", {"p": 4.0})).settings["p"]) == "4"
    assert LOSSES.identity(Choice("hinge_power", {"p": 3.0})) == {"name": "hinge_power"}


@pytest.mark.parametrize("std", [0, -1, float("inf")])
def test_impossible_standard_deviations_are_refused(std: float) -> None:
    with pytest.raises(UserError, match=r"init\.std"):
        INITIALISERS.build(Choice("normal", {"std": std}))


def test_no_extra_neuron_is_refused() -> None:
    with pytest.raises(UserError, match=r"augment\.k"):
        ExtraNeuron(k=0)


def test_activations_declare_their_slopes() -> None:
    slopes = {name: ACTIVATIONS.build(Choice(name)).slopes for name in ACTIVATIONS.names()}
    assert slopes["relu"] == (0, 1)
    assert slopes["leaky_relu"] == (0.01, 1)
    assert slopes["identity"] == (1, 1)
    assert slopes["tanh"] is slopes["sigmoid"] is slopes["softplus"] is None


def test_the_slope_jumps_where_an_activation_is_piecewise_linear_and_nowhere_else() -> None:
    around = torch.tensor([[-1.0, 0.0, 1.0]]) + torch.tensor([[-1e-9], [1e-9]]).double()
    for name in ACTIVATIONS.names():
        sigma = ACTIVATIONS.build(Choice(name))
        z = around.clone().requires_grad_()
        (slope,) = torch.autograd.grad(sigma(z).sum(), z)
        jumps = bool((slope[1] - slope[0]).abs().max() > 1e-6)
        assert jumps == (sigma.piecewise_linear and name != "identity"), name
