"""Which submissions this user has made: one small private file per study, never a credential."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from contextlib import suppress
from pathlib import Path

from sweep.errors import UserError, nearest
from sweep.storage.durable import replace
from sweep.storage.layout import Layout
from sweep.submission.base import Submission, To

_STUDY_ID = re.compile(r"(?:.*-)?([0-9a-f]{12})")


def records_folder() -> Path:
    """The user's state folder for submissions; nothing is created."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "sweep" / "submissions"


def prepare() -> Path:
    """The user's state folder, made and closed to others; `UserError` if it cannot be written.

    Called before a submission, which must not be forgotten once it is under way.
    """
    folder = records_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"'{folder}' is read-only")
    except OSError as error:
        raise UserError(
            f"Submissions are remembered in '{folder}', which cannot be written ({error}): set"
            " XDG_STATE_HOME to a folder that can."
        ) from error
    return folder


def keep(submission: Submission) -> Path:
    """The file that now holds this submission, the latest of its study; only its owner reads it."""
    path = prepare() / f"{submission.study_id}.json"
    # The folder is closed to others before the file appears in it.
    replace(path, (json.dumps(dataclasses.asdict(submission), indent=2) + "\n").encode())
    path.chmod(0o600)
    return path


def find(target: str | Path) -> Submission | None:
    """The latest submission of a study, by its id, its `<name>-<id>` or its results folder.

    None when this user has submitted no such study, or when `target` is another folder of it;
    `UserError` when the record is damaged, or another user's.
    """
    root = Layout.at(target).root
    matched = _STUDY_ID.fullmatch(root.name)
    if matched is None:
        return None
    path = records_folder() / f"{matched[1]}.json"
    try:
        found = _parse(path)
    except OSError:
        return None
    if root.name not in (found.study_id, found.label):
        return None
    elsewhere = root.is_dir() and root.resolve() != Path(found.results).resolve()
    return None if elsewhere else found


def require(target: str | Path) -> Submission:
    """The latest submission of a study; `UserError` when this user has made none."""
    found = find(target)
    if found is None:
        close = nearest(Layout.at(target).root.name, _labels())
        hint = f"; did you mean '{close}'?" if close else "."
        raise UserError(
            f"'{target}' is no study that you submitted from here: the results folder, the study's"
            f" id or name-id is accepted{hint}"
        )
    return found


def require_known(target: str) -> None:
    """Nothing, unless a bare id or name-id was given that is neither a folder nor submitted."""
    if "/" in target or not _STUDY_ID.fullmatch(target) or Layout.at(target).root.exists():
        return
    close = nearest(target, _labels())
    hint = f"; did you mean '{close}'?" if close else "."
    raise UserError(
        f"'{target}' is no study that you submitted from here, and no folder: the results folder,"
        f" or a submitted study's id or name-id, is accepted{hint}"
    )


def _labels() -> list[str]:
    """The name-ids of all studies that this user has submitted."""
    labels = []
    for path in sorted(records_folder().glob("*.json")):
        with suppress(UserError, OSError):
            labels.append(_parse(path).label)
    return labels


def _parse(path: Path) -> Submission:
    """The record at `path`; keys that only a newer sweep knows are passed over.

    What it says ends up in commands and addresses that are given our token, so nobody else's is
    read, and nothing odd in it is taken.
    """
    try:
        if path.stat().st_uid != os.geteuid():
            raise ValueError("it belongs to another user")
        given = json.loads(path.read_text(encoding="utf-8"))
        known = {key.name for key in dataclasses.fields(Submission)}
        found = Submission(**{key: value for key, value in given.items() if key in known})
        _require_sound(found, path.stem)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"'{path}' is damaged ({error}): remove it; the study itself is not harmed."
        ) from error
    return found


def _require_sound(found: Submission, study_id: str) -> None:
    """Nothing for a record as `keep` writes it; else a `ValueError`."""
    if found.to not in typing.get_args(To):
        raise ValueError(f"'{found.to}' is no place to submit to")
    texts = (found.id, found.study_id, found.name, found.results, found.submitted_at)
    perhaps = [text for text in (found.address, found.job) if text is not None]
    if not all(isinstance(text, str) for text in (*texts, *perhaps, *found.details.values())):
        raise ValueError("not every value is a text")
    if found.study_id != study_id or not re.fullmatch(rf"sweep-{study_id}-\d+", found.id):
        raise ValueError("it is another study's")
    if found.job is not None and not re.fullmatch(r"\w[\w.-]*", found.job):
        raise ValueError(f"{found.job!r} is no job")
