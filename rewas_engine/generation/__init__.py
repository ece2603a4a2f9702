"""Generating sound: sampling, denoising, decoding and vocoding."""
