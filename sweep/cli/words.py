"""The words after a command: argparse with refusals in one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from sweep.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse whose errors are `UserError`s, and which never guesses an abbreviated option.

    An option with a value that is given twice is refused: neither value is the one that is meant.
    """

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"sweep {command}", add_help=False, allow_abbrev=False)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def error(self, message: str) -> NoReturn:
        """A `UserError` with argparse's message."""
        raise UserError(f"{self.prog}: {message}; see '{self.prog} --help'.")


class _Once(argparse.Action):
    """Keeps the value of an option, or those of positions, and refuses a second one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        known = vars(namespace).setdefault("_given", {})
        if self.option_strings and self.dest in known:
            parser.error(f"{option_string} is given twice, as {known[self.dest]} and {values}")
        known[self.dest] = values
        setattr(namespace, self.dest, values)


def study_words(command: str, words: list[str]) -> tuple[list[str], Path | None] | None:
    """Overrides and config folder of `run` and `plan`; None when help or config was printed."""
    parser = Parser(command)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--config-dir", type=Path)
    found, overrides = parser.parse_known_args(words)
    for word in overrides:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{word!r} is no UTF-8 text, which alone is accepted.")
    if found.help:
        from sweep.cli.help_text import study_help

        print(study_help(command, found.config_dir))
        return None
    if found.cfg is not None:
        if found.cfg != "job":
            raise UserError(f"--cfg '{found.cfg}' is unknown: accepted is job.")
        from sweep.cli.compose import composed_yaml

        print(composed_yaml(overrides, found.config_dir), end="")
        return None
    return overrides, found.config_dir


def folders_asked(command: str, words: list[str], does: str) -> list[str]:
    """The results folders asked for; none when help was printed."""
    parser = Parser(command)
    parser.add_argument("results", nargs="*")  # a path or a URL
    parser.add_argument("--help", "-h", action="store_true")
    found = parser.parse_args(words)
    if found.help:
        print(f"sweep {command} RESULTS…: {does}. RESULTS is a folder that 'sweep run' made.")
        return []
    if not found.results:
        raise UserError(
            f"sweep {command} needs the results folder of a run, for example"
            f" 'sweep {command} results/default-0123456789ab'."
        )
    folders: list[str] = found.results
    return folders
