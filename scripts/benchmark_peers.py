"""What the fused trainer is measured against: the same networks, trained by general tools.

Every contender trains the same members by full-batch Adam on the same objective in float64. The
peers' objective is written here once more, for one network, in the way each tool wants it; before
anything is timed it must agree with the program's own.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.func import grad_and_value, vmap

from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.base import Standard
from sweep.training.batched import train_batched
from sweep.training.fused.cpu import train_fused
from sweep.training.fused.scheme import fused_parts
from sweep.training.optimizers import Adam

RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.999, 1e-8
LAMBDA = 0.1
CHUNK = 100  # steps of one compiled JAX scan
MOST_NUMBERS = 3e7  # activations that a batch of a peer may hold: 240 MB
SIZES = (32, 128, 512, 2048, 8192)

#: Trains members for that many steps each; how many seed-steps that were.
Train = Callable[[int], int]


@dataclass(frozen=True)
class Shape:
    """A network on a problem. `added`: with the exponential neuron and λa²/2."""

    name: str
    problem: Choice
    widths: tuple[int, ...]
    activation: str = "relu"
    added: bool = False

    @property
    def data(self) -> Data:
        found = PROBLEMS.build(self.problem).load()
        assert isinstance(found, Data)
        return found

    @property
    def objective(self) -> DataObjective:
        found = build_objective(
            self.data,
            Mlp(self.widths, Choice(self.activation)),
            ExpSkip() if self.added else NoAugmentation(),
            HingePower(),
            Augment() if self.added else NoRegularizer(),
        )
        assert isinstance(found, DataObjective)
        return found

    @property
    def flops(self) -> int:
        """Arithmetic of one seed-step.

        A product with a weight is a multiplication and an addition per point: once forward, once
        for the weight's gradient, once for the input's gradient (not in the first layer). A bias
        costs an addition forward and one backward, the loss 5 operations per point, Adam 12 per
        parameter. Activations, exp and tanh among them, count nothing.
        """
        n, d = self.data.x.shape
        first = d * self.widths[0] + (d if self.added else 0)
        fan_ins = [*self.widths]
        outs = [*self.widths[1:], 1]
        later = sum(i * o for i, o in zip(fan_ins, outs, strict=True)) + int(self.added)
        biases = sum(self.widths) + 1 + int(self.added)
        return n * (4 * first + 6 * later + 2 * biases + 5) + 12 * (first + later + biases)

    def members(self, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Starting points (S, P), and λ (S, 1) where there is one."""
        start = self.objective.initial(KaimingUniform(), 0, range(count))
        return start, np.full((count, 1), LAMBDA) if self.added else None


def reference_shapes() -> list[Shape]:
    moons = Choice("two_moons", {"n": 40})
    shapes = [
        Shape("relu", moons, (4,)),
        Shape("tanh", moons, (4,), "tanh"),
        Shape("exp_skip", moons, (4,), added=True),
        Shape("deep", Choice("random_labels", {"n": 100, "d": 4}), (8, 8)),
        Shape("wide", Choice("breast_cancer"), (16,)),
    ]
    if "requ" in ACTIVATIONS.names():
        shapes.append(Shape("requ", moons, (4,), "requ"))
    return shapes


@dataclass(frozen=True)
class Contender:
    """A way to train. `begin(shape, members, threads)` comes back ready to be timed."""

    name: str
    begin: Callable[[Shape, int, int], Train]
    fixed_members: int | None = None
    fixed_threads: bool = False  # always all of them

    def options(self, shape: Shape, threads: int) -> list[tuple[int, int]]:
        """Members side by side and threads, of which the fastest is taken."""
        per_member = len(shape.data.y) * sum(shape.widths)
        sizes = [size for size in SIZES if size * per_member <= MOST_NUMBERS][-3:]
        if self.fixed_members is not None:
            sizes = [self.fixed_members]
        counts = [threads] if self.fixed_threads else sorted({1, threads})
        return [(size, count) for size in sizes for count in counts]


# The program's own trainers -----------------------------------------------------------------


def never(steps: int) -> Standard:
    """No rule but the number of steps; only members without any gradient leave early."""
    return Standard(steps, gradient=0.0, loss=-1.0)


def begin_fused(shape: Shape, members: int, threads: int) -> Train:
    parts = fused_parts(shape.objective, Adam(RATE))
    if parts is None:
        raise SystemExit(f"the fused trainer does not serve the shape '{shape.name}'")
    start, lam = shape.members(members)
    pieces = np.array_split(np.arange(members), threads)
    pool = ThreadPoolExecutor(threads)

    def share(piece: np.ndarray, steps: int) -> int:
        strengths = None if lam is None else lam[piece]
        return int(train_fused(parts, start[piece], strengths, never(steps)).steps.sum())

    return lambda steps: sum(pool.map(share, pieces, [steps] * threads))


def begin_sweep_torch(shape: Shape, members: int, threads: int) -> Train:
    torch.set_num_threads(threads)
    objective, (start, lam) = shape.objective, shape.members(members)

    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        return int(train_batched(objective, start, lam, Adam(RATE), never(steps)).steps.sum())

    return train


# General tools ------------------------------------------------------------------------------


def value(theta: Any, x: Any, y: Any, shape: Shape, tool: Any) -> Any:
    """F of one network θ (P,) in the operations of `tool`."""
    h, at = x, 0
    for width in shape.widths:
        fan_in = h.shape[1]
        weight = theta[at : at + width * fan_in].reshape(width, fan_in)
        at += width * fan_in
        h = getattr(tool, shape.activation)(h @ weight.T + theta[at : at + width])
        at += width
    f = h @ theta[at : at + h.shape[1]] + theta[at + h.shape[1]]
    at += h.shape[1] + 1
    penalty = 0.0
    if shape.added:
        f = f + theta[at] * tool.exp(x @ theta[at + 1 : -1] + theta[-1])
        penalty = LAMBDA / 2 * theta[at] ** 2
    return (tool.relu(1 - y * f) ** 3).sum() + penalty


TORCH = SimpleNamespace(
    relu=torch.relu, tanh=torch.tanh, exp=torch.exp, requ=lambda z: torch.relu(z) ** 2
)


def adam(theta: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
    """One update, t = 1, 2, …, in any tool."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    spread = (v / (1 - BETA2**t)) ** 0.5 + EPSILON
    return theta - RATE * (m / (1 - BETA1**t)) / spread, m, v


def _on_torch(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    data = shape.data
    return torch.as_tensor(data.x), torch.as_tensor(data.y, dtype=torch.float64)


def begin_autograd(shape: Shape, members: int, threads: int) -> Train:
    """One network, one optimizer, one backward pass a step: what most studies do."""
    x, y = _on_torch(shape)
    first = torch.as_tensor(shape.members(1)[0][0])

    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        theta = first.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([theta], RATE, (BETA1, BETA2), EPSILON)
        for _ in range(steps):
            optimizer.zero_grad()
            value(theta, x, y, shape, TORCH).backward()
            optimizer.step()
        return steps

    return train


def _vmapped(compiling: bool) -> Callable[[Shape, int, int], Train]:
    def begin(shape: Shape, members: int, threads: int) -> Train:
        x, y = _on_torch(shape)
        start = torch.as_tensor(shape.members(members)[0])
        gradient = vmap(grad_and_value(lambda theta: value(theta, x, y, shape, TORCH)))

        def step(theta: Any, m: Any, v: Any, t: torch.Tensor) -> tuple[Any, Any, Any]:
            return adam(theta, gradient(theta)[0], m, v, t)

        if compiling:
            torch._dynamo.reset()
        run = torch.compile(step, dynamic=False) if compiling else step
        counted = torch.arange(1, 1_000_001, dtype=torch.float64)

        def train(steps: int) -> int:
            torch.set_num_threads(threads)
            theta, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
            with torch.no_grad():
                for t in range(steps):
                    theta, m, v = run(theta, m, v, counted[t])
            return steps * members

        return train

    return begin


def begin_jax(shape: Shape, members: int, threads: int) -> Train:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    tool = SimpleNamespace(
        relu=jax.nn.relu, tanh=jnp.tanh, exp=jnp.exp, requ=lambda z: jax.nn.relu(z) ** 2
    )
    data, gradient = shape.data, jax.grad(value)
    x, y = jnp.asarray(data.x), jnp.asarray(data.y, dtype=jnp.float64)

    def step(state: Any, _: None) -> tuple[Any, None]:
        theta, m, v, t = state
        return (*adam(theta, gradient(theta, x, y, shape, tool), m, v, t), t + 1), None

    def chunk(theta: Any, m: Any, v: Any, t: Any) -> Any:
        return jax.lax.scan(step, (theta, m, v, t), None, length=CHUNK)[0]

    run, start = jax.jit(jax.vmap(chunk)), jnp.asarray(shape.members(members)[0])

    def train(steps: int) -> int:
        state = (start, jnp.zeros_like(start), jnp.zeros_like(start), jnp.ones(members))
        chunks = max(1, steps // CHUNK)
        for _ in range(chunks):
            state = run(*state)
        jax.block_until_ready(state)
        return chunks * CHUNK * members

    return train


def contenders() -> list[Contender]:
    """The fused trainer first, then every peer that is installed here."""
    found = [
        Contender("fused", begin_fused),
        Contender("sweep torch", begin_sweep_torch),
        Contender("autograd", begin_autograd, fixed_members=1),
        Contender("vmap eager", _vmapped(False)),
    ]
    if shutil.which("g++") or shutil.which("clang++"):
        found.append(Contender("vmap compiled", _vmapped(True), 2048, fixed_threads=True))
    if importlib.util.find_spec("jax"):
        # XLA always uses the threads of the process's processors.
        found.append(Contender("jax scan", begin_jax, fixed_threads=True))
    return found


def check_agreement(shapes: Sequence[Shape]) -> None:
    """The peers' objective is the program's own, at many points, or nothing is worth timing."""
    for shape in shapes:
        (start, lam), (x, y) = shape.members(64), _on_torch(shape)
        own = shape.objective.measure(start, lam).objective
        theirs = [float(value(torch.as_tensor(theta), x, y, shape, TORCH)) for theta in start]
        np.testing.assert_allclose(theirs, own, rtol=1e-10)
