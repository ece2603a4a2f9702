"""Picture and sound from one sentence: a two-stream latent diffusion model (TAVDiffusion, Mao et al. 2024)."""
