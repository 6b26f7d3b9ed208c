"""What `sweep compact` prints."""

from __future__ import annotations

from rich.console import Console

from sweep.report.numerals import counted
from sweep.storage.compaction import Compaction


def show_compaction(done: Compaction, console: Console | None = None) -> None:
    """Prints how many row files there were, are, and of how many jobs the files were merged."""
    console = console or Console()
    files = counted(done.files_before, "row file")
    text = f"{files}, nothing to merge"
    if done.jobs:
        text = f"{files} before, {done.files_after:,} now: {counted(done.jobs, 'job')} merged"
    for name, said in (("results", str(done.results)), ("files", text)):
        console.print(f"{name:<9}{said}", soft_wrap=True, markup=False, highlight=False)
