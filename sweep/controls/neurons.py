"""Controls of the other added neurons: monomial, and exponential ones inside the layers.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
p       degree of the monomial neuron
t       least degree of a polynomial that separates the data
A       best affine fit
======  ====================================================  ==========
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from sweep.constructions.fits import BestFit, best_fit
from sweep.constructions.layers import affine_net
from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.controls.fits import draw_fit
from sweep.controls.piecewise import (
    BESIDE,
    DEEP,
    DESCENT,
    LARGEST,
    MINIMUM,
    NO_BAD_MINIMUM,
    SHALLOW,
    SLOPES,
    clearance,
)
from sweep.controls.separating import GLOBAL, interpolant
from sweep.models.augmentations import Monomial
from sweep.models.base import Augmenting
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.verdicts import Verdict

# Only the added neuron separates, and F → 0 is not attained; descent may also find a base network
# that does.
SEPARATING = Truth(
    "added neuron separates",
    frozenset({Verdict.ESCAPING, Verdict.GLOBAL_MINIMUM}),
    frozenset({Verdict.ESCAPING, Verdict.GLOBAL_MINIMUM}),
    limit=0.0,
)
MINIMUM_OR_SLIDE = frozenset({Verdict.LOCAL_MINIMUM, Verdict.ESCAPING})
POINTS = 8
STRENGTHS = (0.01, 0.1, 1.0)
SMOOTH = ("tanh", "sigmoid", "softplus")
# A margin relative to the largest output that rounding cannot be blamed for; a neighbour nearer
# than that by some orders keeps it.
CLEAR, BESIDE_MARGIN = 1e-3, 1e-6


def resting(rng: np.random.Generator) -> Iterator[Batch]:
    """Affine minima with a = 0 that no monomial neuron leaves: p = 1, and parities with p < t.

    Beside a parity's minimum F can be three times as high, and on its cube (wᵢxᵢ)² is a constant:
    descent may come to the same f̃ with a ≠ 0, and slides on from there without falling below it.
    """
    yield _at_affine(rng, draw_fit(rng), 1, DEEP, MINIMUM)
    for t in (2, 3):
        cube = np.array(list(itertools.product((-1.0, 1.0), repeat=t)))
        fit = best_fit(cube, cube.prod(axis=1), HingePower(int(rng.integers(3, 5))))
        assert fit is not None, "the constant 0"
        batch = _at_affine(rng, fit, int(rng.integers(1, t)), SHALLOW, MINIMUM)
        yield _part(batch, ~batch.near, MINIMUM)
        yield _part(batch, batch.near, _beside(fit))


def _beside(fit: BestFit) -> Truth:
    both = MINIMUM_OR_SLIDE
    return replace(MINIMUM, allowed=both, expected=both, limit=fit.value)


def _part(batch: Batch, some: np.ndarray, truth: Truth) -> Batch:
    """Some points (S,) of a batch, with a truth of their own."""
    lam = None if batch.lam is None else batch.lam[some]
    points, near, clear = batch.points[some], batch.near[some], batch.clear[some]
    return replace(batch, truth=truth, points=points, near=near, clear=clear, lam=lam)


def not_resting(rng: np.random.Generator) -> Iterator[Batch]:
    """Affine minima of random data with p ≥ 2: some moment of the pulls does not vanish."""
    for p in (2, 3):
        yield _at_affine(rng, draw_fit(rng), p, SHALLOW, NO_BAD_MINIMUM)


def dead_beside_a_line(rng: np.random.Generator) -> Iterator[Batch]:
    """Dead ReLU networks at the best constant, p = 1: a neuron w·x + b improves on any constant.

    Far from the origin all moments of the pulls are small beside their terms.
    """
    x = rng.normal(size=(10, 2)) + rng.choice([0.0, 10.0, 1e3])
    y = np.repeat([-1.0, 1.0], 5)[np.argsort(np.argsort(x @ rng.normal(size=2)))]
    objective = _objective(Data(x, y), Mlp(2), Monomial(1))
    points = rng.normal(size=(POINTS, objective.n_params))
    points[:, 4:6] = -1e6
    points[:, [8, 9]] = 0.0  # the output bias and a: of as many positive as negative labels
    points, near = at_and_near(rng, points, 1e-3)
    lam = np.full((len(points), 1), float(rng.choice(STRENGTHS)))
    yield Batch(objective, DESCENT, points, near, np.ones(len(points), dtype=bool), lam)


def _at_affine(
    rng: np.random.Generator,
    fit: BestFit,
    p: int,
    choices: tuple[tuple[int, ...], ...],
    truth: Truth,
) -> Batch:
    """Networks that are the best affine fit, the neuron at rest; neighbours keep a = 0."""
    slope, widths = float(rng.choice(SLOPES)), choices[rng.integers(len(choices))]
    slopes, D = (slope, 1.0), fit.x.shape[1]
    nets = [affine_net(rng, fit.x, fit.A, widths, slopes) for _ in range(POINTS)]
    beside = np.array([BESIDE * clearance(net, fit.x, slopes) for net in nets])
    base, near = at_and_near(rng, np.stack([net.flat() for net in nets]), beside)
    w, b = rng.normal(size=(len(base), D)), rng.normal(size=(len(base), 1))
    points = np.hstack([base, np.zeros((len(base), 1)), w, b])
    activation = Choice("leaky_relu", {"negative_slope": slope})
    objective = build_objective(
        Data(fit.x, fit.y), Mlp(widths, activation), Monomial(p), fit.loss, Augment()
    )
    clear = np.abs(points).max(axis=1) < LARGEST
    lam = np.full((len(points), 1), float(rng.choice(STRENGTHS)))
    return Batch(objective, truth, points, near, clear, lam, fit.value)


def separated_by_neuron(rng: np.random.Generator) -> Iterator[Batch]:
    """A constant base network and an added neuron whose sign the labels follow, at any scale."""
    for added in (Monomial(2), Monomial(3), ExpPerLayer()):
        x = rng.normal(size=(int(rng.integers(6, 12)), int(rng.integers(1, 4))))
        widths = (2, 2) if isinstance(added, ExpPerLayer) else (3,)
        model = Mlp(widths, Choice(str(rng.choice(SMOOTH))))
        hollow = _objective(Data(x, np.ones(len(x))), model, added)
        point = rng.normal(size=hollow.n_params)
        c = hollow.n_base - 1
        top = -1 if isinstance(added, ExpPerLayer) else hollow.n_base
        point[c - widths[-1] : c + 1] = 0.0
        sent = _outputs(hollow, point)
        order = np.sort(sent)
        gap = 1 + int(np.diff(order)[1:-1].argmax())
        point[c] = -(order[gap] + order[gap + 1]) / 2
        points = np.repeat(point[None], POINTS, axis=0)
        points[:, [c, top]] *= 10 ** rng.uniform(-1, 1, size=(POINTS, 1))
        wide = (order[gap + 1] - order[gap]) / np.abs(sent).max() > CLEAR
        data = Data(x, np.sign(sent + point[c]))
        yield _separated(rng, _objective(data, model, added), points, SEPARATING, bool(wide))


def separated_by_base(rng: np.random.Generator) -> Iterator[Batch]:
    """Wide networks that interpolate the labels, beside neurons of any parameters."""
    for added in (Monomial(int(rng.integers(1, 5))), ExpPerLayer()):
        x = rng.normal(size=(6, 2)) * (1 + np.arange(6)[:, None] / 6)
        y = np.where(rng.random(6) < 0.5, -1.0, 1.0)
        model = Mlp((24, 24), Choice(str(rng.choice(SMOOTH))))
        objective = _objective(Data(x, y), model, added)
        nets = [interpolant(rng, model, x, y, 10 ** rng.uniform(-2, 2)) for _ in range(POINTS)]
        neurons = rng.normal(size=(POINTS, objective.n_params - objective.n_base)) / 2
        yield _separated(rng, objective, np.hstack([np.stack(nets), neurons]), GLOBAL, True)


def _objective(data: Data, model: Mlp, added: Augmenting) -> DataObjective:
    found = build_objective(data, model, added, HingePower(), Augment())
    assert isinstance(found, DataObjective)
    return found


def _outputs(objective: DataObjective, point: np.ndarray) -> np.ndarray:
    """f̃ of one point (P,), (N,)."""
    return np.asarray(objective.outputs(torch.as_tensor(point)[:, None])[1][:, 0].numpy())


def _separated(
    rng: np.random.Generator,
    objective: DataObjective,
    points: np.ndarray,
    truth: Truth,
    clear: bool,
) -> Batch:
    """The points and neighbours too near to lose a margin that is clear."""
    points, near = at_and_near(rng, points, BESIDE_MARGIN)
    lam = np.full((len(points), 1), float(rng.choice(STRENGTHS)))
    return Batch(objective, truth, points, near, np.full(len(points), clear), lam, value=0.0)


FAMILIES = (
    Family("monomial at rest", "a = 0 and no polynomial of degree p improves", resting),
    Family("monomial added", "an affine minimum, a = 0, λ > 0, p ≥ 2", not_resting),
    Family("dead, line added", "a constant network, p = 1", dead_beside_a_line),
    Family("neuron separates", "monomial, or exponential in the layers", separated_by_neuron),
    Family("net separates", "beside such neurons: F = 0 without them", separated_by_base),
)
