"""Training: the loop, the paths (implementations of updates), learning rate, weight decay, replay, lottery tickets."""
