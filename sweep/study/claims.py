"""Studies run for what they claim: one after the other, each judged by its own expectations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import CheckError
from sweep.execution.shared import SharedExecutor
from sweep.inference.answers import Answer
from sweep.inference.claims import Claim
from sweep.inference.expectations import judge_claim
from sweep.report.claims import write_claims
from sweep.spec import Compute, Store, Study, Tracking
from sweep.storage.layout import Layout
from sweep.study.composed import Composed
from sweep.study.observer import Observer
from sweep.study.resolve import claim_of, resolve
from sweep.study.results import load_rows
from sweep.study.run import run_study


@dataclass(frozen=True)
class Claiming:
    """A study that states a claim, composed and typed, ready to run."""

    composed: Composed
    study: Study
    compute: Compute
    store: Store
    tracking: Tracking
    claim: Claim

    @classmethod
    def of(cls, composed: Composed) -> Claiming | None:
        """The study, checked; None if it states no claim. Loads its data, writes nothing."""
        if composed.claim is None:
            return None
        study, compute, store, tracking = resolve(composed)
        claim = claim_of(composed, study)
        assert claim is not None
        return cls(composed, study, compute, store, tracking, claim)


def check_claims(
    asked: Sequence[Claiming], observer_of: Callable[[Claiming], Observer], table: str = "claims"
) -> Iterator[Answer]:
    """The answer of every study, as they end; what is on disk already is not run again.

    After each, `TABLE.md` and `TABLE.csv` of the answers so far are written beside the results. A
    study whose jobs all fail does not stop the others: its answer has a `fault`.
    """
    answers: list[Answer] = []
    with SharedExecutor() as opener:
        for one in asked:
            answers.append(_answer(one, observer_of(one), opener))
            write_claims(answers, Path(one.store.root), table)
            yield answers[-1]


def _answer(one: Claiming, observer: Observer, opener: SharedExecutor) -> Answer:
    layout = Layout.for_study(one.store.root, one.study.name, one.study.id)
    try:
        results = run_study(
            one.study, one.compute, one.store, one.tracking, one.composed.resolved, observer, opener
        )
    except CheckError as error:
        return Answer(one.study.name, layout.root, one.claim, fault=str(error))
    findings = judge_claim(one.claim, load_rows(results.path), lost=len(results.failures))
    return Answer(one.study.name, results.path, one.claim, tuple(findings))
