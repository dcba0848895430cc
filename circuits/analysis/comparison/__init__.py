"""Several runs side by side: their outcomes, and the settings in which they differ."""
