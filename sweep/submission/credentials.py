"""Nothing secret travels in a configuration: what looks like a credential is refused.

Credentials come from the environment or from files that it names, on every machine for itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sweep.errors import CREDENTIALS, UserError

#: Where credentials are given instead: what a refusal names.
VARIABLES = "RAY_AUTH_TOKEN_PATH, MLFLOW_TRACKING_USERNAME and _PASSWORD, AWS_*"

# Variables whose values are secrets, settings of such variables, and parts of an address's query.
_SECRET_VARIABLE = re.compile(
    r"\w*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|ACCESS_KEY|ACCESS_KEY_ID|API_KEY|PRIVATE_KEY"
    r"|CONNECTION_STRING|CREDENTIAL|TOKEN)"
)
_SECRET_SETTING = re.compile(rf"({_SECRET_VARIABLE.pattern})=[^\s,]")
_SECRET_QUERY = re.compile(r"(?i).*(password|passwd|pwd|token|secret|signature|credential|key)")
_SHORTEST_SECRET = 8  # shorter values may well be words of the configuration


def refuse_credentials(value: Any, where: str) -> None:
    """Nothing, if plain data holds no credential; else a `UserError` that does not repeat it.

    Refused are a user name or password in an address, a secret in an address's query, any text that
    sets a secret environment variable, and any that holds the value of one.
    """
    secrets = _secret_values()
    for place, text in _texts(value, where):
        if _address_with_credentials(text):
            raise UserError(
                f"{place} holds a credential in '{_hidden(text)}': give the bare address, and"
                f" the credential in the environment ({VARIABLES})."
            )
        if (setting := _SECRET_SETTING.search(text)) is not None:
            raise UserError(
                f"{place} sets {setting[1]}: leave it out, the cluster reads it from its own"
                " environment."
            )
        for name, secret in secrets.items():
            if secret in text:
                raise UserError(
                    f"{place} holds the value of the environment variable {name}: leave it out,"
                    " the cluster reads the variable for itself."
                )


def _secret_values() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.fullmatch(name) and len(value) >= _SHORTEST_SECRET
    }


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text in plain data, keys too, with its dotted place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield where, str(key)
            yield from _texts(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for k, inner in enumerate(value):
            yield from _texts(inner, f"{where}[{k}]")
    elif isinstance(value, str):
        yield where, value


def _address_with_credentials(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        query = urlsplit(text).query
    except ValueError:
        return True  # what cannot be read cannot be cleared
    return CREDENTIALS.search(text) is not None or any(
        _SECRET_QUERY.fullmatch(key) for key, _ in parse_qsl(query)
    )


def _hidden(text: str) -> str:
    """An address without user name, password and query."""
    return re.sub(r"://\S*@", "://", text.partition("?")[0])
