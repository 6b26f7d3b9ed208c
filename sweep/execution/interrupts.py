"""Signals while connecting and cleaning up: Ray and impatient fingers both interfere."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds after which an interruption that a library's callback swallowed is made again.
AGAIN = 0.05


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C for the seconds that cleaning up takes.

    A second Ctrl-C would otherwise stop it in the middle, and leave processes and folders behind.
    """
    if not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Let the block end before Ctrl-C interrupts; a second one interrupts at once."""
    if not _in_main_thread():
        yield
        return
    asked: list[int] = []

    def keep(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, keep)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Give the caller back a handler of SIGTERM that is replaced inside, as Ray does."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and _in_main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and the end of a terminal, unless nohup says otherwise, are Ctrl-C inside.

    Once one has come it is ignored for good: batch systems ask twice, the second time into the
    middle of cleaning up. None is lost: Python drops what is raised in a callback from C, such as
    those of a compiler at work.
    """
    if not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, _interrupt_once)
    hook = sys.unraisablehook
    sys.unraisablehook = _interrupting_again(hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if signal.getsignal(number) is _interrupt_once:
                signal.signal(number, handler)


def _interrupt_once(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupting_again(
    hook: Callable[[sys.UnraisableHookArgs], object],
) -> Callable[[sys.UnraisableHookArgs], object]:
    """A hook like that one, which has interruptions made again."""

    def heard(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            hook(dropped)
            return
        # A real signal, so that it ends a system call that waits, too.
        here = threading.main_thread().ident
        again = threading.Timer(AGAIN, signal.pthread_kill, (here, signal.SIGINT))
        again.daemon = True
        again.start()

    return heard


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
