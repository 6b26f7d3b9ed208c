"""The kink polish on a judge's members: from θ to v_j = |a_j|(w_j, b_j), and back.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
S, P    members, parameters                                        θ̃ (S, P)
others  as in `sweep.judge.cells.place`
======  =========================================================  ==========

For a_j ≠ 0 minima in v and in θ correspond, and any a_j of the same sign will do: the trained one
is kept unless (w_j, b_j) would become huge.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.cells.place import Place, Setting, outgoing
from sweep.judge.numerics.kernel_losses import code_of
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.readings import BLOCK, read
from sweep.judge.separates import base_is_free
from sweep.judge.shallow import Shallow, Units
from sweep.models.objective import DataObjective, Objective

# Measured: 60 iterations suffice for all of 2,000 members (moons, xor, iris; widths 2-4).
MAX_ITERATIONS = 300
# Relative to Σ|q_i|‖x̃_i‖; a tenth of what the certificate asks for.
TOLERANCE = 1e-12


def setting_of(objective: Objective) -> tuple[Shallow, Setting] | None:
    """The objective in numbers, if the theory of cells speaks about it.

    It does for one hidden layer of a piecewise-linear homogeneous activation, a known convex loss,
    and base weights that cost nothing.
    """
    shallow = Shallow.of(objective)
    if shallow is None or not isinstance(objective, DataObjective) or not base_is_free(objective):
        return None
    kernel, slopes = code_of(shallow.loss), shallow.activation.slopes
    if kernel is None or slopes is None or not shallow.loss.convex:
        return None
    if not shallow.activation.positively_homogeneous:
        return None
    return shallow, Setting(np.ascontiguousarray(shallow.X), shallow.y, slopes, *kernel)


def polish_kinks(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move open members down to a stationary point over kinks, in place.

    F as the objective evaluates it never rises beyond its rounding; a member whose F would keeps
    its point. Members with an exponential neuron are polished only where its a is exactly 0.
    `polish_steps` and `moved` grow by what was done.
    """
    known = setting_of(objective)
    if known is None:
        return
    assert isinstance(objective, DataObjective)
    shallow, setting = known
    members = np.flatnonzero(found.open)
    units = shallow.split(found.params[members])
    if units.alpha is not None:
        members = members[units.alpha == 0]
        units = shallow.split(found.params[members])
    if not len(members):
        return
    places = [
        Place.polished(setting, units.a[k], units.W[k], units.c[k], MAX_ITERATIONS, TOLERANCE)
        for k in range(len(members))
    ]
    points = parameters_of(shallow, units, places)
    strengths = None if lam is None else lam[members]
    lower = not_higher(objective, found.params[members], points, strengths, places)
    for k in np.flatnonzero(lower).tolist():
        member = int(members[k])
        found.moved[member] += np.linalg.norm(points[k] - found.params[member])
        found.polish_steps[member] += places[k].steps
        found.params[member] = points[k]


def parameters_of(shallow: Shallow, units: Units, places: list[Place]) -> np.ndarray:
    """θ̃ (S, P) of polished places; `units` are where the members started."""
    a, W, c = units.a.copy(), units.W.copy(), units.c.copy()
    for k, place in enumerate(places):
        c[k] = place.c
        kept = outgoing(a[k], W[k], place.V)
        for j in np.flatnonzero(a[k]).tolist():
            if (place.V[j] == np.abs(a[k, j]) * W[k, j]).all():
                continue
            a[k, j] = kept[j]
            W[k, j] = place.V[j] / abs(a[k, j])
    return shallow.join(Units(a, W, c, units.alpha, units.w, units.b))


def not_higher(
    objective: DataObjective,
    before: np.ndarray,
    after: np.ndarray,
    lam: np.ndarray | None,
    places: list[Place],
) -> np.ndarray:
    """Members (S,) whose F at `after` (S, P) does not exceed F at `before`, but for rounding.

    Rounding moves F by Σ|q_i|δf_i through the outputs and by N·u·F in the sum.
    """
    fine = np.zeros(len(after), dtype=bool)
    for first in range(0, len(after), BLOCK):
        some = slice(first, first + BLOCK)
        strengths = None if lam is None else lam[some]
        old = read(objective, before[some], strengths).objective
        new = read(objective, after[some], strengths).objective
        room = np.array([float(np.abs(place.q) @ place.doubt) for place in places[some]])
        room += SAFETY * (objective.n_data + 8) * UNIT * old
        fine[some] = np.isfinite(new) & (new <= old + room)
    return fine
