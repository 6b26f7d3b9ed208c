"""The parcel: code and composed configuration in one folder, which is all that travels."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.errors import UserError
from sweep.execution.sameness import code_hash, installation
from sweep.spec import Compute, Store, Study
from sweep.storage.layout import Layout
from sweep.storage.provenance import PARCEL_MANIFEST, git_state
from sweep.study.composed import Composed
from sweep.submission.base import Parcel
from sweep.submission.credentials import refuse_credentials

COMPOSED = "composed.json"
MANIFEST = PARCEL_MANIFEST

_PACKAGE = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@contextmanager
def packed(composed: Composed, study: Study, compute: Compute, store: Store) -> Iterator[Parcel]:
    """A parcel of the study in a temporary folder, which is gone when the context ends.

    The folder holds the package, `composed.json` and `manifest.json` (code hash, commit and package
    versions). Relative paths in the configuration become absolute: the cluster has
    another working directory. Raises `UserError` for a configuration that is not meant for a
    cluster or holds a credential.
    """
    if compute.name != "cluster":
        raise UserError(
            f"compute is '{compute.name}', which runs here: 'sweep submit' takes compute=cluster."
        )
    refuse_credentials(composed.resolved, "")
    layout = Layout.for_study(store.root, study.name, study.id)
    travelling = _travelling(composed.resolved, layout)
    with tempfile.TemporaryDirectory(prefix="sweep-parcel-") as name:
        folder = Path(name)
        _fill(folder, travelling)
        yield Parcel(
            study_id=study.id,
            name=study.name,
            results=str(layout.root),
            composed=travelling,
            compute=replace(compute, address="auto"),
            folder=folder,
        )


def read_composed(path: Path) -> Composed:
    """The composed study in a parcel's file; `UserError` when it is missing or none.

    Refused, too, is a parcel whose code is not what runs: another sweep on the path, perhaps.
    """
    _require_its_code(path.with_name(MANIFEST))
    try:
        return Composed.from_resolved(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"--composed '{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"--composed '{path}' holds no composed study: {error}.") from error


def _require_its_code(manifest: Path) -> None:
    try:
        packed_code = str(json.loads(manifest.read_text(encoding="utf-8"))["code"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # a composed study without a parcel
    if packed_code != code_hash():
        raise UserError(
            f"The parcel '{manifest.parent.absolute()}' holds code with hash {packed_code[:12]},"
            f" but '{_PACKAGE}' with {code_hash()[:12]} is running: put the parcel first on"
            " PYTHONPATH."
        )


def _travelling(resolved: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """The configuration as the driver on the cluster needs it."""
    found = copy.deepcopy(dict(resolved))
    found["compute"] = {**found["compute"], "name": "cluster", "address": "auto"}
    found["store"] = {**found["store"], "root": str(layout.store)}
    for cell in found["cells"]:
        _absolute(cell["settings"].get("problem"))
        _absolute(cell["axes"], "problem.path")
    return found


def _absolute(settings: Any, key: str = "path") -> None:
    if isinstance(settings, dict) and isinstance(settings.get(key), str):
        settings[key] = str(Path(settings[key]).expanduser().absolute())


def _fill(folder: Path, travelling: Mapping[str, Any]) -> None:
    shutil.copytree(_PACKAGE, folder / "sweep", ignore=_left_out)
    (folder / COMPOSED).write_text(_json(travelling), encoding="utf-8")
    (folder / MANIFEST).write_text(
        _json({**installation().to_json(), **git_state()}), encoding="utf-8"
    )


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What no run needs: caches, hidden files, and config files, whose words travel composed."""
    config = {"conf"} if Path(folder) == _PACKAGE else set()
    return _LEFT_OUT(folder, names) | config


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
