"""The second route: stored rows are judged again by code that shares nothing with the first.

Networks, augmentations, losses, rounding bounds and certificates are written down once more here,
plainly, with torch.autograd in float64 and mpmath for a sample. That duplication is the point: a
fault in `sweep.models`, `sweep.training` or `sweep.judge` cannot hide in a place that does not
import them. Shared are plain settings (`sweep.spec`), the rows' columns and the data.
"""

from sweep.audit.arm import audit_arm
from sweep.audit.findings import Audited, Finding
from sweep.audit.rows import ArmRows

__all__ = ["ArmRows", "Audited", "Finding", "audit_arm"]
