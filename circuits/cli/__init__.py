"""The command line. Each command has its own short file and calls the public API once."""
