"""What `sweep plan` and `sweep status` print."""

from __future__ import annotations

import time

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweep.report.numerals import counted
from sweep.report.stopping import goal
from sweep.spec import Arm
from sweep.study.plan import Plan
from sweep.study.pursuit import target_of
from sweep.study.status import Status
from sweep.verdicts import Verdict

# A log has no edge: tables need not fold there.
LOG_WIDTH = 160
SHOWN_JOBS = 5
_MOMENT = 0.95  # seconds: below, an estimate names none
# An estimate in days needs no seconds.
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Prints cells, arms with their draws, and the size, time and place of the results."""
    console = unfolded(console or Console())
    study = plan.study
    console.print(_cells(plan))
    console.print(_arms(plan))
    seeds = study.seeds
    most = "at most " if seeds.half_width is not None else ""
    lines = [
        ("study", f"{study.name}-{study.id}, baseline '{study.baseline}'"),
        ("seeds", f"{most}{seeds.most:,} from {seeds.first}, root {seeds.root}"),
        ("jobs", f"{most}{len(plan.jobs):,}, {len(plan.jobs) - len(plan.todo):,} of them on disk"),
        ("rows", f"{most}{plan.rows:,}, one per network"),
        ("memory", f"{plan.bytes_per_job / 1e6:,.1f} MB per job at most, for parameters"),
        ("trainer", f"{', '.join(plan.trainers)}; {plan.workers} at a time"),
        ("time", _estimate(plan)),
        ("results", str(plan.results)),
    ]
    if most:
        lines.insert(1, ("until", goal(target_of(study))))
    for name, text in lines:
        console.print(f"{name:<8}{text}", soft_wrap=True, markup=False, highlight=False)


def unfolded(console: Console) -> Console:
    """The console, wide enough for a log, which has no edge, when it is no terminal."""
    if not console.is_terminal:
        console.width = max(console.width, LOG_WIDTH)
    return console


def _cells(plan: Plan) -> Table:
    """One row per cell: id, problem, network, and the other axes of the grid."""
    axes = sorted({key for cell in plan.study.cells for key in cell.axes})
    shown = [key for key in axes if key not in ("problem", "model.width")]
    table = Table(
        title=counted(len(plan.study.cells), "cell"), box=SIMPLE_HEAD, title_justify="left"
    )
    for name in ("cell", "problem", "model", "width", *shown):
        table.add_column(name)
    for cell in plan.study.cells:
        width = cell.model.settings.get("width", "-")
        values = [str(cell.axes.get(key, "-")) for key in shown]
        table.add_row(cell.id, cell.problem.name, cell.model.name, str(width), *values)
    return table


def _arms(plan: Plan) -> Table:
    """One row per arm; where cells differ in an arm, the first cell's."""
    table = Table(title="arms", box=SIMPLE_HEAD, title_justify="left")
    for name in ("arm", "augment", "regularizer", "weight decay", "λ", "draws"):
        table.add_column(name, no_wrap=name == "arm")
    for arm in plan.study.cells[0].arms:
        table.add_row(
            arm.name,
            arm.augment.name,
            arm.regularizer.name,
            f"{arm.weight_decay:g}",
            _law(arm),
            str(arm.draws),
        )
    return table


def _law(arm: Arm) -> str:
    if arm.lam is None:
        return "-"
    settings = {key: value for key, value in arm.lam.settings.items() if key != "draws"}
    return " ".join([arm.lam.name, *(f"{key}={value}" for key, value in settings.items())])


def _estimate(plan: Plan) -> str:
    if plan.seconds is None:
        return "nothing to train, all rows are on disk"
    most = "at most " if plan.study.seeds.half_width is not None else ""
    long = f"{most}about {duration(plan.seconds)}"
    if plan.seconds < _MOMENT:
        long = "less than 1 s"
    return (
        f"{long} of training and judging on this machine; starting, searching for witnesses and"
        " the report take time of their own"
    )


def duration(seconds: float) -> str:
    """A length of time in its two largest units: '2 h 5 min'; what rounds to none, '< 1 s'."""
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if part[0] != "0") or "< 1 s"


def show_status(status: Status, console: Console | None = None) -> None:
    """Prints jobs done, running, failed and missing, and the verdicts so far."""
    console = unfolded(console or Console())
    sizes = (
        f"{len(status.done):,} of {status.n_jobs:,} done, {len(status.running):,} running,"
        f" {len(status.failed):,} failed, {len(status.missing):,} missing"
    )
    lines = [("results", str(status.results)), ("jobs", sizes)]
    if status.other_numerics:
        lines.append(("note", status.other_numerics))
    now = time.time()
    running = [
        f"{job} on {entry.place} for {duration(now - entry.time)}"
        for job, entry in status.running.items()
    ]
    failed = [f"{job}: {reason}" for job, reason in status.failed.items()]
    for name, words in (("running", running), ("failed", failed), ("missing", status.missing)):
        lines += [(name if i == 0 else "", word) for i, word in enumerate(words[:SHOWN_JOBS])]
        if len(words) > SHOWN_JOBS:
            lines.append(("", f"… {len(words) - SHOWN_JOBS:,} more"))
    if (status.failed or status.missing) and not status.other_numerics:
        lines.append(("", "the same 'sweep run' again does what failed or is missing"))
    for name, text in lines:
        console.print(f"{name:<8}{text}", soft_wrap=True, markup=False, highlight=False)
    if status.verdicts:
        table = Table(title="verdicts so far", box=SIMPLE_HEAD, title_justify="left")
        table.add_column("arm")
        arms = status.verdicts.values()
        names = [name for name in map(str, Verdict) if any(counts[name] for counts in arms)]
        for name in names:
            table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
        for arm, counts in status.verdicts.items():
            table.add_row(arm, *(f"{counts[name]:,}" for name in names))
        console.print(table)
