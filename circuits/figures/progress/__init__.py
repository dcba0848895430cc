"""Figures of progress measures and their change points."""
