"""Training: the loop, the paths that step networks, the rates of updates, replay and lottery tickets."""
