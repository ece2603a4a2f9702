"""Holding our networks against numbers of the reference implementation, on weights that a recipe makes."""
