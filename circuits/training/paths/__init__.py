"""The paths on which networks take updates, one file each with the configs it serves, and the choice among them."""
