"""Comparison of our networks with numbers of the reference implementation, on weights generated from a recipe."""
