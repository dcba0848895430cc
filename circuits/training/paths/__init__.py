"""Training paths: implementations of the update, one file each with the configs it can train; `choice` selects one."""
