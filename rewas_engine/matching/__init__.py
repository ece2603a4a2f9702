"""Comparing text, video and sound: embeddings, the conflict check and its policy."""
