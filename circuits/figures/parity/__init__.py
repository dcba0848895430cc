"""Figures of parity circuits: learned beside hand-built circuits, and certificates."""
