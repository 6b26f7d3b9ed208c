"""The training loop, optimizers and stopping rules.

Importing the package fills its registries.
"""

from sweep.training import base, lbfgs, optimizers

__all__ = ["base", "lbfgs", "optimizers"]
