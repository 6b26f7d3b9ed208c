"""The columns of an arm's rows, from what training and judging returned (S members)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sweep.judge import Judgement
from sweep.models.measures import Measures
from sweep.rows import axis_values
from sweep.spec import Arm, Job
from sweep.training.base import Ending
from sweep.verdicts import Verdict

#: `store.params: auto` keeps parameter vectors up to this length (contract: default of 'all').
KEPT_PARAMS = 256

Values = Sequence[Any] | np.ndarray


def identity_columns(
    job: Job, arm: Arm, draws: np.ndarray, seeds: Sequence[int], lam: np.ndarray | None
) -> dict[str, Values]:
    """Who the members of an arm are: key, axes and λ (S, M), for `draws` and `seeds` (S,)."""
    n, cell = len(seeds), job.cell
    vector = lam is not None and lam.shape[1] > 1
    return {
        "study": [job.study_id] * n,
        "cell": [cell.id] * n,
        "arm": [arm.name] * n,
        "draw": draws.tolist(),
        "seed": list(seeds),
        "job": [job.id] * n,
        "problem": [cell.problem.name] * n,
        **{name: [value] * n for name, value in axis_values(cell).items()},
        "lam": [None] * n if lam is None else lam.mean(axis=1),
        "lam_vector": list(lam) if lam is not None and vector else [None] * n,
    }


def measured_columns(
    ending: Ending, final: Measures, judgement: Judgement, judged: Measures
) -> dict[str, Values]:
    """What was measured where training ended and where it was judged; null where it failed."""
    n = len(ending.steps)
    failed = np.asarray(judgement.verdict) == Verdict.FAILED

    def or_null(values: np.ndarray | None) -> Values:
        """Nulls where a quantity is undefined, and for members that failed."""
        if values is None:
            return [None] * n
        return [None if bad else v for v, bad in zip(values.tolist(), failed, strict=True)]

    return {
        "verdict": judgement.verdict,
        "certificate": judgement.certificate,
        "certificate_radius": judgement.certificate_radius,
        "certificate_margin": judgement.certificate_margin,
        "evidence": [json.dumps(e, sort_keys=True) for e in judgement.evidence],
        "stop": ending.stop,
        "steps": ending.steps,
        "final_error": or_null(final.error),
        "final_error_base": or_null(final.error_base),
        "final_loss": or_null(final.loss),
        "final_objective": or_null(final.objective),
        "final_grad_norm": or_null(final.grad_norm),
        "judged_error": or_null(judged.error),
        "judged_error_base": or_null(judged.error_base),
        "judged_loss": or_null(judged.loss),
        "judged_objective": or_null(judged.objective),
        "judged_grad_norm": or_null(judged.grad_norm),
        "judged_min_eig": judgement.min_eig,
        "polish_steps": judgement.polish_steps,
        "moved": judgement.moved,
        "limit_error": judgement.limit_error,
        "limit_error_base": judgement.limit_error_base,
        "limit_objective": judgement.limit_objective,
        "param_norm": or_null(judged.param_norm),
        "augment_activity": or_null(judged.augment_activity),
        "dead_units": or_null(judged.dead_units),
        "flat_dim": [None if np.isnan(v) else int(v) for v in judgement.flat_dim],
    }


def kept_params(judgement: Judgement, rule: str) -> Sequence[Any]:
    """The judged points (S, P) that `store.params` asks to keep, null for the others."""
    points = judgement.params
    if rule == "auto":
        rule = "all" if points.shape[1] <= KEPT_PARAMS else "none"
    if rule == "none":
        return [None] * len(points)
    dropped = {Verdict.FAILED}
    if rule == "judged":
        dropped.add(Verdict.GLOBAL_MINIMUM)
    return [
        None if verdict in dropped else point
        for point, verdict in zip(points, judgement.verdict, strict=True)
    ]
