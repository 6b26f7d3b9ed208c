"""Jobs that need no training."""

from __future__ import annotations

import pytest

from sweep.registry import Choice
from sweep.spec import Arm, Block, Cell, Job


@pytest.fixture(scope="session")
def jobs() -> list[Job]:
    any_choice = Choice("any")
    cell = Cell("c0", {}, *[any_choice] * 7, arms=(Arm("plain"),), data_digest="")
    return [Job(f"job{i}", "s0", 7, cell, Block(10 * i, 10)) for i in range(8)]
