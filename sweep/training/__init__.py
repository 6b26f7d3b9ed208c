"""The training loop, optimizers and stopping rules.

Importing the package fills its registries.
"""

from sweep.training import base, optimizers

__all__ = ["base", "optimizers"]
