"""Networks, augmentations, losses, regularizers, initialisers and the objective they form."""
