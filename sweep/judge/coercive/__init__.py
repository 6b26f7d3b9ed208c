"""ReQU and quadratic networks under the coercive regularizer of [B] (eq. 7)."""
