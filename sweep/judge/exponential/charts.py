"""When the polish changes the exponential neuron's chart, compiled.

Every change keeps F or lowers it. Those to FLAT and back only rename the parameters; those to GONE
and QUAD go to the end of a path to infinity along which F does not rise but for what the change
itself compares. Symbols as in `sweep.judge.exponential.neuron`.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.exponential.neuron import EXP, FLAT, GONE, QUAD, neuron
from sweep.judge.exponential.step import Place, Scene, Seen, at_zero, look
from sweep.judge.numerics.kernel_losses import SQUARED, loss_terms
from sweep.kernels.compiled import compiled

# The span of w·x below which FLAT is the better chart, and above which EXP is: far enough apart
# that no step leads from one to the other and back.
NARROW, WIDE = 2.0, 4.0
# The neuron's largest output on the other label below which it is tried without them: the path
# there then costs its own points of label σ no more than that.
FAINT = 1e-2
# QUAD needs the expansion in ε·r to hold, and a unit that takes most of the linear part away.
CURVED, OPPOSED = 0.3, 0.5


@compiled
def span(r: np.ndarray) -> float:
    """How far apart the data see the neuron: max r − min r."""
    low, high = np.inf, -np.inf
    for i in range(r.size):
        low, high = min(low, r[i]), max(high, r[i])
    return high - low


@compiled
def rename(place: Place, seen: Seen, scene: Scene) -> Place:
    """The same function in FLAT or EXP, whichever suits it."""
    omega, last = place.omega.copy(), place.omega.size - 1
    if place.chart == EXP and omega[last] > 0.0 and span(seen.r) < NARROW:
        eps = scene.sigma * math.exp(-omega[last])
        for k in range(last):
            omega[k] /= eps
        omega[last] = 0.0
        c = place.c + 1.0 / eps
        return Place(place.V, c, FLAT, omega, eps, False, -1, place.live, False)
    if place.chart == FLAT and abs(place.eps) * span(seen.r) > WIDE:
        for k in range(last):
            omega[k] *= place.eps
        omega[last] = -math.log(abs(place.eps))
        c = place.c - 1.0 / place.eps
        return Place(place.V, c, EXP, omega, 0.0, False, -1, place.live, False)
    return place


@compiled
def vanish(place: Place, seen: Seen, scene: Scene) -> Place:
    """GONE if F is no higher there: w → ∞ along itself, the threshold just above the other label.

    All points beyond the other label's foremost one are of label σ and become fitted at any
    margin; the rest see the neuron no more.
    """
    task = scene.task
    if place.chart != EXP or task.code == SQUARED:
        return place
    front, F, fitted = -np.inf, 0.0, 0
    for i in range(seen.r.size):
        if task.y[i] * scene.sigma < 0.0:
            front = max(front, seen.r[i])
    live = place.live.copy()
    for i in range(seen.r.size):
        if seen.r[i] > front:
            live[i] = False
            fitted += 1
        else:
            f = seen.f[i] - neuron(EXP, scene.sigma, seen.r[i], 0.0)
            F += loss_terms(task.code, task.p, -task.y[i] * f)[0]
    if fitted == 0 or front == -np.inf or front > math.log(FAINT) or F > seen.F:
        return place
    return Place(place.V, place.c, GONE, place.omega, 0.0, False, -1, live, False)


@compiled
def bend(place: Place, seen: Seen, scene: Scene) -> Place:
    """QUAD if F is no higher there: a unit's slope cancels v and both go to infinity.

    The unit must be active on all points but some of the label that it pushes towards: on those the
    neuron alone is left, which fits them at any margin. On the others unit and neuron are together
    an affine function plus the rank-one quadratic.
    """
    task = scene.task
    if place.chart != FLAT or abs(place.eps) * span(seen.r) > CURVED or place.eps == 0.0:
        return place
    H, n = place.V.shape
    for j in range(H):
        size, left = 0.0, 0.0
        scale = task.s[j] * task.hi
        for k in range(n - 1):
            size += place.omega[k] ** 2
            left += (place.omega[k] + scale * place.V[j, k]) ** 2
        ready = scale != 0.0 and left <= OPPOSED**2 * size
        live = place.live.copy()
        for i in range(seen.r.size):
            if not seen.Z[j, i] > 0.0 and task.lo == 0.0 and task.y[i] * scale > 0.0:
                live[i] = False
        if not ready or (task.code == SQUARED and not live.all()):
            continue
        V, omega, c = place.V.copy(), place.omega.copy(), place.c
        for k in range(n - 1):
            V[j, k] += place.omega[k] / scale
            c -= place.omega[k] * (task.X[0, k] - scene.centred[0, k])
            omega[k] *= math.sqrt(abs(place.eps))
        after = keep_linear(Place(V, c, QUAD, omega, 0.0, False, j, live, False), scene)
        if look(after, np.zeros(seen.Z.shape, np.bool_), scene).F <= seen.F:
            return after
    return place


@compiled
def keep_linear(place: Place, scene: Scene) -> Place:
    """QUAD's affine unit far from its kinks: its bias moves and c makes up for it."""
    if place.linear < 0:
        return place
    task, j = scene.task, place.linear
    n = place.V.shape[1]
    low, high = np.inf, -np.inf
    for i in range(task.y.size):
        z = 0.0
        for k in range(n):
            z += place.V[j, k] * task.X[i, k]
        low, high = min(low, z), max(high, z)
    room = 1.0 + 4.0 * (high - low)
    if low >= 0.5 * room:
        return place
    V = place.V.copy()
    V[j, n - 1] += room - low
    c = place.c - task.s[j] * task.hi * (room - low)
    return Place(V, c, QUAD, place.omega, 0.0, False, j, place.live, False)


@compiled
def pin(place: Place, g: np.ndarray, sigma: float) -> Place:
    """ε held at 0 while F falls towards it; the gradient's last entry is cleared then."""
    if place.chart != FLAT or place.eps != 0.0:
        return place
    outwards = sigma * g[g.size - 1] >= 0.0
    if outwards:
        g[g.size - 1] = 0.0
    return at_zero(place, outwards)
