"""Where everything of a study lies: the only module that knows paths.

::

    <store.root>/
      mlflow.db  mlartifacts/           default tracking (a view, may be deleted)
      comparison.html                   several studies on one page, when asked for
      <name>-<study_id>/                RESULTS
        study.json                      what was asked, by which code, in which blocks of seeds
        rows/<job>.parquet              finished means: the final name exists,
        rows/merged-<digest>.parquet    or a file of several jobs names it in its footer
        checksums/<job>.sha256          `sha256sum -c checksums/*` from RESULTS
        references/  summary/  figures/  report.html
        .journal/                       who runs which job, and why jobs failed
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import UserError
from sweep.storage.objects import place

MERGED = "merged-"
"""Row files of that prefix hold several jobs, listed in their footer; no job id begins with it."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class Layout:
    """The paths inside one study's results folder; `root` is absolute, so workers may share it.

    In an object store they are `ObjectPath`s, which are asked the same questions.
    """

    root: Path

    @classmethod
    def for_study(cls, store_root: str | Path, name: str, study_id: str) -> Layout:
        """The folder `<store_root>/<name>-<study_id>`; nothing is created.

        Raises `UserError` when the name cannot be part of a folder's name.
        """
        if not _NAME.fullmatch(name):
            raise UserError(
                f"name is {name!r}: letters, digits and . _ + - are accepted, "
                "beginning with a letter or digit."
            )
        return cls.at(f"{str(store_root).rstrip('/')}/{name}-{study_id}")

    @classmethod
    def at(cls, results: str | Path) -> Layout:
        """The layout of a results folder given by its path, relative or not, or by its URL.

        Raises `UserError` for a URL that cannot be opened.
        """
        return cls(place(str(results)))

    @property
    def store(self) -> Path:
        """The folder that holds all studies, `store.root`."""
        return self.root.parent

    @property
    def study_file(self) -> Path:
        """What was asked and by which code."""
        return self.root / "study.json"

    @property
    def lock_file(self) -> Path:
        """Held while `study.json` changes."""
        return self.root / ".study.lock"

    @property
    def mirror_lock(self) -> Path:
        """Held while the MLflow view is made equal to the rows."""
        return self.root / ".mlflow.lock"

    @property
    def row_lock(self) -> Path:
        """Shared by commits, held alone while `rows` is exchanged for its compacted self."""
        return self.root / ".rows.lock"

    @property
    def compaction_lock(self) -> Path:
        """Held by the one compaction that is at work."""
        return self.root / ".compact.lock"

    @property
    def rows(self) -> Path:
        """The row files and nothing else that a reader would pick up."""
        return self.root / "rows"

    @property
    def incoming(self) -> Path:
        """Where row files are written before they get their name.

        Not in `rows`: polars and DuckDB do read, or stumble over, hidden files in a folder.
        """
        return self.root / ".incoming"

    @property
    def next_rows(self) -> Path:
        """What `rows` is exchanged for when files are merged; gone when that is done."""
        return self.root / ".next"

    @property
    def checksums(self) -> Path:
        """One SHA-256 file per row file."""
        return self.root / "checksums"

    @property
    def journal(self) -> Path:
        """One file of lines per process that ran jobs; see `sweep.storage.journal`."""
        return self.root / ".journal"

    @property
    def references(self) -> Path:
        """Witness searches, in the schema of the rows."""
        return self.root / "references"

    @property
    def summary(self) -> Path:
        """Tables made from the rows."""
        return self.root / "summary"

    @property
    def figures(self) -> Path:
        """Pictures made from the rows."""
        return self.root / "figures"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.root / "report.html"

    @property
    def comparison(self) -> Path:
        """The page that compares this study, named first, with others."""
        return self.store / "comparison.html"

    @property
    def tracking_database(self) -> Path:
        """The default MLflow backend, shared by all studies of a store."""
        return self.store / "mlflow.db"

    @property
    def tracking_artifacts(self) -> Path:
        """Where the default MLflow backend keeps artifacts."""
        return self.store / "mlartifacts"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where files of the study are written, each under a temporary name first."""
        written = (self.rows, self.references, self.checksums, self.summary, self.figures)
        return (self.root, self.incoming, *written)

    def row_file(self, job_id: str) -> Path:
        """The final name of a job's rows."""
        return self.rows / f"{job_id}.parquet"

    def merged_file(self, digest: str) -> Path:
        """The final name of a file of several jobs' rows."""
        return self.rows / f"{MERGED}{digest}.parquet"

    def reference_file(self, job_id: str) -> Path:
        """The final name of a witness search's rows."""
        return self.references / f"{job_id}.parquet"

    def checksum_file(self, job_id: str) -> Path:
        """The SHA-256 of a job's row file."""
        return self.checksums / f"{job_id}.sha256"

    def probe_file(self, token: str) -> Path:
        """A hidden file by which workers prove that they see this folder."""
        return self.root / f".probe-{token}"
