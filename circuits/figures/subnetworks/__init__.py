"""Active subnetworks, groups of neurons and single ones."""
