"""Libraries of recordings: finding their sounds, indexing them, and performing them."""
