"""Conditioning of the denoiser: the log-mel front end, windows and controls."""
