"""From a scheme, the names of its formulas, to compiled training.

`program` and `members` are written for any machine; here their functions are copied with the names
of one machine and one scheme bound to them, and compiled. The finished trainers carry the scheme in
their name, under which numba keeps their machine code on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from numba import njit

from sweep.formulas.activations import EXPONENTIAL, ActivationFormula, monomial_formula
from sweep.formulas.binding import Names, Settings, bind, settle, specialise, word
from sweep.formulas.losses import LossFormula, OutputsFormula
from sweep.kernels import elementary, memory, plain, vectors
from sweep.kernels.compiled import compiled
from sweep.training.fused import layered, members, network, outputs, program
from sweep.training.fused.mini_batches import BATCHED
from sweep.training.fused.records import Net
from sweep.training.fused.updates import OPTIMIZERS

MEMORY = "load store load_tile store_tile points"
ARITHMETIC = "lanes tile total dot fma sqrt absolute where every"
PRIMITIVES = "exp tanh sigmoid softplus positive_part power"

# By whether a formula's slope can be told from its output.
KEEPING = {
    True: (network.keep_nothing, network.recall_output),
    False: (network.keep_tile, network.recall_tile),
}

Neuron = Literal["none", "exp", "monomial", "own", "layers"]

ADDED: dict[Neuron, Callable[[Net], int]] = {
    "none": network.none_added,
    "exp": network.one_added,
    "monomial": network.one_added,
    "own": network.many_added,
    "layers": network.none_added,
}


@dataclass(frozen=True)
class Scheme:
    """What must be compiled anew: formulas with their constants, the optimizer, mini-batches.

    `neuron`: what is added to the network: 'none'; 'exp'; 'monomial', whose degree is its setting;
    'own' for neurons of the network's kind; 'layers' for an exponential one in every layer. A
    network with several outputs is one whose loss is an `OutputsFormula`; nothing is added to it.
    """

    activation: ActivationFormula
    activation_settings: Settings
    loss: LossFormula | OutputsFormula
    loss_settings: Settings
    neuron: Neuron
    neuron_settings: Settings
    optimizer: str
    batched: bool

    @property
    def name(self) -> str:
        """A word that tells schemes apart, fit for a function's name."""
        return word(
            self.activation.value,
            *self.activation_settings,
            self.loss.value,
            *self.loss_settings,
            self.neuron,
            *self.neuron_settings,
            self.optimizer,
            "batched" if self.batched else "full",
        )

    @property
    def neuron_formula(self) -> tuple[ActivationFormula, Settings]:
        """σ of the added neurons; of an idle one where none is added."""
        if self.neuron == "own":
            return self.activation, self.activation_settings
        if self.neuron == "monomial":
            return monomial_formula(int(*self.neuron_settings))
        return EXPONENTIAL, ()

    @property
    def network(self) -> Sequence[Callable[..., Any]]:
        """`at_points` and `penalty` of the network, after what they call."""
        if isinstance(self.loss, OutputsFormula):
            return outputs.PARTS
        return layered.PARTS if self.neuron == "layers" else network.PARTS


@dataclass(frozen=True, eq=False)
class Machine:
    """A backend: its names, and what makes a function its own.

    `part` is for functions that others call, `whole` for finished trainers.
    """

    names: Names
    part: Callable[[Any], Any]
    whole: Callable[[Any], Any]


def _names(module: Any, words: str) -> dict[str, Any]:
    return {word: getattr(module, word) for word in words.split()}


def _inline(function: Any) -> Any:
    return njit(forceinline=True, error_model="numpy")(function)


def _part(function: Any) -> Any:
    return njit(error_model="numpy", nogil=True)(function)


VECTORS = Machine(
    {
        **_names(memory, MEMORY),
        **_names(vectors, ARITHMETIC),
        **_names(elementary, PRIMITIVES),
    },
    _part,
    compiled,
)


def formula_names(scheme: Scheme, names: Names, inline: Callable[[Any], Any]) -> dict[str, Any]:
    """What the parts of a scheme's network are bound to, on a machine with these names."""
    activation = (scheme.activation, scheme.activation_settings)

    def of(function: Callable[..., Any], arguments: int, settings: Settings) -> Any:
        return settle(function, arguments, settings, names, inline)

    found = {}
    formulas = {"activate": activation, "neuron": scheme.neuron_formula}
    for name, (formula, settings) in formulas.items():
        found[name] = of(formula.value, 1, settings)
        found[f"{name}_slope"] = of(formula.slope, 2, settings)
        keep, recall = KEEPING[formula.by_output]
        ending = "_neuron" if name == "neuron" else ""
        found[f"keep{ending}"] = inline(bind(keep, names))
        found[f"recall{ending}"] = inline(bind(recall, names))
    found["added"] = inline(bind(ADDED[scheme.neuron], names))
    found["loss"] = of(scheme.loss.value, 1, scheme.loss_settings)
    found["loss_slope"] = of(scheme.loss.slope, 1, scheme.loss_settings)
    if isinstance(scheme.loss, OutputsFormula):
        found["joined"] = of(scheme.loss.joined, 2, ())
    return found


def loop(scheme: Scheme, machine: Machine) -> dict[str, Any]:
    """The names of a scheme on a machine; `run` among them is the loop of `members`."""
    inline = _inline if machine is VECTORS else machine.part
    names = {**machine.names, **formula_names(scheme, machine.names, inline)}
    names["point_weights"] = inline(bind(program.point_weights, names))
    program_parts: list[Callable[..., Any]] = [*scheme.network, *program.PARTS]
    parts = specialise(program_parts, names, inline)
    update = machine.part(bind(OPTIMIZERS[scheme.optimizer], names))
    names |= {"evaluate": parts["evaluate"], "norm": parts["norm"], "update": update}
    if scheme.batched:
        own = {**names, "point_weights": inline(bind(program.member_weights, names))}
        names["evaluate_batch"] = specialise(program_parts, own, inline)["evaluate"]
    functions: Sequence[Callable[..., Any]] = BATCHED if scheme.batched else members.FULL
    names |= specialise(functions, names, machine.part)
    return {**names, "run": names[functions[-1].__name__]}


@cache
def trainer(scheme: Scheme, machine: Machine = VECTORS) -> Callable[..., None]:
    """`members.train_members` for a scheme."""
    names = loop(scheme, machine)
    names["zeros"] = machine.part(bind(members.zeros, names))
    finished: Callable[..., None] = machine.whole(bind(members.train_members, names, scheme.name))
    return finished


assert (plain.LANES, plain.TILE) == (vectors.LANES, vectors.TILE)
