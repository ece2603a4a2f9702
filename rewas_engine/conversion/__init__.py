"""Conversion of the official checkpoints to a pack: runs no code in them, and writes a complete pack or nothing."""
