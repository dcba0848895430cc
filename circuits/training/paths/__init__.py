"""Training paths: implementations of an update. Each file has one of them; `choice` selects the path for a config."""
