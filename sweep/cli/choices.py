"""Which option of each group the command line asks for, and what of it can be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweep.cli.grid import AXIS_ROOTS
from sweep.cli.library import GROUPS, RUNNING, SCIENCE, Library
from sweep.cli.overrides import Setting
from sweep.errors import UserError, unknown


def chosen(library: Library, settings: Sequence[Setting]) -> dict[str, str]:
    """Group options given on the command line; those that are axes are only checked.

    Raises `UserError` for a group that is deleted, given twice or unknown, or an axis where none
    can be.
    """
    choices: dict[str, str] = {}
    given: dict[str, str] = {}
    for setting in settings:
        group = setting.key
        if group not in GROUPS:
            continue
        # Where jobs run decides no row: there the last word counts, as a script's user expects.
        if group in given and group not in RUNNING:
            raise UserError(
                f"{group} is given twice: one of {group}={given[group]} and"
                f" {group}={_shown(setting)} is accepted."
            )
        given[group] = _shown(setting)
        if setting.deletes:
            raise UserError(f"'~{group}' is not accepted: choose one of its options instead.")
        if setting.axis and group not in SCIENCE:
            raise UserError(
                f"{group}={','.join(map(str, setting.values))} is an axis: {group} has one value"
                f" per run; axes may begin with {', '.join(AXIS_ROOTS)}."
            )
        for option in setting.values:
            library.check(group, option)
        if not setting.axis:
            choices[group] = setting.value
    return choices


def require_running(library: Library, tree: Mapping[str, Any], given: Sequence[Setting]) -> None:
    """Refuse a running setting that the chosen option does not have: it would do nothing.

    `tree` is the composed config before the settings `given` are applied.
    """
    for setting in given:
        group, _, key = setting.key.partition(".")
        known = tree.get(group)
        if group not in RUNNING or not key or not isinstance(known, Mapping):
            continue
        key = key.partition(".")[0]  # what is inside a mapping, the mapping's type knows
        if key not in known:
            option = f"{group}={known.get('name', 'none')}"
            said = str(
                unknown(f"{option} setting", key, [name for name in known if name != "name"])
            )
            having = [
                f"{group}={o}" for o in library.options(group) if library.states(group, o, key)
            ]
            if having and said.endswith("."):
                said = f"{said[:-1]}; known to {' and '.join(having)}."
            raise UserError(said)


def _shown(setting: Setting) -> str:
    return ",".join(map(str, setting.values))
