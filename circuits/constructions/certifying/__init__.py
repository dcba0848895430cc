"""Certificates for all 2^n inputs: proved, refuted or undecided."""
