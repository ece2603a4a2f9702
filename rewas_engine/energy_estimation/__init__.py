"""Estimating the energy curve from video."""
