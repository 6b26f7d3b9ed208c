"""Where and why training ended: final numbers among each other and against the stopping rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sweep.spec import Cell
from sweep.verdicts import Stop

# The rule was tested on numbers that a batch of other members rounded a little differently.
ROUNDED = 1e-6
# Sums of N losses and of penalties, relative: 1e-12 clears what thousands of terms round by.
SUMMED = 1e-12
WHOLE = 1e-9


def check_ending(
    cell: Cell, row: Mapping[str, Any], n_data: int | None
) -> Iterator[tuple[str, str]]:
    """Columns of a row that did not fail whose `final_*` or `stop` cannot be right, and why.

    `n_data` is the number of data points, None where nothing is classified.
    """
    yield from _final(cell, row, n_data)
    yield from _stop(cell, row)


def is_share(value: float | None, n_data: int) -> bool:
    """Whether a number is the share of some of the data points."""
    if value is None or not 0 <= value <= 1:
        return False
    return abs(value * n_data - round(value * n_data)) < WHOLE


def _final(cell: Cell, row: Mapping[str, Any], n_data: int | None) -> Iterator[tuple[str, str]]:
    loss, objective = row["final_loss"], row["final_objective"]
    if objective < loss - SUMMED * (1 + abs(loss)):
        yield "final_objective", f"at least final_loss, {loss!r}: no penalty is negative"
    if row["final_grad_norm"] < 0:
        yield "final_grad_norm", "a number ≥ 0"
    for name in ("final_error", "final_error_base"):
        if n_data is None:
            if row[name] is not None:
                yield name, "null: there are no labels"
        elif not is_share(row[name], n_data):
            yield name, f"a share of the {n_data} data points"
    # ℓ(z) ≥ 1 for z ≥ 0, for each of the losses: an error costs at least 1. In a cross-entropy a
    # class whose output is not the largest has a share of at most one half.
    cost = math.log(2) if cell.loss.name == "cross_entropy" else 1.0
    if n_data is not None and is_share(row["final_error"], n_data):
        errors = row["final_error"] * n_data * cost
        if errors > loss * (1 + SUMMED) + SUMMED:
            most = loss / n_data / cost
            yield "final_error", f"at most {most!r}: each error costs ≥ {cost:.3g} of final_loss"


def _stop(cell: Cell, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rule, stop, steps = cell.stopping.settings, row["stop"], row["steps"]
    most = int(rule["max_steps"])
    if stop not in (Stop.GRADIENT, Stop.LOSS, Stop.STEPS):
        yield "stop", "gradient, loss or steps, because it is not failed"
    if not 0 <= steps <= most:
        yield "steps", f"a whole number from 0 to {most}"
    elif stop == Stop.STEPS and steps != most:
        yield "stop", f"another reason, because {steps} of {most} steps were taken"
    if cell.optimizer.settings.get("batch_size") is not None:
        return  # the rule saw a mini-batch, the row holds all data
    gradient, objective = row["final_grad_norm"], row["final_objective"]
    small = gradient <= rule["gradient"] * (1 + ROUNDED)
    low = objective <= rule["loss"] + ROUNDED * abs(rule["loss"])
    if stop == Stop.GRADIENT and not small:
        yield "stop", f"another reason, because ‖∇F‖ is {gradient!r}"
    if stop == Stop.LOSS and not low:
        yield "stop", f"another reason, because F is {objective!r}"
    clearly = gradient < rule["gradient"] * (1 - ROUNDED)
    if stop == Stop.STEPS and (clearly or objective < rule["loss"] - ROUNDED * abs(rule["loss"])):
        yield "stop", "gradient or loss, which was reached"
