"""Interventions on networks along a run: ablation, and activations of one checkpoint patched into another."""
