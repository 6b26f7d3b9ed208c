"""Outcomes, frequencies and intervals, from rows alone. No torch."""
