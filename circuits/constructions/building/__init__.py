"""Hand-built networks, from the papers and from theorems, and their catalog."""
