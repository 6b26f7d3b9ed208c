"""Standard input, output and error: closed ones, ones that cannot say every name, lost readers."""

from __future__ import annotations

import io
import os
import select
import sys


def prepare_streams() -> None:
    """Make standard streams that no file can take the place of, and that print any name.

    A file that is opened while standard output is closed would get its number, and with it whatever
    a library prints.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reader_is_gone(error: BaseException) -> bool:
    """Whether an error says that nobody reads standard output any more; it is thrown away then."""
    if isinstance(error, SystemExit):  # what rich makes of it, having thrown the output away
        return isinstance(error.__context__, BrokenPipeError)
    if sys.stdout is None or not _has_no_reader(sys.stdout.fileno()):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _has_no_reader(descriptor: int) -> bool:
    look = select.poll()
    look.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in look.poll(0))
