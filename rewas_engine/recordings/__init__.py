"""Libraries of recordings: find and index their sounds, and perform them along an energy curve."""
