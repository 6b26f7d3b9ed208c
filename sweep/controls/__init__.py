"""Points whose verdict is known without the judge: what the judge itself is judged by."""

from sweep.controls.confusion import Confusion, run_controls

__all__ = ["Confusion", "run_controls"]
