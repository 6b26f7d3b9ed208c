"""No interruption is lost."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import pytest

from sweep.execution.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_meets_a_callback_from_c_interrupts_after_it(number: int) -> None:
    heard = []

    @ctypes.CFUNCTYPE(None)
    def callback() -> None:
        heard.append(number)
        os.kill(os.getpid(), number)
        for _ in range(1000):  # the signal is handled in here, where Python drops what it raises
            pass

    began = time.monotonic()
    # Whoever started the tests, nohup for one, may have the signal ignored.
    given = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {each: signal.signal(each, handler) for each, handler in given.items()}
    try:
        with interruptible(), pytest.raises(KeyboardInterrupt):
            callback()
            time.sleep(30)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert heard == [number]
    assert time.monotonic() - began < 15
