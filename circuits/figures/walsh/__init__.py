"""Figures of parity runs in the Walsh basis."""
