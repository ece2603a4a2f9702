"""Comparison of our networks with the reference implementation, on weights generated from their names."""
