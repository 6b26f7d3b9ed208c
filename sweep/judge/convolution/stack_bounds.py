"""What is known around a point of a face of several convolutions: slopes, curvature, the face.

A neighbourhood is {x + Sw, ‖w‖ ≤ r}, x = (z, v); it lies in the box of half-widths r‖S_p‖, S_p the
rows of S, on which everything is enclosed by balls. On M

    L(x) = E(x) + Σᵢ μᵢgᵢ + Σᵢ (cᵢ/2)gᵢ²,   gᵢ = z of held places whose slopes are a basis,

is E, and with multipliers μ and large enough c L is convex off M as well, where E has no reason to
be. S = (∇²L)^{−1/2}, as computed and stored, as in `sweep.judge.coercive.bounds`.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
x       coordinates of active neurons and filters                  (P,)
S, R    axes of the neighbourhood; nearly S⁻¹                      (P, P)
g, G    the constraints, r of them; their slopes in v              (r,), (r, K·s)
Q       orthonormal basis of what the rows of G span, as stored    (K·s, r)
u       unit roundoff, 2⁻⁵³
======  =========================================================  ==========

Other symbols as in `sweep.judge.convolution.stack_local`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sweep.judge.coercive.bounds import ROOM
from sweep.judge.coercive.proof import TINY
from sweep.judge.convolution.plain import APART
from sweep.judge.convolution.stack_local import StackLocal, Weighted, summed
from sweep.judge.numerics.balls import Ball, contract, stacked
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen

# Off M the curvature of L is brought to this multiple of the largest along it.
STEEP = 2.0


@dataclass(frozen=True, eq=False)
class Held:
    """A basis of the held places: their indices per layer, μ and c of each."""

    places: tuple[tuple[np.ndarray, np.ndarray], ...]
    mu: np.ndarray
    c: np.ndarray

    def picked(self, layers: tuple[Ball, ...]) -> Ball:
        """Rows of all layers at the basis, (r, …)."""
        return stacked([one[place] for one, place in zip(layers, self.places, strict=True)])


@dataclass(frozen=True, eq=False)
class StackCentre:
    """A point of a face with the axes around it; see `coercive_proof.Surroundings`."""

    at: StackLocal
    held: Held
    Q: np.ndarray
    S: np.ndarray
    R: np.ndarray
    boxes: dict[float, StackLocal] = field(default_factory=dict)

    @classmethod
    def of(cls, at: StackLocal) -> StackCentre | None:
        """The centre at a point whose numbers are exact; None where ∇²L is not positive there."""
        places, Q = basis_of(at)
        held = _lagrangian(at, places)
        if held is None:
            return None
        H = summed(*_hessian(at, held, at.t.mid > 0)).mid
        values, basis = eigen((H + H.T) / 2)
        if not (values > 0).all():
            return None
        S, R = basis / np.sqrt(values), (basis * np.sqrt(values)).T
        return cls(at, held, Q, S, R)

    @property
    def rows(self) -> np.ndarray:
        """‖S_p‖, (P,)."""
        return np.asarray(ROOM * np.linalg.norm(self.S, axis=1))

    def box(self, r: float) -> StackLocal:
        """Everything at ‖w‖ ≤ r, by the box around it."""
        if r not in self.boxes:
            self.boxes.clear()
            self.boxes[r] = self.widened(r * self.rows).within(r, self.S, self.at)
        return self.boxes[r]

    def widened(self, more: np.ndarray) -> StackLocal:
        """Everything on the box of half-widths `more` (P,)."""
        at, size = self.at, self.at.Z.mid.size
        Z = at.Z.widened(more[:size].reshape(at.Z.shape))
        return StackLocal.at(at.plain, at.face, Z, at.s, at.lam, at.v.widened(more[size:]))

    def gradient(self) -> float:
        """A bound g + Cε: of ‖Sᵀ∇L‖, of the curvature C ≥ 2 of L nearby, of how far M is, in w."""
        at, P = self.at, len(self.S)
        slope, size = _gradient(at, self.held), np.abs(self.S).T
        total = float(np.linalg.norm(self.S.T @ slope.mid))
        total += float(np.linalg.norm(size @ (slope.known + (P + 2) * UNIT * np.abs(slope.mid))))
        if not at.face.kinks:
            return ROOM * total
        moved = self.to_face()
        if moved is None:
            return float("inf")
        rounding = (P + 2) * UNIT * float(np.linalg.norm(np.abs(self.R) @ np.abs(self.S)))
        if not float(np.linalg.norm(np.eye(P) - self.R @ self.S)) + rounding < 0.5:
            return float("inf")
        away = 2 * ROOM * float(np.linalg.norm(np.abs(self.R) @ moved))
        return ROOM * (total + float(np.maximum(2.0, self._steepest(self.widened(moved)))) * away)

    def _steepest(self, here: StackLocal) -> float:
        """An upper bound of the curvature of L in w on a box, with ReQU kinks on either side."""
        near, on = self._near(here), self.at.t.mid > 0
        K, doubt = self._in_w(on)
        total = float(np.linalg.norm(K)) + doubt + self._drift(*_hessian(here, self.held, on))
        turned = np.linalg.norm(here.dt.size[near] @ np.abs(self.S), axis=1)
        total += 2 * float(np.broadcast_to(here.q.size, near.shape)[near] @ turned**2)
        return ROOM * total

    def to_face(self) -> np.ndarray | None:
        """Bounds (P,) of a move of the filters that leads onto M; None if unknown.

        With Ḡ a mean of G on the way, y ↦ y − Xg(v + Qy) = (I − XḠQ)y − Xg(v) takes ‖y‖ ≤ 2‖Xg(v)‖,
        in the largest entry, to itself where ‖I − XGQ‖ ≤ ½: it has a fixed point, a zero of g.
        """
        at, size = self.at, self.at.Z.mid.size
        start = inverted(contract("rp,pd->rd", self.held.picked(at.trace.Dz), self.Q))
        if start is None or not start[0].size:
            return None
        g = contract("rs,s->r", start[0], self.held.picked(at.trace.z)).size
        moved = np.zeros(len(self.S))
        moved[size:] = ROOM * np.abs(self.Q) @ np.full(len(g), 2 * ROOM * float(g.max()))
        near = at.plain.trace(at.face, at.v.widened(moved[size:]), curved=False)
        eta = distance(start[0], contract("rp,pd->rd", self.held.picked(near.Dz), self.Q))
        return moved if eta <= 0.5 else None

    def inside(self, r: float) -> bool:
        """Whether every place that is not held keeps its sign on M within ‖w‖ ≤ r."""
        here = self.box(r)
        return all(
            bool((np.abs(z.mid) > ROOM * z.known)[slope != 0].all())
            for z, slope in zip(here.trace.z, here.face.slopes, strict=True)
        )

    def crosses(self, r: float) -> bool:
        """Whether GQ is invertible within ‖w‖ ≤ r: the chart of the theorem."""
        G = self.held.picked(self.box(r).trace.Dz)
        return inverted(contract("rp,pd->rd", G, self.Q)) is not None

    def apart(self, r: float) -> list[bool] | None:
        """Per layer whether its basis has independent windows within r; None if one may be 0."""
        found = []
        for w, place in zip(self.box(r).trace.windows, self.held.places, strict=True):
            rows = w[place]
            found.append(inverted(contract("rs,ts->rt", rows, rows.mid)) is not None)
            lengths = np.linalg.norm(rows.mid, axis=1) / ROOM
            if not found[-1] and not (np.linalg.norm(rows.known, axis=1) < lengths).all():
                return None
        return found

    def on(self, r: float) -> tuple[np.ndarray, bool]:
        """Second derivatives of h² (k, N) that make ∇²E least within reach; whether a kink is."""
        near = self._near(self.box(r))
        negative = self.at.s[:, None] * self.at.q.mid < 0
        return np.where(near, negative, self.at.t.mid > 0), bool(near.any())

    def _near(self, here: StackLocal) -> np.ndarray:
        return np.asarray(np.abs(here.t.mid) <= ROOM * here.t.known)

    def least(self, on: np.ndarray) -> float:
        """A lower bound of λ_min(SᵀHS), H the ∇²L of the centre with that `on`."""
        return proven_least(*self._in_w(on))

    def _in_w(self, on: np.ndarray) -> tuple[np.ndarray, float]:
        """SᵀHS (P, P) and what rounding can make of it in norm."""
        H, wide = summed(*_hessian(self.at, self.held, on)), np.abs(self.S)
        K = self.S.T @ (H.mid @ self.S)
        products = 2 * (len(K) + 2) * UNIT * np.linalg.norm(wide.T @ (np.abs(H.mid) @ wide))
        formed = np.linalg.norm(wide.T @ (H.known @ wide))
        return (K + K.T) / 2, float(ROOM * (products + formed))

    def curvature_change(self, r: float) -> float:
        """How far below that the curvature of L in w can be within reach; inf beyond the face."""
        if not self.inside(r):
            return float("inf")
        here = self.box(r)
        return self._drift(*_hessian(here, self.held, self.on(r)[0], self._near(here)))

    def _drift(self, bent: Ball, squares: list[Weighted]) -> float:
        """How far ∇²L can be from its midpoint, in w.

        Of w·x·xᵀ, ‖Sᵀx‖ = γ, it changes by at most dw(γ + τ)² + |w|τ(2γ + τ), τ what Sᵀx does.
        """
        wide = np.abs(self.S)
        total = float(np.linalg.norm(wide.T @ (bent.known @ wide)))
        for weight, rows in squares:
            gamma = np.linalg.norm(rows.mid @ self.S, axis=1)
            gamma += (len(wide) + 4) * UNIT * np.linalg.norm(np.abs(rows.mid) @ wide, axis=1)
            tau = np.linalg.norm(rows.known @ wide, axis=1)
            total += float(weight.known @ (gamma + tau) ** 2)
            total += float(np.abs(weight.mid) @ (tau * (2 * gamma + tau)))
        return ROOM * ROOM * total


def inverted(M: Ball) -> tuple[np.ndarray, float] | None:
    """X ≈ M⁻¹ and η < 1 of `distance`, which proves all M of the ball invertible; else None."""
    if not M.mid.size:
        return M.mid, 0.0
    try:
        X = np.linalg.inv(M.mid)
    except np.linalg.LinAlgError:
        return None
    eta = distance(X, M)
    return (X, eta) if eta < 1 else None


def distance(X: np.ndarray, M: Ball) -> float:
    """A bound of ‖I − XM‖, the largest sum of a row, for all M of a ball."""
    left = contract("rs,st->rt", X, M) - np.eye(len(X))
    return ROOM * float(left.size.sum(axis=1).max())


def basis_of(at: StackLocal) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], np.ndarray]:
    """Held places whose ∂z are a basis of those of all, layer by layer; and Q."""
    places, Q = [], np.zeros((at.plain.n_filters, 0))
    for slope, D in zip(at.face.slopes, at.trace.Dz, strict=True):
        where, rows = np.argwhere(slope == 0), D.mid[slope == 0]
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
        chosen = []
        while len(rows):
            left = rows - (rows @ Q) @ Q.T
            lengths = np.linalg.norm(left - (left @ Q) @ Q.T, axis=1)
            best = int(lengths.argmax())
            if not lengths[best] > APART:
                break
            way = left[best] - Q @ (Q.T @ left[best])
            Q = np.column_stack([Q, way / np.linalg.norm(way)])
            chosen.append(best)
        kept = where[chosen].reshape(-1, 2)
        places.append((kept[:, 0], kept[:, 1]))
    return tuple(places), Q


def _lagrangian(at: StackLocal, places: tuple[tuple[np.ndarray, np.ndarray], ...]) -> Held | None:
    """μ and c at a basis; None where E is not convex along M."""
    bare = Held(places, np.zeros(0), np.zeros(0))
    first = at.Z.mid.size
    D = bare.picked(at.trace.Dz).mid
    if not len(D):
        return bare
    mu = -np.linalg.lstsq(D.T, at.gradient().mid[first:], rcond=None)[0]
    H = summed(*_hessian(at, Held(bare.places, mu, np.zeros(len(D))), at.t.mid > 0)).mid
    P = len(H)
    G = np.zeros((len(D), P))
    G[:, first:] = D
    basis = np.linalg.svd(G, full_matrices=True)[2]
    along, off = basis[len(D) :].T, basis[: len(D)].T
    values, ways = eigen(along.T @ H @ along)
    if not (values > 0).all():
        return None
    coupled = off.T @ H @ along @ ways
    needed = (coupled / values) @ coupled.T - off.T @ H @ off
    steep = float(np.linalg.norm(needed)) + STEEP * float(np.abs(values).max())
    # Σ cᵢgᵢ² is at least c‖g‖² in the normalised rows, whose least singular value counts.
    sizes = np.linalg.norm(D, axis=1)
    least = float(np.linalg.svd(D / sizes[:, None], compute_uv=False)[-1])
    return Held(bare.places, mu, steep / (least * sizes) ** 2)


def _gradient(at: StackLocal, held: Held) -> Ball:
    """∇L, (P,)."""
    found, first = at.gradient(), at.Z.mid.size
    if not len(held.mu):
        return found
    pull = held.picked(at.trace.z) * held.c + held.mu
    more = contract("r,rp->p", pull, held.picked(at.trace.Dz))
    return stacked([found[:first], found[first:] + more])


def _hessian(
    at: StackLocal, held: Held, on: np.ndarray, near: np.ndarray | None = None
) -> tuple[Ball, list[Weighted]]:
    """∇²L as a matrix (P, P) and Σ weight·row·rowᵀ; `on`, `near` as in `StackLocal.squares`."""
    bent, squares, first = at.bent(), at.squares(on, near), at.Z.mid.size
    if not len(held.mu):
        return bent, squares
    pull = held.picked(at.trace.z) * held.c + held.mu
    more = contract("r,rpq->pq", pull, held.picked(at.trace.D2z))
    wide = more.on(lambda array: np.pad(array, ((first, 0), (first, 0))))
    rows = held.picked(at.trace.Dz).on(lambda array: np.pad(array, ((0, 0), (first, 0))))
    return bent + wide, [*squares, (Ball.exact(held.c), rows)]
