"""Exact verification on all patterns of the relevant bits."""
