"""A trained model for audible video: its folder, and clips from sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.audible_video.sampling import OnStep, sample_streams
from rewas_engine.audible_video.two_stream import TwoStreamDenoiser
from rewas_engine.checks import check_seed, validate_prompt
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.generation.vocoding import WindowedVocoder
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.packs.backbones.families import find_family
from rewas_engine.packs.components import load_component, loader_from_config
from rewas_engine.packs.description import PackDescription, find_pack, read_model_pack
from rewas_engine.packs.loading import load_components
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.progress import CancelSignal

FAMILY = "tavdiffusion"
DESCRIPTION_FILE = "audible_video.json"
_LOADERS = {TwoStreamDenoiser.__name__: loader_from_config(TwoStreamDenoiser)}


@dataclass(frozen=True)
class AudibleVideoDescription:
    """The contents of audible_video.json.

    Attributes:
        lender: Name of the pack whose text encoder, codec and vocoder the model uses.
        lender_sha256: Content hash of that pack: with another one, latents mean something else.
        frame_rate: Frames per second, as a fraction such as "25/4".
        height: Pixels of a frame.
        width: Pixels of a frame.
        frames: Frames of a clip.
        mel_frames: Mel frames of a clip.
        classes: Sounds of the synthetic world that it was trained on.
        sound_lag: How far the sound is behind the picture in sampling, as a share of the steps.
        licence: Licence of the weights.
    """

    lender: str
    lender_sha256: str
    frame_rate: str
    height: int
    width: int
    frames: int
    mel_frames: int
    classes: tuple[str, ...]
    sound_lag: float
    licence: str = "Apache-2.0"

    def to_json(self) -> str:
        """The file as stable text."""
        return json.dumps({"family": FAMILY, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> AudibleVideoDescription:
        """Read the description of a model's folder. Raises PackError if there is none, or if it is damaged."""
        try:
            content = json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
            if content.pop("family") != FAMILY:
                raise ValueError("the family is another one")
            if not Fraction(content["frame_rate"]) > 0:
                raise ValueError("the frame rate is not above 0")
            return cls(**{**content, "classes": tuple(content["classes"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
            raise PackError(
                f"The model for audible video in {folder} cannot be read ({error}).",
                "Give the folder that rewas train tavd wrote.",
            ) from error


@dataclass(frozen=True, eq=False)
class AudibleClip:
    """A short video with its sound.

    Attributes:
        frames: [T, H, W] uint8, brightness.
        frame_rate: Frames per second.
        waveform: [samples], within ±1.
        sample_rate_hz: Samples per second.
    """

    frames: NDArray[np.uint8]
    frame_rate: Fraction
    waveform: NDArray[np.float32]
    sample_rate_hz: int


def to_levels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Brightness 0 to 255 as the values that the codec of the frames encodes, -2 to 2."""
    return torch.from_numpy(frames).float() / 63.75 - 2


def to_brightness(levels: torch.Tensor) -> NDArray[np.uint8]:
    """The inverse of `to_levels`, limited to 0 to 255."""
    brightness: NDArray[np.uint8] = ((levels + 2) * 63.75).round().clamp(0, 255).to(torch.uint8).numpy()
    return brightness


def load_lender(description: PackDescription) -> tuple[Backbone, MelConfig, SoundWindow, str]:
    """Load the pack that lends text encoder, codec and vocoder: backbone, audio format, windows and content hash.

    Raises PackError.
    """
    audio = MelConfig(**description.audio)
    components = load_components(description, "cpu", Execution(precision="float32", channels_last=False))
    backbone = find_family(description.family).backbone(components, audio, "cpu")
    return backbone, audio, SoundWindow(**description.window), description.info.content_sha256


class AudibleVideo:
    """A model that makes picture and sound from a sentence.

    Args:
        folder: Folder of the model.

    Raises:
        PackError: The folder or the pack that the model borrows from is missing, damaged or another one.
    """

    def __init__(self, folder: Path) -> None:
        self.description = AudibleVideoDescription.read(folder)
        self._denoiser = load_component(folder, "denoiser", TwoStreamDenoiser.__name__, extra_loaders=_LOADERS)
        self._frame_codec = load_component(folder, "frame_codec", "PatchAutoencoder")
        self._schedule = load_component(folder, "schedule", "DDIMScheduler")
        self._lender, self._audio, window, sha256 = load_lender(read_model_pack(find_pack(self.description.lender)))
        if sha256 != self.description.lender_sha256:
            raise PackError(
                f"The model in {folder} was trained with another version of the pack {self.description.lender}.",
                "Train it again in another folder: rewas train tavd --output DIR.",
            )
        self._vocoder = WindowedVocoder(self._lender, AudioFrontEnd(self._audio), window)

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        num_steps: int = 50,
        guidance_scale: float = 3.0,
        sound_lag: float | None = None,
        on_step: OnStep | None = None,
        cancel: CancelSignal | None = None,
    ) -> tuple[NDArray[np.uint8], torch.Tensor]:
        """Sample one clip for each sentence: frames [B, T, H, W] and log-mels [B, T', bins] in nats.

        Raises:
            SettingsError: A sentence is empty or too long, or a setting is out of range.
            Cancelled: The caller asked to stop.
        """
        check_seed(seed)
        most_steps = int(self._schedule.config.num_train_timesteps)
        lag = self.description.sound_lag if sound_lag is None else sound_lag
        if not 1 <= num_steps <= most_steps or not 0 <= guidance_scale < math.inf or not 0 <= lag <= 1:
            raise SettingsError(
                f"{num_steps} steps with a guidance of {guidance_scale:g} and a lag of {lag:g} are not possible.",
                f"Use 1 to {most_steps} steps, a finite guidance of at least 0, and a lag of 0 to 1.",
            )
        sentences = [validate_prompt(prompt, "sentence") for prompt in prompts]
        text = self._lender.embed_prompts(sentences).float()[:, None]
        about, patch = self.description, int(self._frame_codec.config.patch_size)
        channels = int(self._frame_codec.config.latent_channels)
        picture, sound = sample_streams(
            self._denoiser,
            self._schedule,
            text,
            torch.zeros_like(text[:1]),
            picture_shape=(about.frames, channels, about.height // patch, about.width // patch),
            sound_shape=self._lender.latent_shape(about.mel_frames),
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            sound_lag=lag,
            generator=torch.Generator().manual_seed(seed),
            on_step=on_step,
            cancel=cancel,
        )
        levels = self._frame_codec.decode(picture.flatten(0, 1)).sample[:, 0]
        return to_brightness(levels.unflatten(0, picture.shape[:2])), self._lender.decode(sound)

    def dream(self, sentence: str, *, seed: int = 0, **options: Any) -> AudibleClip:
        """Make a clip from a sentence. Options and errors as for `sample`."""
        frames, log_mels = self.sample([sentence], seed=seed, **options)
        samples = self.description.mel_frames * self._audio.hop_samples
        waveform = self._vocoder.vocode(log_mels[0], samples, seed=seed)
        return AudibleClip(frames[0], Fraction(self.description.frame_rate), waveform, self._audio.sample_rate_hz)
