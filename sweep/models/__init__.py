"""Networks, augmentations, losses, regularizers, initialisers and the objective they form.

Importing the package fills its registries.
"""

from sweep.models import (
    activations,
    augmentations,
    coercive,
    convolution,
    initialisers,
    layered,
    losses,
    mlp,
    module,
    regularizers,
)

__all__ = [
    "activations",
    "augmentations",
    "coercive",
    "convolution",
    "initialisers",
    "layered",
    "losses",
    "mlp",
    "module",
    "regularizers",
]
