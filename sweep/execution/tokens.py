"""The secret of a local Ray: every port it opens answers only to whoever holds the token.

Ray listens on all interfaces, even when it is given a loopback address. Since 2.52 it can ask for
a token; left alone it writes one into the home folder, readable by everybody on the machine.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import _raylet

from sweep.environment import environment


def write_token(path: Path, token: str | None = None) -> None:
    """A token, by default a new random one of 256 bits, in a new file only its owner can read.

    The mode holds whatever the umask; `FileExistsError` when the file exists, so that nobody can
    slip in a file, or a link to one, of their own.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)  # a umask can also take away the owner's own bits
        file.write(token or secrets.token_hex(32))


@contextmanager
def own_token(path: Path) -> Iterator[None]:
    """Token authentication with a new token at `path`, for Rays started in this context."""
    write_token(path)
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path),
        "RAY_AUTH_TOKEN": None,  # would win over the path
    }
    try:
        with environment(settings):
            read_settings_again()
            yield
    finally:
        read_settings_again()


def read_settings_again() -> None:
    """Make Ray look at `RAY_AUTH_*` once more.

    It reads them once, when it is first imported or used; without this a process that has imported
    Ray before would talk without a token to servers that ask for one.
    """
    raylet: Any = _raylet  # native code, whose stub leaves these out
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
