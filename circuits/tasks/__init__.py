"""Tasks: inputs, targets and their split, one task per file."""
