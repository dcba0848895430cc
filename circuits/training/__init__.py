"""Training: the loop, the compiled step for small networks on CPU, and the plain torch step it is held against."""
