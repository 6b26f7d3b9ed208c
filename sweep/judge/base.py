"""What a verdict is made of, and what a judge is.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
S       members judged side by side
P       parameters of one member, the augmentation's last     (S, P)
M       regularizer strengths of one member                   (S, M)
F       objective                                             (S,)
======  ====================================================  ==========

The judge shares nothing with the trainer but networks, losses and plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from sweep.models.objective import Objective
from sweep.registry import Registry
from sweep.verdicts import Certificate, Verdict

# Preactivations of a local minimum keep at least this distance from kinks beyond which F may fall,
# relative to 1 or to the unit's largest |z|. Closer, the minimum is one on a ball in which no
# training could stay, and says nothing about where training ended.
CLEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdicts of S members, the judged points and the numbers behind them.

    Every array has a first axis S; NaN stands for null. `verdict` and `certificate` hold the words
    of `sweep.verdicts`; `evidence` one JSON-ready mapping per member; `params` (S, P) the judged
    points; `moved` their distance from where training ended; `flat_dim` a count. The other fields
    are the row columns of the same names.
    """

    verdict: np.ndarray
    certificate: np.ndarray
    certificate_radius: np.ndarray
    certificate_margin: np.ndarray
    evidence: list[dict[str, Any]]
    params: np.ndarray
    polish_steps: np.ndarray
    moved: np.ndarray
    min_eig: np.ndarray
    limit_error: np.ndarray
    limit_error_base: np.ndarray
    limit_objective: np.ndarray
    flat_dim: np.ndarray

    @classmethod
    def unresolved(cls, params: np.ndarray) -> Judgement:
        """Members at the points (S, P) of which nothing is known yet; the points are copied."""
        count = len(params)

        def null() -> np.ndarray:
            return np.full(count, np.nan)

        return cls(
            verdict=np.full(count, Verdict.UNRESOLVED.value, dtype=object),
            certificate=np.full(count, Certificate.NONE.value, dtype=object),
            certificate_radius=null(),
            certificate_margin=null(),
            evidence=[{} for _ in range(count)],
            params=np.array(params, dtype=np.float64),
            polish_steps=np.zeros(count, dtype=np.int64),
            moved=np.zeros(count),
            min_eig=null(),
            limit_error=null(),
            limit_error_base=null(),
            limit_objective=null(),
            flat_dim=null(),
        )

    @classmethod
    def joined(cls, parts: Sequence[Judgement]) -> Judgement:
        """The members of all parts, in order."""
        columns: dict[str, Any] = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "evidence"
        }
        return cls(**columns, evidence=[entry for part in parts for entry in part.evidence])

    def settle(
        self,
        member: int,
        verdict: Verdict,
        certificate: Certificate,
        evidence: dict[str, Any],
        params: np.ndarray | None = None,
        margin: float = np.nan,
        radius: float = np.nan,
    ) -> None:
        """Write one member's verdict; `params` (P,) is given when the judged point moves."""
        self.verdict[member] = verdict.value
        self.certificate[member] = certificate.value
        self.evidence[member] = evidence
        self.certificate_margin[member] = margin
        self.certificate_radius[member] = radius
        if params is not None:
            self.moved[member] = np.linalg.norm(params - self.params[member])
            self.params[member] = params

    @property
    def open(self) -> np.ndarray:
        """Members (S,) that are still unresolved."""
        return np.asarray(self.verdict == Verdict.UNRESOLVED.value)


class Ended(Protocol):
    """Where training ended: points (S, P) and why it stopped there (S,), a `Stop` each."""

    @property
    def params(self) -> np.ndarray:
        """Points, (S, P) float64."""
        ...

    @property
    def stop(self) -> np.ndarray:
        """Why each member stopped, (S,)."""
        ...


class Judge(Protocol):
    """A registered judge: settings that turn endings into verdicts."""

    def judge(self, objective: Objective, ending: Ended, lam: np.ndarray | None) -> Judgement:
        """Verdicts of all members, with λ (S, M); a member's verdict depends on it alone."""
        ...


JUDGES: Registry[Judge] = Registry("judge")
