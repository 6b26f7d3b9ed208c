"""Regularizers with a strength λ: what an arm adds to the loss.

Axis letters as in `sweep.models.base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from sweep.errors import UserError
from sweep.models.base import Augmentation, Network
from sweep.models.losses import Loss
from sweep.models.strengths import StrengthBound
from sweep.problems.base import Data
from sweep.registry import Registry


class Regularizer(Protocol):
    """A non-negative function of the parameters, linear in λ ≥ 0.

    `penalises_base`: whether it acts on the base network's parameters. `bounded`: whether its
    theorem holds for λ below a bound that `strength_bound` computes.
    """

    penalises_base: ClassVar[bool]
    bounded: ClassVar[bool]

    def n_lambda(self, network: Network) -> int:
        """M: how many strengths a member has (0: no λ; 1; or one per neuron)."""
        ...

    def check(self, network: Network, augmentation: Augmentation) -> None:
        """`UserError` when the regularizer cannot serve this network and augmentation."""
        ...

    def value(
        self,
        lam: torch.Tensor | None,
        base: torch.Tensor,
        extra: torch.Tensor,
        network: Network,
        augmentation: Augmentation,
    ) -> torch.Tensor | None:
        """The regularizer: λ (M, S), base (P, S), extra (E, S) → (S,); None stands for zero."""
        ...

    def strength_bound(self, network: Network, data: Data, loss: Loss) -> StrengthBound | None:
        """λ₀ for this network, data and loss; None unless `bounded`.

        Raises `UserError` when the theorem does not speak about them.
        """
        ...


REGULARIZERS: Registry[Regularizer] = Registry("regularizer")


@REGULARIZERS.add("none")
@dataclass(frozen=True)
class NoRegularizer:
    """No regularizer, no λ."""

    penalises_base: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def n_lambda(self, network: Network) -> int:
        """0."""
        return 0

    def check(self, network: Network, augmentation: Augmentation) -> None:
        """Serves everything."""

    def value(
        self,
        lam: torch.Tensor | None,
        base: torch.Tensor,
        extra: torch.Tensor,
        network: Network,
        augmentation: Augmentation,
    ) -> torch.Tensor | None:
        """None."""
        return None

    def strength_bound(self, network: Network, data: Data, loss: Loss) -> StrengthBound | None:
        """None."""
        return None


@REGULARIZERS.add("augment")
@dataclass(frozen=True)
class Augment:
    """The augmentation's own regularizer; for `exp_skip` and `monomial` λa²/2, [A] eq. 4.

    For `exp_per_layer` eq. 6.
    """

    penalises_base: ClassVar[bool] = False
    bounded: ClassVar[bool] = False

    def n_lambda(self, network: Network) -> int:
        """1."""
        return 1

    def check(self, network: Network, augmentation: Augmentation) -> None:
        """Refuses an augmentation without a regularizer of its own."""
        if not augmentation.penalised:
            raise UserError(
                "regularizer 'augment' is given for an augmentation that has no regularizer of its "
                "own: use it with augment 'exp_skip', 'exp_per_layer' or 'monomial', or set "
                "regularizer 'none'."
            )

    def value(
        self,
        lam: torch.Tensor | None,
        base: torch.Tensor,
        extra: torch.Tensor,
        network: Network,
        augmentation: Augmentation,
    ) -> torch.Tensor | None:
        """λ times the augmentation's penalty, (S,)."""
        if lam is None:
            raise ValueError("regularizer 'augment' needs λ")
        return lam[0] * augmentation.penalty(extra)

    def strength_bound(self, network: Network, data: Data, loss: Loss) -> StrengthBound | None:
        """None."""
        return None
