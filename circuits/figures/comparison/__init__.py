"""Several runs in one figure."""
