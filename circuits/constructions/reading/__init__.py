"""Circuits read from learned weights: gates, elements, matching construction, efficiency."""
