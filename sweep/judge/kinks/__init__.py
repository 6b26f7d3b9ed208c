"""Descent over kinks, compiled: exact line searches, least subgradients, Newton on manifolds."""
