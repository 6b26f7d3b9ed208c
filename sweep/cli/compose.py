"""From words on the command line to a composed study in plain data.

Hydra composes the files once (and once more per group option that is an axis of the grid); what
varies between cells is then set in plain mappings. Configs stay untyped here, so that every
refusal comes from one place, `sweep.study.resolve`, in one sentence. Nothing below this room sees
omegaconf.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sweep.cli import grid as grids
from sweep.cli.choices import chosen, require_running
from sweep.cli.library import GROUPS, RUNNING, SCIENCE, Library
from sweep.cli.overrides import Setting, parse
from sweep.errors import UserError, unknown
from sweep.registry import coerce
from sweep.study.composed import CellSettings, Composed

SCIENTIFIC = (*SCIENCE, "arms", "baseline", "grid", "seeds")
TOP_LEVEL = ("name", *SCIENTIFIC, *RUNNING, "store", "claim")
_STUDY_ONLY = ("arms", "baseline")
_ABSENT = object()
_INTERPOLATION = re.compile(r"(?<!\\)\$\{([^{}]*)")


def compose(words: Sequence[str] = (), config_dir: Path | None = None) -> Composed:
    """The study that these overrides ask for: every cell with its settings, in plain data.

    Raises `UserError` for what the grammar cannot read, an unknown key or option, a composed
    config that holds ``_target_`` or an interpolation that leads nowhere.
    """
    draft = _Draft.of(words, config_dir)
    keys = ["name", "baseline", "seeds", "compute", "store", "tracking"]
    if "claim" in draft.tree:
        keys.append("claim")
    top = _resolved(draft.tree, keys)
    return Composed(**top, grid=draft.grid, cells=tuple(draft.cells()))


def composed_tree(words: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The composed config before it is multiplied out: what `--cfg job` prints."""
    draft = _Draft.of(words, config_dir)
    tree = {key: draft.tree[key] for key in TOP_LEVEL if key in draft.tree}
    return {**tree, "grid": draft.grid if len(draft.grid) > 1 else draft.grid[0]}


@dataclass(frozen=True)
class _Draft:
    """A composed config with the overrides applied, and its grid, not yet multiplied out."""

    library: Library
    choices: Mapping[str, str]
    settings: tuple[Setting, ...]
    tree: Mapping[str, Any]
    grid: list[grids.Axes]

    @classmethod
    def of(cls, words: Sequence[str], config_dir: Path | None) -> _Draft:
        settings = parse(words, ("study", *TOP_LEVEL))
        library = Library(config_dir)
        choices = chosen(library, settings)
        tree = library.compose(choices)
        _check_tree(tree, choices)
        values = tuple(s for s in settings if s.key not in GROUPS)
        require_running(library, tree, values)
        for setting in values:
            _assign(tree, setting)
        _refuse_targets(tree)
        _choose_seeds(tree, values)
        seeds = _resolved(tree, ("seeds",))["seeds"]
        root = coerce(_mapping(seeds).get("root", 0), int, "seeds.root")
        fits = partial(_fits, library, settings, choices)
        axes = grids.override(grids.read(tree.get("grid"), root), settings, root, fits)
        return cls(library, choices, values, tree, axes)

    def cells(self) -> Iterator[CellSettings]:
        """Every point of the grid with its settings; equal settings only once."""
        seen: list[Mapping[str, Any]] = []
        keys = grids.axis_keys(self.grid)
        for point in grids.points(self.grid):
            settings = self._settings(point)
            if settings in seen:
                continue
            seen.append(settings)
            axes = {key: point.get(key, _at(settings, key)) for key in keys}
            yield CellSettings({k: _name(v) for k, v in axes.items() if v is not None}, settings)

    def _settings(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The scientific settings at one point of the grid, interpolations filled in."""
        tree = {k: copy.deepcopy(self.tree[k]) for k in (*SCIENCE, "arms") if k in self.tree}
        for key in sorted(point, key=lambda key: key.count(".")):
            if key in SCIENCE:
                tree[key] = self.library.option(key, point[key], self.choices)
            else:
                _assign(tree, Setting(key, (copy.deepcopy(point[key]),), adds=True))
        for setting in self.settings:
            if any(setting.key.startswith(f"{key}.") for key in point) and setting.key not in point:
                _assign(tree, setting)
        _refuse_targets(tree)
        return _resolved({**self.tree, **tree}, tuple(tree))


def _fits(
    library: Library, settings: Sequence[Setting], choices: Mapping[str, str], key: str
) -> bool:
    """Whether every option that the command line gives for the key's group knows that key."""
    group, _, rest = key.partition(".")
    if not rest:
        return True
    options = [option for setting in settings if setting.key == group for option in setting.values]
    found = [library.option(group, option, choices) for option in options]
    return all(_at(known, rest, _ABSENT) is not _ABSENT for known in found)


def _check_tree(tree: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Refuse a study file with keys of its own, or without arms and baseline."""
    for key in tree:
        if key not in TOP_LEVEL:
            raise unknown("key", key, TOP_LEVEL)
    for key in _STUDY_ONLY:
        if key not in tree:
            raise UserError(
                f"{key} is missing: study '{choices.get('study', 'default')}' has to set it, as"
                " conf/study/default.yaml does."
            )


def _assign(tree: dict[str, Any], setting: Setting) -> None:
    """Set, merge or delete one dotted key in place; axes and grid entries are left to the grid.

    A mapping that names itself (`name`, `law`) and a whole `arms` or `grid` replace what was there;
    any other mapping is merged, as Hydra does.
    """
    if setting.axis or setting.key.startswith("grid."):
        return
    *path, last = setting.key.split(".")
    node = _parent(tree, path, setting)
    if setting.deletes:
        if last not in node:
            raise unknown(f"'~{setting.key}': key", last, map(str, node))
        del node[last]
        return
    if path == ["arms"] and last not in node and not setting.adds:
        raise unknown("arm", last, map(str, node))
    value, old = copy.deepcopy(setting.value), node.get(last)
    replaces = setting.key in ("arms", "grid") or {"name", "law"} & set(_mapping(value))
    node[last] = value if replaces or not isinstance(value, dict) else {**_mapping(old), **value}


def _parent(tree: dict[str, Any], path: Sequence[str], setting: Setting) -> dict[str, Any]:
    """The mapping that holds the last part of a dotted key; a bare name becomes `{name: …}`."""
    node = tree
    for depth, part in enumerate(path):
        if path[:depth] == ["arms"] and part not in node and not setting.adds:
            raise unknown("arm", part, map(str, node))
        inner = node.get(part, {})
        if isinstance(inner, str):
            inner = {"name": inner}
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            whole = ".".join(path[: depth + 1])
            raise UserError(
                f"'{setting.key}': {whole} is {inner!r}, which has no keys; give it whole."
            )
        node[part] = inner
        node = inner
    return node


def _choose_seeds(tree: dict[str, Any], given: Sequence[Setting]) -> None:
    """Let a number of seeds or a half width stand, in place: whichever the command line gives.

    A count in a file gives way to a half width, wherever that one stands.
    """
    seeds = tree.get("seeds")
    if not isinstance(seeds, dict) or seeds.get("half_width") is None:
        return
    words = {setting.key for setting in given}
    if "seeds.count" not in words:
        seeds["count"] = None
    elif "seeds.half_width" not in words:
        seeds["half_width"] = None


def _mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def _at(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key, or the default where there is none."""
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def _name(value: Any) -> Any:
    """A group's choice by its name, anything else as it is."""
    return value["name"] if isinstance(value, Mapping) and "name" in value else value


def _walk(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and leaf below a node, with its dotted place."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(node, Mapping):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for key, value in items:
        place = f"{where}.{key}" if where else str(key)
        yield place, value
        yield from _walk(value, place)


def _refuse_targets(tree: Mapping[str, Any]) -> None:
    for place, _ in _walk(tree):
        if place.split(".")[-1] == "_target_":
            raise UserError(
                f"{place} is not accepted: a config names registered entries by 'name' and never"
                " calls code by '_target_'."
            )


def _check_interpolations(tree: Mapping[str, Any]) -> None:
    """Refuse a scientific setting that reads the environment, a clock or a running setting."""
    for place, value in _walk(tree):
        for inner in _INTERPOLATION.findall(value) if isinstance(value, str) else ():
            target = inner.strip()
            if ":" in target or target.split(".")[0] not in ("", *SCIENCE, "arms"):
                raise UserError(
                    f"{place} is '{value}': a scientific setting may refer to another one, as in"
                    " ${problem.n}, and to nothing outside the configuration."
                )


def _resolved(tree: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """These top-level entries with interpolations filled in; `UserError` for what is missing."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    _check_interpolations({key: tree[key] for key in keys if key in SCIENTIFIC})
    config = OmegaConf.create({key: value for key, value in tree.items() if key != "grid"})
    found: dict[str, Any] = {}
    for key in keys:
        try:
            value = config[key]
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        except MissingMandatoryValue as error:
            where = error.full_key or key
            raise UserError(f"{where} is missing: give it, for example '{where}=…'.") from None
        except OmegaConfBaseException as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise UserError(f"{error.full_key or key} cannot be filled in: {reason}.") from None
        found[key] = value
    return found


def composed_yaml(words: Sequence[str] = (), config_dir: Path | None = None) -> str:
    """The composed config as YAML, interpolations as written."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(composed_tree(words, config_dir)))
