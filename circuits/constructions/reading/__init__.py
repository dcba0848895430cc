"""Circuits from learned weights: merge parallel neurons, name gates, match a construction, compute the path cost."""
