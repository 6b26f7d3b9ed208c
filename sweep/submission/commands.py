"""Asking a batch system by its own command, and what it means when that refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from sweep.errors import UserError

ANSWER_SECONDS = 60.0  # a busy controller takes its time


@dataclass(frozen=True)
class BatchSystem:
    """A batch system: its name, and where its commands are to be had (for the one who lacks them).

    `advice` ends the sentence "'command' is not there: …".
    """

    name: str
    advice: str

    def ask(
        self,
        command: list[str],
        verb: str,
        *,
        given: str | None = None,
        environment: Mapping[str, str] | None = None,
        unless: str | None = None,
        interruptible: bool = False,
    ) -> str:
        """What a command prints, or nothing where it fails and says `unless`.

        `verb` is what was asked for in the system's own words, `given` its standard input. Ctrl-C
        reaches the command only if it is `interruptible`: one that makes something is not to end
        between asking and telling. Raises `UserError` in one sentence when there is no such
        command, it does not answer or it refuses.
        """
        try:
            answer = subprocess.run(
                command,
                env=environment,
                input=given or "",
                capture_output=True,
                text=True,
                timeout=ANSWER_SECONDS,
                check=False,
                process_group=None if interruptible else 0,
            )
        except FileNotFoundError:
            raise self.missing(command[0]) from None
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{self.name} does not answer '{verb}' for {ANSWER_SECONDS:g} s."
            ) from None
        if answer.returncode == 0:
            return answer.stdout
        if unless is not None and unless in answer.stderr:
            return ""
        raise self.refused(verb, answer.returncode, answer.stderr)

    def missing(self, command: str) -> UserError:
        """That its command is not installed here."""
        return UserError(f"'{command}' is not there: {self.advice}.")

    def refused(self, verb: str, status: int, stderr: str) -> UserError:
        """That it said no, with the last line of its reasons."""
        said = (stderr.strip().splitlines() or [f"exit status {status}"])[-1]
        return UserError(f"{self.name} refuses '{verb}': {said.strip(' .')}.")
