"""Fused training on a GPU: one CUDA thread per member, the whole loop inside one kernel.

The loop is that of `sweep.training.fused.members`, with one lane, on the machine of
`sweep.kernels.thread`. A kernel is compiled for one scheme *and one shape*: with every size known
the compiler unrolls the loops over layers and parameters, and members of small networks live in
registers alone. What does not fit there is the thread's local memory, which CUDA interleaves:
number p of neighbouring members lies side by side. Data sets that are small enough are copied to
shared memory.

A thread trains the members t, t + T, t + 2T, … of T threads, one after the other, so its lane does
not wait for its neighbours. Nothing is shared between members: the result of one does not depend on
the number of threads, its neighbours or its place.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda as numba_cuda
from numba import float64, int64, uint64
from numba.core.errors import NumbaPerformanceWarning

from sweep.errors import UserError
from sweep.formulas.binding import bind, specialise
from sweep.kernels import philox, thread
from sweep.training.base import STOPS, Ending, Stopping
from sweep.training.batches import BatchOrder
from sweep.training.fused.build import Machine, Scheme, loop
from sweep.training.fused.cpu import batch_keys
from sweep.training.fused.members import N_SCALARS, run
from sweep.training.fused.records import NO_STEP, Memory, Net, Points, Queue, Results, Rule, Tables
from sweep.training.fused.scheme import FusedParts

#: Threads of a block: few, so that a short queue still reaches every multiprocessor.
BLOCK = 64
#: Threads per multiprocessor up to which members get one each; registers rarely allow more.
RESIDENT = 512
#: Bytes of data up to which every block keeps a copy in shared memory (of at least 48 KiB).
SHARED_DATA = 16 * 1024

cuda: Any = numba_cuda  # half of its names are made at run time


class Shape(NamedTuple):
    """What a kernel is compiled for besides its scheme; sizes of arrays, and the network."""

    net: Net
    widths: tuple[int, ...]
    n_state: int
    n_lambda: int
    n_data: int


def shape_of(parts: FusedParts, n_lambda: int) -> Shape:
    """The shape of a configuration, with λ of so many numbers a member."""
    state, data = parts.tables(1).n_state, len(parts.points.batch)
    return Shape(parts.net, tuple(map(int, parts.widths)), state, n_lambda, data)


def device_function(function: Any) -> Any:
    """A function that kernels call."""
    return cuda.jit(device=True)(function)


def thread_machine(part: Callable[[Any], Any] = device_function) -> Machine:
    """`sweep.kernels.thread`, and the shuffling of mini-batches, as functions made by `part`."""
    compiled: list[Any] = [philox.high_product, philox.words, philox.shuffle]
    random = [function.py_func for function in compiled]
    names = {"LANES": thread.LANES, "TILE": thread.TILE}
    made = specialise([*thread.FUNCTIONS, *random], names, part)
    return Machine({**names, **made}, part, part)


def require_numba_cuda() -> None:
    """`UserError` unless numba sees a GPU."""
    if not cuda.is_available():
        raise UserError(
            "compute.device is 'cuda', but numba cannot use a GPU here: install sweep[gpu] "
            "(numba-cuda with NVIDIA's compiler libraries) and a driver, or take 'cpu'."
        )


def train_fused_cuda(
    parts: FusedParts,
    start: np.ndarray,
    lam: np.ndarray | None,
    stopping: Stopping,
    order: BatchOrder | None = None,
    grid: tuple[int, int] | None = None,
) -> Ending:
    """Train members from `start` (S, P), with λ (S, M), each until its own rule stops it.

    `grid`, (blocks, threads of a block), is for tests and measurements. Raises `UserError` where
    numba sees no GPU.
    """
    require_numba_cuda()
    members, n_params = len(start), parts.objective.n_params
    rule = Rule(int(stopping.max_steps), float(stopping.gradient), float(stopping.loss))
    tables, points = parts.tables(rule.max_steps), parts.points
    strengths = parts.strengths(lam, members)
    queue = Queue(
        np.ascontiguousarray(start, dtype=np.float64),
        strengths,
        np.full(members, float(parts.optimizer.lr)),
        batch_keys(parts, order, members),
    )
    results: Any = Results(
        cuda.device_array((members, n_params), np.float64),
        cuda.device_array(members, np.int64),
        cuda.device_array(members, np.int64),
    )
    kernel = trainer_cuda(parts.scheme, shape_of(parts, strengths.shape[1]))
    with warnings.catch_warnings():
        # That few members leave much of a GPU idle is known.
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        configured = kernel[grid or grid_for(members)]
    configured(
        Queue(*map(cuda.to_device, queue)),
        Points(*map(cuda.to_device, points)),
        Tables(tables.n_state, *map(cuda.to_device, tables[1:])),
        rule,
        results,
    )
    params, steps, stop = (array.copy_to_host() for array in results)
    return Ending(params, steps, np.array(STOPS, dtype=object)[stop])


def prepare_fused_cuda(parts: FusedParts) -> None:
    """Compile the kernel of the scheme and shape: one member takes no step."""
    batched = parts.optimizer.batch_size is not None
    lam = np.zeros((1, parts.objective.n_lambda)) if parts.objective.n_lambda else None
    start = np.zeros((1, parts.objective.n_params))
    train_fused_cuda(parts, start, lam, NO_STEP, BatchOrder(0, [0]) if batched else None)


def grid_for(members: int) -> tuple[int, int]:
    """(blocks, threads of a block) for so many members."""
    processors = cuda.get_current_device().MULTIPROCESSOR_COUNT
    blocks = min(-(-members // BLOCK), processors * RESIDENT // BLOCK)
    return max(1, blocks), BLOCK


@cache
def trainer_cuda(scheme: Scheme, shape: Shape) -> Any:
    """The kernel of a scheme and shape: arguments as `train_thread`."""
    digest = hashlib.sha256(repr(shape).encode()).hexdigest()[:16]
    names = {**sizes(shape), "run": loop(scheme, thread_machine())["run"]}
    return cuda.jit(bind(train_thread, names, f"{scheme.name}__{digest}"))


def sizes(shape: Shape) -> dict[str, Any]:
    """What `train_thread` calls by name."""
    net = shape.net
    n_data = net.n_points * (net.n_inputs + net.n_outputs + 1)

    def rows(count: int) -> tuple[int, int]:
        return max(1, count), 1

    return {
        "NET": net,
        "WIDTHS": shape.widths,
        "PARAMS": rows(net.n_params),
        "STATE": rows(shape.n_state * net.n_params),
        "LAMBDAS": rows(shape.n_lambda),
        "UNITS": rows(net.n_units),
        "ORDER": max(1, shape.n_data),
        "BATCH": rows(shape.n_data),
        "WEIGHTS": rows(net.n_points if shape.n_data else 0),
        "INPUTS": net.n_points * net.n_inputs,
        "POINTS": net.n_points,
        "LABELS": net.n_points * net.n_outputs,
        "SHARED": 8 * n_data <= SHARED_DATA,
    }


# Bound by `trainer_cuda`; these are the names alone.
NET = Net(0, 0, 0, 0, 0, 0, 0, 0.0, 0, 1, 0, 1)
WIDTHS: Any = (1,)
SCALARS = (N_SCALARS, 1)
PARAMS = STATE = LAMBDAS = UNITS = BATCH = WEIGHTS = (1, 1)
ORDER = INPUTS = LABELS = POINTS = 1
SHARED = False


def train_thread(
    queue: Queue, points: Points, tables: Tables, rule: Rule, results: Results
) -> None:
    """Train every T-th member of the queue, beginning with this thread's number."""
    first, every_other = cuda.grid(1), cuda.gridsize(1)
    x, y, weights = points.x, points.y, points.weights
    if SHARED:
        # One a line: numba's simulator tells shared arrays apart by their line.
        x = cuda.shared.array(INPUTS, float64)
        y = cuda.shared.array(LABELS, float64)
        weights = cuda.shared.array(POINTS, float64)
        for i in range(cuda.threadIdx.x, INPUTS, cuda.blockDim.x):
            x[i] = points.x[i]
        for i in range(cuda.threadIdx.x, LABELS, cuda.blockDim.x):
            y[i] = points.y[i]
        for i in range(cuda.threadIdx.x, POINTS, cuda.blockDim.x):
            weights[i] = points.weights[i]
        cuda.syncthreads()
    member, taken = cuda.local.array(1, int64), cuda.local.array(1, int64)
    member[0], taken[0] = -1, 0
    # Nothing in local memory begins as zero, and nobody writes the weights of padding.
    own = cuda.local.array(WEIGHTS, float64)
    for i in range(WEIGHTS[0]):
        own[i, 0] = 0.0
    memory = Memory(
        cuda.local.array(PARAMS, float64),
        cuda.local.array(PARAMS, float64),
        cuda.local.array(PARAMS, float64),
        cuda.local.array(STATE, float64),
        cuda.local.array(LAMBDAS, float64),
        cuda.local.array(SCALARS, float64),
        cuda.local.array(UNITS, float64),
        cuda.local.array(UNITS, float64),
        cuda.local.array(UNITS, float64),
        member,
        taken,
        cuda.local.array(ORDER, int64),
        cuda.local.array(1, uint64),
        cuda.local.array(BATCH, int64),
        own,
    )
    run(
        Queue(
            queue.start[first::every_other],
            queue.lam[first::every_other],
            queue.lr[first::every_other],
            queue.keys[first::every_other],
        ),
        Points(x, y, weights, points.batch, points.factor),
        WIDTHS,
        NET,
        tables,
        rule,
        Results(
            results.params[first::every_other],
            results.steps[first::every_other],
            results.stop[first::every_other],
        ),
        memory,
    )
