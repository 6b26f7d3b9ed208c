"""Every verdict's certificate, checked by another route; it reads row columns, never evidence.

A certificate that cannot be confirmed is a finding. `unresolved` claims nothing.
"""

from __future__ import annotations

from sweep.audit.escapes import check_escapes
from sweep.audit.findings import Audited
from sweep.audit.global_minima import check_global_minima
from sweep.audit.minima import check_minima
from sweep.audit.points import Points
from sweep.audit.saddles import check_saddles
from sweep.verdicts import Verdict


def check_certificates(points: Points, found: Audited) -> None:
    """Check every point's certificate and note what cannot be confirmed."""
    checks = {
        Verdict.GLOBAL_MINIMUM: check_global_minima,
        Verdict.LOCAL_MINIMUM: check_minima,
        Verdict.SADDLE: check_saddles,
        Verdict.ESCAPING: check_escapes,
    }
    for verdict, check in checks.items():
        chosen = points.some(points.verdict == verdict.value)
        if len(chosen):
            check(chosen, found)
