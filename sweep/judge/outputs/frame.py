"""The directions across which F of a network with several outputs varies, at a point and near it.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
U       directions of f in which ℓ varies                     (C, C′)
s_ij    slope in force at a pair, piecewise-linear σ           (H, N)
K       a class: units whose (s_ij)_i are multiples t_j of one pattern
R_K     data that span those of which K takes notice           (m, n)
Ψ       what F is a function of, as long as no unit changes its slopes
ρ       the largest rank of dΨ at any θ
N       orthonormal; θ + range N is what F is looked at on     (P, ρ)
======  ====================================================  ==========

Smooth σ. F is a function of Ψ(θ) = (UᵀA, Uᵀc, W), since ℓ does not notice a constant added to all
outputs if it is a cross-entropy (U = 1 otherwise). Ψ is linear, N = its row space for all θ.

Piecewise-linear σ. While no unit changes its slope at any data point, f = c + Σ_K s_i(K) M_K x̃_i
with M_K = Σ_{j∈K} t_j a_j w̃_jᵀ: F is a function of Ψ = ((UᵀM_K R_Kᵀ)_K, Uᵀc). If a class has the
same slope on all data, its constant cannot be told from c: then M_K is taken without its last
column, times t, which is added to Uᵀc. Units that are off on all data do not occur in Ψ at all.

Rank. d(AB) of matrices (C′, k) and (k, m) is dA·B + A·dB, whose image has the dimension
C′m − (C′ − rank A)(m − rank B), largest for the largest ranks. The parts of Ψ have parameters of
their own, but for c, which reaches the last part alone and wholly; so
ρ = C′ + Σ_K [C′m − (C′ − min(C′, k))(m − min(k, m))] is never exceeded.

Theorem. Let dΨ·N, N of ρ columns, have rank ρ everywhere on a ball about θ0, and let F on
(θ0 + range N) have a local minimum p* inside the ball, no unit changing its slopes in the ball.
Then p* is a local minimum of F.
Proof. dΨ has rank ≥ ρ on the ball, and nowhere more: it is constant. By the constant rank theorem
Ψ = ι∘π near p*, π a submersion onto an open part of ℝ^ρ and ι injective. dπ·N is invertible at p*,
so π maps a neighbourhood of p* in p* + range N onto one of π(p*): every θ near p* has a p near p*
there with π(p) = π(θ), hence F(θ) = F(p) ≥ F(p*). ∎

On a face. Where units j hold pairs (`sweep.judge.outputs.face`), all of this is said of M in the
place of ℝ^P: w_j moves in L_j, which is orthogonal to the held rows, held pairs have the slope 0,
and unit j is a class of its own, with R_j such that R_j w_j determines w_j·x̃_i for all other data
that it feels. On M it is Uᵀa_j (R_j w_j)ᵀ of which F is a function, with m = dim L_j less what of
it no such data see, so the rank is at most C′ + m − 1 as above. If F is really a function of
less, because another unit has the same pattern, then F is flat along something in range N, and no
curvature will be proven.

Rank on the ball. N are right singular vectors of dΨ at θ0. Moving θ by Δ changes dΨ·v by products
ΔA·vW + vA·ΔW, in all by at most t√(R² + 1)·‖Δ‖‖v‖, R the largest ‖R_K‖ (Cauchy-Schwarz, over
classes too). So σ_min(dΨ·N) at θ0 may not be below that times the radius, and rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from sweep.judge.numerics.exact_rank import sure_rank
from sweep.judge.outputs.face import Face
from sweep.judge.outputs.task import OutputsTask, Point

# Entries of dΨ are sums of a few products, and singular values round by 1e-15 of the largest.
ROUNDED = 1e-12


@dataclass(frozen=True, eq=False)
class Frame:
    """N, and within which distance of θ it cuts every set on which F cannot vary just once.

    `fixed` dimensions are taken by held kinks.
    """

    N: np.ndarray
    reach: float
    fixed: int = 0

    @property
    def symmetries(self) -> int:
        """In how many dimensions F does not vary, P − ρ, or dim M − ρ."""
        return len(self.N) - len(self.N.T) - self.fixed


def frame_at(task: OutputsTask, theta: np.ndarray, face: Face | None = None) -> Frame | None:
    """The frame at θ (P,), on a face if one is given; None where data or weights are degenerate."""
    if task.code is not None:
        return Frame(_placed(task, task.U), np.inf)
    at = task.split(theta)
    found = _features(task, at, face)
    if found is None:
        return None
    rows, rank, stretch, size = found
    try:
        _, values, vectors = np.linalg.svd(
            rows if face is None else rows @ face.basis, full_matrices=False
        )
    except np.linalg.LinAlgError:
        return None
    if len(values) < rank:
        return None
    least = float(values[rank - 1]) - ROUNDED * size
    N = np.ascontiguousarray(vectors[:rank].T)
    if face is None:
        return Frame(N, 0.999 * least / stretch)
    N = face.basis @ N
    along = face.tangent(N)
    moved = np.abs(along.mid - N) + along.known
    least -= 2 * float(np.linalg.norm(rows) * np.linalg.norm(moved))
    return Frame(along.mid, 0.999 * least / stretch, face.count)


def _placed(task: OutputsTask, U: np.ndarray) -> np.ndarray:
    """U for every column of A and for c, the identity for W; (P, ·)."""
    C, k = U.shape
    H, rest = task.width, task.width * task.X.shape[1]
    found = np.zeros((C * H + C + rest, k * H + k + rest))
    found[: C * H, : k * H] = np.kron(U, np.eye(H))
    found[C * H : C * H + C, k * H : k * H + k] = U
    found[C * H + C :, k * H + k :] = np.eye(rest)
    return found


def _features(
    task: OutputsTask, at: Point, face: Face | None
) -> tuple[np.ndarray, int, float, float] | None:
    """dΨ, ρ, its Lipschitz constant, and the size its rounding errors compare with."""
    assert task.slopes is not None
    lo, hi = task.slopes
    slope = task.slope(at.W @ task.X.T)
    (C, H), n, k = at.A.shape, task.X.shape[1], task.U.shape[1]
    P, first = C * H + C + H * n, C * H + C
    constant = np.zeros((k, P))
    constant[:, C * H : first] = task.U.T
    sent = task.U.T @ at.A
    blocks, rank, widest = [constant], k, 1.0
    apart = [] if face is None else face.units
    for units in _classes(slope, apart):
        pattern = slope[units[0]]
        everywhere = bool((slope[units] == slope[units, :1]).all())
        if face is not None and units[0] in apart:
            R, everywhere = face.spanning(units[0], task.X[pattern != 0]), False
        else:
            R = _spanning(task.X[pattern != 0], everywhere)
        if R is None:
            return None
        if not len(R):
            continue  # Of such a unit no data take notice on the face.
        widest = max(widest, float(np.linalg.norm(R, 2)))
        m = len(R)
        block = np.zeros((k, m, P))
        for j in units:
            t = slope[j, pattern != 0][0]
            inner = slice(first + j * n, first + (j + 1) * n)
            seen = R @ at.W[j]
            for c in range(C):
                block[:, :, c * H + j] += t * task.U[c][:, None] * seen
            block[:, :, inner] += t * sent[:, j, None, None] * R
            if everywhere:
                constant[:, inner.stop - 1] += t * sent[:, j]
                for c in range(C):
                    constant[:, c * H + j] += t * task.U[c] * at.W[j, -1]
        blocks.append(block.reshape(k * m, P))
        rank += k * m - (k - min(k, len(units))) * (m - min(len(units), m))
    steepest = max(abs(lo), abs(hi))
    lengths = float(np.linalg.norm(at.A)) + float(np.linalg.norm(at.W))
    size = (1.0 + steepest * (1.0 + widest) * lengths) * np.sqrt(P)
    return np.vstack(blocks), rank, steepest * float(np.hypot(widest, 1.0)), size


def _classes(slope: np.ndarray, apart: list[int]) -> list[list[int]]:
    """Units by pattern, those `apart` alone; those that are off everywhere are left out."""
    found: dict[bytes, list[int]] = {}
    for j, row in enumerate(slope):
        felt = np.flatnonzero(row)
        if len(felt):
            key = f"{j}".encode() if j in apart else (row / row[felt[0]] + 0.0).tobytes()
            found.setdefault(key, []).append(j)
    return list(found.values())


def _spanning(X: np.ndarray, everywhere: bool) -> np.ndarray | None:
    """R_K for the data (·, n) that a class notices; None if their rank is too small, or unclear."""
    n = X.shape[1]
    rank = sure_rank(X)
    if rank is None:
        return None
    if everywhere:
        # The constant goes to c: the other coordinates themselves.
        return np.eye(n)[:-1] if rank == n else None
    if rank == n:
        return np.eye(n)
    chosen = qr(X.T, mode="r", pivoting=True)[1][:rank]
    return np.ascontiguousarray(X[np.sort(chosen)])
