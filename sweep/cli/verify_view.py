"""What `sweep verify` prints."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweep.report.numerals import counted
from sweep.study.verify import Verification

# Beyond these a list of differences is read by nobody; the count says the rest.
SHOWN = 20


def show_verification(found: Verification, console: Console | None = None) -> None:
    """Prints what was checked, then either that all agrees or the first differences."""
    console = console or Console()
    audited = found.audited
    unjudged = audited.without_params + audited.without_route.total()
    judged = sum(audited.rows.values()) - unjudged
    lines = [
        ("results", str(found.results)),
        ("files", f"{found.files:,} read, SHA-256 and page checksums compared"),
        ("jobs", f"{found.jobs_done:,} of {found.jobs_planned:,} are complete"),
        (
            "rows",
            f"{judged:,} of {found.stored:,} judged again, {audited.precise:,} with 50 digits",
        ),
    ]
    if audited.without_params:
        rows = "1 row" if audited.without_params == 1 else f"{audited.without_params:,} rows"
        were = "was" if audited.without_params == 1 else "were"
        lines.append(("", f"{rows} without parameters {were} not judged again"))
    for reason, count in sorted(audited.without_route.items()):
        lines.append(("", f"{count:,} were not judged again, only compared: {reason}"))
    for name, text in lines:
        console.print(f"{name:<9}{text}", soft_wrap=True, markup=False, highlight=False)
    if audited.rows:
        table = Table(box=SIMPLE_HEAD)
        table.add_column("verdict")
        table.add_column("certificate")
        table.add_column("rows", justify="right")
        for (verdict, certificate), count in sorted(audited.rows.items()):
            table.add_row(verdict, certificate, f"{count:,}")
        console.print(table)
    if found.agrees and not found.stored:
        console.print("There are no rows to judge again.", highlight=False)
        return
    if found.agrees:
        console.print(f"All agree ({found.seconds:.1f} s).", highlight=False)
        return
    for finding in audited.findings[:SHOWN]:
        text = f"{finding.where} {finding.stored}: {finding.recomputed}"
        if finding.column != "file":
            text = f"{finding.where}: {finding.column} is {finding.stored}, "
            text += f"the second route says {finding.recomputed}"
        console.print(text, soft_wrap=True, markup=False, highlight=False)
    hidden = len(audited.findings) - SHOWN
    if hidden > 0:
        console.print(f"… and {hidden:,} more", highlight=False)
    said = counted(len(audited.findings), "difference")
    console.print(f"{said} ({found.seconds:.1f} s).", highlight=False)
