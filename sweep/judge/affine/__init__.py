"""Points that are the best affine fit of the data, and no unit's kink is near ([C] Lemmas 3-5)."""
