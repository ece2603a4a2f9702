"""What each stage can do by now: the panels of its sample sheets, made from clips of its own corpus."""

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
from rewas_engine.training.joint_stage import JointClips, embedded
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.sample_sheets import Panel
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus

SAMPLES = 8
_SETTINGS = {"num_steps": 10, "guidance_scale": 1.5, "eta": 0.0}
_LONGEST_TITLE = 70


def spread_rows(count: int) -> list[int]:
    """SAMPLES rows, or as many as there are, evenly spread over a corpus."""
    return [index * count // min(SAMPLES, count) for index in range(min(SAMPLES, count))]


@torch.inference_mode()
def sound_panels(
    components: dict[str, Any], corpus: SoundCorpus, captions: Sequence[str], front_end: AudioFrontEnd
) -> list[Panel]:
    """Sounds for captions of the corpus; with an adapter among the components they follow those clips' energies.

    components: codec, denoiser, schedule, text_encoder, perhaps adapter.
    """
    steered = "adapter" in components
    patch = int(components["codec"].config.patch_size)
    adapter = components.get("adapter") or EnergyAdapter.from_denoiser(
        components["denoiser"], front_end.config.bins // patch
    ).to(components["denoiser"].device)
    window = SoundWindow(corpus.log_mels.shape[1], 0, patch)
    device = str(components["denoiser"].device)
    backbone = AudioLdm({**components, "adapter": adapter}, front_end.config, device)
    maker = SoundGenerator(backbone, front_end, window, device)
    rows = spread_rows(len(corpus.log_mels))
    wanted = [corpus.log_mels[row].float().mean(dim=-1).numpy() for row in rows]
    settings = SamplingSettings(control_strength=float(steered), precision="bfloat16", **_SETTINGS)  # type: ignore[arg-type]
    made = maker.log_mels(
        [captions[row] for row in rows], [Controls(energy=energy) for energy in wanted], rows, settings
    ).cpu()
    return [
        Panel(captions[row][:_LONGEST_TITLE], log_mel.numpy(), _energies(log_mel, energy if steered else None))
        for row, log_mel, energy in zip(rows, made, wanted, strict=True)
    ]


@torch.inference_mode()
def vocoder_panels(vocoder: SpectralVocoder, corpus: WaveformCorpus, front_end: AudioFrontEnd) -> list[Panel]:
    """Clips of the corpus beside what the vocoder makes of their log-mels."""
    panels = []
    for row in spread_rows(len(corpus.waveforms))[: SAMPLES // 2]:
        real = front_end.log_mel(corpus.waveforms[row : row + 1].float() / 32768)
        made = front_end.log_mel(vocoder(real.to(vocoder.device)).cpu())
        distance = float((made - real).abs().mean())
        panels += [
            Panel(f"clip {row}", real[0].numpy()),
            Panel(f"through the vocoder: {distance:.3f}", made[0].numpy()),
        ]
    return panels


@torch.inference_mode()
def picture_panels(encoder: MotionEncoder, phi: Phi, corpus: PictureCorpus) -> list[Panel]:
    """Energies of clips of the corpus beside what is read from their pictures."""
    panels = []
    for row in spread_rows(len(corpus.frames)):
        frames = corpus.frames[row : row + 1].to(encoder.device).float() / 255
        read = phi(encoder(frames))[0].float().cpu().numpy()
        panels.append(Panel(f"clip {row}", None, (("of the sound", corpus.energies[row].numpy()), ("read", read))))
    return panels


@torch.inference_mode()
def joint_panels(
    space: JointSpace, clips: JointClips, known_prompts: torch.Tensor, known_words: Sequence[str]
) -> list[Panel]:
    """Clips that no step has seen, with the known words that their sounds and their pictures are nearest to.

    known_prompts: [K, D] sentence embeddings of the words for each class.
    """
    rows = clips.development[spread_rows(len(clips.development))]
    _, sounds, pictures = embedded(space, clips, rows)
    known = space.encode_text(known_prompts.to(space.device)).cpu()

    def nearest(vector: torch.Tensor) -> str:
        cosines = known @ vector
        return f"{known_words[int(cosines.argmax())]} ({float(cosines.max()):.2f})"

    return [
        Panel(
            f"{known_words[int(clips.classes[row])]}: heard as {nearest(sound)}, seen as {nearest(picture)}",
            clips.log_mels[row].float().numpy(),
        )
        for row, sound, picture in zip(rows, sounds, pictures, strict=True)
    ]


def _energies(log_mel: torch.Tensor, wanted: FloatArray | None) -> tuple[tuple[str, FloatArray], ...]:
    made = ("made", np.asarray(log_mel.mean(dim=-1).numpy(), np.float32))
    return (made,) if wanted is None else (("wanted", wanted), made)
