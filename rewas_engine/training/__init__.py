"""Training packs from nothing: the synthetic world, the stages, the model card."""
