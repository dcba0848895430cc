"""Training paths: implementations of the update. Each file has one of them; `choice` selects one for a config."""
