"""Check the fused CUDA trainer on the GPU at hand, and measure it beside torch.func.vmap.

Prints one line per check and one per measurement; ends with status 1 if a check fails. Needs
sweep[gpu] and one free GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_peers import TORCH, Shape, adam, reference_shapes, value
from numba import cuda

import sweep.training  # noqa: F401  (fills the registries)
from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, Monomial, NoAugmentation
from sweep.models.base import Augmenting
from sweep.models.initialisers import KaimingUniform
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import CrossEntropy, HingePower, Logistic, Loss, VectorLoss
from sweep.models.mlp import Mlp
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.training.base import Ending, Standard
from sweep.training.batches import BatchOrder
from sweep.training.fused.cpu import train_fused
from sweep.training.fused.cuda import train_fused_cuda
from sweep.training.fused.scheme import FusedParts, fused_parts
from sweep.training.optimizers import Adam, GradientDescent, Momentum
from sweep.training.trainer import require_gpu

CHECKED, CHECKED_STEPS = 300, 20
VMAP_STEPS = 50  # a step of vmap costs the same throughout


def objective(activation: str, added: Augmenting, loss: Loss | VectorLoss) -> Objective:
    if isinstance(loss, CrossEntropy):
        classes = PROBLEMS.build(Choice("clouds")).load()
        model = Mlp(4, Choice(activation), 3)
        return build_objective(classes, model, added, loss, NoRegularizer())
    return build_objective(
        PROBLEMS.build(Choice("two_moons")).load(),
        Mlp(4, Choice(activation)),
        added,
        loss,
        Augment() if added.penalised else NoRegularizer(),
    )


def fused(target: Objective, optimizer: Any) -> FusedParts:
    parts = fused_parts(target, optimizer)
    assert parts is not None
    return parts


def same(a: Ending, b: Ending) -> bool:
    return (
        np.array_equal(a.params, b.params)
        and np.array_equal(a.steps, b.steps)
        and a.stop.tolist() == b.stop.tolist()
    )


def check_one(parts: FusedParts) -> tuple[float, bool]:
    """How far the GPU ends from the CPU, and whether grid and order leave its bits alone."""
    target, rule = parts.objective, Standard(max_steps=CHECKED_STEPS, gradient=0)
    start = target.initial(KaimingUniform(), 0, range(CHECKED))
    lam = np.full((CHECKED, 1), 0.1) if target.n_lambda else None
    order = BatchOrder(0, list(range(CHECKED)))
    found = train_fused_cuda(parts, start, lam, rule, order)
    other = train_fused_cuda(parts, start, lam, rule, order, grid=(3, 32))
    backwards = BatchOrder(0, list(range(CHECKED))[::-1])
    turned = train_fused_cuda(parts, start[::-1], lam, rule, backwards)
    back = Ending(turned.params[::-1], turned.steps[::-1], turned.stop[::-1])
    expected = train_fused(parts, start, lam, rule, order)
    gap = float(np.abs(found.params - expected.params).max())
    return gap, same(found, other) and same(found, back)


def check() -> bool:
    """Whether all configurations end where the CPU does, whatever grid and order."""
    passed = True
    networks: list[tuple[str, Augmenting]] = [
        ("relu", NoAugmentation()),
        ("tanh", NoAugmentation()),
        ("relu", ExpSkip()),
        ("tanh", Monomial(3)),
        ("softplus", ExpPerLayer()),
    ]
    makers = (Adam, Momentum, GradientDescent)
    losses: tuple[Loss | VectorLoss, ...] = (HingePower(), Logistic(), CrossEntropy())
    for (activation, added), loss, maker, size in product(networks, losses, makers, (None, 16)):
        if isinstance(loss, CrossEntropy) and not isinstance(added, NoAugmentation):
            continue  # nothing is added to a network with several outputs
        parts = fused(objective(activation, added, loss), maker(lr=1e-3, batch_size=size))
        gap, alike = check_one(parts)
        good = gap < 1e-12 and alike
        passed &= good
        print(
            f"{'ok' if good else 'FAILED':7}{parts.scheme.name.strip('_')}: "
            f"CPU - GPU {gap:.1e}, bits {'alike' if alike else 'DIFFER'}",
            flush=True,
        )
    return passed


def best(action: Callable[[], Any], repeats: int = 3) -> float:
    """The least wall time of some runs, in seconds; the first, which compiles, does not count."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def vmapped(shape: Shape, members: int) -> float:
    """Seconds for some Adam steps of torch.func.vmap, eager, on the GPU."""
    data = shape.data
    x, y = torch.as_tensor(data.x).cuda(), torch.as_tensor(data.y, dtype=torch.float64).cuda()
    start = torch.as_tensor(shape.members(members)[0]).cuda()
    gradient = torch.func.vmap(torch.func.grad(lambda theta: value(theta, x, y, shape, TORCH)))

    def train() -> None:
        theta, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
        for t in range(1, VMAP_STEPS + 1):
            theta, m, v = adam(theta, gradient(theta), m, v, t)
        torch.cuda.synchronize()

    return best(train)


def dgemm() -> float:
    """The GPU's DGEMM rate in GFLOP/s, tensor cores and all."""
    n = 8192
    a = torch.rand(n, n, device="cuda", dtype=torch.float64)

    def multiply() -> None:
        _ = a @ a
        torch.cuda.synchronize()

    return 2e-9 * n**3 / best(multiply)


def rates(shape: Shape, members: int, steps: int) -> dict[str, float]:
    """Million seed-steps per second of both ways; vmap's is 0 where memory does not suffice."""
    start, lam = shape.members(members)
    parts = fused(shape.objective, Adam())
    rule = Standard(max_steps=steps, gradient=0, loss=-1)
    ours = best(lambda: train_fused_cuda(parts, start, lam, rule))
    try:
        theirs = members * VMAP_STEPS / vmapped(shape, members) / 1e6
    except torch.cuda.OutOfMemoryError:
        theirs = 0.0
    return {"fused": members * steps / ours / 1e6, "vmap": theirs}


def measure(sizes: list[int], steps: int) -> dict[str, Any]:
    """The rates of every shape and number of members, and their ratios at the best number."""
    peak = dgemm()
    print(f"DGEMM {peak:.0f} GFLOP/s; million seed-steps per second, fused and vmap:")
    table: dict[str, Any] = {"dgemm_gflops": peak, "shapes": {}}
    for shape in reference_shapes():
        found = {}
        for members in sizes:
            found[members] = rates(shape, members, steps)
            ours, theirs = found[members].values()
            print(f"{shape.name:10}{members:10}{ours:12.2f}{theirs:12.3f}", flush=True)
        top = max(rate["fused"] for rate in found.values())
        ratio = top / max(rate["vmap"] for rate in found.values())
        share = top * 1e-3 * shape.flops / peak
        print(f"{shape.name}: {ratio:.1f} × vmap at its best, {share:.0%} of DGEMM")
        table["shapes"][shape.name] = {"rates": found, "ratio": ratio, "share_of_dgemm": share}
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [1 << power for power in (10, 14, 16, 18)]
    parser.add_argument("--members", type=int, nargs="+", default=sizes)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="where the measurements go as well")
    chosen = parser.parse_args()
    try:
        require_gpu()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, numba.cuda: {cuda.implementation}")
    passed = check()
    table = measure(chosen.members, chosen.steps)
    if chosen.json:
        chosen.json.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
