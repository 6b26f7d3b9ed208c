"""Proof, before anything is trained, that a worker sees and may write the same results folder."""

from __future__ import annotations

import contextlib
import time
import uuid

from sweep.errors import UserError
from sweep.storage.durable import make_folder, writing
from sweep.storage.layout import Layout
from sweep.storage.leftovers import STALE_SECONDS, clear_leftovers


def probe(layout: Layout) -> str:
    """A token laid down in the results folder, for `check_probe` on every node."""
    token = uuid.uuid4().hex
    with writing(layout.root):
        make_folder(layout.root)
        for stale in layout.root.glob(layout.probe_file("*").name):
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink(missing_ok=True)  # of a driver that was killed
        clear_leftovers(layout.folders)
        layout.probe_file(token).write_text(token)
    return token


def check_probe(layout: Layout, token: str, node: str = "this machine") -> None:
    """Nothing, if the token is there and the folder can be written; else a `UserError`."""
    try:
        seen = layout.probe_file(token).read_text() == token
    except OSError:
        seen = False
    if not seen:
        raise UserError(
            f"{node} does not see the results folder '{layout.root}': "
            "store.root has to be a folder that all nodes share."
        )
    answer = layout.probe_file(f"{token}-{uuid.uuid4().hex}")
    with writing(layout.root):
        answer.write_text("")
        answer.unlink()


def remove_probe(layout: Layout, token: str) -> None:
    """The folder without the token, or no folder if it held nothing else."""
    with contextlib.suppress(OSError):  # of a folder that became read-only, a sentence says more
        layout.probe_file(token).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        layout.root.rmdir()  # refused, rightly, unless it is empty
