"""Which code on which machine made the rows. No environment variables, no paths, no secrets."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.errors import redacted
from sweep.version import __version__

_PACKAGES = (
    "torch",
    "ray",
    "mlflow",
    "hydra-core",
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "scipy",
)
_GIT_SECONDS = 5.0

#: Beside the package in a parcel: where it comes from, which a cluster cannot find out.
PARCEL_MANIFEST = "manifest.json"


def provenance() -> dict[str, Any]:
    """Versions, git commit and machine, as plain data that fits into JSON."""
    return {
        "sweep": __version__,
        **git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "host": platform.node(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
    }


def without_credentials(value: Any) -> Any:
    """The same plain data with user names and passwords cut out of every address in it."""
    if isinstance(value, Mapping):
        return {key: without_credentials(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_credentials(inner) for inner in value]
    if isinstance(value, str):
        return redacted(value)
    return value


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state() -> dict[str, Any]:
    """The commit of the checkout this very file is tracked in, and whether code was changed.

    In a parcel those are of the checkout that it was packed from.
    """
    here = Path(__file__).resolve()
    package = here.parents[1]
    # An installed package may lie inside somebody else's repository: its commit says nothing.
    if _ask_git(package, "ls-files", "--error-unmatch", str(here)) is None:
        return _packed(package.parent / PARCEL_MANIFEST)
    changes = _ask_git(package, "status", "--porcelain", "--", ".")
    return {
        "git_commit": _ask_git(package, "rev-parse", "HEAD"),
        "git_changed": None if changes is None else bool(changes),
    }


def _packed(manifest: Path) -> dict[str, Any]:
    """What a parcel's manifest says of the checkout that it was packed from; None beside none."""
    unknown: dict[str, Any] = {"git_commit": None, "git_changed": None}
    try:
        said = json.loads(manifest.read_text(encoding="utf-8"))
        return {key: said[key] for key in unknown}
    except (OSError, ValueError, KeyError, TypeError):
        return unknown


def _ask_git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
