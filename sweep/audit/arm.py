"""All rows of one arm: consistent, equal to what their parameters say, and certified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sweep.audit.certificates import check_certificates
from sweep.audit.findings import Audited
from sweep.audit.formulas import DataFormula, LandscapeFormula, NoSecondRouteError, formula_of
from sweep.audit.measures import measure
from sweep.audit.points import Points
from sweep.lambdas import LAWS
from sweep.problems import Data, Landscape
from sweep.spec import Arm, Cell
from sweep.verdicts import Certificate, Verdict

#: Which certificates may stand behind a verdict.
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
    Verdict.ESCAPING: frozenset(
        {Certificate.RAY, Certificate.PROFILE, Certificate.TAIL, Certificate.CHART}
    ),
    Verdict.UNRESOLVED: frozenset({Certificate.NONE}),
    Verdict.FAILED: frozenset({Certificate.NONE}),
}
_JUDGED = (
    "judged_error",
    "judged_error_base",
    "judged_loss",
    "judged_objective",
    "judged_grad_norm",
    "param_norm",
    "augment_activity",
    "dead_units",
)
_LIMITS = ("limit_error", "limit_error_base", "limit_objective")


@dataclass(frozen=True, eq=False)
class ArmRows:
    """Rows of one arm of one cell, column by column; nulls are None.

    `setting` is what the columns `problem` and the grid's axes must hold in every row.
    """

    cell: Cell
    arm: Arm
    setting: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.columns["seed"])

    def where(self, i: int) -> str:
        """The row's key in words."""
        draw, seed = self.columns["draw"][i], self.columns["seed"][i]
        return f"cell {self.cell.id}, arm {self.arm.name}, draw {draw}, seed {seed}"

    def floats(self, name: str) -> np.ndarray:
        """A column as float64, null as NaN, (rows,)."""
        return np.array([np.nan if v is None else v for v in self.columns[name]], dtype=float)


def audit_arm(rows: ArmRows, source: Data | Landscape, root: int) -> Audited:
    """The account of these rows; `source` is the cell's problem, `root` that of the seeds.

    Runs torch on one thread: the tensors are small, and threads that wait for each other on a busy
    machine made it ten times slower (measured).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _audit_arm(rows, source, root)
    finally:
        torch.set_num_threads(threads)


def _audit_arm(rows: ArmRows, source: Data | Landscape, root: int) -> Audited:
    found = Audited()
    found.rows.update(zip(rows.columns["verdict"], rows.columns["certificate"], strict=True))
    sound = _consistent(rows, found)
    lam = _lambdas(rows, root, found)
    try:
        formula = formula_of(rows.cell, rows.arm, source)
    except NoSecondRouteError as error:
        where = f"cell {rows.cell.id}, arm {rows.arm.name}"
        found.add(where, "arm", f"{len(rows)} rows", f"nothing: {error}")
        return found
    index = _with_params(rows, sound, formula, found)
    if not len(index):
        return found
    theta = np.array([rows.columns["params"][i] for i in index], dtype=float)
    _compare(rows, index, formula, theta, lam[index], found)
    check_certificates(_points(rows, index, formula, theta, lam[index]), found)
    return found


def _consistent(rows: ArmRows, found: Audited) -> np.ndarray:
    """Rows (indices) whose words fit together; the others are noted and not looked at further."""
    sound = []
    for i in range(len(rows)):
        row = {name: values[i] for name, values in rows.columns.items()}
        before = len(found.findings)
        where = rows.where(i)
        if row["certificate"] not in PROOFS.get(row["verdict"], ()):
            wanted = ", ".join(sorted(PROOFS.get(row["verdict"], ()))) or "a known verdict"
            found.add(where, "certificate", f"{row['verdict']} by {row['certificate']}", wanted)
        for name, value in rows.setting.items():
            if row[name] != value:
                found.add(where, name, row[name], value)
        escaping = row["verdict"] == Verdict.ESCAPING
        for name in _LIMITS:
            if not escaping and row[name] is not None:
                found.add(where, name, row[name], f"null, because it is {row['verdict']}")
        if row["verdict"] == Verdict.FAILED:
            for name in (*_JUDGED, "params"):
                if row[name] is not None:
                    found.add(where, name, row[name], "null, because it is failed")
        elif len(found.findings) == before:
            sound.append(i)
    return np.array(sound, dtype=np.int64)


def _lambdas(rows: ArmRows, root: int, found: Audited) -> np.ndarray:
    """λ of every row, drawn again, (rows,); zeros without λ. A stored one that differs is noted."""
    stored = rows.floats("lam")
    drawn = np.full(len(rows), np.nan)
    if rows.arm.lam is not None:
        law = LAWS.build(rows.arm.lam)
        if not law.per_neuron:
            each = [float(law.sample(root, draw, 1)[0]) for draw in range(law.draws)]
            drawn = np.array([each[draw] for draw in rows.columns["draw"]])
    same = np.isclose(stored, drawn, rtol=1e-15, atol=0, equal_nan=True)
    for i in np.flatnonzero(~same).tolist():
        found.add(rows.where(i), "lam", rows.columns["lam"][i], float(drawn[i]))
    strengths: np.ndarray = np.nan_to_num(drawn)
    return strengths


def _with_params(
    rows: ArmRows,
    sound: np.ndarray,
    formula: DataFormula | LandscapeFormula,
    found: Audited,
) -> np.ndarray:
    """Sound rows whose parameters are stored and of the right length and finite."""
    index = []
    for i in sound.tolist():
        params = rows.columns["params"][i]
        if params is None:
            found.without_params += 1
        elif len(params) != formula.n_params:
            found.add(rows.where(i), "params", f"{len(params)} numbers", formula.n_params)
        elif any(v is None for v in params):
            found.add(rows.where(i), "params", "a null", "finite numbers only")
        else:
            index.append(i)
    return np.array(index, dtype=np.int64)


def _compare(
    rows: ArmRows,
    index: np.ndarray,
    formula: DataFormula | LandscapeFormula,
    theta: np.ndarray,
    lam: np.ndarray,
    found: Audited,
) -> None:
    """Every judged column against its recomputed range."""
    measured = measure(formula, theta, lam)
    for name in _JUDGED:
        stored = rows.floats(name)[index]
        if name not in measured:
            bad = np.isfinite(stored) if not isinstance(formula, DataFormula) else stored < 0
            value = np.full(len(index), np.nan)
        else:
            ends = measured[name]
            bad = ~((ends.low <= stored) & (stored <= ends.high))
            value = ends.value
        for k in np.flatnonzero(bad).tolist():
            found.add(rows.where(index[k]), name, rows.columns[name][index[k]], float(value[k]))


def _points(
    rows: ArmRows,
    index: np.ndarray,
    formula: DataFormula | LandscapeFormula,
    theta: np.ndarray,
    lam: np.ndarray,
) -> Points:
    def words(name: str) -> np.ndarray:
        return np.array([rows.columns[name][i] for i in index], dtype=object)

    return Points(
        formula=formula,
        where=[rows.where(i) for i in index.tolist()],
        theta=theta,
        lam=lam,
        verdict=words("verdict"),
        certificate=words("certificate"),
        radius=rows.floats("certificate_radius")[index],
        objective=rows.floats("judged_objective")[index],
        min_eig=rows.floats("judged_min_eig")[index],
        limits={name: rows.floats(name)[index] for name in _LIMITS},
        tolerance=float(rows.cell.judge.settings.get("tolerance", 1e-12)),
    )
