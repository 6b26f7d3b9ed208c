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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from sweep.errors import UserError
from sweep.storage.durable import make_folder, writing
from sweep.storage.layout import Layout
from sweep.storage.objects import SEPARATOR
from sweep.storage.provenance import without_credentials

SQLITE = "sqlite:///"
# A driver may follow the name of a database, as SQLAlchemy writes it: mysql+pymysql://…
_ACCEPTED = re.compile(r"(https?|(postgresql|mysql|mssql)(\+\w+)?)://.+|sqlite:///.+")
WHILE_CHECKING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
WHILE_RUNNING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_FIRST_SECONDS = 10.0  # for a server's first answer, while a person waits to be told
_LATER_SECONDS = 120.0  # for one that has answered; a new sqlite file may have to be migrated
_SENTENCE = 200
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
    """Nothing, if such an address can hold runs; else a `UserError`. Contacts nobody."""
    if not _ACCEPTED.fullmatch(uri):
        raise UserError(
            f"tracking.uri is '{without_credentials(uri)}': an address that begins with http://,"
            " https://, sqlite:///, postgresql://, mysql:// or mssql:// is accepted, or null for a"
            " file beside the results."
        )


def is_server(address: str) -> bool:
    """Whether a server answers there, which then decides where artifacts go."""
    return address.startswith(("http://", "https://"))


def be_quiet() -> None:
    """For the whole process, before mlflow is imported: no telemetry, no chatter."""
    os.environ.update(_QUIET)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """A block with these environment variables, which MLflow reads anew at every request.

    Afterwards each is as it was before.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
            database.execute("PRAGMA schema_version").fetchall()
    except sqlite3.Error as error:
        raise unusable(address, error) from error
    if path.exists() and not os.access(path, os.W_OK):
        raise unusable(address, PermissionError("the file cannot be written"))


def answer(address: str, ask: Callable[[], T], *, first: bool) -> T:
    """What `ask` returns, in a thread of its own so that the wait has an end.

    Raises `UserError` when it fails, or when a server gives no `first` answer within ten seconds
    (two minutes for later ones, and for a database file that has to be made).
    """
    soon = first and not address.startswith(SQLITE)
    patience = _FIRST_SECONDS if soon else _LATER_SECONDS
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
    """The sentence for a tracking address that does not serve."""
    return UserError(
        f"tracking.uri '{without_credentials(address)}' cannot be used ({reason(error)}): "
        "give the address of a running MLflow server, or leave it out for a local file."
    )


def reason(error: Exception) -> str:
    """The first sentence of an error, short enough to be part of one."""
    text = str(error).strip() or type(error).__name__
    if "Max retries exceeded" in text:  # the HTTP library's long way of saying so
        return "no server answers there"
    first = text.splitlines()[0].split(". ")[0]
    return first if len(first) <= _SENTENCE else first[:_SENTENCE] + " …"
