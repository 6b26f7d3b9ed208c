"""The batched trainer against one network at a time: torch.nn and torch.optim, no lanes.

The twin shares nothing with the trainer but the documented formulas: its own forward pass by
matrix products, torch's own optimizers, its own order of the mini-batches.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.models.activations import Softplus
from sweep.models.augmentations import ExpSkip
from sweep.models.initialisers import KaimingUniform
from sweep.models.lanes import one_thread
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import Augment
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.training.base import Optimizer, Standard
from sweep.training.batched import train_batched as train
from sweep.training.batches import BatchOrder
from sweep.training.optimizers import Adam, GradientDescent, Momentum

STEPS, SEEDS, DECAY, ROOT = 100, (4, 9, 11), 0.05, 2
RNG = np.random.default_rng(8)
DATA = Data(RNG.normal(size=(22, 3)), np.sign(RNG.normal(size=22)))
LAM = np.array([[0.1], [0.5], [0.9]])
WIDTHS = (4, 3)


class Twin(torch.nn.Module):
    """One network with an exponential neuron; parameters in the documented order."""

    def __init__(self, theta: np.ndarray) -> None:
        super().__init__()
        shapes = [(4, 3), (4,), (3, 4), (3,), (1, 3), (1,), (), (3,), ()]
        sizes = [int(np.prod(shape)) for shape in shapes]
        parts = torch.split(torch.tensor(theta), sizes)
        self.parts = torch.nn.ParameterList(
            [torch.nn.Parameter(p.reshape(s)) for p, s in zip(parts, shapes, strict=True)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f̃, (N,)."""
        w1, b1, w2, b2, v, c, a, w, b = self.parts
        hidden = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2)
        return (hidden @ v.T + c)[:, 0] + a * torch.exp(x @ w + b)

    def flat(self) -> np.ndarray:
        """θ̃ in the documented order."""
        return torch.cat([p.detach().reshape(-1) for p in self.parts]).numpy()


def shuffled(n: int, words: np.random.BitGenerator) -> list[int]:
    """Fisher and Yates from the top, a word modulo i a swap; whole blocks of four words."""
    order = list(range(n))
    swaps = range(n - 1, 0, -1)
    blocks_of_four = -(-len(swaps) // 4)
    drawn = [int(word) for word in words.random_raw(4 * blocks_of_four)]
    for i, word in zip(swaps, drawn, strict=False):
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def twin_path(start: np.ndarray, lam: float, seed: int, optimizer: Optimizer) -> np.ndarray:
    """θ̃ after 0, 1, …, STEPS updates, (STEPS+1, P)."""
    net = Twin(start)
    x, y = torch.tensor(DATA.x), torch.tensor(DATA.y)
    steps: torch.optim.Optimizer
    match optimizer:
        case Momentum():
            steps = torch.optim.SGD(net.parameters(), optimizer.lr, optimizer.momentum)
        case Adam():
            betas = (optimizer.beta1, optimizer.beta2)
            steps = torch.optim.Adam(net.parameters(), optimizer.lr, betas, optimizer.eps)
        case GradientDescent():
            steps = torch.optim.SGD(net.parameters(), optimizer.lr)
    words = stream("batches", ROOT, seed).bit_generator
    waiting: list[list[int]] = []
    path = [net.flat()]
    for _ in range(STEPS):
        chosen = np.arange(len(y))
        if optimizer.batch_size is not None:
            if not waiting:
                order = shuffled(len(y), words)
                size = optimizer.batch_size
                waiting = [order[i : i + size] for i in range(0, len(y), size)]
            chosen = waiting.pop(0)
        losses = torch.relu(1 - y[chosen] * net(x[chosen])) ** 3
        penalty = lam * net.parts[6] ** 2 / 2
        decay = DECAY / 2 * sum((p**2).sum() for p in list(net.parts)[:6])
        steps.zero_grad()
        (losses.sum() * len(y) / len(chosen) + penalty + decay).backward()
        steps.step()
        path.append(net.flat())
    return np.array(path)


@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("kind", [GradientDescent, Momentum, Adam])
def test_the_first_hundred_steps_agree(
    kind: type[GradientDescent | Momentum | Adam],
    batch_size: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer = kind(lr=5e-4, batch_size=batch_size)
    objective = build_objective(
        DATA, Mlp(WIDTHS, Choice("tanh")), ExpSkip(), HingePower(), Augment(), DECAY
    )
    start = objective.initial(KaimingUniform(), ROOT, SEEDS)
    visited: list[np.ndarray] = []
    evaluate = objective.value_and_grad

    def watch(
        theta: torch.Tensor, lam: torch.Tensor | None, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if batch_size is None or weights is not None:
            visited.append(theta.numpy().T[:3].copy())
        return evaluate(theta, lam, weights)

    monkeypatch.setattr(objective, "value_and_grad", watch)
    rule = Standard(max_steps=STEPS, gradient=0)
    found = train(objective, start, LAM, optimizer, rule, BatchOrder(ROOT, SEEDS))
    assert found.steps.tolist() == [STEPS] * 3
    path = np.array([*visited[:STEPS], found.params])
    for s, seed in enumerate(SEEDS):
        with one_thread():
            expected = twin_path(start[s], LAM[s, 0], seed, optimizer)
        np.testing.assert_allclose(path[:, s], expected, rtol=1e-12, atol=1e-14)


def test_softplus_is_torchs_own_up_to_its_threshold() -> None:
    z = torch.linspace(-40, 19, 200, dtype=torch.float64)
    torch.testing.assert_close(Softplus()(z), torch.nn.functional.softplus(z), rtol=0, atol=0)
