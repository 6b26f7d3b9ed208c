"""The release, said here alone: packaging reads it, and rows keep it."""

__version__ = "0.1.0"
