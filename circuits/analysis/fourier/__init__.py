"""Fourier analysis of modular arithmetic: weights, neurons, logits, losses."""
