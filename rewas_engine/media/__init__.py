"""Clips and media files: read video and sound, write sound, and find cuts."""
