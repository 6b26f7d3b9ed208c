"""What a study claims, and what must be seen in its rows if the claim is right: plain typed data.

A study file states it in a block of its own, before anything is run::

    claim:
      source: "[A] Theorem 1"
      statement: With the exponential neuron every local minimum is global.
      expect:
        - {arm: plain, measure: bad_minimum, at_least: 0.01, cells: 2}
        - {arm: exp, measure: local_minimum, at_most: 0}
      seeds: 40

Nothing of it belongs to the study's identity. `sweep.inference.expectations` compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from sweep.errors import UserError, unknown
from sweep.registry import build, mapping, require, within
from sweep.verdicts import Certificate, Outcome, Verdict

VERDICTS = tuple(str(name) for name in Verdict)
OUTCOMES = tuple(str(name) for name in Outcome)
CERTIFICATES = tuple(str(name) for name in Certificate if name is not Certificate.NONE)

#: A word as a measure → the column that holds it. Verdicts that are outcomes too mean the same.
WORDS = {
    **dict.fromkeys(CERTIFICATES, "certificate"),
    **dict.fromkeys(OUTCOMES, "outcome"),
    **dict.fromkeys(VERDICTS, "verdict"),
}
#: As a measure: any verdict but `unresolved` and `failed`.
CERTIFIED = "certified"
#: Before the name of a number in the rows' column of that name: `evidence.residuals.eq9`.
EVIDENCE = "evidence."

Condition = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A frequency that others counted: `count` of `total` independent runs."""

    count: int
    total: int

    def __post_init__(self) -> None:
        require(self.total >= 1, "published.total", self.total, "a whole number ≥ 1")
        require(
            0 <= self.count <= self.total, "published.count", self.count, "a number from 0 to total"
        )


@dataclass(frozen=True)
class Expectation:
    """One thing that must be seen among the rows of an arm (null: of all arms) that fit `where`.

    `measure` is one of

    - a verdict, outcome or certificate, or `certified`: the **share** of rows that have it;
    - a mapping in the grammar of `where`: the share of rows that fit it;
    - a number of the rows (`judged_error`, `evidence.NAME`): **every** row that has it.

    `at_least` and `at_most` bound it. A share that must be 0 or 1 is a statement on every row. With
    `statistic: spread` a number's range, largest minus least relative to max(1, |largest|), within
    each group of rows that agree in the columns `within` is bounded instead. `versus` changes the
    selection (`{arm: plain}`, `{model.width: 9}`): the share here minus the share there is bounded.
    `published` asks that a share agrees with a frequency that was published.

    `where` maps columns (or `evidence.NAME`) to a value, a list of values, or
    `{at_least: …, at_most: …}`. `cells` asks for this in the rows of all cells together (null), in
    `each` cell by itself, or in at least so many cells. `min_rows` rows at least must speak.
    """

    measure: str | Mapping[str, Any]
    arm: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    at_least: float | None = None
    at_most: float | None = None
    statistic: Literal["each", "spread"] = "each"
    within: tuple[str, ...] = ("cell", "arm", "draw")
    versus: Mapping[str, Any] | None = None
    published: Published | None = None
    cells: int | str | None = None
    min_rows: int = 10

    def __post_init__(self) -> None:
        bounded = self.at_least is not None or self.at_most is not None
        if bounded == (self.published is not None):
            raise UserError("give at_least, at_most or both, or else published.")
        if self.cells is not None and self.cells != "each":
            require(
                isinstance(self.cells, int) and self.cells >= 1,
                "cells",
                self.cells,
                "each or a whole number ≥ 1",
            )
        low, high = self.at_least, self.at_most
        if low is not None and high is not None and low > high:
            raise UserError(f"at_least is {low:g} and at_most {high:g}: nothing lies between them.")
        if self.published is not None and self.cells is not None:
            raise UserError("cells is given beside published: choose one cell with where instead.")
        require(self.min_rows >= 1, "min_rows", self.min_rows, "a whole number ≥ 1")
        if not self.is_share and (self.versus is not None or self.published is not None):
            raise UserError(f"measure is {self.measure!r}: versus and published need a share.")
        if self.is_share and self.statistic == "spread":
            raise UserError(f"measure is {self.measure!r}: a spread needs a number of the rows.")
        if self.is_share:
            least = 0.0 if self.versus is None else -1.0
            for name in ("at_least", "at_most"):
                bound = getattr(self, name)
                accepted = f"a share from {least:g} to 1"
                require(bound is None or least <= bound <= 1, name, bound, accepted)

    @property
    def is_share(self) -> bool:
        """Whether a share is measured, and not a number of every row."""
        return not isinstance(self.measure, str) or self.measure in (*WORDS, CERTIFIED)

    @property
    def counted(self) -> Condition:
        """What a row must fit to be counted in a share, in the grammar of `where`."""
        if not isinstance(self.measure, str):
            return self.measure
        if self.measure == CERTIFIED:
            return {"verdict": [name for name in VERDICTS if name not in _UNSETTLED]}
        return {WORDS[self.measure]: self.measure}

    @property
    def bounds(self) -> str:
        """What is asked, in words: '≤ 0', '= 0', 'from 0.1 to 0.2'."""
        if self.published is not None:
            return f"agrees with {self.published.count} of {self.published.total}"
        low, high = self.at_least, self.at_most
        if low is not None and high is not None:
            return f"= {low:g}" if low == high else f"from {low:g} to {high:g}"
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}"


_UNSETTLED = (str(Verdict.UNRESOLVED), str(Verdict.FAILED))


@dataclass(frozen=True)
class Claim:
    """A checkable claim: its source, one sentence, what must be seen, and a reduced seed count.

    `note` is a sentence to read beside the result, for example on the power of a "none".
    """

    source: str
    statement: str
    expect: tuple[Expectation, ...]
    seeds: int = 40
    note: str = ""

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "seeds", self.seeds, "a whole number ≥ 1")
        require(bool(self.expect), "expect", list(self.expect), "a list of at least one")


@dataclass(frozen=True)
class Vocabulary:
    """What a study's rows can hold: column → whether it holds numbers; the words of some columns.

    `values` are all that the columns `arm`, `cell`, `problem` and the grid's axes can be.
    """

    columns: Mapping[str, bool]
    values: Mapping[str, tuple[object, ...]]


def parse_claim(value: object, known: Vocabulary) -> Claim:
    """The claim in a study's block `claim`, for a study whose rows hold what is `known`.

    Raises `UserError` for an unknown key, arm, column, value or word, a number that is none, more
    cells than there are, and for bounds that ask nothing.
    """
    settings = mapping(value, "claim")
    for key in settings:
        if key not in ("expect", *_Head.__dataclass_fields__):
            raise unknown("claim setting", str(key), ("expect", *_Head.__dataclass_fields__))
    expect = settings.get("expect")
    if not isinstance(expect, (list, tuple)):
        raise UserError(f"claim.expect is {expect!r}: a list of expectations is accepted.")
    found = tuple(
        _expectation(mapping(one, f"claim.expect[{k}]"), f"claim.expect[{k}]", known)
        for k, one in enumerate(expect)
    )
    given = {str(key): v for key, v in settings.items() if key != "expect"}
    plain = within("claim", partial(build, _Head, given, "claim"))
    return within("claim", lambda: Claim(expect=found, **vars(plain)))


@dataclass(frozen=True)
class _Head:
    """The plain settings of a claim, for the typed builder."""

    source: str
    statement: str
    seeds: int = 40
    note: str = ""


def _expectation(value: Mapping[str, Any], where: str, known: Vocabulary) -> Expectation:
    """One typed expectation; every name in it is known."""
    for key in value:
        if key not in Expectation.__dataclass_fields__:
            raise unknown(f"{where} setting", str(key), Expectation.__dataclass_fields__)
    if "measure" not in value:
        raise UserError(f"{where}.measure is missing: it has no default.")
    mappings: dict[str, Any] = {}
    for name in ("where", "versus", "measure"):
        given = value.get(name)
        if given is not None and not (name == "measure" and isinstance(given, str)):
            mappings[name] = mapping(given, f"{where}.{name}")
    settings = {
        key: v for key, v in value.items() if key not in (*mappings, "published", "measure")
    }
    plain = build(_Plain, settings, where)
    if value.get("published") is not None:
        place = f"{where}.published"
        counts = mapping(value["published"], place)
        mappings["published"] = within(place, lambda: build(Published, counts, place))
    given = {"measure": value["measure"], **vars(plain), **mappings}
    found = within(where, lambda: Expectation(**given))
    _check_names(found, where, known)
    return found


@dataclass(frozen=True)
class _Plain:
    """Those settings of an expectation whose types the builder knows."""

    arm: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    statistic: Literal["each", "spread"] = "each"
    within: tuple[str, ...] = ("cell", "arm", "draw")
    cells: int | str | None = None
    min_rows: int = 10


def _check_names(found: Expectation, where: str, known: Vocabulary) -> None:
    """Refuse an arm, measure, column, value or word that no row can have."""
    other = dict(found.versus or {})
    arms = [str(arm) for arm in known.values["arm"]]
    for arm in (found.arm, other.pop("arm", None)):
        if arm is not None and arm not in arms:
            raise unknown(f"{where}: arm", str(arm), arms)
    n_cells = len(known.values["cell"])
    if isinstance(found.cells, int) and found.cells > n_cells:
        raise UserError(
            f"{where}.cells is {found.cells}, of {n_cells} cells: at most that is accepted."
        )
    number = None if found.is_share else str(found.measure)
    numbers = [name for name, numeric in known.columns.items() if numeric]
    if number is not None and not _is_column(number, numbers):
        raise unknown(f"{where}: measure", number, [*WORDS, CERTIFIED, *numbers])
    conditions = {"where": found.where, "versus": other}
    if number is None:
        conditions["measure"] = found.counted
    for name, condition in conditions.items():
        for column, value in condition.items():
            if not _is_column(str(column), known.columns):
                raise unknown(f"{where}.{name}: column", str(column), known.columns)
            _check_value(str(column), value, f"{where}.{name}", known)
    for column in found.within:
        if not _is_column(column, known.columns):
            raise unknown(f"{where}.within: column", column, known.columns)


def _is_column(name: str, columns: Iterable[str]) -> bool:
    return name in columns or name.startswith(EVIDENCE)


_VOCABULARY = {"verdict": VERDICTS, "outcome": OUTCOMES, "certificate": (*CERTIFICATES, "none")}


def _check_value(column: str, value: object, where: str, known: Vocabulary) -> None:
    """Refuse a word outside a column's vocabulary, and a range without or with wrong ends."""
    accepted = _VOCABULARY.get(column, known.values.get(column))
    if isinstance(value, Mapping):
        for key, bound in value.items():
            if key not in ("at_least", "at_most"):
                raise unknown(f"{where}.{column} setting", str(key), ("at_least", "at_most"))
            number = isinstance(bound, (int, float)) and not math.isnan(bound)
            require(number, f"{where}.{column}.{key}", bound, "a number")
        require(bool(value), f"{where}.{column}", dict(value), "at_least, at_most or both")
        return
    for word in value if isinstance(value, (list, tuple)) else (value,):
        if accepted is not None and word not in accepted:
            raise unknown(f"{where}: {column}", str(word), list(map(str, accepted)))
