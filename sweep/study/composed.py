"""A composed study in plain data: what the command line (or a notebook) hands to the study room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CellSettings:
    """One point of the grid: its axes (dotted key → value), and all its scientific settings.

    `settings` maps each of the seven groups to a mapping with the key `name`, and `arms` to the
    arms, as in the config files.
    """

    axes: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Composed:
    """A study as it was asked for: interpolations filled in, nothing typed or checked yet.

    `claim` is what the study is expected to show; None where its file states nothing.
    """

    name: Any
    baseline: Any
    seeds: Any
    compute: Any
    store: Any
    tracking: Any
    grid: Sequence[Mapping[str, Sequence[Any]]]
    cells: Sequence[CellSettings]
    claim: Any = None

    @property
    def resolved(self) -> dict[str, Any]:
        """Plain JSON data that makes the rows, for study.json; `from_resolved` reads it back."""
        return {
            "name": self.name,
            "baseline": self.baseline,
            "seeds": self.seeds,
            "compute": self.compute,
            "store": self.store,
            "tracking": self.tracking,
            "grid": [dict(axes) for axes in self.grid],
            "cells": [{"axes": dict(c.axes), "settings": dict(c.settings)} for c in self.cells],
        }

    @classmethod
    def from_resolved(cls, found: Mapping[str, Any]) -> Composed:
        """The composed study that `resolved` was taken from."""
        cells = tuple(CellSettings(c["axes"], c["settings"]) for c in found["cells"])
        return cls(**{**found, "cells": cells})
