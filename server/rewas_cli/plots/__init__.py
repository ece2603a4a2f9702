"""Plots of curves, conflict reports and evaluations."""
