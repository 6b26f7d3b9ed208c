"""Polish, certificates, verdicts: what a point is, and the proof of it."""

from sweep.judge.base import JUDGES, Ended, Judge, Judgement
from sweep.judge.standard import StandardJudge

__all__ = ["JUDGES", "Ended", "Judge", "Judgement", "StandardJudge"]
