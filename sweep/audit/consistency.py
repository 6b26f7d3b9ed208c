"""What must hold in a row whatever its parameters: its words, its nulls, the ranges of its numbers.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N       data points                                            ()
P       parameters of one member                               ()
======  =====================================================  ==========
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sweep.audit.endings import check_ending
from sweep.audit.findings import Audited
from sweep.audit.rows import ArmRows
from sweep.verdicts import Certificate, Verdict

#: Which certificates may stand behind a verdict: the table in the README.
PROOFS: Mapping[str, frozenset[str]] = {
    Verdict.GLOBAL_MINIMUM: frozenset({Certificate.LOWER_BOUND, Certificate.SEPARATES}),
    Verdict.LOCAL_MINIMUM: frozenset(
        {
            Certificate.STRICT,
            Certificate.CELL,
            Certificate.KINK,
            Certificate.VALLEY,
            Certificate.AFFINE,
            Certificate.INACTIVE,
        }
    ),
    Verdict.SADDLE: frozenset({Certificate.DESCENT}),
    Verdict.ESCAPING: frozenset({Certificate.RAY, Certificate.TAIL, Certificate.CHART}),
    Verdict.UNRESOLVED: frozenset({Certificate.NONE}),
    Verdict.FAILED: frozenset({Certificate.NONE}),
}
#: Columns that are recomputed from the parameters.
JUDGED = (
    "judged_error",
    "judged_error_base",
    "judged_loss",
    "judged_objective",
    "judged_grad_norm",
    "param_norm",
    "augment_activity",
    "dead_units",
)
#: Regularizers with one λ per neuron.
PER_NEURON = ("coercive", "convolution")
LIMITS = ("limit_error", "limit_error_base", "limit_objective")
FINAL = ("final_error", "final_error_base", "final_loss", "final_objective", "final_grad_norm")
_NUMBERS = (
    *(name for name in JUDGED if name != "dead_units"),
    *LIMITS,
    *FINAL,
    *("lam", "certificate_radius", "certificate_margin", "judged_min_eig", "moved"),
)
_TRAINING = frozenset({*FINAL, "stop", "steps", "trainer"})
# F at the judged point and where training ended are sums that rounded differently: the polish does
# not raise F, but the two differ by this share of it where it did not move.
ROUNDED = 1e-12

Problem = tuple[str, object]


def consistent(
    rows: ArmRows, n_data: int | None, n_params: int | None, found: Audited
) -> np.ndarray:
    """Rows (indices) whose words fit together; the others are noted and not looked at further.

    What is wrong with where training ended does not keep the judged point from being looked at.
    `n_data` is None for a landscape, `n_params` where it is unknown. A failed row is never sound:
    it has no parameters.
    """
    sound = []
    for i in range(len(rows)):
        row, where = rows.row(i), rows.where(i)
        problems = list(_problems(rows, row, n_data, n_params))
        for name, wanted in problems:
            found.add(where, name, row[name], wanted)
        if row["verdict"] != Verdict.FAILED and {name for name, _ in problems} <= _TRAINING:
            sound.append(i)
    return np.array(sound, dtype=np.int64)


def _problems(
    rows: ArmRows, row: Mapping[str, Any], n_data: int | None, n_params: int | None
) -> Iterator[Problem]:
    """Columns that cannot be right, and what would be."""
    yield from _words(rows, row)
    for name in _NUMBERS:
        if row[name] is not None and not math.isfinite(row[name]):
            yield name, "null or a finite number"
    yield from _nulls(rows, row)
    for name, (holds, wanted) in _RANGES.items():
        if not holds(row[name]):
            yield name, wanted
    flat = row["flat_dim"]
    if flat is not None and not 0 <= flat <= (math.inf if n_params is None else n_params):
        yield "flat_dim", f"null or a whole number from 0 to {n_params}"
    if row["verdict"] != Verdict.FAILED and all(_finite(row[n]) for n in FINAL[2:]):
        yield from check_ending(rows.cell, row, n_data)
        judged = row["judged_objective"]
        allowed = row["final_objective"] * (1 + math.copysign(ROUNDED, row["final_objective"]))
        if judged is not None and judged > allowed + ROUNDED:
            yield "final_objective", f"at least judged_objective, {judged!r}"


def _words(rows: ArmRows, row: Mapping[str, Any]) -> Iterator[Problem]:
    if row["certificate"] not in PROOFS.get(row["verdict"], ()):
        proofs = ", ".join(sorted(PROOFS.get(row["verdict"], ())))
        yield "certificate", f"{proofs} for {row['verdict']}" if proofs else "a known verdict"
    for name, value in rows.setting.items():
        if row[name] != value:
            yield name, value


def _nulls(rows: ArmRows, row: Mapping[str, Any]) -> Iterator[Problem]:
    """Columns that must or must not be null for this verdict and arm."""
    verdict = row["verdict"]
    empty = [] if verdict == Verdict.ESCAPING else list(LIMITS)
    if verdict == Verdict.LOCAL_MINIMUM:
        if not (row["certificate_radius"] or 0) > 0:
            yield "certificate_radius", "a finite number > 0"
    elif row["certificate"] == Certificate.LOWER_BOUND:
        # The distance within which the bound is attained, where that was not at the point itself.
        if not (row["certificate_radius"] or 0) >= 0:
            yield "certificate_radius", "null or a number ≥ 0"
    else:
        empty.append("certificate_radius")
    if verdict == Verdict.FAILED:
        empty += [*FINAL, *JUDGED, "params"]
    else:
        for name in ("final_loss", "final_objective", "final_grad_norm", "moved"):
            if row[name] is None:
                yield name, "a finite number"
    for name in empty:
        if row[name] is not None:
            yield name, f"null, because it is {verdict}"
    if rows.arm.augment.name == "none" and row["augment_activity"] is not None:
        yield "augment_activity", "null, because nothing is added"
    if row["lam_vector"] is not None and rows.arm.regularizer.name not in PER_NEURON:
        yield "lam_vector", "null, because the regularizer has not one λ per neuron"


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _is_object(text: object) -> bool:
    try:
        return isinstance(json.loads(str(text)), dict)
    except ValueError:
        return False


def _counts(value: Any) -> bool:
    return value is not None and value >= 0


def _no_less_than_zero(value: Any) -> bool:
    return value is None or value >= 0


_RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "evidence": (_is_object, "a JSON object"),
    "polish_steps": (_counts, "a whole number ≥ 0"),
    "moved": (_no_less_than_zero, "a number ≥ 0"),
    "certificate_margin": (_no_less_than_zero, "null or a number ≥ 0"),
}
