"""What is learned: inputs, targets and their split, one task per file."""
