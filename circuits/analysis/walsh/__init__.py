"""Walsh analysis of networks whose inputs are 1 or -1: coefficients, spectrum, population gradient."""
