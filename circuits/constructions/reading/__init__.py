"""Circuits read from learned weights: gates, elements (merged parallel neurons), matching construction, efficiency."""
