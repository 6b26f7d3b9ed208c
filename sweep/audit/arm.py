"""All rows of one arm: consistent, equal to what their parameters say, and certified."""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.certificates import check_certificates
from sweep.audit.coercive_formula import any_formula, strengths_of
from sweep.audit.consistency import JUDGED, LIMITS, consistent
from sweep.audit.elementwise import NoSecondRouteError
from sweep.audit.findings import Audited
from sweep.audit.formulas import DataFormula, LandscapeFormula
from sweep.audit.measures import measure
from sweep.audit.outputs import outputs_formula
from sweep.audit.points import Points
from sweep.audit.rows import ArmRows
from sweep.lambdas import LAWS
from sweep.problems import Data, Landscape
from sweep.verdicts import Verdict

#: Longest parameter vector that `store.params: auto` keeps.
KEPT_BY_AUTO = 256


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
    lam = _lambdas(rows, root, found)
    n_data = None
    if isinstance(source, Data) and (source.outputs is None or rows.cell.loss.name != "squared"):
        n_data = len(source.y)
    try:
        if isinstance(source, Data) and source.outputs is not None:
            formula: DataFormula | LandscapeFormula = outputs_formula(rows.cell, rows.arm, source)
        else:
            formula = any_formula(rows.cell, rows.arm, source)
    except NoSecondRouteError as error:
        consistent(rows, n_data, None, found)
        found.without_route[str(error)] += len(rows)
        return found
    sound = consistent(rows, n_data, formula.n_params, found)
    index = _with_params(rows, sound, formula, found)
    if not len(index):
        return found
    theta = np.array([rows.columns["params"][i] for i in index], dtype=float)
    _compare(rows, index, formula, theta, lam[index], found)
    check_certificates(_points(rows, index, formula, theta, lam[index]), found)
    return found


def _lambdas(rows: ArmRows, root: int, found: Audited) -> np.ndarray:
    """λ of every row, drawn again, (rows,), or (rows, M) where there are several; zeros without λ.

    A stored one that differs is noted.
    """
    stored, size = rows.floats("lam"), strengths_of(rows.cell, rows.arm)
    if rows.arm.lam is not None and not LAWS.build(rows.arm.lam).per_neuron:
        size = 1  # one λ for all neurons
    drawn = np.full((len(rows), size), np.nan)
    if rows.arm.lam is not None:
        law = LAWS.build(rows.arm.lam)
        if size > 1 or not law.per_neuron:
            each = [law.sample(root, draw, size) for draw in range(law.draws)]
            drawn = np.array([each[draw] for draw in rows.columns["draw"]]).reshape(-1, size)
    mean = drawn.mean(axis=1)
    # The mean of several is a rounded sum.
    same = np.isclose(stored, mean, rtol=1e-15 * size, atol=0, equal_nan=True)
    for i in np.flatnonzero(~same).tolist():
        found.add(rows.where(i), "lam", rows.columns["lam"][i], float(mean[i]))
    if size > 1:
        for i, vector in enumerate(rows.columns["lam_vector"]):
            if vector is None or list(vector) != drawn[i].tolist():
                found.add(rows.where(i), "lam_vector", vector, drawn[i].tolist())
    strengths: np.ndarray = np.nan_to_num(drawn)
    return strengths if size > 1 else strengths[:, 0]


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
            if _is_kept(rows, rows.columns["verdict"][i], formula.n_params):
                found.add(rows.where(i), "params", None, f"stored, by store.params '{rows.kept}'")
        elif len(params) != formula.n_params:
            found.add(rows.where(i), "params", f"{len(params)} numbers", formula.n_params)
        elif any(v is None for v in params):
            found.add(rows.where(i), "params", "a null", "finite numbers only")
        else:
            index.append(i)
    return np.array(index, dtype=np.int64)


def _is_kept(rows: ArmRows, verdict: str, n_params: int) -> bool:
    """Whether the study keeps the parameters of a row that did not fail."""
    if rows.kept == "judged":
        return verdict != Verdict.GLOBAL_MINIMUM
    return rows.kept == "all" or (rows.kept == "auto" and n_params <= KEPT_BY_AUTO)


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
    for name in JUDGED:
        stored = rows.floats(name)[index]
        if name not in measured:
            # Units of a user's module are its own business.
            unknown = name == "dead_units" and isinstance(formula, DataFormula)
            bad = stored < 0 if unknown else np.isfinite(stored)
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
        margin=rows.floats("certificate_margin")[index],
        objective=rows.floats("judged_objective")[index],
        min_eig=rows.floats("judged_min_eig")[index],
        flat_dim=rows.floats("flat_dim")[index],
        limits={name: rows.floats(name)[index] for name in LIMITS},
        tolerance=float(rows.cell.judge.settings.get("tolerance", 1e-12)),
    )
