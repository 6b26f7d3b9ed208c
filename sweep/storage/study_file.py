"""`study.json`: what was asked, by which code, and in which blocks of seeds.

Two sweeps may open the same study at once: every change happens under a lock and by replacing the
whole file, so that blocks are neither lost nor invented twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.errors import UserError, nearest
from sweep.planning import job_id
from sweep.rows import NUMERICS_VERSION, SCHEMA_VERSION
from sweep.spec import Block
from sweep.storage.durable import make_folder, replace, writing
from sweep.storage.layout import Layout
from sweep.storage.locks import locked
from sweep.storage.objects import in_store
from sweep.storage.provenance import provenance, without_credentials
from sweep.storage.row_listing import row_paths


@dataclass(frozen=True)
class Header:
    """What a run brings along: the study's identity, device kind and resolved configuration.

    `cells` maps each cell's id to its grid values; cells × blocks are the jobs of the study.
    `bounds` maps a cell's id and an arm to the bound of λ that the arm asked theory for, with what
    it rests on; the first run's stay for good.
    """

    study_id: str
    name: str
    device: str
    config: Mapping[str, Any]
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bounds: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFile:
    """The content of `study.json`.

    The header's `config` and `provenance` are those of the first run; `later_provenance` lists
    every different one that added blocks or rows since, and `later_config` what later runs asked
    for otherwise than the first (seeds, baseline, running settings), the latest last. `numerics`
    is the version that decided the rows' bits. `precision` is the prefix of seeds that decided
    when the latest run with a target for its precision ended, None if there was none.
    """

    header: Header
    blocks: tuple[Block, ...]
    provenance: Mapping[str, Any]
    later_provenance: tuple[Mapping[str, Any], ...] = ()
    numerics: int = NUMERICS_VERSION
    precision: Mapping[str, Any] | None = None
    later_config: tuple[Mapping[str, Any], ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration as the latest run asked for it."""
        latest = self.later_config[-1] if self.later_config else {}
        return {**self.header.config, **latest}

    @property
    def job_ids(self) -> list[str]:
        """Ids of all jobs that the study has so far, in the order of their seeds."""
        return [job_id(cell, block) for block in self.blocks for cell in self.header.cells]


def read_study(layout: Layout) -> StudyFile:
    """What `study.json` says; `UserError` if it is missing, damaged or of a newer schema."""
    try:
        text = layout.study_file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise _no_results(layout) from None
    except PermissionError:
        raise UserError(
            f"'{layout.study_file}' cannot be read: permission is denied to this user."
        ) from None
    except IsADirectoryError:
        raise _damaged(layout, "it is a folder") from None
    except UnicodeDecodeError:
        raise _damaged(layout, "it is not text") from None
    return _parse(layout, text)


def require_study(layout: Layout) -> None:
    """Nothing, while the folder is a study's; `UserError` once it was moved away or deleted."""
    if not layout.study_file.exists():
        raise UserError(
            f"'{layout.root}' has no {layout.study_file.name} any more: it was moved or deleted "
            "while the study ran, so give the same command with the store.root where it is now."
        )


def agree_blocks(
    layout: Layout,
    header: Header,
    propose: Callable[[list[Block]], list[Block]],
    made_by: Mapping[str, Any] | None = None,
) -> list[Block]:
    """The blocks this run works on: what `propose` makes of the blocks already in the study.

    `propose` is called under the lock with all known blocks, in order of their first seed, and
    returns known ones as they are and new ones that overlap none (`ValueError` otherwise).
    `made_by` is the run's provenance, found out here when it is not given. The
    first call creates the folder and `study.json`. Raises `UserError` when the folder belongs to
    another study or another kind of device, is of a newer schema, damaged, or cannot be written.
    """
    with writing(layout.root):
        make_folder(layout.root)
        with locked(layout.lock_file):
            known = read_study(layout) if layout.study_file.exists() else None
            started = bool(row_paths(layout.rows))
            if known is not None:
                _require_same_study(layout, known.header, header, started)
            elif started:
                raise UserError(
                    f"'{layout.root}' has rows but no {layout.study_file.name}, which says in what "
                    "blocks they were made: restore it, or choose another store.root."
                )
            before = known.blocks if known is not None else ()
            proposed = propose(list(before))
            after = _union(before, proposed)
            content = _merge(known, header, after, made_by or provenance())
            if content != known:
                replace(layout.study_file, _text(content).encode())
            return proposed


def record_precision(layout: Layout, precision: Mapping[str, Any]) -> None:
    """Put the deciding prefix of a run with a target for its precision into `study.json`."""
    with writing(layout.root), locked(layout.lock_file):
        known = read_study(layout)
        if known.precision != precision:
            content = dataclasses.replace(known, precision=precision)
            replace(layout.study_file, _text(content).encode())


def _require_same_study(layout: Layout, known: Header, given: Header, started: bool) -> None:
    if known.study_id != given.study_id:
        raise UserError(
            f"'{layout.root}' holds study {known.study_id}, not {given.study_id}: "
            "choose another name or store.root."
        )
    if started and known.device != given.device:
        raise UserError(
            f"compute.device is '{given.device}', but the rows in '{layout.root}' were made on "
            f"'{known.device}': CPU and GPU rows do not share a folder, so choose another name."
        )


def _union(before: Iterable[Block], proposed: Iterable[Block]) -> tuple[Block, ...]:
    blocks = sorted({*before, *proposed}, key=lambda block: (block.first, block.count))
    for left, right in itertools.pairwise(blocks):
        if right.first < left.end:
            raise ValueError(f"blocks overlap: {left} and {right}")
    return tuple(blocks)


def _merge(
    known: StudyFile | None,
    header: Header,
    blocks: tuple[Block, ...],
    made_by: Mapping[str, Any],
) -> StudyFile:
    if known is None:
        return StudyFile(_plain(header), blocks, made_by)
    later = known.later_provenance
    if made_by != known.provenance and made_by not in later:
        later = (*later, made_by)
    settled = dataclasses.replace(known.header, device=header.device)  # differs only without rows
    return dataclasses.replace(
        known,
        header=settled,
        blocks=blocks,
        later_provenance=later,
        later_config=_later_config(known, header),
    )


def _later_config(known: StudyFile, header: Header) -> tuple[Mapping[str, Any], ...]:
    """What runs after the first asked for otherwise, each once, with this run's at the end.

    The study's id covers cells and grid, which cannot differ in meaning.
    """
    first = known.header.config
    given = _plain(header).config.items()
    asked = {k: v for k, v in given if k not in ("cells", "grid") and v != first.get(k)}
    latest = known.later_config[-1] if known.later_config else {}
    if asked == latest:
        return known.later_config
    return (*(one for one in known.later_config if one != asked), asked)


def _plain(header: Header) -> Header:
    """The header as it will be read back: plain JSON data, without credentials."""
    config = json.loads(json.dumps(without_credentials(header.config)))
    cells = json.loads(json.dumps(without_credentials(header.cells)))
    bounds = json.loads(json.dumps(header.bounds))
    return Header(header.study_id, header.name, header.device, config, cells, bounds)


def _text(content: StudyFile) -> str:
    header = content.header
    return (
        json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "numerics": content.numerics,
                "study": header.study_id,
                "name": header.name,
                "device": header.device,
                "blocks": [[block.first, block.count] for block in content.blocks],
                "cells": header.cells,
                **({"bounds": header.bounds} if header.bounds else {}),
                "config": header.config,
                **({"later_config": list(content.later_config)} if content.later_config else {}),
                "provenance": content.provenance,
                "later_provenance": list(content.later_provenance),
                **({"precision": content.precision} if content.precision else {}),
            },
            indent=2,
            ensure_ascii=False,
            allow_nan=False,
        )
        + "\n"
    )


def _parse(layout: Layout, text: str) -> StudyFile:
    try:
        found = json.loads(text)
        version = int(found["schema_version"])
        if version > SCHEMA_VERSION:
            raise UserError(
                f"'{layout.study_file}' has schema {version}, this release reads up to "
                f"{SCHEMA_VERSION}: use a newer sweep."
            )
        blocks = tuple(Block(int(first), int(count)) for first, count in found["blocks"])
        if any(block.first < 0 or block.count < 1 for block in blocks):
            raise ValueError("a block of seeds is empty or negative")
        blocks = _union(blocks, ())
        for name in ("config", "cells", "provenance"):
            if not isinstance(found[name], dict):
                raise ValueError(f"'{name}' is no mapping")
        return StudyFile(
            Header(
                found["study"],
                found["name"],
                found["device"],
                found["config"],
                found["cells"],
                found.get("bounds", {}),
            ),
            blocks,
            found["provenance"],
            tuple(found["later_provenance"]),
            int(found["numerics"]),
            found.get("precision"),
            tuple(found.get("later_config", ())),
        )
    except KeyError as error:
        raise _damaged(layout, f"the key {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise _damaged(layout, str(error)) from error


def _no_results(layout: Layout) -> UserError:
    """The sentence about a place without `study.json`, with the results folder that is nearest."""
    there = layout.root.is_dir()
    said = f"it has no {layout.study_file.name}" if there else "there is no such folder"
    # Whoever gives store.root means a study in it; else a name is mistyped.
    store, name = (layout.root, "") if there else (layout.store, layout.root.name)
    known = [] if in_store(store) else _studies(store)
    close = next((study for study in known if study.startswith(name)), nearest(name, known))
    hint = f"; did you mean '{store / close}'?" if close else "."
    return UserError(f"'{layout.root}' is no results folder: {said}{hint}")


def _studies(store: Path) -> list[str]:
    """Names of the results folders in a store, sorted; none where it cannot be looked into."""
    try:
        return sorted(path.parent.name for path in store.glob("*/study.json"))
    except OSError:
        return []


def _damaged(layout: Layout, reason: str) -> UserError:
    return UserError(
        f"'{layout.study_file}' is damaged ({reason}): restore it, or choose another store.root."
    )
