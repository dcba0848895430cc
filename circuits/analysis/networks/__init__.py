"""Networks of a run: their outputs, layers and phases, and the walk over checkpoints."""
