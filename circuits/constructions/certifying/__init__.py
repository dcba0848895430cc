"""Certificates that a network computes parity on all 2^n inputs: proved, refuted or undecided."""
