"""Figures of active subnetworks, groups of neurons and single neurons."""
