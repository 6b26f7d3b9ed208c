"""The library of config files: where they lie, which options there are, and Hydra's composing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sweep
from sweep.errors import UserError, unknown
from sweep.spec import GROUPS as SCIENTIFIC_GROUPS

SCIENCE = SCIENTIFIC_GROUPS
RUNNING = ("compute", "tracking")
#: What a person may take for a study: all studies with a claim, which need a command of their own.
ALL_CLAIMS = "all_claims"
GROUPS = ("study", *SCIENCE, *RUNNING)


def packaged_conf() -> Path:
    """The folder of the config files: inside an installed package, else beside the checkout's."""
    package = Path(sweep.__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


class Library:
    """The packaged config files and, behind them, a user's own folder of the same shape."""

    def __init__(self, own: Path | None = None) -> None:
        if own is not None and not own.is_dir():
            raise UserError(
                f"--config-dir {own} is no folder: a folder with study/*.yaml is accepted."
            )
        self._own = own.resolve() if own is not None else None
        self._folders = [packaged_conf(), *([self._own] if self._own else [])]
        self._known: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}

    def options(self, group: str) -> list[str]:
        """The names that `group=` accepts, sorted."""
        found = {
            str(path.relative_to(folder / group).with_suffix(""))
            for folder in self._folders
            for path in (folder / group).rglob("*.yaml")
        }
        return sorted(found)

    def check(self, group: str, option: object) -> str:
        """The option's name; `UserError` with the choices when there is none of that name."""
        if (group, option) == ("study", ALL_CLAIMS):
            raise UserError(
                f"study '{ALL_CLAIMS}' is a command: 'sweep claims' runs every study that states a"
                " claim and says which claims hold."
            )
        if not isinstance(option, str) or option not in self.options(group):
            raise unknown(f"{group} option", str(option), self.options(group))
        return option

    def states(self, group: str, option: str, key: str) -> bool:
        """Whether the option's own file sets this key; nothing is composed."""
        from yaml import safe_load

        # Hydra takes the first folder that has the file.
        paths = [folder / group / f"{option}.yaml" for folder in self._folders]
        text = next(path for path in paths if path.is_file()).read_text(encoding="utf-8")
        found = safe_load(text)
        return isinstance(found, dict) and found.get(key) is not None

    def option(self, group: str, option: object, choices: Mapping[str, str]) -> Any:
        """A group's settings when `option` is chosen on top of `choices`; a fresh copy.

        What the study itself sets in that group is included, since a study is merged last.
        """
        return self.compose({**choices, group: self.check(group, option)})[group]

    def compose(self, choices: Mapping[str, str]) -> dict[str, Any]:
        """The composition with these group choices, as plain data, not yet interpolated.

        A fresh copy each time; composed once. Raises `UserError` for a file that cannot be.
        """
        key = tuple(sorted(choices.items()))
        if key not in self._known:
            self._known[key] = self._compose(choices)
        return copy.deepcopy(self._known[key])

    def _compose(self, choices: Mapping[str, str]) -> dict[str, Any]:
        # Imported here, because `sweep --help` lists options and should not wait for Hydra.
        from hydra import compose, initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        words = [f"{group}={option}" for group, option in choices.items()]
        if self._own is not None:
            escaped = str(self._own).replace("'", "\\'")
            words.append(f"hydra.searchpath=['file://{escaped}']")
        outer = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(packaged_conf()), version_base="1.3"):
                composed = OmegaConf.to_container(compose("config", overrides=words), resolve=False)
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise UserError(f"the configuration cannot be composed: {_one_line(error)}.") from error
        finally:
            GlobalHydra.instance().hydra = outer
        assert isinstance(composed, dict)
        return {str(key): value for key, value in composed.items()}


def _one_line(error: BaseException) -> str:
    """The innermost reason on one line: Hydra keeps the useful sentence in `__cause__`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")
