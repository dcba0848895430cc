"""Hand-built networks from the papers and from theorems, and the catalog that lists them."""
