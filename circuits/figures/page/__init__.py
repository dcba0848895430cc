"""The page of a run: all its figures in one HTML file."""
