"""Before MLflow is touched: a quiet environment, and checks that end in one sentence soon.

Left to itself MLflow tries an unreachable server for minutes, prints addresses with pictures,
reports usage to its makers, and takes `./mlruns` in the working directory for its record.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sweep.errors import UserError, redacted
from sweep.storage.durable import make_folder, writing
from sweep.storage.layout import Layout
from sweep.storage.objects import SEPARATOR

SQLITE = "sqlite:///"
# A driver may follow the name of a database, as SQLAlchemy writes it: mysql+pymysql://…
_ACCEPTED = re.compile(r"(https?|(postgresql|mysql|mssql)(\+\w+)?)://.+|sqlite:///.+")
_HTTP_SECRET = re.compile(r"@")
_DATABASE_SECRET = re.compile(r"://[^@]*:[^@]*@|[?&]pass\w*=", re.IGNORECASE)
_SERVER_PLACE = (
    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the"
    " environment"
)
_DATABASE_PLACE = (
    "the password where the database's driver looks (PGPASSWORD or ~/.pgpass, say), or let an"
    " MLflow server stand before it, which takes MLFLOW_TRACKING_USERNAME and"
    " MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, from the environment"
)
WHILE_CHECKING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
# A request that was heard but not answered must not be made twice: it would add a second run.
WHILE_RUNNING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
FIRST_SECONDS = 10.0
"""For a server's first answer, while a person waits to be told."""
_SENTENCE = 200
_REFUSED_USER = re.compile(r"error code (401|403)\b")
T = TypeVar("T")


def address_of(uri: str | None, layout: Layout) -> str:
    """The tracking address: the given one, or the sqlite file of the store."""
    if uri is None and SEPARATOR in str(layout.root):
        raise UserError(
            f"store.root is '{layout.store}', where MLflow's own file cannot lie: "
            "set tracking.uri to a server, or tracking=none."
        )
    return uri or f"{SQLITE}{layout.tracking_database}"


def require_accepted(uri: str) -> None:
    """Nothing, if such an address can hold runs; else a `UserError`. Contacts nobody.

    One with a user name or a password is refused: what is typed here is stored and shown.
    """
    if not _ACCEPTED.fullmatch(uri):
        raise UserError(
            f"tracking.uri is '{_shown(uri)}': an address that begins with http://,"
            " https://, sqlite:///, postgresql://, mysql:// or mssql:// is accepted, or null for a"
            " file beside the results."
        )
    secret = _HTTP_SECRET if is_server(uri) else _DATABASE_SECRET
    if not uri.startswith(SQLITE) and secret.search(uri):
        where = _SERVER_PLACE if is_server(uri) else _DATABASE_PLACE
        raise UserError(
            f"tracking.uri '{_shown(uri)}' was given with a user or password, which would be stored"
            f" and shown: give the address without, and {where}."
        )


def _shown(uri: str) -> str:
    """The address without anything that may be a secret."""
    scheme, sign, rest = uri.partition("://")
    if uri.startswith(SQLITE) or not sign:
        return uri
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def is_server(address: str) -> bool:
    """Whether a server answers there, which then decides where artifacts go."""
    return address.startswith(("http://", "https://"))


def be_quiet() -> None:
    """For the whole process, before mlflow is imported: no telemetry, no chatter."""
    os.environ.update(_QUIET)


def require_database(address: str) -> None:
    """Nothing, if the address is of a kind that serves and a sqlite one can be written.

    Raises `UserError` otherwise.

    MLflow would try a file that is no database again and again, for minutes.
    """
    require_accepted(address)
    if not address.startswith(SQLITE):
        return
    path = Path(address.removeprefix(SQLITE))
    with writing(path.parent):
        make_folder(path.parent)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("PRAGMA schema_version").fetchall()
    except sqlite3.Error as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # somebody writes: it can be written
            raise unusable(address, error) from error
    if path.exists() and not os.access(path, os.W_OK):
        raise unusable(address, PermissionError("the file cannot be written"))


def require_unlocked(address: str) -> None:
    """Nothing, unless another process keeps a sqlite file locked for five seconds.

    Raises `sqlite3.Error` then.
    """
    if address.startswith(SQLITE):
        path = Path(address.removeprefix(SQLITE))
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
            database.execute("BEGIN IMMEDIATE")


def answer(address: str, ask: Callable[[], T], patience: float = FIRST_SECONDS) -> T:
    """What `ask` returns, in a thread of its own so that the wait has an end.

    Raises `UserError` when it fails, or when there is no answer within `patience` seconds.
    """
    found: list[T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            found.append(ask())
        except Exception as error:  # kept for the caller's thread, whatever a driver raised
            failed.append(error)

    thread = threading.Thread(target=work, name="mlflow-check", daemon=True)
    thread.start()
    thread.join(patience)
    if failed:
        raise unusable(address, failed[0]) from failed[0]
    if not found:
        raise unusable(address, TimeoutError(f"no answer within {patience:.0f} s"))
    return found[0]


def unusable(address: str, error: Exception) -> UserError:
    """The sentence for a tracking address that does not serve, or not this user."""
    if is_server(address) and (found := _REFUSED_USER.search(str(error))):
        return refused_user(address, found[1])
    return UserError(
        f"tracking.uri '{_shown(address)}' cannot be used ({reason(error)}): "
        "give the address of a running MLflow server, or leave it out for a local file."
    )


def refused_user(address: str, status: str) -> UserError:
    """The sentence for a server that answers 401 (who are you?) or 403 (not you)."""
    why = "asks for a user" if status == "401" else "does not let this user write in the experiment"
    return UserError(f"tracking.uri '{_shown(address)}' {why} ({status}): {_SERVER_PLACE}.")


def reason(error: Exception) -> str:
    """The first sentence of an error, short enough to be part of one."""
    text = redacted(str(error)).strip() or type(error).__name__
    if "timed out" in text.lower():
        return "it does not answer in time"
    if "error responses" in text:  # the HTTP library's way of saying that it gave up, too
        return "it answers with errors"
    if "Max retries exceeded" in text:  # the HTTP library's long way of saying so
        return "no server answers there"
    first = text.splitlines()[0].split(". ")[0]
    return first if len(first) <= _SENTENCE else first[:_SENTENCE] + " …"
