"""What rows on disk are: how many of those that study.json plans, and of which numerics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweep.planning import job_id
from sweep.report.numerals import counted
from sweep.rows import NUMERICS_VERSION
from sweep.spec import Block


@dataclass(frozen=True)
class Coverage:
    """Jobs on disk of all, and seeds on disk of all in the cells with the fewest and the most."""

    done: int
    jobs: int
    least: int
    most: int
    seeds: int

    @property
    def complete(self) -> bool:
        """Whether every job is on disk."""
        return self.done == self.jobs

    @property
    def seeds_per_cell(self) -> str:
        """'1,000', '570 of 1,000', or '0 to 570 of 1,000' where cells differ."""
        if self.complete:
            return f"{self.seeds:,}"
        there = f"{self.least:,} to {self.most:,}" if self.least < self.most else f"{self.most:,}"
        return f"{there} of {self.seeds:,}"

    @property
    def sentence(self) -> str:
        """That the study is not complete, and what that means; empty when it is."""
        if self.complete:
            return ""
        return (
            f"This study is not complete: {self.done:,} of its {counted(self.jobs, 'job')} are on "
            f"disk, {self.seeds_per_cell} seeds of a cell; everything here is said of those alone, "
            "and the same 'sweep run' adds the rest."
        )


def coverage(
    study: Mapping[str, Any], finished: Collection[str], precision: pd.DataFrame | None = None
) -> Coverage:
    """The coverage of a study; `study` is what study.json says, `finished` are ids of jobs.

    Without the keys `blocks` and `cells` there is nothing to miss. Where the latest run sought a
    `precision` (that frame of the summary) and reached it, blocks begun beyond are not missed.
    """
    blocks = [Block(int(first), int(count)) for first, count in study.get("blocks", [])]
    if precision is not None and _reached(study, precision):
        end = int((precision["first_seed"] + precision["n"]).max())
        blocks = [
            block
            for block in blocks
            if block.end <= end or _whole(study.get("cells", {}), block, finished)
        ]
    per_cell = {
        cell: [block for block in blocks if job_id(cell, block) in finished]
        for cell in study.get("cells", {})
    }
    seeds = [sum(block.count for block in own) for own in per_cell.values()]
    total = sum(block.count for block in blocks)
    return Coverage(
        done=sum(map(len, per_cell.values())),
        jobs=len(per_cell) * len(blocks),
        least=min(seeds, default=total),
        most=max(seeds, default=total),
        seeds=total,
    )


def numerics_sentence(numerics: int) -> str:
    """That a study's rows are of other numerics than this release's, with both; else empty."""
    if numerics == NUMERICS_VERSION:
        return ""
    return (
        f"These rows are of numerics {numerics}, this release makes those of {NUMERICS_VERSION}: "
        "they count as they are, and only a release that made such rows can add to them, replay "
        "or verify them."
    )


def _reached(study: Mapping[str, Any], precision: pd.DataFrame) -> bool:
    sought = study.get("config", {}).get("seeds", {}).get("half_width") is not None
    return sought and len(precision) > 0 and bool(precision["reached"].all())


def _whole(cells: Iterable[str], block: Block, finished: Collection[str]) -> bool:
    return all(job_id(cell, block) in finished for cell in cells)


def whole(study: Mapping[str, Any]) -> Coverage:
    """The coverage of a study of which every job is on disk."""
    seeds = sum(int(count) for _, count in study.get("blocks", []))
    return Coverage(0, 0, seeds, seeds, seeds)
