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

Other symbols as in `sweep.judge.stack_plain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sweep.judge.balls import Ball, contract, placed, stacked
from sweep.judge.coercive_bounds import RELATIVE, ROOM, steepest
from sweep.judge.coercive_kernels import Task, loss_rows
from sweep.judge.stack_plain import Stacked, StackFace, Trace


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
        f = contract("ji,ji->i", t.positive() * t.positive(), np.repeat(s[:, None], len(g.mid), 1))
        q, c = _losses(plain.task_of(trace.h.mid), f)
        return cls(plain, face, Z, s, lam, v, trace, g, t, f, q, c)

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

    def hessian(self, on: np.ndarray, near: np.ndarray | None = None) -> Ball:
        """∇²E (P, P) with that `on` (k, N); by balls, what it is at least (in the sense of ⪰).

        Where t may have either sign (`near`), `on` must be [sⱼqᵢ < 0] at the midpoint: then
        2sⱼqᵢ on ∇t∇tᵀ ⪰ min(2sⱼqᵢ, 0)∇t∇tᵀ, and that is within the radius of q of the midpoint's.
        """
        (k, n), P = self.Z.shape, self.dt.shape[2]
        found = contract("ip,iq->pq", self.slopes, contract("i,ip->ip", self.c, self.slopes))
        weight = contract("i,ji->ji", self.q, (2 * self.s)[:, None] * on)
        if near is not None:
            weight = weight.widened(2 * self.q.known * near)
        rows = contract("ji,jip->jip", weight, self.dt)
        found = found + contract("jip,jiq->pq", rows, self.dt)
        cross = contract("ji,ihp->jhp", self.pulls, self.trace.Dh)
        below, parts = slice(k * n, P), []
        for j in range(k):
            rows_of_j = slice(j * n, j * n + n - 1)
            parts += [
                ((rows_of_j, below), cross[j]),
                ((below, rows_of_j), cross[j].on(np.transpose)),
            ]
        parts.append(((below, below), contract("ih,ihpq->pq", self.p, self.trace.D2h)))
        for place, own, excess in self.norms():
            there = slice(k * n + place.start, k * n + place.stop)
            round_it = contract("a,b->ab", own, own) * 2.0 + excess * np.eye(self.plain.length)
            parts.append(((there, there), round_it * self.plain.strength))
        return (
            found
            + placed((P, P), parts)
            + np.diag(np.pad(np.repeat(2 * self.lam, n), (0, P - k * n)))
        )


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
