"""Exact verification of a network on all patterns of its relevant bits."""
