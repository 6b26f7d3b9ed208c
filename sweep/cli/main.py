"""The program `sweep`: words in, exit status out.

0 complete · 1 a check found a difference or a job failed for good · 2 bad input, one sentence on
stderr · 130 interrupted, and the same command resumes.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import sys
from collections.abc import Sequence

from sweep.cli.commands import COMMANDS
from sweep.cli.streams import prepare_streams, reader_is_gone
from sweep.errors import CheckError, UserError, redacted, unknown
from sweep.execution.interrupts import interruptible
from sweep.version import __version__

USAGE = """\
How often does training end in a bad local minimum? Distributed seed sweeps with certified verdicts.

  sweep run [OVERRIDES]      plan, train what is not there yet, judge, store, summarise, report
  sweep plan [OVERRIDES]     show what `run` would do, and what it would cost
  sweep status RESULTS       done, running, failed and missing jobs, verdicts, from disk alone
  sweep report RESULTS…      summaries, figures and page again, from rows alone; compares several
  sweep replay RESULTS       train one stored member alone, compare it bit by bit, draw its course
  sweep verify RESULTS       check every file, and judge every stored row again by a second route
  sweep sync-mlflow RESULTS  the MLflow view made equal to the rows, as far as it is not
  sweep compact RESULTS      merge small row files into few large ones, each row exactly once
  sweep controls             judge points of known truth; truth against verdict in one table
  sweep claims [STUDY…]      run the studies that state a claim; which of the claims hold
  sweep submit --to PLACE    send a study to a cluster: ray, slurm or kuberay
  sweep logs TARGET          what a submitted study has printed; --follow until it has ended
  sweep cancel TARGET        end a submitted study; what it finished stays

'sweep run --help' lists what can be chosen. Exit status: 0 complete, 1 a check found a difference
or a job failed for good, 2 bad input, 130 interrupted (the same command resumes)."""

INTERRUPTED = "sweep: interrupted; what was finished is on disk, and the same command resumes."
_RESUMING = ("run", "claims")
# What the operating system refuses about a path that a person gave.
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of one command; `argv` is without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # A process that ends need not search a million objects of torch's for cycles: a second.
        atexit.register(gc.freeze)
    prepare_streams()
    try:
        with interruptible():
            status = _dispatch(words)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a lost reader is understood
            return status
    except UserError as error:
        print(f"sweep: {redacted(str(error))}", file=sys.stderr)
        return 2
    except CheckError as error:
        print(f"sweep: {redacted(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _interrupted(words)
    except (BrokenPipeError, SystemExit) as error:
        if not reader_is_gone(error):
            raise
        return _interrupted(words) if words and words[0] in _RESUMING else 130
    except OSError as error:
        if error.errno not in _REFUSED or error.filename is None:
            raise
        print(f"sweep: '{error.filename}' cannot be used: {error.strerror}.", file=sys.stderr)
        return 2


def _interrupted(words: Sequence[str]) -> int:
    said = INTERRUPTED if words and words[0] in _RESUMING else "sweep: interrupted."
    with contextlib.suppress(OSError):  # of a terminal that is gone
        print(said, file=sys.stderr, flush=True)
    return 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if words[0] == "--version":
        print(f"sweep {__version__}")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        if "=" in command:
            raise UserError(f"'{command}' is no command: write 'sweep run {' '.join(words)}'.")
        raise unknown("command", command, COMMANDS)
    return COMMANDS[command](rest)


if __name__ == "__main__":
    sys.exit(main())
