"""The row: its columns, their kinds and meanings. Plain data; storage turns it into Arrow.

One row stands for one member: cell × arm × draw × seed. Raising `SCHEMA_VERSION` is the only way
to change a column; `NUMERICS_VERSION` is raised whenever some row would have other bits,
a verdict included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.spec import Cell

SCHEMA_VERSION = 1
NUMERICS_VERSION = 6

Kind = Literal["word", "text", "int", "float", "bool", "floats"]


@dataclass(frozen=True)
class Column:
    """One column. `word` is a string worth a dictionary, `floats` a list of doubles."""

    name: str
    kind: Kind
    meaning: str


KEY = ("study", "cell", "arm", "draw", "seed")

_IDENTITY = (
    Column("study", "word", "study id"),
    Column("cell", "word", "cell id: one combination of the grid"),
    Column("arm", "word", "arm name"),
    Column("draw", "int", "λ draw; 0 for an arm without λ"),
    Column("seed", "int", "seed; all arms of a seed share data and base initialisation"),
    Column("job", "word", "job that wrote the row"),
    Column("problem", "word", "problem name"),
)
_MEASURED = (
    Column("lam", "float", "λ, or the mean of a vector; null without λ"),
    Column("lam_vector", "floats", "one λ per neuron, else null"),
    Column("verdict", "word", "what the judged point is"),
    Column("certificate", "word", "the kind of proof behind the verdict"),
    Column("certificate_radius", "float", "radius within which the certificate holds, else null"),
    Column("certificate_margin", "float", "slack of the certificate's inequality, else null"),
    Column("evidence", "text", "the numbers behind the verdict, JSON"),
    Column("trainer", "word", "which trainer ran"),
    Column("stop", "word", "why training ended"),
    Column("steps", "int", "steps taken"),
    Column("final_error", "float", "share of y·f̃ ≤ 0 where training stopped"),
    Column("final_error_base", "float", "the same without the augmentation"),
    Column("final_loss", "float", "Σ ℓ(−y·f̃) where training stopped"),
    Column("final_objective", "float", "loss plus regularizers where training stopped"),
    Column("final_grad_norm", "float", "‖∇F‖₂ where training stopped"),
    Column("judged_error", "float", "share of y·f̃ ≤ 0 at the judged point"),
    Column("judged_error_base", "float", "the same without the augmentation"),
    Column("judged_loss", "float", "Σ ℓ(−y·f̃) at the judged point"),
    Column("judged_objective", "float", "loss plus regularizers at the judged point"),
    Column("judged_grad_norm", "float", "‖∇F‖₂ at the judged point"),
    Column("judged_min_eig", "float", "least eigenvalue of ∇²F there; null if none was taken"),
    Column("polish_steps", "int", "iterations of the polish"),
    Column("moved", "float", "distance ‖θ̃_judged − θ̃_final‖₂"),
    Column("limit_error", "float", "error an escape leads to, else null"),
    Column("limit_error_base", "float", "base error an escape leads to, else null"),
    Column("limit_objective", "float", "objective an escape leads to, else null"),
    Column("param_norm", "float", "‖θ̃‖₂ at the judged point"),
    Column("augment_activity", "float", "max over data of |f̃−f|; null without augmentation"),
    Column("dead_units", "int", "hidden units with zero output on all data"),
    Column("flat_dim", "int", "dimension of the flat set at the judged point; null if unknown"),
    Column("params", "floats", "judged θ̃ in the layout of the README; null if not stored"),
)


def columns(cells: Sequence[Cell]) -> list[Column]:
    """All columns of a study's rows, in order: identity, grid axes, measurements."""
    return [*_IDENTITY, *axis_columns(cells), *_MEASURED]


def axis_columns(cells: Iterable[Cell]) -> list[Column]:
    """`model.width` and one column per grid key other than `problem`, by their dotted names."""
    found: dict[str, list[Any]] = {}
    for cell in cells:
        for name, value in axis_values(cell).items():
            found.setdefault(name, []).append(value)
    return [
        Column(name, _axis_kind(values), f"value of {name}")
        for name, values in sorted(
            found.items(), key=lambda item: (item[0] != "model.width", item[0])
        )
    ]


def axis_values(cell: Cell) -> dict[str, Any]:
    """The cell's own values of the axis columns, before conversion to the column's kind."""
    values = {"model.width": cell.model.settings.get("width")}
    values.update({key: value for key, value in cell.axes.items() if key != "problem"})
    return values


def as_kind(value: Any, kind: Kind) -> Any:
    """An axis value as its column's kind; lists and mappings become JSON text."""
    if value is None or kind in ("int", "bool"):
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else json.dumps(value)


def _axis_kind(values: Sequence[Any]) -> Kind:
    given = [v for v in values if v is not None]
    if given and all(isinstance(v, bool) for v in given):
        return "bool"
    if all(isinstance(v, int) and not isinstance(v, bool) for v in given):
        return "int"
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given):
        return "float"
    return "word"
