"""Exact verification of a network on all settings of its relevant bits."""
