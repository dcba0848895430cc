"""Progress measures and their change points."""
