"""What an audit says: how many rows of each kind were looked at, and every disagreement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One disagreement: the row or file, the column, what is stored and what was recomputed."""

    where: str
    column: str
    stored: str
    recomputed: str


@dataclass
class Audited:
    """The account of an audit, which grows while it runs.

    `rows` counts audited rows by verdict and certificate, `without_params` those of them whose
    parameters are not stored (only their consistency is checked), `precise` the points looked at
    again with 50 digits. `without_route` counts rows of arms that the second route does not know,
    by the sentence that says why: those, too, are only checked for consistency.
    """

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_params: int = 0
    precise: int = 0
    without_route: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, where: str, column: str, stored: object, recomputed: object) -> None:
        """Note a disagreement."""
        self.findings.append(Finding(where, column, shown(stored), shown(recomputed)))

    def take(self, other: Audited) -> None:
        """Add the account of another part."""
        self.rows.update(other.rows)
        self.without_params += other.without_params
        self.precise += other.precise
        self.without_route.update(other.without_route)
        self.findings += other.findings


def shown(value: object) -> str:
    """A value for people; floats with all their digits."""
    if isinstance(value, float):
        return repr(float(value))
    return "null" if value is None else str(value)
