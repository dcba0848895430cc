"""Several runs side by side: what became of each, and the settings in which they differ."""
