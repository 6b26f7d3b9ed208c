"""Convolutions below ReQU neurons ([B] Theorem 2): one (plain names) or several (`stack_*`)."""
