"""Panels of the sample sheets: the current results of each stage on clips of its corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import FloatArray
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.joint import JointSpace
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.packs.backbones.audioldm import AudioLdm
from rewas_engine.runtime.precision import resolve_precision
from rewas_engine.training.joint_stage import JointClips, embed_clips
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.sample_sheets import Panel
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus

SAMPLES = 8
_SETTINGS = {"num_inference_steps": 10, "guidance_scale": 1.5, "eta": 0.0}
_LONGEST_TITLE = 70


def spread_rows(count: int) -> list[int]:
    """Choose SAMPLES evenly spread rows, or fewer in a smaller corpus."""
    return [index * count // min(SAMPLES, count) for index in range(min(SAMPLES, count))]


@torch.inference_mode()
def sound_panels(
    components: dict[str, Any], corpus: SoundCorpus, captions: Sequence[str], front_end: AudioFrontEnd
) -> list[Panel]:
    """Generate sounds for captions of the corpus. With an adapter they follow the energies of the clips.

    Args:
        components: codec, denoiser, schedule, text_encoder, and optionally adapter.
        corpus: The corpus.
        captions: Captions of its clips.
        front_end: Computes log-mels.
    """
    has_adapter = "adapter" in components
    patch = int(components["codec"].config.patch_size)
    adapter = components.get("adapter") or EnergyAdapter.from_denoiser(
        components["denoiser"], front_end.config.bins // patch
    ).to(components["denoiser"].device)
    window = SoundWindow(corpus.log_mels.shape[1], 0, patch)
    device = str(components["denoiser"].device)
    backbone = AudioLdm({**components, "adapter": adapter}, front_end.config, device)
    generator = SoundGenerator(backbone, front_end, window, device)
    rows = spread_rows(len(corpus.log_mels))
    wanted = [corpus.log_mels[row].float().mean(dim=-1).numpy() for row in rows]
    precision = resolve_precision("auto", device)
    settings = SamplingSettings(control_strength=float(has_adapter), precision=precision, **_SETTINGS)  # type: ignore[arg-type]
    generated = generator.generate_log_mels(
        [captions[row] for row in rows], [Controls(energy=energy) for energy in wanted], rows, settings
    ).cpu()
    return [
        Panel(captions[row][:_LONGEST_TITLE], log_mel.numpy(), _energies(log_mel, energy if has_adapter else None))
        for row, log_mel, energy in zip(rows, generated, wanted, strict=True)
    ]


@torch.inference_mode()
def vocoder_panels(vocoder: SpectralVocoder, corpus: WaveformCorpus, front_end: AudioFrontEnd) -> list[Panel]:
    """Show clips of the corpus next to the vocoder's reconstruction of their log-mels."""
    panels = []
    for row in spread_rows(len(corpus.waveforms))[: SAMPLES // 2]:
        real = front_end.log_mel(corpus.waveforms[row : row + 1].float() / 32768)
        generated = front_end.log_mel(vocoder(real.to(vocoder.device)).cpu())
        distance = float((generated - real).abs().mean())
        panels += [
            Panel(f"clip {row}", real[0].numpy()),
            Panel(f"after the vocoder: {distance:.3f}", generated[0].numpy()),
        ]
    return panels


@torch.inference_mode()
def picture_panels(encoder: MotionEncoder, phi: Phi, corpus: PictureCorpus) -> list[Panel]:
    """Show energies of clips next to the energies estimated from their frames."""
    panels = []
    for row in spread_rows(len(corpus.frames)):
        frames = corpus.frames[row : row + 1].to(encoder.device).float() / 255
        estimated = phi(encoder(frames))[0].float().cpu().numpy()
        panels.append(
            Panel(f"clip {row}", None, (("from sound", corpus.energies[row].numpy()), ("estimated", estimated)))
        )
    return panels


@torch.inference_mode()
def joint_panels(
    space: JointSpace, clips: JointClips, known_prompts: torch.Tensor, known_words: Sequence[str]
) -> list[Panel]:
    """Show held-out clips with the known phrases nearest to their sounds and videos.

    Args:
        space: The joint space.
        clips: The clips.
        known_prompts: [K, D] sentence embeddings of the known phrases.
        known_words: One phrase per class.
    """
    rows = clips.development[spread_rows(len(clips.development))]
    _, sounds, pictures = embed_clips(space, clips, rows)
    known = space.encode_text(known_prompts.to(space.device)).cpu()

    def nearest(vector: torch.Tensor) -> str:
        cosines = known @ vector
        return f"{known_words[int(cosines.argmax())]} ({float(cosines.max()):.2f})"

    return [
        Panel(
            f"{known_words[int(clips.classes[row])]}: sound matches {nearest(sound)}, video matches {nearest(picture)}",
            clips.log_mels[row].float().numpy(),
        )
        for row, sound, picture in zip(rows, sounds, pictures, strict=True)
    ]


def _energies(log_mel: torch.Tensor, wanted: FloatArray | None) -> tuple[tuple[str, FloatArray], ...]:
    generated = ("generated", np.asarray(log_mel.mean(dim=-1).numpy(), np.float32))
    return (generated,) if wanted is None else (("wanted", wanted), generated)
