"""Parity runs in the Walsh basis."""
