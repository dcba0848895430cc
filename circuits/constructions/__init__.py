"""Hand-built circuits for parity: built, verified exactly, compared with what was learned, certified."""
