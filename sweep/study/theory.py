"""Bounds of λ from theory: computed once, kept in study.json, put in place of the word `theory`.

The word and the data belong to a study's identity, the number does not: every run, worker and
replay of a study uses the one that its first run wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sweep.errors import UserError
from sweep.job import one_core
from sweep.models.base import MODELS
from sweep.models.losses import LOSSES, Loss
from sweep.models.regularizers import REGULARIZERS
from sweep.models.strengths import StrengthBound
from sweep.planning import canonical
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice, within
from sweep.spec import Arm, Cell, Study
from sweep.storage.layout import Layout
from sweep.storage.study_file import read_study

#: Cell id → arm → `StrengthBound.derivation`.
Bounds = Mapping[str, Mapping[str, Mapping[str, Any]]]


def theory_bounds(study: Study, layout: Layout) -> Bounds:
    """The bounds in study.json or, before the first run, those computed now; writes nothing.

    Raises `UserError` where the theorem behind an arm's regularizer does not speak.
    """
    if layout.study_file.exists():
        return read_study(layout).header.bounds
    known: dict[str, Mapping[str, Any]] = {}
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in study.cells:
        for arm in cell.arms:
            if not _asks(arm):
                continue
            key = _key(cell, arm)
            if key not in known:
                where = f"arms.{arm.name}"
                with one_core():
                    known[key] = within(where, partial(_bound, cell, arm)).derivation()
            found.setdefault(cell.id, {})[arm.name] = known[key]
    return found


def with_bounds(study: Study, bounds: Bounds) -> Study:
    """The study with a number wherever an arm's law says `theory`."""
    return replace(study, cells=tuple(_with_bounds(cell, bounds) for cell in study.cells))


def _with_bounds(cell: Cell, bounds: Bounds) -> Cell:
    arms = []
    for arm in cell.arms:
        if _asks(arm):
            own = bounds.get(cell.id, {}).get(arm.name)
            if own is None:
                raise UserError(
                    f"study.json has no bound for arms.{arm.name}.lambda of cell {cell.id}: "
                    "restore it, or choose another store.root."
                )
            assert arm.lam is not None
            law = Choice(arm.lam.name, {**arm.lam.settings, "high": float(own["value"])})
            arms.append(replace(arm, lam=law))
        else:
            arms.append(arm)
    return replace(cell, arms=tuple(arms))


def _asks(arm: Arm) -> bool:
    return arm.lam is not None and arm.lam.settings.get("high") == "theory"


def _key(cell: Cell, arm: Arm) -> str:
    """What a bound depends on: cells that differ in their optimizer, say, share it."""
    parts = (cell.model, cell.loss, arm.regularizer)
    return canonical([cell.data_digest, *(part.to_json() for part in parts)])


def _bound(cell: Cell, arm: Arm) -> StrengthBound:
    data = PROBLEMS.build(cell.problem).load()
    loss, found = LOSSES.build(cell.loss), None
    if isinstance(data, Data) and isinstance(loss, Loss):
        network = MODELS.build(cell.model).network(data.x.shape[1])
        found = REGULARIZERS.build(arm.regularizer).strength_bound(network, data, loss)
    if found is None:
        raise UserError(
            "lambda.high is 'theory', which needs data and a regularizer with such a bound: give a "
            "number > 0."
        )
    return found
