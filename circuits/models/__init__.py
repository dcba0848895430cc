"""Models: parameter shapes, initial values and the forward pass, one model per file."""
