"""The population objective of a ReLU teacher and its student (Safran and Shamir).

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
k, n    units of the teacher (orthonormal, V = I), student
S       members
W       the student's weights, θ = W row by row                (n, k, S)
ρ, u    ‖wᵢ‖ and wᵢ/‖wᵢ‖                                       (n, S), (n, k, S)
c, t    cosine and angle of a pair
======  =====================================================  ==========

F(W) = ½·E(Σᵢ relu(wᵢ·x) − Σⱼ relu(vⱼ·x))², x ~ N(0, I_k), is a sum over pairs of
f(w, v) = ‖w‖‖v‖·φ(c)/2π with φ(c) = sin t + (π−t)·c. φ is twice differentiable where t is 0 or π
only against directions that leave c at its end, so F is C² wherever no wᵢ is zero.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch

from sweep.problems.base import PROBLEMS, Landscape
from sweep.registry import require

#: A weight vector shorter than this is taken as zero: the subgradient there has no direction.
TINY = 1e-150
#: Next to the ends of φ, sin t is known to about √u; its inverse is not let grow beyond that.
SHORTEST_SINE = 1e-8
LARGEST = 64


@dataclass(frozen=True)
class TeacherStudentLandscape:
    """F of n student units against k orthonormal teacher units."""

    k: int
    n: int

    @property
    def n_params(self) -> int:
        """n·k."""
        return self.n * self.k

    @property
    def lower_bound(self) -> float | None:
        """0, attained where the student is the teacher and other units are zero; if n ≥ k."""
        return 0.0 if self.n >= self.k else None

    @property
    def start_deviation(self) -> float:
        """1/√k: weight vectors start with a length near 1."""
        return 1 / math.sqrt(self.k)

    @property
    def digest(self) -> str:
        """SHA-256 of the formula and its sizes."""
        text = f"landscape relu teacher {self.k} student {self.n}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def constant(self) -> float:
        """½Σ f(vⱼ, vⱼ′): k pairs at angle 0, the others at a right angle."""
        return self.k / 4 + self.k * (self.k - 1) / (4 * math.pi)

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """F for members along the last axis, (P, S) → (S,); twice differentiable by autograd."""
        W = theta.reshape(self.n, self.k, -1)
        rho, u = _polar(W)
        total = W.square().sum((0, 1)) / 4 + self.constant
        total = total - (rho * _phi(u).sum(1)).sum(0) / (2 * math.pi)
        for i in range(self.n - 1):
            cosines = (u[i] * u[i + 1 :]).sum(1)
            pairs = rho[i] * rho[i + 1 :] * _phi(cosines)
            total = total + pairs.sum(0) / (2 * math.pi)
        return total

    def value_and_gradient(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S) in closed form: ∂f/∂w = (‖v‖ sin t·w/‖w‖ + (π−t)·v)/2π."""
        W = theta.reshape(self.n, self.k, -1)
        rho, u = _polar(W)
        # The teacher is the identity: the cosine of wᵢ with vⱼ is coordinate j of uᵢ.
        sine, rest, phi = _angles(u)
        value = self.constant * 2 * math.pi - (rho * phi.sum(1)).sum(0)
        slope = -(u * sine.sum(1, keepdim=True) + rest)
        cosines = torch.stack([(u[i] * u).sum(1) for i in range(self.n)])
        sine, rest, phi = _angles(cosines)
        value = value + (rho * (rho * phi).sum(1)).sum(0) / 2
        along = (rho * sine).sum(1)
        drawn = torch.stack([(rest[i].unsqueeze(1) * W).sum(0) for i in range(self.n)])
        slope = slope + u * along.unsqueeze(1) + drawn
        return value / (2 * math.pi), slope.reshape(theta.shape) / (2 * math.pi)


def _polar(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths (n, S) and directions (n, k, S); of a zero vector TINY and zero."""
    rho = W.square().sum(1).clamp_min(TINY**2).sqrt()
    return rho, W / rho.unsqueeze(1)


def _angles(cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sine, π − t and φ of cosines of any shape."""
    c = cosine.clamp(-1.0, 1.0)
    sine, rest = (1 - c * c).sqrt(), math.pi - torch.acos(c)
    return sine, rest, sine + rest * c


def _phi(cosine: torch.Tensor) -> torch.Tensor:
    """φ with φ′ = π − t and φ″ = 1/sin t for autograd, finite at both ends.

    Autograd's own φ′ is a difference of two numbers that grow like 1/sin t, which is lost next to
    the ends. Taylor's polynomial about the point itself has the right derivatives up to the second.
    """
    c = cosine.detach().clamp(-1.0, 1.0)
    sine, rest, phi = _angles(c)
    step = cosine - c
    return phi + rest * step + step * step / (2 * sine.clamp_min(SHORTEST_SINE))


@PROBLEMS.add("teacher_student")
@dataclass(frozen=True)
class TeacherStudent:
    """k teacher units and k + extra student units, without data."""

    k: int = 6
    extra: int = 0

    def __post_init__(self) -> None:
        require(2 <= self.k <= LARGEST, "problem.k", self.k, f"a whole number from 2 to {LARGEST}")
        accepted = f"a whole number from {1 - self.k} to {self.k}"
        require(1 - self.k <= self.extra <= self.k, "problem.extra", self.extra, accepted)

    def load(self) -> Landscape:
        """The landscape."""
        return TeacherStudentLandscape(self.k, self.k + self.extra)
