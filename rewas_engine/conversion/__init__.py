"""From the officially released checkpoints to a pack: safely, strictly, and whole or not at all."""
