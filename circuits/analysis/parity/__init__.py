"""Circuits of parity that a run has learned: gates, elements, efficiency, certificates."""
