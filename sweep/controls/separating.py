"""Controls whose data the network separates: global minima, and slides of the logistic loss.

Points whose margins are not clear (10⁻⁶ of the network's largest output) are no controls: their
truth would not be known. Under logistic loss F must also be below the cost of one error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.verdicts import Verdict

GLOBAL = Truth(
    "global minimum", frozenset({Verdict.GLOBAL_MINIMUM}), frozenset({Verdict.GLOBAL_MINIMUM})
)
# Scaling the output layer of a separating network lowers a logistic F for ever: no point whose F
# is below that of one error can be a minimum, nor stationary.
SLIDE = Truth(
    "slide to infinity",
    frozenset({Verdict.ESCAPING}),
    frozenset({Verdict.ESCAPING}),
    limit=0.0,
)
DEPTHS: tuple[tuple[int, ...], ...] = ((1,), (1,), (1, 1))
POINTS, CLEAR = 12, 1e-6
# The logistic ℓ(0): a network of smaller F has no error.
ONE_ERROR = 1.0
PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 0.5 * (1 + np.tanh(z / 2)),
    "softplus": lambda z: np.logaddexp(0, z),
}
# A neighbour keeps every margin: outputs move by about this share of themselves.
BESIDE = 1e-5


def interpolants(rng: np.random.Generator) -> Iterator[Batch]:
    """Wide random networks whose output layer interpolates the labels, at any scale; XOR."""
    for _ in range(2):
        yield from _interpolating(rng, HingePower(int(rng.integers(3, 5))), GLOBAL, (-3.0, 3.0))
    yield _xor(rng, HingePower(), GLOBAL)


def slides(rng: np.random.Generator) -> Iterator[Batch]:
    """The same networks under logistic loss, scaled until each point costs less than one error."""
    yield from _interpolating(rng, Logistic(), SLIDE, (1.0, 1.5))
    yield _xor(rng, Logistic(), SLIDE)


def _interpolating(
    rng: np.random.Generator, loss: Loss, truth: Truth, decades: tuple[float, float]
) -> Iterator[Batch]:
    N, D = int(rng.integers(4, 9)), int(rng.integers(1, 4))
    x = rng.normal(size=(N, D))
    # Points apart, so that no interpolant needs large weights.
    x *= 1 + np.arange(N)[:, None] / N
    y = np.where(rng.random(N) < 0.5, -1.0, 1.0)
    widths = tuple(4 * N * k for k in DEPTHS[rng.integers(len(DEPTHS))])
    model = Mlp(widths, Choice(str(rng.choice(sorted(PLAIN)))))
    objective = build_objective(Data(x, y), model, NoAugmentation(), loss, NoRegularizer())
    points = np.stack(
        [interpolant(rng, model, x, y, 10 ** rng.uniform(*decades)) for _ in range(POINTS)]
    )
    points, near = at_and_near(rng, points, BESIDE)
    yield _known(Batch(objective, truth, points, near, _separated(model, x, y, points), value=0.0))


def interpolant(
    rng: np.random.Generator, model: Mlp, x: np.ndarray, y: np.ndarray, scale: float
) -> np.ndarray:
    """θ (P,): random hidden layers, output weights by least squares for targets ±(1 to 2)."""
    network = model.network(x.shape[1])
    parts, h = [], x
    for k in network.widths:
        W, b = rng.normal(size=(k, h.shape[1])) / np.sqrt(h.shape[1]), rng.normal(size=k)
        parts += [W.ravel(), b]
        h = _activation(model, h @ W.T + b)
    target = y * rng.uniform(1, 2, size=len(y))
    v = np.linalg.lstsq(h, target, rcond=None)[0]
    return np.concatenate([*parts, v * scale, [0.0]])


def _xor(rng: np.random.Generator, loss: Loss, truth: Truth) -> Batch:
    """XOR by hand with two ReLUs: |u| above a level, u = x₁ + x₂; units scaled at random."""
    x = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    y = np.array([1.0, 1.0, -1.0, -1.0])
    model = Mlp((2,))
    objective = build_objective(Data(x, y), model, NoAugmentation(), loss, NoRegularizer())
    points = []
    for _ in range(POINTS):
        scale, size = 10 ** rng.uniform(-1, 1, size=2), 10 ** rng.uniform(0.5, 1.5)
        W = np.array([[1.0, 1.0], [-1.0, -1.0]]) * scale[:, None]
        b = rng.uniform(-0.3, 0.3, size=2) * scale
        v = size / scale
        points.append(np.concatenate([W.ravel(), b, v, [-size]]))
    grown, near = at_and_near(rng, np.stack(points), BESIDE)
    return _known(Batch(objective, truth, grown, near, _separated(model, x, y, grown), value=0.0))


def _known(batch: Batch) -> Batch:
    """The points of a batch whose truth is certain."""
    keep = batch.clear
    if batch.truth is SLIDE:
        keep = keep & (batch.objective.measure(batch.points).objective < ONE_ERROR)
    return replace(batch, points=batch.points[keep], near=batch.near[keep], clear=keep[keep])


def _separated(model: Mlp, x: np.ndarray, y: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether each network separates by a clear margin, (S,)."""
    network, found = model.network(x.shape[1]), []
    for theta in points:
        h, position = x, 0
        for k in network.widths:
            W = theta[position : position + k * h.shape[1]].reshape(k, -1)
            position += W.size
            h = _activation(model, h @ W.T + theta[position : position + k])
            position += k
        output = h @ theta[position:-1] + theta[-1]
        found.append((y * output).min() > CLEAR * np.abs(output).max())
    return np.array(found)


def _activation(model: Mlp, z: np.ndarray) -> np.ndarray:
    name = Choice.parse(model.activation, "activation").name
    return PLAIN[name](z)


FAMILIES = (
    Family("separating net", "hinge: F = 0 after scaling the output layer", interpolants),
    Family("logistic slide", "no minimum; F → 0", slides),
)
