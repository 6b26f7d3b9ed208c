"""What `sweep sync-mlflow` understands and prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep.errors import UserError, unknown

if TYPE_CHECKING:  # a refusal is quicker without
    from sweep.storage.mlflow_sync import Synced

KEY = "tracking.uri"


def split_words(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Words without overrides, and the address that an override gives; None if none does.

    Raises `UserError` for another key, and for an address that is empty or given twice.
    """
    folders, given = [], []
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or word.startswith("-") or "/" in key:
            folders.append(word)
        elif key != KEY:
            raise unknown("setting", key, [KEY])
        else:
            given.append(value.strip("'\""))
    if len(given) > 1 or "" in given:
        raise UserError(
            f"{KEY} is given {'empty' if '' in given else 'twice'}: one address of a server or"
            " database is accepted."
        )
    return folders, given[0] if given and given[0] != "null" else None


def show_synced(name: str, synced: Synced) -> None:
    """Prints one line: what was there, what was added and repaired."""
    jobs = synced.present + synced.added + synced.repaired
    line = (
        f"{name}: {jobs:,} {'job' if jobs == 1 else 'jobs'} in MLflow, {synced.present:,} were"
        f" there, {synced.added:,} added, {synced.repaired:,} repaired"
    )
    if synced.removed:
        line += f", {synced.removed:,} doubled {'run' if synced.removed == 1 else 'runs'} removed"
    words = {"present": "was there", "added": "was added", "repaired": "was repaired"}
    print(f"{line}; the parent run {words[synced.parent]}.")
