"""How a network takes its updates: a file for each path, which says what it serves, and the choice among them."""
