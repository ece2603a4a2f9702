"""ImageBind from a local folder, as an encoder of frames and sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.kaldi_mel import kaldi_log_mel
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.media.waveforms import at_rate
from rewas_engine.models.imagebind import LEFTOVERS, ImageBind, ImageBindConfig, TowerConfig
from rewas_engine.packs.model_folders import LAYOUT_REMEDY, display_name, folder_sha256, load_module, read_config

IMAGEBIND = "imagebind"
SAMPLE_RATE_HZ = 16_000
WINDOW_S, WINDOWS = 2, 3
"""A sound is read in three windows of two seconds, spread evenly; their mean direction is used."""
LOG_MEL_MEAN, LOG_MEL_DEVIATION = -4.268, 9.138
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
FRAMES_PER_S = 4
MAX_FRAMES = 256
BATCH_SIZE = 16


class ImageBindEncoder:
    """The encoders of images and sounds.

    Args:
        folder: Folder with model.safetensors and config.json.
        device: Torch device name.

    Raises:
        PackError: A file is missing or does not fit.
    """

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        document = read_config(folder)
        if document["model_type"] != IMAGEBIND:
            raise PackError(f"The folder {folder.name} holds no ImageBind model.", LAYOUT_REMEDY)
        config = _config_from(document, folder)
        self.name = display_name("ImageBind", folder)
        self._folder, self._device = folder, device
        self._model = load_module(folder, lambda: ImageBind(config), device, leftovers=LEFTOVERS)
        height, width = config.vision.size
        self.frame_format = VideoFormat(
            Fraction(FRAMES_PER_S), width, height, short_side=min(width, height), max_frames=MAX_FRAMES
        )

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the folder."""
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def embed_frames(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Unit vectors [T, D] of RGB frames [T, H, W, 3]."""
        mean, deviation = (
            torch.tensor(values, device=self._device).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_DEVIATION)
        )
        vectors = []
        for first in range(0, len(frames), BATCH_SIZE):
            part = torch.from_numpy(np.ascontiguousarray(frames[first : first + BATCH_SIZE])).to(self._device)
            images = (part.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
            vectors.append(self._model.encode_images(images).cpu().numpy())
        return np.concatenate(vectors)

    @torch.inference_mode()
    def embed_sounds(self, sounds: Sequence[FloatArray], sample_rate_hz: int) -> FloatArray:
        """Unit vectors [N, D] of mono sounds, each [samples]."""
        log_mels = np.stack(
            [
                self._log_mel(window)
                for sound in sounds
                for window in _windows(at_rate(sound, sample_rate_hz, SAMPLE_RATE_HZ, WINDOW_S * SAMPLE_RATE_HZ))
            ]
        )
        parts = torch.from_numpy(log_mels).split(BATCH_SIZE)
        vectors = torch.cat([self._model.encode_log_mels(part.to(self._device)) for part in parts])
        means = vectors.reshape(len(sounds), WINDOWS, -1).mean(dim=1)
        return np.asarray(torch.nn.functional.normalize(means, dim=-1).cpu().numpy(), np.float32)

    def _log_mel(self, window: FloatArray) -> FloatArray:
        """Normalised log-mel [bins, T] of two seconds."""
        bins, frames = self._model.config.audio.size
        found = kaldi_log_mel(window - window.mean(), SAMPLE_RATE_HZ, bins).T[:, :frames]
        # The published model pads before it normalises.
        padded = np.pad(found, ((0, 0), (0, frames - found.shape[1])))
        return np.asarray((padded - LOG_MEL_MEAN) / LOG_MEL_DEVIATION, np.float32)


def _windows(sound: FloatArray) -> list[FloatArray]:
    length = WINDOW_S * SAMPLE_RATE_HZ
    starts = [(sound.size - length) * number // (WINDOWS - 1) for number in range(WINDOWS)]
    return [sound[start : start + length] for start in starts]


def _config_from(document: Mapping[str, Any], folder: Path) -> ImageBindConfig:
    """Sizes of the model; what config.json does not give is as in the published one."""
    given = {name: document[name] for name in ("vision", "audio") if name in document}
    try:
        towers = {name: TowerConfig(**{**part, "size": tuple(part["size"])}) for name, part in given.items()}
        return ImageBindConfig(**towers, joint_width=int(document.get("joint_width", 1024)))
    except (KeyError, TypeError, ValueError) as error:
        raise PackError(
            f"The config.json of the encoder {folder.name} is not valid: {error}.", LAYOUT_REMEDY
        ) from error
