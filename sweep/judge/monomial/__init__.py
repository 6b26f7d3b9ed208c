"""Arms with a monomial neuron ([A] eq. 7, Proposition 1)."""
