"""Figures of parity circuits: learned circuits beside hand-built circuits, and proved margins (certificates)."""
