"""The same function over other primitives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

Names = Mapping[str, Any]
Jit = Callable[[Callable[..., Any]], Any]
Settings = tuple[float, ...]


def to_be_bound(*arguments: Any) -> Any:
    """Stands for a function that `bind` names. Raises `TypeError`: called before it is bound."""
    raise TypeError("a program was called before its names were bound")


def bind(function: Callable[..., Any], names: Names, suffix: str = "") -> FunctionType:
    """A copy of a plain function whose global names mean what `names` says.

    Names that are not given keep their meaning. `suffix` is added to the copy's name: compilers
    that keep code on disk by name must not take one copy for another.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__
    if suffix:
        code = code.replace(co_name=code.co_name + suffix, co_qualname=code.co_qualname + suffix)
    copy = FunctionType(
        code, {**function.__globals__, **names}, None, function.__defaults__, function.__closure__
    )
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    return copy


def specialise(
    functions: Iterable[Callable[..., Any]], names: Names, jit: Jit, suffix: str = ""
) -> dict[str, Any]:
    """Copies of functions that call each other, each passed through `jit`; by name.

    A function may call those before it in the list: it gets their finished copies.
    """
    found: dict[str, Any] = {}
    for function in functions:
        found[function.__name__] = jit(bind(function, {**names, **found}, suffix))
    return found


def settle(
    function: Callable[..., Any], arguments: int, settings: Settings, names: Names, jit: Jit
) -> Any:
    """A formula bound and passed through `jit`, as a function of its first one or two arguments.

    Whole settings become integers, of which kernels make products instead of powers.
    """
    finished = jit(bind(function, names))
    if not settings:
        return finished
    constant, *more = (int(c) if float(c).is_integer() else c for c in settings)
    if more:
        # Compilers take single captured constants for literals, and a tuple of them not.
        (second,) = more
        if arguments == 1:
            return jit(lambda z: finished(z, constant, second))
        return jit(lambda z, h: finished(z, h, constant, second))
    if arguments == 1:
        return jit(lambda z: finished(z, constant))
    return jit(lambda z, h: finished(z, h, constant))


def word(*parts: object) -> str:
    """A word that tells formulas apart, fit for a function's name: functions, settings, words."""
    texts = (part.__name__ if isinstance(part, FunctionType) else str(part) for part in parts)
    return "__" + re.sub(r"\W", "_", "__".join(texts).replace("-", "minus"))
