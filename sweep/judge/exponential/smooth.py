"""The limit problem of exponential arms on smooth base networks.

With the regularizer gone the neuron is one more unit of the Newton polish (`BARE`). Where it ends:
stationary at finite α and w, or with w growing so that the neuron fits the points beyond the other
label's foremost one and is not felt by the rest. Then the limit is the base network on the rest,
and the base network's own polish and certificates say what becomes of it there: a minimum, an
escape with a limit of its own, or points that it separates.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, D    data points, input dimension
n       what the neuron adds, α·e^{w·x}                            (N,)
r       w·x                                                        (N,)
others  as in `sweep.judge.smooth.kernels`
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.escapes.ray import find_ray
from sweep.judge.escapes.smooth import settle_saturating
from sweep.judge.escapes.tail import at_rest, follow, prove
from sweep.judge.exponential.charts import FAINT
from sweep.judge.exponential.end import End, split_alpha
from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.judge.readings import read
from sweep.judge.separates import settle_separated
from sweep.judge.shallow import Shallow, Units
from sweep.judge.smooth.kernels import TAIL, Task, outputs
from sweep.judge.smooth.polish import Polished, pack, polish_member, polish_smooth, task_of, unpack
from sweep.judge.smooth.strict import settle_strict
from sweep.judge.smooth.trust_region import SEPARATED, STATIONARY
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import Squared
from sweep.models.objective import DataObjective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.verdicts import Certificate, Verdict

# Newton steps; what a few hundred have not brought to rest mostly comes to rest in a thousand.
BUDGETS = (200, 600)
Ending = tuple[Certificate, np.ndarray, dict[str, Any]]
# F may rise by this share when the neuron's last trace is dropped from the points that keep it.
SAME = 1e-9


def end_of_smooth(
    objective: DataObjective, shallow: Shallow, params: np.ndarray, lam: float
) -> End | None:
    """The limit problem of one member θ̃ (P,), solved; None where the kernels do not know it."""
    task, units = task_of(shallow, bare=True), shallow.split(params[None])
    assert units.alpha is not None and units.b is not None
    if task is None or units.alpha[0] == 0:
        return None
    theta, shifts = pack(task, units)
    polished, slide = _polished(task, theta[0], shifts[0])
    place = unpack(task, polished.theta[None], polished.shifts[None])
    end = End(
        [_parameters(shallow, place, float(units.alpha[0]), polished.objective, lam)],
        polished.status == SEPARATED,
        polished.steps,
    )
    if polished.status == SEPARATED:
        return end
    if polished.status == STATIONARY:
        return _finite(shallow, task, polished, place, end)
    if slide is not None:
        return _slid(shallow, task, place, end, slide)
    return _fitted(objective, shallow, task, polished, place, end)


def _polished(task: Task, theta: np.ndarray, shifts: np.ndarray) -> tuple[Polished, Ending | None]:
    """Where the polish ends, and how the point escapes from there by a unit that saturates.

    Slides are recognised where the polish came to rest, or in the charts at their ends; a polish
    that has done neither goes on for longer.
    """
    steps = 0
    for budget in BUDGETS:
        polished = polish_member(task, theta, shifts, budget)
        steps += polished.steps
        theta, shifts = polished.theta, polished.shifts
        slide = None
        if polished.status != SEPARATED:
            polished, slide = _slide(task, polished)
        if polished.status in (SEPARATED, STATIONARY) or slide is not None:
            break
    return replace(polished, steps=steps), slide


def _slide(task: Task, polished: Polished) -> tuple[Polished, Ending | None]:
    """The escape by a ray or a chart, or what the polish in the chart came to."""
    if at_rest(polished):
        ray = find_ray(task, polished.theta, polished.shifts)
        if ray is not None:
            return polished, (Certificate.RAY, ray.limit, {"unit": ray.unit, "tied": ray.tied})
    # The chart starts with α of e^{w·x}, without a shift.
    theta, at = polished.theta.copy(), len(polished.theta) - 2 - task.X.shape[1]
    theta[at] *= np.exp(-polished.shifts[-1])
    chart = follow(task, theta) if np.isfinite(theta).all() and theta[at] != 0 else None
    if chart is None:
        return polished, None
    if (chart.task.kinds == TAIL).any():
        proof = prove(chart)
        return polished, None if proof is None else (Certificate.TAIL, *proof)
    if chart.end.status != SEPARATED and at_rest(chart.end):
        ray = find_ray(chart.task, chart.end.theta, chart.end.shifts)
        if ray is not None:
            return chart.end, (Certificate.RAY, ray.limit, {"unit": ray.unit, "tied": ray.tied})
    lower = chart.end.status == SEPARATED or chart.end.objective < polished.objective
    return (chart.end if lower else polished), None


def _slid(shallow: Shallow, task: Task, place: Units, end: End, slide: Ending) -> End:
    """The end of an escape; f is f̃ there without what the neuron adds at the place."""
    certificate, f, evidence = slide
    losses = [
        loss_terms(task.loss, task.p, float(-y * out))[0] for y, out in zip(task.y, f, strict=True)
    ]
    base = f - _neuron(shallow, place)[0]
    return replace(
        end,
        certificate=certificate,
        evidence=evidence,
        objective=float(np.sum(losses)),
        error=float((~(task.y * f > 0)).mean()),
        error_base=float((~(task.y * base > 0)).mean()),
    )


def _parameters(
    shallow: Shallow, place: Units, before: float, objective: float, lam: float
) -> np.ndarray:
    """θ̃ (P,) of the units; their α belongs to e^{w·x+b}."""
    assert place.alpha is not None and place.b is not None
    sign, size = np.sign(place.alpha[0]), abs(place.alpha[0])
    if size == 0:
        return np.asarray(shallow.join(place)[0])
    log_alpha = float(np.log(size) + place.b[0])
    a, b = split_alpha(float(sign), log_alpha, before, objective, lam)
    units = replace(place, alpha=np.array([a]), b=np.array([b]))
    return np.asarray(shallow.join(units)[0])


def _neuron(shallow: Shallow, place: Units) -> tuple[np.ndarray, np.ndarray]:
    """What the neuron adds, and r = w·x."""
    assert place.alpha is not None and place.w is not None and place.b is not None
    r = shallow.X[:, :-1] @ place.w[0]
    return place.alpha[0] * np.exp(np.minimum(r + place.b[0], 700.0)), r


def _finite(shallow: Shallow, task: Task, polished: Polished, place: Units, end: End) -> End:
    f = outputs(polished.theta, polished.shifts, task)
    base = f - _neuron(shallow, place)[0]
    return replace(
        end,
        finite=True,
        evidence={"limit": "finite", "gradient": polished.slope, "min_eig": polished.min_eig},
        objective=polished.objective,
        error=float((~(task.y * f > 0)).mean()),
        error_base=float((~(task.y * base > 0)).mean()),
    )


def _fitted(
    objective: DataObjective,
    shallow: Shallow,
    task: Task,
    polished: Polished,
    place: Units,
    end: End,
) -> End:
    """The limit w → ∞, if the points allow it and F is no higher there; judged on the rest."""
    added, r = _neuron(shallow, place)
    assert place.alpha is not None
    other = task.y * place.alpha[0] < 0
    if isinstance(objective.loss, Squared) or not other.any():
        return end
    front = r[other].max()
    rest = r <= front
    if rest.all() or np.abs(added[rest]).max() > FAINT:
        return end
    found, part = _judge_rest(objective, shallow, place, rest)
    before = part.measure(shallow.join(place)[:, : objective.n_base], None).objective[0]
    if before > polished.objective * (1 + SAME):
        return end
    limit = _limit_of_rest(found, part)
    if limit is None:
        return end
    value, wrong = limit[0], limit[1] * int(rest.sum())
    evidence = {
        "limit": "points fitted",
        "fitted_at_infinity": int((~rest).sum()),
        "rest": str(found.verdict[0]),
        "rest_certificate": str(found.certificate[0]),
    }
    # On the fitted points the base network is read where the rest was judged.
    off = np.hstack([found.params, np.zeros((1, objective.n_params - objective.n_base))])
    idle = np.zeros((1, objective.n_lambda)) if objective.n_lambda else None
    fitted_wrong = _wrong(objective.measure(off, idle).error_base, len(rest))
    fitted_wrong -= _wrong(part.measure(found.params, None).error, int(rest.sum()))
    return replace(
        end,
        steps=end.steps + int(found.polish_steps[0]),
        evidence=evidence,
        objective=value,
        error=wrong / len(rest),
        error_base=(wrong + fitted_wrong) / len(rest),
    )


def _wrong(error: np.ndarray | None, count: int) -> float:
    """Points on the wrong side, from their share."""
    assert error is not None, "a DataObjective measures it"
    return float(round(error[0] * count))


def _limit_of_rest(found: Judgement, part: DataObjective) -> tuple[float, float] | None:
    """(objective, error) that the base network comes to on the rest; None if unresolved."""
    verdict = found.verdict[0]
    if verdict == Verdict.GLOBAL_MINIMUM:
        return 0.0, 0.0
    if verdict == Verdict.ESCAPING:
        return float(found.limit_objective[0]), float(found.limit_error[0])
    if verdict != Verdict.LOCAL_MINIMUM:
        return None
    measured = part.measure(found.params, None)
    assert measured.error is not None, "a DataObjective measures it"
    return float(measured.objective[0]), float(measured.error[0])


def _judge_rest(
    objective: DataObjective, shallow: Shallow, place: Units, rest: np.ndarray
) -> tuple[Judgement, DataObjective]:
    """The base network on the data `rest`, polished and judged from the place."""
    x, y = shallow.X[rest, :-1], shallow.y[rest]
    part = DataObjective(
        Data(np.ascontiguousarray(x), y),
        objective.network,
        NoAugmentation(),
        objective.loss,
        NoRegularizer(),
        0.0,
        "cpu",
        objective.dtype,
    )
    found = Judgement.unresolved(shallow.join(place)[:, : objective.n_base])
    polish_smooth(found, part, None)
    settle_separated(found, part, None, read(part, found.params, None))
    for settle in (settle_strict, settle_saturating):
        if found.open.any():
            settle(found, part, None)
    return found, part
