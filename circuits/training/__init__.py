"""Training: the loop, four implementations of an update, learning rate, weight decay, replay, lottery tickets."""
