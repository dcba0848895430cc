"""Walsh analysis of networks on signs: coefficients, spectrum, population gradient."""
