"""The grid: axes from a study file and from the command line, multiplied out.

A grid is a mapping dotted key → list of values (their product), or a list of such mappings (their
union). ``{law: log_uniform, low: …, high: …, draws: …}`` in place of a list samples the values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sweep.cli.library import RUNNING, SCIENCE
from sweep.cli.overrides import Setting
from sweep.errors import UserError, nearest, unknown
from sweep.registry import Choice, Registry, require, within
from sweep.seeds import stream

Axes = dict[str, list[Any]]
AXIS_ROOTS = (*SCIENCE, "arms")
ONE_PER_RUN = ("name", "baseline", "seeds", *RUNNING, "store", "claim")
MOST_DRAWS = 10_000
MOST_CELLS = 10_000
# Powers differ in their last bit between machines; at 12 digits the values, and with them a
# study's id, do not.
_DIGITS = 12


class GridLaw(Protocol):
    """How the values of a sampled axis are drawn."""

    def sample(self, numbers: np.random.Generator) -> list[float]:
        """`draws` values; the first k are the same for every `draws` ≥ k."""
        ...


GRID_LAWS: Registry[GridLaw] = Registry("grid law")


@GRID_LAWS.add("log_uniform")
@dataclass(frozen=True)
class LogUniform:
    """Values between low and high, uniform in their logarithm."""

    low: float
    high: float
    draws: int

    def __post_init__(self) -> None:
        require(0 < self.low < math.inf, "low", self.low, "a number > 0")
        require(self.low <= self.high < math.inf, "high", self.high, "a number ≥ low")
        _check_draws(self.draws)

    def sample(self, numbers: np.random.Generator) -> list[float]:
        """Values low · (high/low)^u, u uniform on [0, 1)."""
        return [
            _rounded(self.low * (self.high / self.low) ** u) for u in numbers.random(self.draws)
        ]


@GRID_LAWS.add("uniform")
@dataclass(frozen=True)
class Uniform:
    """Values between low and high, uniform."""

    low: float
    high: float
    draws: int

    def __post_init__(self) -> None:
        require(-math.inf < self.low < math.inf, "low", self.low, "a number")
        require(self.low <= self.high < math.inf, "high", self.high, "a number ≥ low")
        _check_draws(self.draws)

    def sample(self, numbers: np.random.Generator) -> list[float]:
        """Values low + (high − low)·u, u uniform on [0, 1)."""
        return [_rounded(self.low + (self.high - self.low) * u) for u in numbers.random(self.draws)]


def _check_draws(draws: int) -> None:
    require(1 <= draws <= MOST_DRAWS, "draws", draws, f"a whole number ≥ 1 and ≤ {MOST_DRAWS}")


def read(value: Any, root: int) -> list[Axes]:
    """The grid of a study file as a union of products; at least one mapping, perhaps empty.

    Sampled axes are drawn here, from the stream (grid, root, key).
    """
    mappings = value if isinstance(value, list) else [{} if value is None else value]
    if not mappings:
        raise UserError("grid is an empty list: leave it out, or give mappings of key to list.")
    for mapping in mappings:
        if not isinstance(mapping, Mapping):
            raise UserError(
                f"grid holds {mapping!r}: a mapping of dotted key to list, or a list of such"
                " mappings, is accepted."
            )
    return [{str(k): _values(str(k), v, root) for k, v in m.items()} for m in mappings]


def _values(key: str, value: Any, root: int) -> list[Any]:
    check_axis(key)
    if isinstance(value, Mapping):
        if "law" not in value:
            inner = next(iter(value), "…")
            raise UserError(
                f"grid.{key} is a mapping: write the dotted key '{key}.{inner}' with a list, or"
                " {law: …} to sample values."
            )
        choice = Choice(str(value["law"]), {k: v for k, v in value.items() if k != "law"})
        where = f"grid.{key}"
        law = within(where, lambda: GRID_LAWS.build(choice, where))
        return law.sample(stream("grid", root, key))
    if not isinstance(value, list):
        raise UserError(f"grid.{key} is {value!r}: a list of values is accepted.")
    if not value:
        raise UserError(f"grid.{key} is an empty list: at least one value is accepted.")
    return value


def check_axis(key: str) -> None:
    """Refuse an axis that is no scientific setting: it would not change any row."""
    first = key.split(".")[0]
    if first in ONE_PER_RUN:
        raise UserError(
            f"'{key}' cannot be an axis of the grid: running settings"
            f" ({', '.join(ONE_PER_RUN)}) have one value per run; keys that begin with"
            f" {', '.join(AXIS_ROOTS)} are accepted."
        )
    if first not in AXIS_ROOTS:
        close = nearest(first, AXIS_ROOTS)
        hint = f"; did you mean '{close}'?" if close else "."
        raise UserError(
            f"'{key}' cannot be an axis of the grid: keys that begin with"
            f" {', '.join(AXIS_ROOTS)} are accepted{hint}"
        )


def override(
    grid: Sequence[Axes], settings: Sequence[Setting], root: int, fits: Callable[[str], bool]
) -> list[Axes]:
    """The grid after the command line: an axis given there is added to, or replaces, the file's.

    A plain `key=value` for a key that is an axis replaces that axis. A group given anew
    (`problem=xor`) also drops those of the file's axes below it (`problem.n`) that its option does
    not know: `fits` says whether it knows a key.
    """
    given = {setting.key for setting in settings if setting.key in SCIENCE}
    found = [
        {key: v for key, v in axes.items() if key.split(".")[0] not in given or fits(key)}
        for axes in grid
    ]
    for setting in settings:
        _apply(found, setting, root)
    return found


def _apply(grid: list[Axes], setting: Setting, root: int) -> None:
    below = setting.key.startswith("grid.")
    key = setting.key.removeprefix("grid.")
    if setting.deletes:
        if below and not any(key in axes for axes in grid):
            raise unknown("grid axis", key, {k for axes in grid for k in axes})
        for axes in grid:
            axes.pop(key, None)
        return
    if setting.axis or below:
        given = list(setting.values) if setting.axis else setting.value
        values = _values(key, given, root)
        for axes in grid:
            axes[key] = values
        return
    for axes in grid:
        if key in axes:
            axes[key] = [setting.value]


def points(grid: Sequence[Axes]) -> list[dict[str, Any]]:
    """Every combination, mapping by mapping, the last axis fastest; `UserError` for too many."""
    count = sum(math.prod(len(values) for values in axes.values()) for axes in grid)
    if count > MOST_CELLS:
        raise UserError(f"the grid has {count} cells: at most {MOST_CELLS} are accepted.")
    return [
        dict(zip(axes, values, strict=True))
        for axes in grid
        for values in itertools.product(*axes.values())
    ]


def axis_keys(grid: Sequence[Axes]) -> list[str]:
    """All keys that vary in any mapping, groups first, then by depth, then by name."""
    keys = {key for axes in grid for key in axes}
    return sorted(keys, key=lambda key: (key.count("."), key))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
