"""Where training starts: keyed draws, one stream per (root, seed).

A member's numbers depend on (root, seed, purpose) alone. The base network draws from the stream
"initial", an added neuron from "augmentation", so all arms of a seed share the base parameters,
and one added neuron starts with the same a, w, b whatever its kind.

An added neuron has w ~ N(0, 1/D), b = 0 and a ~ N(0, augment_scale²): small, so that every arm
starts near the base network, and not zero, which would be a symmetric point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from sweep.models.base import Network, Piece
from sweep.models.losses import Loss, VectorLoss
from sweep.problems.base import Data
from sweep.registry import Registry, require
from sweep.seeds import member_streams

AUGMENT_SCALE = 0.1


@runtime_checkable
class Initialiser(Protocol):
    """A law for the base parameters: `draw` standard numbers times a `scale` per parameter.

    "uniform" numbers are uniform on [−1, 1), "normal" ones have variance 1.
    """

    draw: ClassVar[Literal["uniform", "normal"]]

    @property
    def augment_scale(self) -> float:
        """Standard deviation of an added neuron's outgoing weight a."""
        ...

    def scale(self, piece: Piece) -> float:
        """The factor for all parameters of a weight or bias piece."""
        ...


@dataclass(frozen=True, eq=False)
class Scene:
    """What a start point may be built for: the data, the base network and the loss."""

    data: Data
    network: Network
    loss: Loss | VectorLoss


#: A start of the base network (P,) from a seed's stream and its λ (M,), None without λ.
Draw = Callable[[np.random.Generator, np.ndarray | None], np.ndarray]


@runtime_checkable
class Constructing(Protocol):
    """An initialiser that builds its points from the scene; see `sweep.constructions`."""

    @property
    def augment_scale(self) -> float:
        """Standard deviation of an added neuron's outgoing weight a."""
        ...

    def prepare(self, scene: Scene) -> Draw:
        """What draws a seed's point; `UserError` when the scene cannot be served."""
        ...


INITIALISERS: Registry[Initialiser | Constructing] = Registry("init")


def check_scale(augment_scale: float) -> None:
    """Refuse an `augment_scale` that is negative or not finite."""
    require(
        0 <= augment_scale < math.inf, "init.augment_scale", augment_scale, "a finite number ≥ 0"
    )


@dataclass(frozen=True)
class _Scaled:
    """What all initialisers share."""

    augment_scale: float = AUGMENT_SCALE

    def __post_init__(self) -> None:
        check_scale(self.augment_scale)


@INITIALISERS.add("kaiming_uniform")
@dataclass(frozen=True)
class KaimingUniform(_Scaled):
    """What torch.nn.Linear does: weights and biases U(±1/√fan_in)."""

    draw: ClassVar[Literal["uniform", "normal"]] = "uniform"

    def scale(self, piece: Piece) -> float:
        """1/√fan_in."""
        return 1 / math.sqrt(piece.fan_in)


@INITIALISERS.add("kaiming_normal")
@dataclass(frozen=True)
class KaimingNormal(_Scaled):
    """Weights N(0, 2/fan_in), biases 0 (He et al. 2015, eq. 10)."""

    draw: ClassVar[Literal["uniform", "normal"]] = "normal"

    def scale(self, piece: Piece) -> float:
        """√(2/fan_in) for weights, 0 for biases."""
        return 0.0 if piece.role == "bias" else math.sqrt(2 / piece.fan_in)


@INITIALISERS.add("xavier_uniform")
@dataclass(frozen=True)
class XavierUniform(_Scaled):
    """Weights U(±√(6/(fan_in+fan_out))), biases 0 (Glorot and Bengio 2010, eq. 16)."""

    draw: ClassVar[Literal["uniform", "normal"]] = "uniform"

    def scale(self, piece: Piece) -> float:
        """√(6/(fan_in+fan_out)) for weights, 0 for biases."""
        return 0.0 if piece.role == "bias" else math.sqrt(6 / (piece.fan_in + piece.fan_out))


@INITIALISERS.add("xavier_normal")
@dataclass(frozen=True)
class XavierNormal(_Scaled):
    """Weights N(0, 2/(fan_in+fan_out)), biases 0."""

    draw: ClassVar[Literal["uniform", "normal"]] = "normal"

    def scale(self, piece: Piece) -> float:
        """√(2/(fan_in+fan_out)) for weights, 0 for biases."""
        return 0.0 if piece.role == "bias" else math.sqrt(2 / (piece.fan_in + piece.fan_out))


@INITIALISERS.add("normal")
@dataclass(frozen=True)
class Normal:
    """All weights and biases N(0, std²)."""

    std: float
    augment_scale: float = AUGMENT_SCALE
    draw: ClassVar[Literal["uniform", "normal"]] = "normal"

    def __post_init__(self) -> None:
        require(0 < self.std < math.inf, "init.std", self.std, "a finite number > 0")
        check_scale(self.augment_scale)

    def scale(self, piece: Piece) -> float:
        """The deviation `std`, for every piece."""
        return self.std


def base_params(init: Initialiser, network: Network, root: int, seeds: Sequence[int]) -> np.ndarray:
    """Start of the base network, (S, P) float64: stream ("initial", root, seed)."""
    scale = np.concatenate(
        [np.full(p.size, 0.0 if p.role == "gain" else init.scale(p)) for p in network.pieces]
    )
    offset = np.concatenate(
        [np.full(p.size, 1.0 if p.role == "gain" else 0.0) for p in network.pieces]
    )
    found: np.ndarray = offset + scale * _standard("initial", init.draw, root, seeds, len(scale))
    return found


def start_params(
    init: Initialiser | Constructing,
    scene: Scene,
    root: int,
    seeds: Sequence[int],
    lam: np.ndarray | None = None,
) -> np.ndarray:
    """Start of the base network, (S, P) float64, by its law or its construction.

    Stream ("initial", root, seed). `lam` (S, M) are the members' λ, for a construction.
    """
    if not isinstance(init, Constructing):
        return base_params(init, scene.network, root, seeds)
    draw, found = init.prepare(scene), np.empty((len(seeds), scene.network.n_params))
    for k, rng in enumerate(member_streams("initial", root, seeds)):
        found[k] = draw(rng, None if lam is None else lam[k])
    return found


def augment_params(
    init: Initialiser | Constructing, pieces: Sequence[Piece], root: int, seeds: Sequence[int]
) -> np.ndarray:
    """Start of the added neurons, (S, E) float64: stream ("augmentation", root, seed)."""
    scales = [np.full(p.size, _added_scale(p, init.augment_scale)) for p in pieces]
    scale = np.concatenate([np.zeros(0), *scales])
    found: np.ndarray = scale * _standard("augmentation", "normal", root, seeds, len(scale))
    return found


def landscape_params(
    init: Initialiser | Constructing,
    n_params: int,
    root: int,
    seeds: Sequence[int],
    deviation: float = 1.0,
) -> np.ndarray:
    """Start on an objective without data, (S, P) float64: N(0, std²).

    std is that of `normal`, under every other initialiser the landscape's own `deviation`.
    """
    std = init.std if isinstance(init, Normal) else deviation
    return std * _standard("initial", "normal", root, seeds, n_params)


def _added_scale(piece: Piece, augment_scale: float) -> float:
    if piece.role == "outgoing":
        return augment_scale
    return 0.0 if piece.role == "bias" else 1 / math.sqrt(piece.fan_in)


def _standard(
    purpose: str, draw: Literal["uniform", "normal"], root: int, seeds: Sequence[int], size: int
) -> np.ndarray:
    found = np.empty((len(seeds), size))
    if not size:
        return found
    for row, rng in zip(found, member_streams(purpose, root, seeds), strict=True):
        row[:] = rng.standard_normal(size) if draw == "normal" else rng.uniform(-1, 1, size)
    return found
