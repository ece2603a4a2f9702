"""Training: the loop, data, stages, losses and checkpoints."""
