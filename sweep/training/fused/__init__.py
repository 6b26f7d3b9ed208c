"""Fused training: the whole loop of a member inside one compiled function."""
