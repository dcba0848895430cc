"""Networks of a run: their values, layers, phases, and the walk over checkpoints."""
