"""Subnetworks: pruning, groups of neurons, their norms and faithfulness, smallest subnetworks."""
