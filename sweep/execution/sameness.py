"""Whether two places run the same code on the same libraries: rows must not depend on where."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: Packages whose versions can change a row, or keep two machines from understanding each other.
PACKAGES = ("torch", "numpy", "numba", "ray", "pyarrow")

_SHOWN = 12  # digits of a hash in a sentence


@dataclass(frozen=True)
class Installation:
    """Code and libraries of one place: SHA-256 of the sources, versions of Python and packages."""

    code: str
    python: str
    packages: Mapping[str, str | None]

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a parcel's manifest."""
        return {"code": self.code, "python": self.python, "packages": dict(self.packages)}

    def difference(self, other: Installation, here: str, there: str) -> str:
        """The first difference to another place, naming both sides; empty when there is none.

        Python may differ in its last number.
        """
        if self.code != other.code:
            return (
                f"sweep's code has hash {self.code[:_SHOWN]} on {here} but "
                f"{other.code[:_SHOWN]} on {there}"
            )
        pairs: list[tuple[str, str | None, str | None]]
        pairs = [("python", _minor(self.python), _minor(other.python))]
        pairs += [(name, self.packages[name], other.packages.get(name)) for name in self.packages]
        for name, ours, theirs in pairs:
            if ours != theirs:
                return f"{name} is {_said(ours)} on {here} but {_said(theirs)} on {there}"
        return ""


@cache
def code_hash() -> str:
    """SHA-256 over every file of the package that takes part: sources, templates, data."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        # The config files lie inside only once installed; what they say travels composed.
        if hidden or inside.parts[0] == "conf" or not path.is_file() or path.suffix == ".pyc":
            continue
        digest.update(inside.as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def installation() -> Installation:
    """Code and libraries of this process."""
    packages = {name: _version(name) for name in PACKAGES}
    return Installation(code_hash(), platform.python_version(), packages)


def _version(package: str) -> str | None:
    """The version without its build's local part: '2.13.0+cpu' and '2.13.0+cu130' are the same."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _said(version: str | None) -> str:
    return version or "not installed"
