"""Delivered sound files: Broadcast WAV with position, provenance and loudness."""
