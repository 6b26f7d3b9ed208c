"""Batch submission: a study travels to a cluster, runs there, and is asked about from here."""
