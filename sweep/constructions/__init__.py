"""Points that theorems construct, for start points and for controls.

Importing the package adds the initialiser `constructed` to `INITIALISERS`. A new construction is
one function with the decorator `construction`, in a module named in the import below.
"""

from __future__ import annotations

from sweep.constructions import piecewise, simplex
from sweep.constructions.base import CONSTRUCTIONS, Constructed, construction
from sweep.models.initialisers import INITIALISERS

__all__ = ["CONSTRUCTIONS", "INITIALISERS", "Constructed", "construction", "piecewise", "simplex"]
