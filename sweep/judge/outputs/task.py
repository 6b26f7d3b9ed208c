"""One hidden layer and several outputs: F, its gradient and its Hessian, known within a radius.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, n    data points, input dimension + 1
H, C    hidden units, outputs
x̃       data with a last column of ones                       (N, n)
A, c, W output weights, output bias, (w_j, b_j) per unit       (C, H), (C,), (H, n)
θ       A row by row, c, W row by row                         (P,)
z       preactivations w_j·x̃_i                                (H, N)
h0..h2  σ(z), σ′(z), σ″(z)                                     (H, N)
f, q, B outputs, ∂ℓ/∂f, ∂²ℓ/∂f²                                (N, C), (N, C), (N, C, C)
J       ∂f/∂θ                                                 (N, C, P)
moves   θ + moves·v, ‖v‖ ≤ 1, are meant; None: θ alone, in plain floating point   (P, Q)
======  ====================================================  ==========

With ∂f_c/∂A_cj = h0_j, ∂f_c/∂c_c = 1, ∂f_c/∂w_j = A_cj h1_j x̃:
∇F = Σᵢ Jᵢᵀqᵢ and ∇²F = Σᵢ JᵢᵀBᵢJᵢ + Σᵢ Σ_c q_ic ∇²f_ic, whose last part couples A_cj with w_j by
h1_j x̃ and w_j with itself by A_cj h2_j x̃x̃ᵀ. Rounding is part of every ball
(`sweep.judge.numerics.balls`). A piecewise-linear σ is one of slope h1 here, which the caller makes
sure of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge.affine.outputs import derivatives, known_outputs, varying
from sweep.judge.numerics.balls import LEAST, Ball, contract, placed
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.smooth.kernels import activate, activation_code
from sweep.judge.smooth.strict_kernels import ACTIVATION_UNITS, ROOM, supremum
from sweep.kernels.compiled import compiled
from sweep.models.activations import Activation
from sweep.models.losses import VectorLoss
from sweep.models.objective import Objective
from sweep.models.vector import VectorObjective


@dataclass(frozen=True, eq=False)
class Point:
    """A, c, W of one member."""

    A: np.ndarray
    c: np.ndarray
    W: np.ndarray


@dataclass(frozen=True, eq=False)
class Second:
    """F at θ; f, ∇F and ∇²F at all points that are meant."""

    value: float
    f: Ball
    gradient: Ball
    hessian: Ball


@dataclass(frozen=True, eq=False)
class OutputsTask:
    """The objective in numbers; `code` names a smooth σ, `slopes` (s₋, s₊) are those of others."""

    X: np.ndarray
    y: np.ndarray
    loss: VectorLoss
    width: int
    activation: Activation
    code: int | None
    slopes: tuple[float, float] | None

    @classmethod
    def of(cls, objective: Objective) -> OutputsTask | None:
        """The same objective; None unless one hidden layer and several outputs are all there is."""
        if not isinstance(objective, VectorObjective) or not known_outputs(objective.loss):
            return None
        network, x = objective.network, objective.x.cpu().numpy()
        code, slopes = activation_code(network.activation), network.activation.slopes
        if len(network.widths) != 1 or objective.weight_decay or not network.output_bias:
            return None
        if code is None and (slopes is None or slopes[0] == slopes[1]):
            return None
        y = np.ascontiguousarray(objective.targets[:, :, 0].t().cpu().numpy())
        if not varying(objective.loss, y.shape[1]).size:
            return None  # One class: the loss is 0 everywhere.
        return cls(
            X=np.hstack([x, np.ones((len(x), 1))]),
            y=y,
            loss=objective.loss,
            width=network.widths[0],
            activation=network.activation,
            code=code,
            slopes=slopes,
        )

    @cached_property
    def length(self) -> np.ndarray:
        """‖x̃_i‖, (N,), not too small."""
        return np.asarray(ROOM * np.linalg.norm(self.X, axis=1))

    @cached_property
    def order(self) -> np.ndarray:
        """Where the parameters of an objective stand in θ: params = θ[order]."""
        C, H, n = self.y.shape[1], self.width, self.X.shape[1]
        first = C * H + C
        inner = first + np.arange(H * n).reshape(H, n)
        return np.concatenate([inner[:, :-1].ravel(), inner[:, -1], np.arange(first)])

    @cached_property
    def U(self) -> np.ndarray:  # noqa: N802 (the mathematics' letter)
        """Orthonormal: the directions of f in which ℓ varies, (C, C′)."""
        return varying(self.loss, self.y.shape[1])

    def theta(self, params: np.ndarray) -> np.ndarray:
        """θ (P,) of an objective's parameters."""
        found = np.empty_like(params)
        found[self.order] = params
        return found

    def params(self, theta: np.ndarray) -> np.ndarray:
        """The inverse of `theta`."""
        return np.asarray(theta[self.order])

    def split(self, theta: np.ndarray) -> Point:
        """θ by meaning."""
        C, H, n = self.y.shape[1], self.width, self.X.shape[1]
        A, c, W = np.split(theta, [C * H, C * H + C])
        return Point(A.reshape(C, H), c, W.reshape(H, n))

    def preactivations(self, W: np.ndarray, moves: np.ndarray | None) -> Ball:
        """Of W (H, n), which moves by `moves` (H, n, Q) times a vector of length ≤ 1."""
        z = W @ self.X.T
        if moves is None:
            return Ball(z)
        rounds = (self.X.shape[1] + 2) * UNIT * (np.abs(W) @ np.abs(self.X).T)
        way = np.sqrt(np.square(np.einsum("hnq,in->hiq", moves, self.X)).sum(axis=2))
        way = way + (self.X.shape[1] + 2) * UNIT * self._span(moves)
        return Ball(z, ROOM * (rounds + way) + LEAST)

    def _span(self, moves: np.ndarray) -> np.ndarray:
        """Σ|x̃|‖moves‖, (H, N): what their sums round against."""
        return np.asarray(np.linalg.norm(moves, axis=2) @ np.abs(self.X).T)

    def units(self, z: Ball) -> tuple[Ball, Ball, Ball]:
        """h0, h1, h2."""
        if self.code is not None:
            found = _smooth_units(self.code, z.mid, z.known)
            return tuple(  # type: ignore[return-value]
                Ball(found[k], None if z.rad is None else found[k + 3]) for k in range(3)
            )
        slope = self.slope(z.mid)
        flat = Ball(slope, None if z.rad is None else np.zeros_like(slope))
        return flat * z, flat, flat * 0.0

    def slope(self, z: np.ndarray) -> np.ndarray:
        """The slope in force at every pair (H, N) of a piecewise-linear σ."""
        assert self.slopes is not None
        return np.where(z > 0, self.slopes[1], self.slopes[0])

    def value(self, theta: np.ndarray) -> float:
        """F at θ."""
        at = self.split(theta)
        h = self.units(self.preactivations(at.W, None))[0].mid
        f = np.einsum("ch,hi->ic", at.A, h) + at.c
        return float(derivatives(self.loss, self.y, f, np.zeros_like(f)).value.sum())

    def second(self, theta: np.ndarray, moves: np.ndarray | None) -> Second:
        """F and two derivatives at all θ + `moves`·v, ‖v‖ ≤ 1; `moves` (P, Q)."""
        at, P, plain = self.split(theta), len(theta), moves is None
        (C, H), (N, n) = at.A.shape, self.X.shape
        first = C * H + C
        if moves is None:
            A, c, z = Ball(at.A), Ball(at.c), self.preactivations(at.W, None)
        else:
            wide = ROOM * np.linalg.norm(moves, axis=1)
            A, c = Ball(at.A, wide[: C * H].reshape(C, H)), Ball(at.c, wide[C * H : first])
            z = self.preactivations(at.W, moves[first:].reshape(H, n, -1))
        h0, h1, h2 = self.units(z)
        f = contract("ch,hi->ic", A, h0) + c[None, :]
        if moves is not None:
            f = self._outputs(at, moves, f, z)
        found = derivatives(self.loss, self.y, f.mid, f.known)
        q = Ball(found.slope, None if plain else found.slope_error)
        B = Ball(found.bend, None if plain else found.bend_error)
        sent = contract("ic,ch->hi", q, A)
        inner = contract("ch,hi->ich", A, h1)
        ones = Ball(np.ones(N), None if plain else np.zeros(N))
        jacobian = placed(
            (N, C, P),
            [
                *((np.s_[:, k, k * H : (k + 1) * H], h0.on(np.transpose)) for k in range(C)),
                *((np.s_[:, k, C * H + k], ones) for k in range(C)),
                (
                    np.s_[:, :, C * H + C :],
                    _flattened(contract("ich,ik->ichk", inner, self.X), (N, C, H * n)),
                ),
            ],
        )
        curved = contract("icd,idp->icp", B, jacobian)
        cross = contract("hic,ik->chk", contract("ic,hi->hic", q, h1), self.X)
        parts = [(np.s_[:, :], contract("icp,icq->pq", curved, jacobian))]
        own = contract("hik,il->hkl", contract("hi,ik->hik", sent * h2, self.X), self.X)
        for j in range(H):
            first = C * H + C + j * n
            parts.append((np.s_[first : first + n, first : first + n], own[j]))
            for k in range(C):
                row = k * H + j
                parts.append((np.s_[row, first : first + n], cross[k, j]))
                parts.append((np.s_[first : first + n, row], cross[k, j]))
        gradient = contract("icp,ic->p", jacobian, q)
        return Second(float(found.value.sum()), f, gradient, placed((P, P), parts))

    def _outputs(self, at: Point, moves: np.ndarray, f: Ball, z: Ball) -> Ball:
        """The outputs with less doubt than the sums of its terms' doubts: all moves have one v.

        To first order f moves by ‖Jᵢ·moves‖, J at θ. Of A_cj σ(z_j) there remains what is less
        than |ΔA_cj| sup|σ′| |Δz_j| + |A_cj| sup|σ″| Δz_j²/2, over the moves.
        """
        (C, H), n = at.A.shape, self.X.shape[1]
        here = self.preactivations(at.W, np.zeros((H, n, 1)))
        s0, s1, _ = self.units(here)
        sent = np.einsum("hnq,in->hiq", moves[C * H + C :].reshape(H, n, -1), self.X)
        linear = np.einsum("ch,hi,hiq->icq", at.A, s1.mid, sent)
        linear = linear + np.einsum("chq,hi->icq", moves[: C * H].reshape(C, H, -1), s0.mid)
        linear = np.sqrt(np.square(linear + moves[C * H : C * H + C]).sum(axis=2))
        bent = 0.0 if self.code is None else supremum(self.code, 2)
        wide = np.linalg.norm(moves[: C * H], axis=1).reshape(C, H)
        rest = np.einsum("ch,hi->ic", wide, (s1.size + bent * z.known) * z.known)
        rest = rest + 0.5 * bent * np.einsum("ch,hi->ic", np.abs(at.A), np.square(z.known))
        rounds = (contract("ch,hi->ic", Ball.exact(at.A), s0) + at.c[None, :]).known
        span = s1.size * self._span(moves[C * H + C :].reshape(H, n, -1))
        terms = np.einsum("ch,hi->ic", np.abs(at.A), span)
        terms = terms + np.einsum("ch,hi->ic", wide, s0.size)
        terms = terms + np.linalg.norm(moves[C * H : C * H + C], axis=1) + np.abs(f.mid)
        rounds = rounds + (H + n + 8) * UNIT * terms
        slack = np.einsum("ch,hi->ic", np.abs(at.A), s1.known * z.known)
        slack = slack + np.einsum("ch,hi->ic", wide, s0.known)
        return Ball(f.mid, np.minimum(f.known, ROOM * (linear + rest + rounds + slack)))


def _flattened(ball: Ball, shape: tuple[int, ...]) -> Ball:
    return ball.on(lambda array: array.reshape(shape))


@compiled
def _smooth_units(code: int, z: np.ndarray, e_z: np.ndarray) -> np.ndarray:
    """σ, σ′, σ″ at z (H, N) and how far they may be off when z is by e_z, (6, H, N).

    By Taylor to first order, with the next derivative's largest size anywhere for the rest, or by
    the largest size of the first.
    """
    found = np.zeros((6, *z.shape))
    small = ACTIVATION_UNITS * UNIT
    for j in range(z.shape[0]):
        for i in range(z.shape[1]):
            e = e_z[j, i]
            h = activate(code, z[j, i])
            # Where factors like 1 − e cancel, the error is relative to σ′ or σ″.
            rounds = small * (abs(h[1]) + abs(h[2]))
            for k in range(3):
                slope = abs(h[k + 1]) + 4.0 * rounds
                reach = min(supremum(code, k + 1), slope + 0.5 * supremum(code, k + 2) * e)
                found[k, j, i] = h[k]
                found[k + 3, j, i] = ROOM * (reach * e + small * abs(h[k]))
            found[5, j, i] += rounds
    return found
