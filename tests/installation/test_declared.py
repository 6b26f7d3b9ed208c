"""What the package says of itself: versions, what it needs, and what has been tried together."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sweep
from sweep.cli.main import main

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]


def imported(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - {"sweep", *sys.stdlib_module_names}


def test_every_import_is_of_something_that_is_asked_for() -> None:
    asked, offered = {canonicalize_name(one.name) for one in NEEDED}, packages_distributions()
    names = set().union(*map(imported, Path(sweep.__file__).parent.rglob("*.py")))
    assert [n for n in sorted(names) if not asked & set(map(canonicalize_name, offered[n]))] == []


def test_the_set_that_was_tried_is_one_that_is_accepted() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if re.fullmatch(r"[\w.-]+==\S+", line))
    tried = {canonicalize_name(name): version for name, version in pinned.items()}
    extras = PROJECT["optional-dependencies"]
    for one in [*NEEDED, *map(Requirement, [*extras["test"], *extras["cluster"]])]:
        assert one.specifier.contains(tried[canonicalize_name(one.name)]), one


def test_the_version_is_said_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sweep {sweep.__version__}\n"
