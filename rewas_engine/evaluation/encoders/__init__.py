"""Encoders for the measures of an evaluation: sounds, texts, frames and videos to vectors."""
