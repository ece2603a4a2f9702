"""Measuring packs."""
