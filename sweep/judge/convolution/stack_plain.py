"""Two or more convolutions below ReQU neurons ([B] Theorem 2, l ≥ 3) in plain numbers.

h_k = σ(z_k), z_k = v_k * h_{k−1}: at a place j of data point i, z_kij = w_kij·v_k with the window
w_kij, the s numbers of h_{k−1} (zeros beyond its ends) that the place is computed from. Where no
place of any layer changes its sign, h = h_K is multilinear in the filters. A *face* M is the set of
filters on which some places, the *held* ones, vanish and the others keep their signs:

    M = {v : w_kij(v_1 … v_{k−1})·v_k = 0 for all held kij}.

In layer 1 these are hyperplanes, further up they turn with the filters below. On M a held place
hands on an exact zero, so that there every slope is 1, that of the leaky ReLU, or 0.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, K    data points, convolutions
s       numbers of a filter
L_k     places of layer k; H = L_K
v       the filters, one after the other                           (K·s,)
z_k     what σ is applied to in layer k                            (N, L_k)
w_k     windows of layer k                                         (N, L_k, s)
slopes  of σ on a face, layer by layer; 0 where held               (N, L_k)
B       orthonormal basis of the directions along M                (K·s, d)
======  =========================================================  ==========

Neurons, their reduced coordinates z and E as in `sweep.judge.convolution.plain`, with
(λ_c/4) Σₖ (‖v_k‖² − 1)².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from sweep.judge.coercive.kernels import Task, energy
from sweep.judge.coercive.plain import Coordinates
from sweep.judge.convolution.plain import APART, ON_KINK
from sweep.judge.numerics.balls import Ball, contract, placed
from sweep.judge.numerics.kernel_losses import code_of
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.convolution import ConvolutionNetwork, ConvolutionRegularizer
from sweep.models.objective import DataObjective, Objective

#: Windows of second derivatives in the filters, as numbers: beyond 100 MB nothing is judged here.
LARGEST = 10_000_000
#: Steps onto a face at most; two are usual.
NEWTON = 6


@dataclass(frozen=True, eq=False)
class StackFace:
    """M near a point, by the slopes of σ there, and B; `kinks` places are held and not always 0."""

    slopes: tuple[np.ndarray, ...]
    B: np.ndarray
    kinks: int

    @cached_property
    def held(self) -> np.ndarray:
        """Places that are held, of all layers one after the other."""
        return np.concatenate([slope.ravel() == 0 for slope in self.slopes])


@dataclass(frozen=True, eq=False)
class Trace:
    """Per layer z_k with its derivatives in v: (N, L_k), (N, L_k, K·s), (N, L_k, K·s, K·s).

    The same of h; `windows` are w_k.
    """

    windows: tuple[Ball, ...]
    z: tuple[Ball, ...]
    Dz: tuple[Ball, ...]
    D2z: tuple[Ball, ...]
    h: Ball
    Dh: Ball
    D2h: Ball


@dataclass(frozen=True, eq=False)
class Stacked:
    """The objective: data, K, s, slope of the leaky ReLU, λ_c, and the last layer's layout."""

    x: np.ndarray
    y: np.ndarray
    filters: int
    length: int
    slope: float
    strength: float
    loss: tuple[int, float]
    last: Coordinates

    @classmethod
    def of(cls, objective: Objective) -> Self | None:
        """The objective in numbers; None unless it is such a network with its regularizer alone.

        None as well where the second derivatives of what the last layer sees are too many numbers.
        """
        if not isinstance(objective, DataObjective):
            return None
        network, loss = objective.network, code_of(objective.loss)
        if loss is None or not isinstance(network, ConvolutionNetwork) or network.filters < 2:
            return None
        regularizer = objective.regularizer
        if not isinstance(regularizer, ConvolutionRegularizer) or objective.weight_decay > 0:
            return None
        x = objective.x.cpu().numpy().astype(np.float64)
        y = objective.y.cpu().numpy().astype(np.float64)
        H, P = network.widths[-2], network.filters * network.length
        if len(y) * H * P * P * network.length > LARGEST:
            return None
        last = Coordinates(Task(np.ones((len(y), H + 1)), y, *loss, True), network.width, H)
        slope = network.leaky.negative_slope
        size, strength = network.length, regularizer.lambda_c
        return cls(x, y, network.filters, size, slope, strength, loss, last)

    @cached_property
    def blank(self) -> np.ndarray:
        """Places that are zero under all filters, as those that see zeros alone, layer by layer."""
        zero, found = self.x == 0, []
        for _ in range(self.filters):
            zero = ~self.windows(~zero).any(axis=2)
            found.append(zero.ravel())
        return np.concatenate(found)

    @property
    def n_filters(self) -> int:
        """Numbers of all filters, K·s."""
        return self.filters * self.length

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of θ (P,): the filters (K·s,), z (m, n) and the signs (m,)."""
        v, rest = theta[: self.n_filters], theta[self.n_filters :]
        return v, *self.last.reduced(rest)

    def balanced(self, v: np.ndarray, Z: np.ndarray, s: np.ndarray) -> np.ndarray:
        """The θ (P,) of least norms with these v, z and s."""
        return np.concatenate([v, self.last.balanced(Z, s)])

    def part(self, k: int) -> slice:
        """Where v_k is in v."""
        return slice(k * self.length, (k + 1) * self.length)

    def windows(self, h: np.ndarray) -> np.ndarray:
        """Windows of numbers (N, L, …) per place, (N, L+s−1, …, s)."""
        s = self.length
        wider = np.zeros((len(h), h.shape[1] + 2 * (s - 1), *h.shape[2:]))
        wider[:, s - 1 : s - 1 + h.shape[1]] = h
        return np.lib.stride_tricks.sliding_window_view(wider, s, axis=1)

    def layers(self, v: np.ndarray) -> list[np.ndarray]:
        """z_k of all layers, as the network has them."""
        h, found = self.x, []
        for k in range(self.filters):
            found.append(self.windows(h) @ v[self.part(k)])
            h = np.where(found[-1] > 0, found[-1], self.slope * found[-1])
        return found

    def seen(self, v: np.ndarray) -> Task:
        """The last layer's task for the filters v: g = (h, 1) as its data."""
        z = self.layers(v)[-1]
        return self.task_of(np.where(z > 0, z, self.slope * z))

    def task_of(self, h: np.ndarray) -> Task:
        """The last layer's task where it sees h (N, H)."""
        g = np.concatenate([h, np.ones((len(h), 1))], axis=1)
        return Task(np.ascontiguousarray(g), self.y, *self.loss, True)

    def energy(self, Z: np.ndarray, s: np.ndarray, v: np.ndarray, lam: np.ndarray) -> float:
        """E at z (m, n) and the filters v."""
        squares = (v.reshape(self.filters, self.length) ** 2).sum(axis=1)
        pull = self.strength / 4 * float(((squares - 1) ** 2).sum())
        return float(energy(Z, s, lam, self.seen(v))) + pull

    def placed(
        self, v: np.ndarray, near: float = ON_KINK, held: np.ndarray | None = None
    ) -> tuple[StackFace, np.ndarray] | None:
        """The face of filters v and a point of it next to them.

        Places within `near` of zero, relative to ‖w‖‖v_k‖, are held, and so are those of `held`.
        None where a filter vanishes.
        """
        h, masks, first = self.x, [], 0
        for k in range(self.filters):
            w, own = self.windows(h), v[self.part(k)]
            if not np.linalg.norm(own) > 0:
                return None
            z, size = w @ own, np.linalg.norm(w, axis=2)
            here = np.abs(z) <= near * size * np.linalg.norm(own)
            if held is not None:
                here = here | held[first : first + size.size].reshape(size.shape)
            first += size.size
            masks.append(here)
            h = np.where(here, 0.0, np.where(z > 0, z, self.slope * z))
        found, where = self._face(masks, v), np.concatenate([mask.ravel() for mask in masks])
        where &= ~self.blank
        if not where.any():
            return found, v
        for _ in range(NEWTON):
            z, D = self._flat(found, v)
            # Rows that are zero, of places above held ones, have nothing to say.
            some = where & (np.linalg.norm(D, axis=1) > 0)
            scale = np.linalg.norm(D[some], axis=1)
            rows, away = D[some] / scale[:, None], z[some] / scale
            step = np.linalg.lstsq(rows, away, rcond=APART)[0] if len(rows) else 0 * v
            v = v - step
            found = self._face(masks, v)
            if np.linalg.norm(step) <= UNIT * np.linalg.norm(v):
                break
        D = self._flat(found, v)[1][where]
        Q = self.spanned(D[np.linalg.norm(D, axis=1) > 0])
        basis = np.linalg.svd(Q, full_matrices=True)[0] if Q.size else found.B
        return StackFace(found.slopes, basis[:, Q.shape[1] :], int(where.sum())), v

    def _face(self, held: list[np.ndarray], v: np.ndarray) -> StackFace:
        """The slopes at v with those places held; B not yet known."""
        h, slopes = self.x, []
        for k, here in enumerate(held):
            z = self.windows(h) @ v[self.part(k)]
            slopes.append(np.where(here, 0.0, np.where(z > 0, 1.0, self.slope)))
            h = slopes[-1] * z
        return StackFace(tuple(slopes), np.eye(self.n_filters), 0)

    def _flat(self, face: StackFace, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The z of all places, layer by layer, and their slopes in v."""
        trace = self.trace(face, Ball(v), curved=False)
        D = np.concatenate([one.mid.reshape(-1, self.n_filters) for one in trace.Dz])
        return np.concatenate([one.mid.ravel() for one in trace.z]), D

    def spanned(self, rows: np.ndarray) -> np.ndarray:
        """An orthonormal basis (·, r) of what rows ≠ 0 span, those next to others left out."""
        if not len(rows):
            return np.zeros((rows.shape[1], 0))
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        _, values, basis = np.linalg.svd(rows, full_matrices=False)
        return np.asarray(basis[values > APART * values[0]].T)

    def trace(self, face: StackFace, v: Ball, curved: bool = True) -> Trace:
        """z_k, h and their derivatives at filters v (K·s,), with the slopes of the face.

        ∂z_k = w_k in v_k and v_k * ∂h_{k−1} below; ∂²z_k = ∂w_k between the two and v_k * ∂²h_{k−1}
        below. Without `curved` the second derivatives are left out.
        """
        P, N = self.n_filters, len(self.x)
        h = Ball(self.x, None if v.rad is None else np.zeros_like(self.x))
        D = h.on(lambda array: np.zeros((*array.shape, P)))
        D2 = h.on(lambda array: np.zeros((*array.shape, P, P) if curved else (*array.shape, 0, 0)))
        layers = []
        for k, slope in enumerate(face.slopes):
            own, place = v[self.part(k)], self.part(k)
            w, turned, bent = h.on(self.windows), D.on(self.windows), D2.on(self.windows)
            L = w.shape[1]
            z = contract("ija,a->ij", w, own)
            every = slice(None)
            Dz = placed(
                (N, L, P), [(every, contract("ijpa,a->ijp", turned, own)), ((..., place), w)]
            )
            D2z = contract("ijpqa,a->ijpq", bent, own)
            if curved:
                across = turned.on(lambda array: np.moveaxis(array, 3, 2))
                parts = [(every, D2z), ((..., place, every), across), ((..., place), turned)]
                D2z = placed((N, L, P, P), parts)
            layers.append((w, z, Dz, D2z))
            h, D, D2 = z * slope, Dz * slope[..., None], D2z * slope[..., None, None]
        w_all, z_all, Dz_all, D2z_all = zip(*layers, strict=True)
        return Trace(w_all, z_all, Dz_all, D2z_all, h, D, D2)
