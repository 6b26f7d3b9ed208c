"""Names to typed settings: the only way a word in a config becomes an object.

A registry entry is a frozen dataclass. Its fields are the accepted keys, their annotations the
accepted types, their defaults the schema-1 defaults, which never change: a setting left at its
default is left out of the study's identity, so that a later release can add settings without
changing any id. A field with ``metadata={"identity": False}`` (a path, say) never enters it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, Union

from sweep.errors import UserError, nearest, unknown

T = TypeVar("T")
_LONGEST_INTEGER = 10**20
_ACCEPTED: dict[object, str] = {
    bool: "true or false",
    str: "text",
    float: "a number",
    int: "a whole number",
    tuple: "a list",
    list: "a list",
    type(None): "null",
}
"""Type of a setting → what a person may write for it."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A registered name with its settings: plain data, JSON in and out."""

    name: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, where: str) -> Choice:
        """From a config value: a bare name, or a mapping with the key `name`."""
        if isinstance(value, Choice):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return cls(value["name"], {k: v for k, v in value.items() if k != "name"})
        raise UserError(f"{where} is {value!r}: give a name, or a mapping with the key 'name'.")

    def to_json(self) -> dict[str, Any]:
        """The mapping that `parse` reads back."""
        return {"name": self.name, **{k: _plain(v) for k, v in self.settings.items()}}


class Registry(Generic[T]):
    """Entries of one kind (loss, problem, optimizer …), each a frozen dataclass."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, type[T]] = {}

    def add(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: make the dataclass available under `name`."""

        def register(entry: type[T]) -> type[T]:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return register

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def entry(self, name: str) -> type[T]:
        """The dataclass behind a name; `UserError` with the choices when there is none."""
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def build(self, choice: Choice, where: str | None = None) -> T:
        """The entry with its settings checked and typed; refusals name the place `where`."""
        entry = self.entry(choice.name)
        if where is None:
            return build(entry, choice.settings, self.kind)
        return within(where, lambda: build(entry, choice.settings, where))

    def normalise(self, choice: Choice, where: str | None = None) -> Choice:
        """The same choice with every setting typed and every default filled in."""
        built = self.build(choice, where)
        return Choice(choice.name, settings_of(built))

    def identity(self, choice: Choice, where: str | None = None) -> dict[str, Any]:
        """The part of a choice that defines results: typed, defaults left out."""
        built = self.build(choice, where)
        found: dict[str, Any] = {"name": choice.name}
        for field in dataclasses.fields(typing.cast(Any, built)):
            value = getattr(built, field.name)
            if field.metadata.get("identity", True) and not _is_default(field, value):
                found[field.name] = _plain(value)
        return found


def settings_of(built: object) -> dict[str, Any]:
    """Field names and values of a built entry, as plain data."""
    return {
        field.name: _plain(getattr(built, field.name))
        for field in dataclasses.fields(typing.cast(Any, built))
    }


def build(entry: type[T], settings: Mapping[str, Any], where: str) -> T:
    """An instance of the dataclass `entry` from plain settings.

    Raises `UserError` for an unknown or missing key, a wrong type, or whatever the entry's own
    ``__post_init__`` refuses.
    """
    hints = typing.get_type_hints(entry)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, entry))}
    for key in settings:
        if key not in fields:
            raise unknown(f"{where} setting", key, fields)
    values = {key: coerce(value, hints[key], f"{where}.{key}") for key, value in settings.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and (
            field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise UserError(f"{where}.{name} is missing: it has no default.")
    return entry(**values)


def coerce(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotated type, or a `UserError`; '1e3' and 1000.0 pass for an integer."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _coerce_union(value, typing.get_args(hint), where)
    if _is_literal(hint):
        if value in typing.get_args(hint):
            return value
        raise unknown(where, str(value), [str(a) for a in typing.get_args(hint)])
    if origin in (tuple, list):
        return _coerce_sequence(value, typing.get_args(hint)[0], where)
    if hint is Any:
        return value
    if hint is Choice:
        return Choice.parse(value, where)
    if dataclasses.is_dataclass(hint):
        return _coerce_settings(value, hint, where)
    return _coerce_scalar(value, hint, where)


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """`value`, which must be a mapping of settings; else a `UserError`."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}: a mapping of settings is accepted.")
    return value


def _coerce_settings(value: Any, entry: Any, where: str) -> Any:
    if isinstance(value, entry):
        return value
    return build(entry, mapping(value, where), where)


def _coerce_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return coerce(value, option, where)
        except UserError as error:
            # What is wrong inside a list or a mapping says more than that none of the kinds fits.
            if str(error).startswith((f"{where}.", f"{where}[")):
                raise
    raise _refused(value, options, where)


def _coerce_sequence(value: Any, item: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise _refused(value, (list,), where)
    return tuple(coerce(v, item, f"{where}[{i}]") for i, v in enumerate(value))


def _coerce_scalar(value: Any, hint: type, where: str) -> Any:
    if hint in (bool, str):
        if isinstance(value, hint):
            return value
        raise _refused(value, (hint,), where)
    if isinstance(value, bool) or value is None:
        raise _refused(value, (hint,), where)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _refused(value, (hint,), where) from None
    if math.isnan(number) or (hint is int and not number.is_integer()):
        raise _refused(value, (hint,), where)
    if hint is float:
        return number
    return int(value) if isinstance(value, int) else int(number)


def _refused(value: Any, hints: tuple[Any, ...], where: str) -> UserError:
    """The sentence for a value of none of these types: what was given, what is accepted."""
    accepted: list[str] = []
    names: list[str] = []
    for hint in hints:
        literal = [str(one) for one in typing.get_args(hint)] if _is_literal(hint) else []
        names += ["true", "false"] if hint is bool else literal
        plain = typing.get_origin(hint) or hint
        accepted += map(repr, literal) if literal else [_ACCEPTED.get(plain, "a mapping")]
    close = nearest(value, names) if isinstance(value, str) else None
    quotable = str in hints and not isinstance(value, (list, dict))
    ending = f", in quotes of its own: \"'{value}'\"." if quotable else "."
    if close is not None:
        ending = f"; did you mean '{close}'?"
    return UserError(f"{where} is {value!r}: {' or '.join(accepted)} is accepted{ending}")


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(field.default == value)
    if field.default_factory is not dataclasses.MISSING:
        return bool(field.default_factory() == value)
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, Choice):
        return value.to_json()
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value


def within(where: str, action: Callable[[], T]) -> T:
    """What the action returns; what it refuses is said with its place in the config.

    An entry calls its settings by a short name ('lambda.low'): it becomes the whole place
    ('arms.exp.lambda.low') when both meet, else the place is put before the sentence.
    """
    try:
        return action()
    except UserError as error:
        text, last = str(error), where.rsplit(".", 1)[-1]
        if text.startswith((f"{where}.", f"{where}:", f"{where} ")):
            raise
        if text.startswith(f"{last}."):
            raise UserError(where + text[len(last) :]) from None
        raise UserError(f"{where}: {text}") from None


def require(condition: bool, where: str, given: object, accepted: str) -> None:
    """Refuse a value outside its range: `require(lr > 0, "optimizer.lr", lr, "a number > 0")`."""
    if not condition:
        if isinstance(given, int) and abs(given) > _LONGEST_INTEGER:
            given = float(given)  # 1e+300 as it was typed, not its 300 digits
        raise UserError(f"{where} is {given!r}: {accepted} is accepted.")
