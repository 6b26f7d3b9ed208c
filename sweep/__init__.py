"""How often does training end in a bad local minimum? Seed sweeps with certified verdicts."""
