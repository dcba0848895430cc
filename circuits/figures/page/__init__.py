"""The page: every figure of a run in one HTML file."""
