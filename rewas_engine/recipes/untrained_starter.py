"""Untrained packs of the real classes in a tiny size, for testing everything but the sound itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.pack_writer import SAMPLING, write_pack
from rewas_engine.training.picture_stage import PictureRecipe

TINY = replace(
    StarterConfig(),
    widths=(16, 16, 32),
    heads=(1, 1, 2),
    vocoder_width=32,
    vocoder_blocks=1,
    picture_widths=(8, 8, 16),
    picture_features=16,
    phi_blocks=1,
    joint_width=16,
    joint_features=16,
    joint_picture_widths=(8, 8, 8, 16),
    joint_sound_widths=(8, 8, 8, 16),
)
"""Starter configuration with the smallest sizes that its classes allow."""


def write_untrained_pack(folder: Path, seed: int = 0, *, reads_words: bool = False) -> Path:
    """Write a pack of random weights into a new folder with its name, and return the folder.

    The pack loads in one or two seconds and generates faster than that. Its sound is noise.

    Args:
        folder: The folder, which must not exist.
        seed: Of the weights.
        reads_words: Whether the energy that it estimates depends on the prompt.
    """
    generator_state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        codec = PatchAutoencoder()
        codec.fit(torch.randn(4, 64, 64).cumsum(dim=1) - 6)
        denoiser = TINY.new_denoiser()
        components = {
            "codec": codec,
            "denoiser": denoiser,
            "adapter": EnergyAdapter.from_denoiser(denoiser),
            "vocoder": TINY.new_vocoder(),
            "video_encoder": TINY.new_video_encoder(),
            "phi": _new_phi_with_words() if reads_words else TINY.new_phi(),
        }
    finally:
        torch.set_rng_state(generator_state)
    return write_pack(
        components,
        folder,
        schedule=StarterTraining.schedule(),
        sentence_encoder=SENTENCE_ENCODER,
        audio=MelConfig(),
        version="0.0.1",
        summary="Untrained: generates noise, for testing everything else.",
        # Fast on every processor; bfloat16 is slow on those without instructions for it.
        sampling={**SAMPLING, "precision": "float32"},
    )


def _new_phi_with_words() -> Phi:
    """An untrained φ whose estimates differ between prompts. New layers for words have no effect until trained."""
    phi = replace(TINY, picture_recipe=PictureRecipe(words=1)).new_phi()
    assert phi.words is not None
    for parameter in phi.words.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return phi
