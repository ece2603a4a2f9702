"""Recordings in packages of operating systems: which of them may be used, and how to read them."""
