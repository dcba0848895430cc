"""Circuits of parity: learned ones beside those built by hand, and certificates."""
