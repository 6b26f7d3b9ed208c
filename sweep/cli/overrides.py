"""The words after `sweep run`: Hydra's override grammar, read into plain values.

`key=value` sets, `+key=value` adds, `~key` deletes; `key=a,b`, `key=choice(a,b)` and
`key=range(1,4)` make an axis of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, ValueType
from hydra.errors import HydraException

from sweep.errors import UserError, unknown

MULTIRUN = (
    "{flag} is Hydra's multirun, which is not used here: write the values as an axis of the grid,"
    " for example 'sweep run model.width=2,3'."
)
# What has a meaning in the grammar: a value with none of these can only be meant as plain text.
_MEANINGFUL = frozenset("[]{},='\"")
MOST_VALUES = 10_000
_AXIS_KINDS = (
    ValueType.CHOICE_SWEEP,
    ValueType.SIMPLE_CHOICE_SWEEP,
    ValueType.RANGE_SWEEP,
)


@dataclass(frozen=True)
class Setting:
    """One override: a dotted `key` with its value, or the values of an axis, or a deletion.

    `values` has one entry for a plain value, any number for an axis, none for a deletion;
    `adds` says that the key need not be there yet.
    """

    key: str
    values: tuple[Any, ...]
    axis: bool = False
    adds: bool = False

    @property
    def deletes(self) -> bool:
        """Whether the key is to be removed."""
        return not self.values and not self.axis

    @property
    def value(self) -> Any:
        """The value of a plain setting."""
        return self.values[0]


def parse(words: Sequence[str], top_level: Sequence[str]) -> list[Setting]:
    """The settings in the order given.

    Raises `UserError` for what the grammar cannot read and for a key that does not begin with one
    of `top_level`.
    """
    parser = OverridesParser.create()
    settings = [_setting(_parsed(parser, word), word) for word in words]
    for setting in settings:
        first = setting.key.split(".")[0]
        if first not in top_level:
            raise unknown("key", first, top_level)
    return settings


def _parsed(parser: OverridesParser, word: str) -> Override:
    if word in ("-m", "--multirun"):
        raise UserError(MULTIRUN.format(flag=word))
    if word.startswith("-"):
        raise unknown("option", word, ("--cfg", "--config-dir", "--help"))
    if "=" not in word and not word.startswith("~"):
        raise UserError(
            f"'{word}' is no override: key=value is accepted, for example 'study={word}'"
            " or 'model.width=3'."
        )
    key, _, value = word.partition("=")
    plain = value and not word.startswith("~") and not _MEANINGFUL & set(value)
    # The grammar leaves many characters out of an unquoted text: ~, umlauts, lone brackets.
    for attempt in (word, f'{key}="{value}"') if plain else (word,):
        with suppress(HydraException):
            return parser.parse_override(attempt)
    raise UserError(
        f"'{word}' cannot be read: key=value, key=[a, b] and key=a,b are accepted, with every"
        " bracket closed, and quotes around a text that holds one of [ ] { } , = ' \", for"
        " example 'key=\"a=b\"'."
    )


def _setting(parsed: Override, word: str) -> Setting:
    if parsed.package is not None:
        raise UserError(f"'{word}' names a package with '@': only key=value is accepted.")
    # Hydra takes a slash for a nested group, as in 'study/mine'; here all groups are at the top.
    key = parsed.key_or_group.replace("/", ".")
    if parsed.is_delete():
        if parsed.value() is not None:
            raise UserError(f"'{word}' deletes with a value: '~{key}' alone is accepted.")
        return Setting(key, ())
    adds = parsed.is_add() or parsed.is_force_add()
    if not parsed.is_sweep_override():
        return Setting(key, (parsed.value(),), adds=adds)
    if parsed.value_type not in _AXIS_KINDS or getattr(parsed.value(), "shuffle", False):
        raise UserError(
            f"'{word}' is no axis: {key}=a,b, {key}=choice(a,b) and {key}=range(1,4) are accepted;"
            " to sample, write {law: log_uniform, low: …, high: …, draws: …} in the study's grid."
        )
    values = tuple(_unquoted(v) for v in islice(parsed.sweep_iterator(), MOST_VALUES + 1))
    if len(values) > MOST_VALUES:
        raise UserError(f"'{word}' is too long: an axis of at most {MOST_VALUES} is accepted.")
    return Setting(key, values, axis=True, adds=adds)


def _unquoted(value: Any) -> Any:
    """Grammar elements as plain values."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_unquoted(v) for v in value]
    if isinstance(value, dict):
        return {_unquoted(k): _unquoted(v) for k, v in value.items()}
    return value
