"""Blocks of seeds, one after the other, until the study's precision is reached.

The decision looks at the *prefix* alone: blocks 0 … k, all of their jobs finished. Each time the
prefix grows by a block, the target's intervals are computed from its rows on disk; the first prefix
with which they are all narrow enough ends the study. Workers may finish blocks in any order and
start some that turn out not to be needed: those rows are stored and have no say, so the study stops
at the same seed on one worker and on several, after a crash, and when it is run again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import pandas as pd

from sweep.inference.outcomes import OUTCOME_COLUMNS, WITNESS_COLUMNS, decisive
from sweep.inference.precision import Prefix, Target, precision
from sweep.planning import job_id, jobs, plan_blocks
from sweep.rows import KEY
from sweep.spec import Block, Job, Study
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs, read_job
from sweep.storage.study_file import read_study
from sweep.study.results import references_of

Propose = Callable[[Sequence[Block]], list[Block]]
Agree = Callable[[Propose], list[Block]]
"""Puts what is proposed into study.json, in which all runs of the study share their blocks."""

_COLUMNS = list(dict.fromkeys([*KEY, "job", *WITNESS_COLUMNS, *OUTCOME_COLUMNS]))


class Pursuit:
    """A `JobSource` of the study's blocks in order, which ends when the target is reached.

    It also ends with the last seed that is allowed, or when a job failed for good: without its rows
    no longer prefix is complete. What is on disk is counted first, and a seed is never used twice.
    """

    def __init__(self, study: Study, layout: Layout, block_size: int) -> None:
        self.target = target_of(study)
        self.prefix: Prefix | None = None
        self._reached = False
        self._study, self._layout, self._size = study, layout, block_size
        self._looked = False
        self._finished: set[str] = set()
        self._references: pd.DataFrame | None = None
        self._rows: pd.DataFrame | None = None
        self._blocks: list[Block] = []  # handed out, in order; those before `_complete` are whole
        self._complete = 0
        self._queue: deque[Job] = deque()
        self._failed = False
        self._agree: Agree | None = None

    def settled(self) -> bool:
        """Whether the rows on disk show that no job is needed; counts them, and writes nothing."""
        self._look()
        known = read_study(self._layout).blocks if self._layout.study_file.exists() else ()
        while not self._over():
            block = self._next_block(known)
            if block not in known or not self._whole(block):
                return False
            self._blocks.append(block)
            self._advance()
        return True

    def opened(self, study: Study, agree: Agree) -> Pursuit:
        """The pursuit itself, ready to hand out jobs of this study, which has its bounds of λ.

        `agree` makes the blocks that it opens known to all runs of the study.
        """
        self._study, self._agree = study, agree
        return self

    def next(self) -> Job | None:
        """The next job without rows, opening blocks as needed; None once there are no more."""
        self._look()
        while not self._queue:
            if self._over():
                return None
            block = self._agreed_block()
            self._blocks.append(block)
            missing = (j for j in jobs(self._study, [block]) if j.id not in self._finished)
            self._queue.extend(missing)
            self._advance()
        return None if self._reached or self._failed else self._queue.popleft()

    def ended(self, job: Job, succeeded: bool) -> None:
        """Look whether the prefix has grown, and with it whether the target is reached."""
        if not succeeded:
            self._failed = True
            return
        self._finished.add(job.id)
        self._advance()

    def _look(self) -> None:
        """Read once what is on disk: not before the witness searches have run."""
        if not self._looked:
            self._looked, self._finished = True, finished_jobs(self._layout)
            self._references = references_of(self._layout)

    def _over(self) -> bool:
        seeds = self._study.seeds
        return self._reached or self._failed or self._position() >= seeds.first + seeds.most

    def _position(self) -> int:
        """The first seed in no block yet."""
        return self._blocks[-1].end if self._blocks else self._study.seeds.first

    def _next_block(self, known: Sequence[Block]) -> Block:
        """The block of the next seed: a known one as it is, whatever its size, or a new one."""
        start, seeds = self._position(), self._study.seeds
        wanted = Block(start, min(self._size, seeds.first + seeds.most - start))
        return plan_blocks(known, wanted, self._size)[0]

    def _agreed_block(self) -> Block:
        assert self._agree is not None, "`opened` comes first"
        (block,) = self._agree(lambda known: [self._next_block(known)])
        return block

    def _whole(self, block: Block) -> bool:
        return self._finished.issuperset(job_id(cell.id, block) for cell in self._study.cells)

    def _advance(self) -> None:
        """Take whole blocks into the prefix, one by one, until the target is reached."""
        while not self._reached and self._complete < len(self._blocks):
            block = self._blocks[self._complete]
            if not self._whole(block):
                return
            self._complete += 1
            self._take(block)
            first = self._blocks[0].first
            self.prefix = Prefix(self.target, first, block.end - first)
            assert self._rows is not None
            found = precision(self._rows, self._references, self.prefix)
            self._reached = bool(found["reached"].all())

    def _take(self, block: Block) -> None:
        """Keep of the block's rows those on which this decision and later ones depend."""
        parts = [] if self._rows is None else [self._rows]
        for cell in self._study.cells:
            table = read_job(self._layout, job_id(cell.id, block), _COLUMNS)
            assert table is not None, "a finished job has rows"
            parts.append(decisive(table.to_pandas()))
        self._rows = decisive(pd.concat(parts, ignore_index=True))


def target_of(study: Study) -> Target:
    """The precision that the study's seeds are to reach; only for studies with a half width."""
    seeds = study.seeds
    assert seeds.half_width is not None
    return Target(seeds.half_width, seeds.confidence, study.baseline, seeds.target)
