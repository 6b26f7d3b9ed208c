"""The study that a results folder holds, composed and typed again from its study.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.errors import UserError
from sweep.planning import canonical
from sweep.rows import NUMERICS_VERSION, axis_values
from sweep.spec import Block, Cell, Store, Study
from sweep.storage.layout import Layout
from sweep.storage.study_file import read_study
from sweep.study.composed import Composed
from sweep.study.resolve import resolve
from sweep.study.theory import with_bounds


@dataclass(frozen=True)
class StoredStudy:
    """A study, where and what it stores, its blocks of seeds, the device and code of its rows.

    `provenance` holds one entry per environment that added rows, the first run's first.
    """

    study: Study
    store: Store
    blocks: tuple[Block, ...]
    device: str
    provenance: tuple[Mapping[str, Any], ...]


def stored_study(layout: Layout) -> StoredStudy:
    """The study in the folder, as it was when its rows were made.

    Raises `UserError` when the folder is none, or when this release or today's data would make
    other rows of it.
    """
    content = read_study(layout)
    if content.numerics != NUMERICS_VERSION:
        raise UserError(
            f"'{layout.study_file}' has numerics {content.numerics}, this release makes the rows of"
            f" {NUMERICS_VERSION}: use the release that it was made with, or run the study again."
        )
    study, _, store, _ = resolve(Composed.from_resolved(content.header.config))
    if study.id != content.header.study_id:
        raise UserError(
            f"'{layout.study_file}' describes study {study.id} to this release, but says that it is"
            f" {content.header.study_id}: use the release and the data that it was made with."
        )
    study = with_bounds(study, content.header.bounds)
    provenance = (content.provenance, *content.later_provenance)
    return StoredStudy(study, store, content.blocks, content.header.device, provenance)


def settings_in_words(cells: Sequence[Cell]) -> dict[str, str]:
    """Cell id → its problem and every axis in which the cells differ."""
    values = {cell.id: axis_values(cell) for cell in cells}
    names = sorted({name for own in values.values() for name in own})
    varying = [
        name for name in names if len({canonical(own.get(name)) for own in values.values()}) > 1
    ]
    return {
        cell.id: ", ".join(
            [cell.problem.name, *(f"{name} = {values[cell.id].get(name)}" for name in varying)]
        )
        for cell in cells
    }
