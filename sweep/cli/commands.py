"""What each command asks of the library: its own words parsed, one call, its view shown.

Every command takes its words without its name and returns the exit status. Everything heavy is
imported by the command that needs it, so that help and refusals are quick.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sweep.cli.words import Parser, folders_asked, study_words
from sweep.errors import UserError


def _run(words: list[str]) -> int:
    """`sweep run`: the whole study; on a cluster from a parcel, with a marker at its end."""
    parser = Parser("run")
    parser.add_argument("--composed", type=Path)
    parser.add_argument("--marker")  # a path or a URL
    found, rest = parser.parse_known_args(words)
    if found.composed is None and found.marker is None:
        return _run_study(rest)
    from sweep.cli.submit import marking

    with marking(found.marker) as statuses:
        statuses.append(_run_study(rest, found.composed))
    return statuses[-1]


def _run_study(words: list[str], parcel: Path | None = None) -> int:
    if parcel is not None:
        from sweep.cli.submit import given_composed

        composed = given_composed(parcel, words)
    else:
        asked = study_words("run", words)
        if asked is None:
            return 0
        from sweep.cli.compose import compose

        composed = compose(*asked)  # refuses what it can before torch is imported,
    from sweep.study.resolve import resolve

    typed = resolve(composed)  # and the rest before anything heavier
    from sweep.cli.progress import progress
    from sweep.study.run import run_study

    # What the imports made is kept to the end: nobody need look through it for cycles.
    gc.freeze()
    with progress() as observer:
        results = run_study(*typed, composed.resolved, observer)
    return 0 if results.complete else 1


def _plan(words: list[str]) -> int:
    """`sweep plan`: what a run would do."""
    asked = study_words("plan", words)
    if asked is None:
        return 0
    from sweep.cli.compose import compose

    composed = compose(*asked)
    from sweep.study.resolve import resolve

    study, compute, store, _ = resolve(composed)
    from sweep.cli.plan_view import show_plan
    from sweep.study.plan import plan_study

    # What it prints may go to a file.
    show_plan(plan_study(study, compute, store, partial(print, file=sys.stderr, flush=True)))
    return 0


def _status(words: list[str]) -> int:
    """`sweep status`: from disk alone."""
    folders = folders_asked("status", words, "done, running, failed and missing jobs, and verdicts")
    if not folders:
        return 0
    from sweep.cli.plan_view import show_status
    from sweep.cli.submit import show_submission
    from sweep.study.status import status

    for target in folders:
        folder = show_submission(target)
        if folder is not None:
            show_status(status(folder))
    return 0


def _report(words: list[str]) -> int:
    """`sweep report`: from rows alone; several folders are compared too."""
    parser = Parser("report")
    parser.add_argument("--out", type=Path)
    found, rest = parser.parse_known_args(words)
    does = "summaries, figures and page again, and of several one page that compares, at --out FILE"
    folders = folders_asked("report", rest, does)
    if not folders:
        return 0
    from sweep.study.comparison import report

    reported = report(folders, found.out)
    for name, said in (*reported.pages, *(("note", sentence) for sentence in reported.notes)):
        print(f"{name:<12}{said}")
    return 0


def _replay(words: list[str]) -> int:
    """`sweep replay`: one member, alone."""
    parser = Parser("replay")
    for name in ("--arm", "--cell"):
        parser.add_argument(name)
    for name in ("--seed", "--draw"):
        parser.add_argument(name, type=int)
    found, rest = parser.parse_known_args(words)
    does = "train one member alone: --arm A --seed N [--cell C] [--draw K]"
    folders = folders_asked("replay", rest, does)
    if not folders:
        return 0
    if len(folders) > 1 or found.arm is None or found.seed is None:
        raise UserError(
            "sweep replay needs one results folder, an arm and a seed, for example"
            f" 'sweep replay {folders[0]} --arm plain --seed 0'."
        )
    from sweep.cli.replay_view import show_replay
    from sweep.study.replay import replay

    replayed = replay(folders[0], arm=found.arm, seed=found.seed, cell=found.cell, draw=found.draw)
    show_replay(replayed)
    return 1 if replayed.equal is False else 0


def _verify(words: list[str]) -> int:
    """`sweep verify`: files and rows, by the second route."""
    parser = Parser("verify")
    parser.add_argument("--sample", type=int)
    found, rest = parser.parse_known_args(words)
    folders = folders_asked(
        "verify", rest, "check every file and judge the rows again, or --sample N"
    )
    if not folders:
        return 0
    from sweep.cli.verify_view import show_verification
    from sweep.study.verify import verify

    agrees = True
    for folder in folders:
        verification = verify(folder, found.sample)
        show_verification(verification)
        agrees = agrees and verification.agrees
    return 0 if agrees else 1


def _sync_mlflow(words: list[str]) -> int:
    """`sweep sync-mlflow`: the MLflow view, from rows."""
    from sweep.cli.sync_view import show_synced, split_words

    words, uri = split_words(words)
    does = "add to MLflow what it lacks, or to another server with tracking.uri=ADDRESS"
    folders = folders_asked("sync-mlflow", words, does)
    if not folders:
        return 0
    from sweep.study.sync import sync_mlflow

    for folder in folders:
        show_synced(str(folder), sync_mlflow(folder, uri))
    return 0


def _compact(words: list[str]) -> int:
    """`sweep compact`: fewer and larger row files."""
    does = "merge small row files; safe at any time, also repeated"
    folders = folders_asked("compact", words, does)
    if not folders:
        return 0
    from sweep.cli.compact_view import show_compaction
    from sweep.storage.compaction import compact
    from sweep.storage.layout import Layout

    for folder in folders:
        show_compaction(compact(Layout.at(folder)))
    return 0


def _controls(words: list[str]) -> int:
    """`sweep controls`: the judge, judged."""
    parser = Parser("controls")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workers", type=int, default=2)
    found = parser.parse_args(words)
    if found.help:
        print("sweep controls [--rounds N] [--workers N]: judge points whose truth is known.")
        return 0
    for name in ("rounds", "workers"):
        if (given := getattr(found, name)) is not None and given < 1:
            raise UserError(f"--{name} is {given}: a whole number ≥ 1 is accepted.")
    from sweep.cli.controls_view import show_confusion
    from sweep.controls import run_controls
    from sweep.controls.confusion import ROUNDS

    confusion = run_controls(found.rounds or ROUNDS, found.workers)
    show_confusion(confusion)
    return 1 if confusion.wrong else 0


def _claims(words: list[str]) -> int:
    """`sweep claims`: every study that states a claim, and whether it holds."""
    parser = Parser("claims")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--seeds")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--config-dir", type=Path)
    found, rest = parser.parse_known_args(words)
    if found.help:
        from sweep.cli.claims_view import claims_help

        print(claims_help(found.config_dir))
        return 0
    whole = found.seeds is None or (found.seeds.isdecimal() and 1 <= int(found.seeds) < 2**63)
    if not whole or (found.seeds is not None and found.full):
        raise UserError(
            f"--seeds is {found.seeds}: a whole number ≥ 1 is accepted, and not beside --full."
        )
    from sweep.cli.claims_view import claiming_studies, show_answers

    seeds = None if found.seeds is None else int(found.seeds)
    asked = claiming_studies(rest, found.config_dir, seeds, found.full)
    # Some studies' answers do not replace the table of all.
    named = [word for word in rest if "=" not in word]
    table = "-".join(["claims", *named]) if len(named) < 4 else "claims-some"
    return 1 if show_answers(asked, table=table) else 0


def _submit(words: list[str]) -> int:
    """`sweep submit`: a study to a cluster."""
    from sweep.cli.submit import submit

    return submit(words)


def _logs(words: list[str]) -> int:
    """`sweep logs`: what a submitted study has printed."""
    from sweep.cli.submit import logs

    return logs(words)


def _cancel(words: list[str]) -> int:
    """`sweep cancel`: the end of a submitted study."""
    from sweep.cli.submit import cancel

    return cancel(words)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "plan": _plan,
    "status": _status,
    "report": _report,
    "replay": _replay,
    "verify": _verify,
    "sync-mlflow": _sync_mlflow,
    "compact": _compact,
    "controls": _controls,
    "claims": _claims,
    "submit": _submit,
    "logs": _logs,
    "cancel": _cancel,
}
