"""E on a face of several convolutions: f, its gradient and Hessian, by plain numbers or by balls.

The coordinates are those of the active neurons and all filters, (z, v): k·n + K·s of them. Held
places are zero here wherever v is, so that this E agrees with the true one on M alone. With
tⱼᵢ = zⱼ·gᵢ, h = max(t, 0), on = [t > 0] and p = ∂E/∂g,

    ∇f = Σⱼ 2sⱼ h ∇t,   ∇²E = Σᵢ cᵢ∇f∇fᵀ + Σⱼᵢ 2sⱼqᵢ (on ∇t∇tᵀ + h ∇²t) + penalties,

where ∇²t couples z and v by ∂gᵢ/∂v, and v with itself by zⱼ·∂²gᵢ.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
k, n    active neurons, H + 1
dt      ∇t, coordinates of z neuron by neuron and then v           (k, N, P)
q, c    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
p       Σⱼ 2sⱼ qᵢ hⱼᵢ wⱼ, the slope in what the last layer sees    (N, H)
======  =========================================================  ==========

Other symbols as in `sweep.judge.convolution.stack_plain`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sweep.judge.coercive.bounds import RELATIVE, ROOM, steepest
from sweep.judge.coercive.kernels import Task, loss_rows
from sweep.judge.convolution.stack_plain import Stacked, StackFace, Trace
from sweep.judge.numerics.balls import Ball, contract, placed, stacked
from sweep.judge.numerics.roundoff import UNIT

#: Weights (M,) and rows (M, P) of Σ weight·row·rowᵀ.
Weighted = tuple[Ball, Ball]


@dataclass(frozen=True, eq=False)
class StackLocal:
    """What is computed at active z (k, n), s, λ (k,) and filters v, each a ball or plain."""

    plain: Stacked
    face: StackFace
    Z: Ball
    s: np.ndarray
    lam: np.ndarray
    v: Ball
    trace: Trace
    g: Ball
    t: Ball
    f: Ball
    q: Ball
    c: Ball

    @classmethod
    def at(
        cls, plain: Stacked, face: StackFace, Z: Ball, s: np.ndarray, lam: np.ndarray, v: Ball
    ) -> StackLocal:
        """Everything at one point, or at all points of a ball."""
        trace = plain.trace(face, v)
        ones = trace.h.on(lambda array: np.zeros((len(array), 1)))
        g = stacked([trace.h, ones + 1.0], axis=1)
        t = contract("jn,in->ji", Z, g)
        f = _outputs(t, s)
        q, c = _losses(plain.task_of(trace.h.mid), f)
        return cls(plain, face, Z, s, lam, v, trace, g, t, f, q, c)

    def within(self, r: float, S: np.ndarray, centre: StackLocal) -> StackLocal:
        """The same for points of x + Sw, ‖w‖ ≤ r, alone: t and f are x's and their slopes' means.

        Stiff directions of f lie across the soft ones of S, of which a box knows nothing.
        """
        rows = ROOM * r * np.linalg.norm(S, axis=1)
        moved = ROOM * r * np.linalg.norm(centre.dt.mid @ S, axis=2)
        own = moved + self.dt.known @ rows + centre.t.known + _rounding(centre.dt.mid, S) * r
        t = Ball(self.t.mid, np.minimum(self.t.known, ROOM * own))
        here = replace(self, t=t)
        moved = ROOM * r * np.linalg.norm(centre.slopes.mid @ S, axis=1)
        own = moved + here.slopes.known @ rows + centre.f.known
        own = own + _rounding(centre.slopes.mid, S) * r
        f = Ball(self.f.mid, np.minimum(_outputs(t, self.s).known, ROOM * own))
        q, c = _losses(self.task, f)
        return replace(self, t=t, f=f, q=q, c=c)

    @property
    def task(self) -> Task:
        """The last layer's task at the midpoint."""
        return self.plain.task_of(self.trace.h.mid)

    @cached_property
    def pulls(self) -> Ball:
        """2sⱼqᵢhⱼᵢ, (k, N)."""
        return contract("ji,i->ji", self.t.positive() * (2 * self.s)[:, None], self.q)

    @cached_property
    def p(self) -> Ball:
        """(N, H)."""
        return contract("ji,jh->ih", self.pulls, self.Z[:, :-1])

    @cached_property
    def dt(self) -> Ball:
        """∇t, (k, N, P)."""
        (k, n), N = self.Z.shape, len(self.plain.x)
        parts: list[tuple[Any, Ball]] = []
        for j in range(k):
            parts.append(((j, slice(None), slice(j * n, j * n + n)), self.g))
        below = contract("jh,ihp->jip", self.Z[:, :-1], self.trace.Dh)
        parts.append(((..., slice(k * n, None)), below))
        return placed((k, N, k * n + self.plain.n_filters), parts)

    @cached_property
    def slopes(self) -> Ball:
        """∇f, (N, P)."""
        return contract("ji,jip->ip", self.t.positive() * (2 * self.s)[:, None], self.dt)

    def norms(self) -> list[tuple[slice, Ball, Ball]]:
        """Per filter its place in v, v_k, and ‖v_k‖² − 1."""
        found = []
        for k in range(self.plain.filters):
            own = self.v[self.plain.part(k)]
            found.append((self.plain.part(k), own, contract("a,a->", own, own) - 1.0))
        return found

    def filter_slope(self) -> Ball:
        """What the filters' own penalty adds to ∂E/∂v, (K·s,)."""
        strength = self.plain.strength
        return stacked([own * excess * strength for _, own, excess in self.norms()])

    def gradient(self) -> Ball:
        """∇E, (P,)."""
        turned = self.Z * (2 * self.lam)[:, None]
        own = stacked([turned.on(np.ravel), self.filter_slope()])
        return own + contract("i,ip->p", self.q, self.slopes)

    def squares(self, on: np.ndarray, near: np.ndarray | None = None) -> list[Weighted]:
        """The terms of ∇²E that are Σ weight·row·rowᵀ: of ∇fᵢ and, with that `on` (k, N), of ∇tⱼᵢ.

        Where t may have either sign (`near`), `on` must be [sⱼqᵢ < 0] at the midpoint: then
        2sⱼqᵢ on ∇t∇tᵀ ⪰ min(2sⱼqᵢ, 0)∇t∇tᵀ, and that is within the radius of q of the midpoint's.
        """
        weight = contract("i,ji->ji", self.q, (2 * self.s)[:, None] * on)
        if near is not None:
            weight = weight.widened(2 * self.q.known * near)
        rows = self.dt.on(lambda array: array.reshape(-1, array.shape[2]))
        return [(self.c, self.slopes), (weight.on(np.ravel), rows)]

    def bent(self) -> Ball:
        """The other terms of ∇²E, (P, P): of ∇²t and of the penalties."""
        (k, n), P = self.Z.shape, self.dt.shape[2]
        cross = contract("ji,ihp->jhp", self.pulls, self.trace.Dh)
        below = slice(k * n, P)
        parts: list[tuple[Any, Ball]] = [((range(k * n), range(k * n)), self._decay())]
        for j in range(k):
            own = slice(j * n, j * n + n - 1)
            parts += [((own, below), cross[j]), ((below, own), cross[j].on(np.transpose))]
        parts.append(((below, below), contract("ih,ihpq->pq", self.p, self.trace.D2h)))
        for place, v, excess in self.norms():
            there = slice(k * n + place.start, k * n + place.stop)
            round_it = contract("a,b->ab", v, v) * 2.0 + excess * np.eye(self.plain.length)
            parts.append(((there, there), round_it * self.plain.strength))
        return placed((P, P), parts)

    def _decay(self) -> Ball:
        twice = 2 * np.repeat(self.lam, self.Z.shape[1])
        return Ball(twice, None if self.v.rad is None else np.zeros_like(twice))

    def hessian(self, on: np.ndarray) -> Ball:
        """∇²E (P, P) with that `on` (k, N)."""
        return summed(self.bent(), self.squares(on))


def summed(bent: Ball, squares: list[Weighted]) -> Ball:
    """A matrix (P, P) plus Σ weight·row·rowᵀ."""
    for weight, rows in squares:
        bent = bent + contract("ip,iq->pq", contract("i,ip->ip", weight, rows), rows)
    return bent


def _rounding(rows: np.ndarray, S: np.ndarray) -> np.ndarray:
    """What the rounding of rows (…, P) times S can be in norm, (…)."""
    sizes = np.linalg.norm(np.abs(rows) @ np.abs(S), axis=-1)
    return np.asarray((len(S) + 4) * UNIT * sizes)


def _outputs(t: Ball, s: np.ndarray) -> Ball:
    """f, (N,)."""
    signs = np.repeat(s[:, None], t.shape[1], axis=1)
    return contract("ji,ji->i", t.positive() * t.positive(), signs)


def _losses(task: Task, f: Ball) -> tuple[Ball, Ball]:
    """∂ℓᵢ/∂fᵢ and ∂²ℓᵢ/∂fᵢ² at outputs f (N,)."""
    _, q, c = loss_rows(f.mid, task)
    if f.rad is None:
        return Ball(q), Ball(c)
    reach = ROOM * f.rad + 4 * np.finfo(float).eps * (1 + np.abs(f.mid))
    second, third = steepest(task, -task.y * f.mid, reach)
    return (
        Ball(q, ROOM * (second * reach + RELATIVE * np.abs(q))),
        Ball(c, ROOM * (third * reach + RELATIVE * c)),
    )
