"""Training by CUDA threads, without a GPU: as plain Python, in numba's simulator, and compiled.

A thread's loop runs as it stands, so every scheme is held to the torch trainer in plain Python; the
kernel around it runs in numba's simulator, in a process of its own, and must give the same bits on
any grid. Where NVIDIA's compiler is installed the kernel is compiled, too.
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training import trainer as trainers
from sweep.training.base import Ending, Standard
from sweep.training.batched import train_batched
from sweep.training.batches import BatchOrder
from sweep.training.fused import cpu
from sweep.training.fused.build import trainer
from sweep.training.fused.cuda import (
    require_numba_cuda,
    shape_of,
    thread_machine,
    train_fused_cuda,
    trainer_cuda,
)
from sweep.training.fused.scheme import FirstOrder, FusedParts, fused_parts
from sweep.training.optimizers import Adam, GradientDescent, Momentum
from sweep.verdicts import Stop

ROOT, MEMBERS = 4, 5


@dataclass(frozen=True)
class Case:
    optimizer: FirstOrder
    activation: str
    loss: Loss | VectorLoss
    augmentation: Augmenting
    width: int | tuple[int, ...] = 2
    outputs: int | None = None

    @property
    def objective(self) -> Objective:
        rng = np.random.default_rng(3)
        x, y = rng.normal(size=(7, 2)), np.sign(rng.normal(size=7))
        if self.outputs is not None:
            y = np.eye(self.outputs)[rng.integers(self.outputs, size=7)]
        data = Data(x, y)
        model = Mlp(self.width, Choice(self.activation), self.outputs or 1)
        regularizer = Augment() if self.augmentation.penalised else NoRegularizer()
        return build_objective(data, model, self.augmentation, self.loss, regularizer, 0.02)

    @property
    def parts(self) -> FusedParts:
        parts = fused_parts(self.objective, self.optimizer)
        assert parts is not None
        return parts

    def arguments(self, members: list[int] | None = None) -> tuple[Any, ...]:
        """Start and λ of these members, and their orders; all differ, one is not finite."""
        chosen = list(range(MEMBERS)) if members is None else members
        start = self.objective.initial(KaimingUniform(), ROOT, chosen)
        start[np.array(chosen) == 1] = np.nan
        start[np.array(chosen) == 2] *= 1e90
        lam = 0.1 + np.array(chosen, dtype=float)[:, None] if self.augmentation.penalised else None
        return start, lam, BatchOrder(ROOT, chosen)


def optimizers() -> list[FirstOrder]:
    found: list[FirstOrder] = []
    for size in (None, 3):
        found += [
            Adam(batch_size=size),
            Momentum(1e-3, batch_size=size),
            GradientDescent(0.01, size),
        ]
    return found


def name(case: Case) -> str:
    way = "batches" if case.optimizer.batch_size else "full"
    words = (case.optimizer, case.loss, case.augmentation)
    return "-".join([*(type(word).__name__.lower() for word in words), case.activation, way])


#: Every loss and optimizer meets each.
NETWORKS: list[tuple[str, Augmenting, int | tuple[int, ...]]] = [
    ("relu", NoAugmentation(), 2),
    ("tanh", NoAugmentation(), 2),
    ("relu", ExpSkip(), 2),
    ("tanh", Monomial(3), 2),
    ("relu", ExpPerLayer(), (2, 3)),
]
CASES = [
    Case(optimizer, activation, loss, augmentation, width)
    for optimizer, (activation, augmentation, width), loss in product(
        optimizers(), NETWORKS, (HingePower(), Logistic())
    )
]
CASES += [
    Case(optimizer, "tanh", CrossEntropy(), NoAugmentation(), (2, 3), outputs=3)
    for optimizer in optimizers()
]
# Machine code of these is needed by tests/training/test_fused_training.py as well.
SIMULATED = {
    "full": Case(Adam(), "relu", HingePower(), ExpSkip(), (3, 2)),
    "batches": Case(GradientDescent(1e-3, 5), "leaky_relu", Logistic(), ExpSkip()),
    "layers": Case(Adam(batch_size=5), "softplus", Logistic(), ExpPerLayer(), (3, 2)),
    "classes": Case(Momentum(1e-3, batch_size=5), "requ", CrossEntropy(), NoAugmentation(), 2, 3),
}
RULE = Standard(max_steps=6, gradient=1.0)
GRIDS = [(1, 1), (1, 3), (2, 2), (3, 4)]
BACKWARDS = list(range(MEMBERS))[::-1]


PYTHON = thread_machine(lambda function: function)


def in_python(case: Case, rule: Standard, members: list[int] | None = None) -> Ending:
    """What one thread computes, in plain Python."""
    start, lam, order = case.arguments(members)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(cpu, "trainer", partial(trainer, machine=PYTHON))
        return cpu.train_fused(case.parts, start, lam, rule, order)


def assert_same(a: Ending, b: Ending) -> None:
    assert np.array_equal(a.params, b.params, equal_nan=True)
    assert np.array_equal(a.steps, b.steps)
    assert a.stop.tolist() == b.stop.tolist()


def assert_close(a: Ending, b: Ending) -> None:
    assert np.array_equal(a.steps, b.steps)
    assert a.stop.tolist() == b.stop.tolist()
    # Rounding alone: functions within an ulp or two of each other, sums in another order.
    assert np.allclose(a.params, b.params, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_thread_trains_as_the_torch_trainer_does(case: Case) -> None:
    start, lam, order = case.arguments()
    rule = Standard(max_steps=20, gradient=0)
    with np.errstate(all="ignore"):
        expected = train_batched(case.objective, start, lam, case.optimizer, rule, order)
    assert Stop.OVERFLOW in expected.stop and Stop.STEPS in expected.stop
    assert_close(in_python(case, rule), expected)


def simulate(path: str) -> None:
    """Train the simulated cases on every grid; runs with NUMBA_ENABLE_CUDASIM=1."""
    from numba.cuda.simulator import kernelapi

    def dirty(self: Any, shape: Any, dtype: Any) -> Any:
        found = clean(self, shape, dtype)
        found.fill(123)  # on a GPU, too, nothing says what is in new local memory
        return found

    clean = kernelapi.FakeCUDALocal.array
    kernelapi.FakeCUDALocal.array = dirty
    found = {}
    for name, case in SIMULATED.items():
        for grid in GRIDS:
            start, lam, order = case.arguments()
            found[name, grid] = train_fused_cuda(case.parts, start, lam, RULE, order, grid)
        start, lam, order = case.arguments(BACKWARDS)
        found[name, "backwards"] = train_fused_cuda(case.parts, start, lam, RULE, order, (2, 2))
    Path(path).write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Ending]:
    path = tmp_path_factory.mktemp("cuda") / "endings"
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='here')['simulate']({str(path)!r})"
    # Integers overflow on purpose (Philox), members too: only in Python is that worth a warning.
    run = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", code]
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run(run, env=environment, check=True)
    found: dict[Any, Ending] = pickle.loads(path.read_bytes())
    return found


@pytest.mark.parametrize("name", SIMULATED)
def test_a_members_bits_depend_on_neither_grid_nor_order(
    simulated: dict[Any, Ending], name: str
) -> None:
    expected = in_python(SIMULATED[name], RULE)
    for grid in GRIDS:
        assert_same(simulated[name, grid], expected)
    turned = simulated[name, "backwards"]
    back = Ending(turned.params[::-1], turned.steps[::-1], turned.stop[::-1])
    assert_same(back, expected)


@pytest.mark.parametrize("name", SIMULATED)
def test_a_gpu_ends_where_the_cpu_does(simulated: dict[Any, Ending], name: str) -> None:
    case = SIMULATED[name]
    start, lam, order = case.arguments()
    expected = cpu.train_fused(case.parts, start, lam, RULE, order)
    assert {Stop.OVERFLOW, Stop.STEPS} <= set(expected.stop)
    assert_close(simulated[name, GRIDS[0]], expected)


@pytest.mark.parametrize(
    ("rule", "stop"),
    [
        (Standard(max_steps=9, gradient=1e9), Stop.GRADIENT),
        (Standard(max_steps=9, gradient=0, loss=1e9), Stop.LOSS),
        (Standard(max_steps=0, gradient=0), Stop.STEPS),
    ],
)
def test_every_rule_stops_a_thread(rule: Standard, stop: Stop) -> None:
    for case in SIMULATED.values():
        ending = in_python(case, rule, [0, 3, 4])
        assert ending.stop.tolist() == [stop] * 3
        assert ending.steps.tolist() == [0, 0, 0]
        assert np.array_equal(ending.params, case.arguments([0, 3, 4])[0])


def test_without_a_gpu_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = importlib.import_module("sweep.training.fused.cuda").cuda
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"numba cannot use a GPU here: install sweep\[gpu\]"):
        require_numba_cuda()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"install sweep\[gpu\]"):
        trainers.require_gpu()
    case = SIMULATED["full"]
    start, lam, order = case.arguments()
    # An objective that says it is on a GPU: never silently the other trainer.
    elsewhere = case.objective
    elsewhere.device = torch.device("cuda")
    with pytest.raises(UserError, match=r"install sweep\[gpu\]"):
        trainers.train(elsewhere, start, lam, case.optimizer, RULE, order)


def kernel_arguments() -> tuple[Any, ...]:
    """The types that a kernel is called with."""
    from numba import float64, int64, uint64
    from numba.core import types

    from sweep.training.fused import records

    def array(kind: Any, n: int = 1) -> Any:
        return types.Array(kind, n, "C")

    table, column, whole = array(float64, 2), array(float64), array(int64)
    return (
        types.NamedTuple([table, table, column, array(uint64, 2)], records.Queue),
        types.NamedTuple([column, column, column, whole, column], records.Points),
        types.NamedTuple([int64, column, column, column], records.Tables),
        types.NamedTuple([int64, float64, float64], records.Rule),
        types.NamedTuple([table, whole, whole], records.Results),
    )


@pytest.mark.parametrize("name", ["batches", "layers", "classes"])
def test_nvidias_compiler_takes_the_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from numba import cuda
    from numba.cuda.cudadrv import nvvm

    try:
        nvvm.NVVM()
    except (nvvm.NvvmSupportError, OSError):
        pytest.skip("NVIDIA's compiler is not installed")

    class Hopper:
        compute_capability = (9, 0)

    # Functions that a kernel calls are compiled for the GPU at hand; here is none.
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", Hopper)
    case = SIMULATED[name]
    kernel = trainer_cuda(case.parts.scheme, shape_of(case.parts, 1))
    text, _ = cuda.compile_ptx(kernel.py_func, kernel_arguments(), cc=(9, 0), device=False)
    # One kernel, nothing called: everything is inlined.
    assert text.count(".entry") == 1
    assert not re.search(r"\bcall\b", text)
    assert ".shared" in text
