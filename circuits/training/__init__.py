"""Training: the loop, four implementations of the update, learning rate, weight decay, replay, lottery tickets."""
