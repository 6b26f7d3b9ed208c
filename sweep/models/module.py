"""A user's own torch.nn.Module, offered by an installed package.

The package declares a factory under the entry-point group `sweep.models`:

    [project.entry-points."sweep.models"]
    my_net = "my_package.nets:build"

`build(n_inputs)` returns a module that maps (N, D) to (N, 1) or (N,). The flat parameter vector is
the module's `named_parameters()` in order, each row by row. The module runs in evaluation mode.
Axis letters as in `sweep.models.base`.

All members run in one vmap if the module uses nothing but linear layers and elementwise functions:
then `linear` is replaced by a product and a sum, and a member's bits are its own. Any other module
(convolutions, attention, matrix products of its own) runs one member after the other: slow, but
just as reproducible.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from sweep.errors import UserError, unknown
from sweep.models.activations import Activation
from sweep.models.base import MODELS, Piece

GROUP = "sweep.models"
# Functions whose result for one member cannot depend on where it stands in a vmap.
# fmt: off
_MOVABLE = frozenset({
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "elu",
    "selu", "celu", "mish", "hardtanh", "relu6", "softsign", "exp", "log", "sin", "cos",
    "square", "sqrt", "pow", "abs", "clamp", "maximum", "minimum", "where", "add", "sub",
    "mul", "div", "neg", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__",
    "__truediv__", "__pow__", "__neg__", "__get__", "__getitem__", "reshape", "view",
    "flatten", "squeeze", "unsqueeze", "cat", "stack", "dropout", "size", "dim",
})
# fmt: on


class _Recorder(TorchFunctionMode):
    """Notes the names of the torch functions a module calls."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function's own result."""
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


class _StableLinear(TorchFunctionMode):
    """Replaces `linear` by a product and a sum per output: no matrix product, see `lanes`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The stable form of `linear`; every other function as it is."""
        if func is torch.nn.functional.linear:
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    product = (input.unsqueeze(-2) * weight).sum(-1)
    return product if bias is None else product + bias


@dataclass(frozen=True, eq=False)
class ModuleNetwork:
    """A module with its parameters taken out: widths and activation are unknown."""

    module: torch.nn.Module
    n_inputs: int
    widths: tuple[int, ...] = ()
    activation: Activation | None = None

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """One piece per named parameter."""
        named = {name: tuple(p.shape) for name, p in self.module.named_parameters()}
        return tuple(_piece(name, shape, named) for name, shape in named.items())

    @cached_property
    def n_params(self) -> int:
        """P."""
        return sum(piece.size for piece in self.pieces)

    @cached_property
    def movable(self) -> bool:
        """Whether a member's bits survive a vmap: nothing but linear and elementwise functions."""
        x = torch.zeros(2, self.n_inputs, dtype=_dtype(self.module))
        with torch.no_grad(), _Recorder() as recorder:
            self.module(x)
        called: set[str] = recorder.names
        return called <= _MOVABLE

    @property
    def fixed_lanes(self) -> bool:
        """True for a vmap, whose choice of strides, and so of torch's loops, is not ours."""
        return self.movable

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f: (P, S), (N, D) → (N, S)."""
        if self.movable:
            with _StableLinear():
                found: torch.Tensor = vmap(self._one, in_dims=(1, None), out_dims=1)(theta, x)
            return found
        # .contiguous(): every member's parameters lie equally aligned.
        members = [self._one(theta[:, s].contiguous(), x) for s in range(theta.shape[1])]
        return torch.stack(members, dim=1)

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
        """None: a module's hidden units are unknown."""
        return None

    def _one(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(theta, [piece.size for piece in self.pieces])
        named = {
            piece.name: part.reshape(piece.shape)
            for piece, part in zip(self.pieces, parts, strict=True)
        }
        output: torch.Tensor = functional_call(self.module, named, (x,))
        return output.reshape(x.shape[0])


@MODELS.add("module")
@dataclass(frozen=True)
class Module:
    """The module that an installed package's factory builds for the data's input dimension."""

    factory: str

    def network(self, n_inputs: int) -> ModuleNetwork:
        """The network; `UserError` for an unknown factory or a module that cannot serve."""
        where = f"model.factory '{self.factory}'"
        try:
            built = _entry_point(self.factory).load()(n_inputs)
        except UserError:
            raise
        except Exception as error:  # the package is the user's: whatever it raises is for them
            raise UserError(
                f"{where} cannot be built ({type(error).__name__}: {error}): a function of the "
                "number of inputs that returns a torch.nn.Module is needed."
            ) from error
        if not isinstance(built, torch.nn.Module):
            raise UserError(
                f"{where} returned {type(built).__name__}: a torch.nn.Module is needed."
            )
        buffers = [name for name, _ in built.named_buffers()]
        if buffers:
            raise UserError(
                f"{where} has buffers ({', '.join(buffers)}): only modules whose state is their "
                "parameters are accepted, so replace layers such as BatchNorm."
            )
        if not any(True for _ in built.parameters()):
            raise UserError(f"{where} has no parameters: a module that can be trained is needed.")
        built.eval()
        with torch.no_grad():
            shape = _output_shape(built, n_inputs, where)
        if shape not in ((2,), (2, 1)):
            raise UserError(f"{where} maps (2, {n_inputs}) to {shape}: (2, 1) or (2,) is accepted.")
        return ModuleNetwork(built, n_inputs)


def _output_shape(module: torch.nn.Module, n_inputs: int, where: str) -> tuple[int, ...]:
    try:
        return tuple(module(torch.zeros(2, n_inputs, dtype=_dtype(module))).shape)
    except Exception as error:  # see above
        raise UserError(
            f"{where} does not map (2, {n_inputs}) to (2, 1) ({type(error).__name__}: {error})."
        ) from error


def source_identity(factory: str) -> dict[str, str]:
    """Distribution, version and SHA-256 of the Python sources behind a factory.

    Covers all .py files of the factory's top-level package, or its single file. Belongs into the
    study's identity: other code is another study.
    """
    found = _entry_point(factory)
    root = importlib.import_module(found.module.partition(".")[0])
    # A package without __init__.py has folders only.
    folders = [Path(place) for place in getattr(root, "__path__", ())]
    folder = folders[0] if folders else Path(inspect.getfile(root)).parent
    files = sorted(folder.rglob("*.py")) if folders else [Path(inspect.getfile(root))]
    digest = hashlib.sha256()
    for source in files:
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    name, version = ("", "") if found.dist is None else (found.dist.name, found.dist.version)
    return {"package": name, "version": version, "source": digest.hexdigest()}


def _entry_point(factory: str) -> metadata.EntryPoint:
    offered = metadata.entry_points(group=GROUP)
    found = [point for point in offered if point.name == factory]
    if not offered:
        raise UserError(
            f"model.factory '{factory}' is unknown: no installed package offers a factory under "
            f"the entry-point group '{GROUP}'."
        )
    if not found:
        raise unknown("model.factory", factory, offered.names)
    if len(found) > 1:
        packages = ", ".join(sorted(str(point.value) for point in found))
        raise UserError(f"model.factory '{factory}' is offered more than once: {packages}.")
    return found[0]


def _dtype(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _piece(name: str, shape: tuple[int, ...], named: Mapping[str, tuple[int, ...]]) -> Piece:
    """A parameter's piece: weights have two axes or more, a one-axis weight is a gain."""
    owner, _, leaf = name.rpartition(".")
    weight = named.get(f"{owner}.weight" if owner else "weight", shape)
    fan_in = max(1, math.prod((weight if len(shape) < 2 else shape)[1:]))
    if len(shape) >= 2:
        return Piece(name, shape, fan_in, "weight")
    return Piece(name, shape, fan_in, "gain" if leaf == "weight" else "bias")
