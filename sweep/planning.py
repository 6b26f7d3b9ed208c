"""From a study to jobs: identities, seed blocks, stable job ids. No I/O, no clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweep.errors import UserError
from sweep.rows import NUMERICS_VERSION
from sweep.spec import Arm, Block, Cell, Job, Study

#: Each job is an entry in memory, a file of rows and a run of MLflow.
MOST_JOBS = 1_000_000


def canonical(value: Any) -> str:
    """Sorted, compact JSON; floats by `repr`, so that equal numbers give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def cell_id(identity: Mapping[str, Any]) -> str:
    """Stable name of a cell: 'c' and eight hex digits of what defines it."""
    return "c" + fingerprint(identity)[:8]


def study_id(root: int, cell_identities: Iterable[Mapping[str, Any]]) -> str:
    """Twelve hex digits over the root, `NUMERICS_VERSION` and every cell, in no special order."""
    cells = sorted(fingerprint(identity) for identity in cell_identities)
    return fingerprint({"root": root, "numerics": NUMERICS_VERSION, "cells": cells})[:12]


def plan_blocks(known: Sequence[Block], wanted: Block, block_size: int) -> list[Block]:
    """Blocks that cover the wanted seeds: known ones as they are, new ones in the gaps.

    Known blocks never change, whatever `block_size` says; one that overlaps the wanted range is
    run whole. Returned in order of their first seed. Raises `UserError` for more new blocks in a
    row than a study may have jobs.
    """
    touched = sorted(
        (b for b in known if b.first < wanted.end and wanted.first < b.end), key=lambda b: b.first
    )
    blocks: list[Block] = []
    position = wanted.first
    for block in touched:
        blocks += _split(position, block.first, block_size)
        blocks.append(block)
        position = max(position, block.end)
    return blocks + _split(position, wanted.end, block_size)


def _split(first: int, end: int, size: int) -> list[Block]:
    require_few_jobs(end - first, size, 1)
    return [Block(start, min(size, end - start)) for start in range(first, end, size)]


def require_few_jobs(n_seeds: int, block_size: int, n_cells: int) -> None:
    """Refuse a study of more than `MOST_JOBS` jobs, before they are listed."""
    n_jobs = -(-n_seeds // block_size) * n_cells
    if n_jobs > MOST_JOBS:
        raise UserError(
            f"{n_seeds} seeds in blocks of {block_size} and {n_cells} cells make {n_jobs} jobs: at"
            f" most {MOST_JOBS} are accepted, so raise compute.block_size or lower seeds.count (or"
            " seeds.max)."
        )


def jobs(study: Study, blocks: Sequence[Block]) -> list[Job]:
    """Every cell × block as a job, in the order of the seeds, so that prefixes are complete."""
    return [
        Job(job_id(cell.id, block), study.id, study.seeds.root, cell, block)
        for block in blocks
        for cell in study.cells
    ]


def reference_jobs(study: Study, starts: int) -> list[Job]:
    """One search for a witness per cell, from that many starting points."""
    return [
        Job(f"{cell.id}-reference", study.id, study.seeds.root, cell, Block(0, starts), True)
        for cell in study.cells
    ]


def member_job(study: Study, cell: Cell, arm: Arm, draw: int, seed: int) -> Job:
    """The job of one member alone, through the same door as all others."""
    block = Block(seed, 1)
    alone = replace(cell, arms=(arm,))
    return Job(job_id(cell.id, block), study.id, study.seeds.root, alone, block, draw=draw)


def job_id(cell: str, block: Block) -> str:
    """Readable and stable; nobody parses it back, the row has columns for its parts."""
    return f"{cell}-s{block.first:08d}-n{block.count}"
