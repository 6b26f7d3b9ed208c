"""Data sets and objectives without data."""
