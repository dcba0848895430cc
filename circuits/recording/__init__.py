"""Recording of any PyTorch training loop into a run file."""
