"""What F falls to on the paths of `sweep.judge.shedding`: the same network without the penalty.

On those paths f̃ stays and λ's term vanishes, so the limit is the loss of f̃ alone. As a problem of
its own it has every function once: an exponential neuron without its bias, a monomial neuron
σ·(u·x̃)^p with u = |a|^{1/p}(w, b) and σ = sign a.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members
P, Q    parameters of F, of the limit problem                  θ̃ (S, P), ϑ (S, Q)
G       the limit problem's objective                          (S,)
q       ∂ℓᵢ/∂f̃ᵢ                                                (S, N)
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch

from sweep.judge.exponential.end import UNSEEN
from sweep.judge.readings import BLOCK
from sweep.models.activations import Activation
from sweep.models.augmentations import Beside, Monomial, NoAugmentation
from sweep.models.base import Augmentation, Piece
from sweep.models.lanes import contract, one_thread, to_lanes
from sweep.models.layered import ExpLayers
from sweep.models.objective import DataObjective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data


@dataclass(frozen=True)
class BareMonomial(Beside):
    """σ·(u·x̃)^p: the monomial neuron of the limit problem."""

    p: int
    sign: float
    penalised: ClassVar[bool] = False
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """The only one, u."""
        return (Piece("u", (1, n_inputs + 1), n_inputs, "weight"),)

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """σ·(u·x̃)^p, (N, S)."""
        z = contract(extra[:-1].unsqueeze(0), x.t().unsqueeze(-1))[0] + extra[-1]
        power = z
        for _ in range(self.p - 1):
            power = power * z
        return self.sign * power

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """Zeros, (S,)."""
        return extra.new_zeros(extra.shape[-1])


class Bare(Protocol):
    """The limit problem of an arm, and the way there and back."""

    @property
    def objective(self) -> DataObjective:
        """G of ϑ."""
        ...

    def into(self, params: np.ndarray) -> np.ndarray:
        """ϑ (S, Q) of θ̃ (S, P)."""
        ...

    def back(
        self, points: np.ndarray, like: np.ndarray, G: np.ndarray, lam: np.ndarray
    ) -> np.ndarray:
        """θ̃ (S, P) of ϑ (S, Q), with a penalty that F does not feel beside G (S,); λ (S,).

        What leaves an added neuron is as large as in `like` (S, P), or smaller for that reason.
        """
        ...


@dataclass(frozen=True, eq=False)
class BareOfMonomial:
    """The limit problem of members whose a has this sign (any, for an odd degree)."""

    objective: DataObjective
    p: int
    sign: float

    @classmethod
    def of(cls, objective: DataObjective, sign: float) -> BareOfMonomial:
        """For a monomial arm."""
        assert isinstance(objective.augmentation, Monomial)
        p = objective.augmentation.p
        return cls(without_penalty(objective, BareMonomial(p, sign)), p, sign)

    def into(self, params: np.ndarray) -> np.ndarray:
        """(θ, u)."""
        n = self.objective.n_base
        a = params[:, n] * self.sign
        root = np.sign(a) * np.abs(a) ** (1 / self.p)
        return np.hstack([params[:, :n], root[:, None] * params[:, n + 1 :]])

    def back(
        self, points: np.ndarray, like: np.ndarray, G: np.ndarray, lam: np.ndarray
    ) -> np.ndarray:
        """(θ, a, w, b)."""
        n = self.objective.n_base
        size = unseen(np.abs(like[:, n]), G, lam, 2)
        grown = points[:, n:] / (size ** (1 / self.p))[:, None]
        return np.hstack([points[:, :n], self.sign * size[:, None], grown])


@dataclass(frozen=True, eq=False)
class BareOfLayers:
    """The limit problem of an arm with exponential neurons inside the layers."""

    objective: DataObjective
    whole: ExpLayers

    @classmethod
    def of(cls, objective: DataObjective) -> BareOfLayers:
        """For an `exp_per_layer` arm."""
        whole = objective.augmentation
        assert isinstance(whole, ExpLayers)
        bare = ExpLayers(whole.n_inputs, whole.widths, biased=False)
        return cls(without_penalty(objective, bare), whole)

    def into(self, params: np.ndarray) -> np.ndarray:
        """(θ, per layer w and w̃·e^b)."""
        parts, at = [params[:, : self.objective.n_base]], self.objective.n_base
        for w, leaving in self._sizes():
            b = params[:, at + w : at + w + 1]
            after = params[:, at + w + 1 : at + w + 1 + leaving]
            parts += [params[:, at : at + w], after * np.exp(b)]
            at += w + 1 + leaving
        return np.hstack(parts)

    def back(
        self, points: np.ndarray, like: np.ndarray, G: np.ndarray, lam: np.ndarray
    ) -> np.ndarray:
        """(θ, per layer w, b and w̃)."""
        parts, at = [points[:, : self.objective.n_base]], self.objective.n_base
        place, sizes = at, self._sizes()
        many = sum(leaving for _, leaving in sizes)
        for w, leaving in sizes:
            after = points[:, at + w : at + w + leaving]
            largest = np.abs(after).max(axis=1)
            before = np.abs(like[:, place + w + 1 : place + w + 1 + leaving]).max(axis=1)
            size = unseen(before, G, lam * many, 2 * len(sizes))
            shrink = np.where(largest > 0, size / np.where(largest > 0, largest, 1.0), 1.0)
            parts += [points[:, at : at + w], -np.log(shrink)[:, None], after * shrink[:, None]]
            at, place = at + w + leaving, place + w + 1 + leaving
        return np.hstack(parts)

    def _sizes(self) -> list[tuple[int, int]]:
        """Per layer how many weights enter its exponential neuron, and how many leave it."""
        fan_in = (self.whole.n_inputs, *self.whole.widths)
        leaving = (*(width + 1 for width in self.whole.widths[1:]), 1)
        return list(zip(fan_in, leaving, strict=False))


def unseen(before: np.ndarray, G: np.ndarray, lam: np.ndarray, power: int) -> np.ndarray:
    """Sizes (S,) up to `before` for which (λ/2)·size^power is not seen beside G; 1 for 0."""
    most = 2 * UNSEEN * np.maximum(G, UNSEEN) / np.where(lam > 0, lam, np.inf)
    most = np.where(lam > 0, most ** (1 / power), np.inf)
    return np.asarray(np.minimum(np.where(before > 0, before, 1.0), most))


def without_penalty(objective: DataObjective, added: Augmentation) -> DataObjective:
    """The same data, network and loss with another augmentation, without a regularizer."""
    return DataObjective(
        Data(objective.x.cpu().numpy(), objective.y.cpu().numpy()),
        objective.network,
        added,
        objective.loss,
        NoRegularizer(),
        objective.weight_decay,
        str(objective.device),
        objective.dtype,
    )


def base_objective(objective: DataObjective) -> DataObjective:
    """The objective of the base network alone."""
    return without_penalty(objective, NoAugmentation())


def pulls(objective: DataObjective, params: np.ndarray) -> np.ndarray:
    """∂ℓᵢ/∂f̃ᵢ of members (S, P), (S, N), a fixed number of lanes at a time."""
    parts = [np.zeros((0, objective.n_data))]
    with one_thread():
        for first in range(0, len(params), BLOCK):
            some = params[first : first + BLOCK]
            with torch.no_grad():
                full = objective.outputs(to_lanes(some, BLOCK, objective.x))[1]
            full.requires_grad_()
            (slope,) = torch.autograd.grad(objective.point_losses(full).sum(), full)
            parts.append(slope.cpu().numpy().T[: len(some)])
    return np.concatenate(parts)
