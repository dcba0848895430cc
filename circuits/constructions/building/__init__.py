"""Networks written by hand: constructions from the papers and from theorems, and their catalog."""
