"""Conversion of the officially released checkpoints to a pack: safe, strict, and complete or not at all."""
