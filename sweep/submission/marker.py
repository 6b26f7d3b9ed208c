"""The completion marker: the run's own word on how it ended, beside its results.

Batch systems report exit statuses of wrappers, which are 0 when nothing ran and 1 when everything
did. The marker is written by the run itself, whole or not at all, whatever way it ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sweep.storage.durable import make_folder, replace
from sweep.storage.layout import Layout

_STATUSES = (0, 1, 2, 130)


@dataclass(frozen=True)
class Marker:
    """How a run ended: exit status (0, 1, 2 or 130), results folder's name, UTC time (ISO 8601)."""

    exit_status: int
    study: str
    finished_at: str


def marker_file(results: str | Path, submission_id: str) -> Path:
    """Where the marker of a submission lies: `<results>/.submission/<submission id>.json`."""
    return Layout.at(results).root / ".submission" / f"{submission_id}.json"


def latest_attempt(results: str | Path, study_id: str) -> int:
    """The highest attempt of a study that has left its marker here; 0 when none has.

    A cluster that was started anew has forgotten its attempts, but a marker counts for one only.
    """
    folder = marker_file(results, "any").parent
    try:
        numbers = [file.stem.rpartition("-")[2] for file in folder.glob(f"sweep-{study_id}-*.json")]
    except Exception:  # a store that we may not read has errors of its own: as if there were none
        return 0
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def write_marker(path: Path, exit_status: int, study: str) -> None:
    """The marker at `path`, in one step; `OSError` where it cannot be written."""
    found = {
        "exit_status": exit_status,
        "study": study,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    make_folder(path.parent)
    replace(path, (json.dumps(found, indent=2) + "\n").encode())


def read_marker(results: str | Path, submission_id: str) -> Marker | None:
    """The marker of a submission; None while there is none, or where it is none of ours.

    A number that only looks like an exit status of `sweep run` is none.
    """
    try:
        found = json.loads(marker_file(results, submission_id).read_text(encoding="utf-8"))
        status = found["exit_status"]
        if type(status) is not int or status not in _STATUSES:
            return None
        return Marker(status, str(found["study"]), str(found["finished_at"]))
    except Exception:  # as above: what cannot be seen here is not believed here either
        return None
