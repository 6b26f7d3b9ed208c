"""Errors a person can act on.

A `UserError` is bad input: the command line prints its one sentence and exits with status 2.
Everything else that goes wrong *inside* a member is a value in its row, never an exception.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: one sentence with what was given, what is accepted and the nearest name."""


class CheckError(Exception):
    """A check ran and found a difference, or a job failed for good: exit status 1."""


#: A user, a password or both in an address; one with a slash in it, which ends the host for a
#: parser, too.
CREDENTIALS = re.compile(r"(?<=://)(?:[^/\s]*@|[^/@\s:[]*:(?!\d+/)[^@\s]*@)")


def redacted(text: str) -> str:
    """The same text with user names and passwords cut out of every address in it."""
    return CREDENTIALS.sub("", text)


def nearest(given: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like `given`, or None when nothing is close."""
    matches = difflib.get_close_matches(given, list(choices), n=3, cutoff=0.5)
    # Two letters in the wrong order are the likeliest slip.
    swapped = [match for match in matches if sorted(match) == sorted(given)]
    return next(iter([*swapped, *matches]), None)


def unknown(kind: str, given: str, choices: Iterable[str]) -> UserError:
    """The sentence for a name that is not among the accepted ones."""
    accepted = sorted(choices)
    close = nearest(given, accepted)
    hint = f"; did you mean '{close}'?" if close else "."
    listed = f"accepted are {', '.join(accepted)}" if accepted else "none is accepted here"
    return UserError(f"{kind} '{given}' is unknown: {listed}{hint}")
