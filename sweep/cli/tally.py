"""Running counts of a study, arm by arm, from the reports of its finished jobs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

from sweep.job_report import JobReport
from sweep.report.numerals import counted
from sweep.verdicts import Verdict

# What may turn out a bad minimum once every witness is known; the others are proven not to be one.
POSSIBLY_BAD = (Verdict.LOCAL_MINIMUM, Verdict.UNRESOLVED)
UNKNOWN = "not known yet"
SHARES = ("bad minima", "global", "unresolved", "failed", "mean error")


class Tally:
    """Jobs and members so far, and per arm the verdicts and the mean final error.

    Rates count this run alone; what was on disk before it is in `done` only.
    """

    def __init__(
        self, n_jobs: int = 0, n_done: int = 0, n_members: int = 0, arms: Sequence[str] = ()
    ) -> None:
        self.n_jobs = n_jobs
        self.before = n_done
        self.done = n_done
        self.failed = 0
        self.members = 0
        self.n_members = n_members
        self.arms = list(arms)
        self._verdicts: dict[str, Counter[str]] = {arm: Counter() for arm in arms}
        self._errors: dict[str, tuple[float, int]] = dict.fromkeys(arms, (0.0, 0))
        self._compiling = 0.0
        self._start = time.monotonic()

    def add(self, report: JobReport) -> None:
        """Count one finished job."""
        self.done += 1
        self.members += report.n_rows
        self._compiling = max(self._compiling, report.seconds.get("compile", 0.0))
        for arm, counts in report.verdicts.items():
            self._verdicts.setdefault(arm, Counter()).update(counts)
            finite = sum(counts.values()) - counts.get(Verdict.FAILED, 0)
            mean = report.mean_final_error.get(arm)
            if mean is not None and math.isfinite(mean):
                total, n = self._errors.get(arm, (0.0, 0))
                self._errors[arm] = (total + mean * finite, n + finite)

    @property
    def complete(self) -> bool:
        """Whether every job has ended, one way or the other."""
        return self.done + self.failed >= self.n_jobs

    def opening(self) -> str:
        """What is ahead, in one line."""
        if self.n_jobs == self.done:
            return f"Nothing to train: {counted(self.n_jobs, 'job')} of the study on disk already."
        known = f", {self.before:,} on disk already" if self.before else ""
        return f"{counted(self.n_jobs, 'job')}{known}; {self.n_members:,} networks to train."

    def jobs(self) -> str:
        """Jobs done of all, failed ones named."""
        failed = f" ({self.failed} failed)" if self.failed else ""
        return f"{self.done}/{self.n_jobs}{failed}"

    def compiling(self) -> str:
        """How long the first job waited for machine code; nothing when it was at hand."""
        return f" (kernels compiled in {self._compiling:.0f} s)" if self._compiling >= 1 else ""

    def rate(self) -> str:
        """Networks per second since the start of this run, or per minute where that says more."""
        rate = self._per_second()
        return f"{rate:,.0f}/s" if rate >= 10 else f"{60 * rate:,.0f}/min"

    def left(self) -> str:
        """Time left at the rate so far, as h:mm:ss; '-' before there is a rate."""
        rate = self._per_second()
        if rate == 0:
            return "-"
        seconds = round((self.n_members - self.members) / rate)
        return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"

    def line(self) -> str:
        """Everything in one line, for logs."""
        arms = " | ".join(
            f"{arm}: {', '.join(f'{name} {share}' for name, share in self.shares(arm).items())}"
            for arm in self.arms
            if self._verdicts[arm]
        )
        return f"{self.jobs()} jobs{self.compiling()}, {self.rate()}, {self.left()} left | {arms}"

    def shares(self, arm: str) -> dict[str, str]:
        """The arm so far, by the names in `SHARES`; empty before its first member.

        A bad minimum is one that the cell's witness beats, which is known at the end; until then
        its frequency is bounded by what may still turn out to be one, where that is not everything.
        """
        counts = self._verdicts.get(arm, Counter())
        n = counts.total()
        if n == 0:
            return {}
        possible = sum(counts[verdict] for verdict in POSSIBLY_BAD)
        total, finite = self._errors.get(arm, (0.0, 0))
        shares = (
            f"≤ {possible / n:.1%}" if possible < n else UNKNOWN,
            f"{counts[Verdict.GLOBAL_MINIMUM] / n:.1%}",
            f"{counts[Verdict.UNRESOLVED] / n:.1%}",
            f"{counts[Verdict.FAILED]}",
            f"{total / finite:.4f}" if finite else "-",
        )
        return dict(zip(SHARES, shares, strict=True))

    def _per_second(self) -> float:
        # Compiling happens once: the time left must not be reckoned from it.
        elapsed = time.monotonic() - self._start - self._compiling
        return self.members / elapsed if elapsed > 0 else 0.0
