"""Controls: energy, onsets and texture, and the hint through which the adapter reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve, FloatArray
from rewas_engine.curves.texture import TEXTURE_BANDS, TextureCurve
from rewas_engine.errors import SettingsError

CONTROL_NAMES = ("energy", "onsets", "texture")
TEXTURE_SMOOTHING_FRAMES = 33
"""Texture is averaged over a third of a second, since it changes more slowly than energy."""
_TEXTURE_SCALE_NATS = 3.0
Encode = Callable[[torch.Tensor], torch.Tensor]
"""Encodes log-mels `[B, T, bins]` in nats to scaled latents `[B, C, T/r, bins/r]`."""


@dataclass(frozen=True, eq=False)
class Controls:
    """Controls of a sound at the mel frame rate. None leaves a control to the model.

    Attributes:
        energy: `[T]` in nats.
        onsets: `[T]` strengths from 0 to 1, above 0 in the frames that contain an onset.
        texture: `[T, TEXTURE_BANDS]`, level of each band above the energy in nats, from low to high. The bands have
            equal numbers of mel bins.

    Raises:
        SettingsError: No control is given, a shape is wrong, or lengths differ.
    """

    energy: FloatArray | None = None
    onsets: FloatArray | None = None
    texture: FloatArray | None = None

    def __post_init__(self) -> None:
        given = [self._values_of(name) for name in self.names]
        if not given:
            raise SettingsError("No control is given.", "Give energy, onsets or texture.")
        if len({len(values) for values in given}) > 1 or any(not np.isfinite(values).all() for values in given):
            raise SettingsError(
                "The controls differ in length or contain values that are not finite.", "Give one value per mel frame."
            )
        for name in ("energy", "onsets"):
            if self._values_of(name) is not None and np.ndim(self._values_of(name)) != 1:
                raise SettingsError(f"The control {name} is not one-dimensional.", "Give one value per mel frame.")
        if self.texture is not None and np.shape(self.texture)[1:] != (TEXTURE_BANDS,):
            raise SettingsError(f"The texture has the shape {np.shape(self.texture)}.", f"Give {TEXTURE_BANDS} bands.")

    @classmethod
    def from_energy(cls, energy: EnergyCurve) -> Controls:
        """Controls with only an energy curve, sampled at the mel frame rate."""
        return cls(energy=energy.values)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the controls that are given, in the order of CONTROL_NAMES."""
        return tuple(name for name in CONTROL_NAMES if self._values_of(name) is not None)

    @property
    def values_by_name(self) -> dict[str, FloatArray]:
        """The given controls by name."""
        return {name: self._values_of(name) for name in self.names}

    @property
    def frames(self) -> int:
        """Length in mel frames."""
        return len(self._values_of(self.names[0]))

    def pad(self, frames: int) -> Controls:
        """Extend the controls to a number of frames: energy and texture keep their last value, onsets are 0.

        Generating past the end and trimming sounds better than generating silence there.
        """
        missing = frames - self.frames

        def pad_edge(values: FloatArray | None) -> FloatArray | None:
            if values is None:
                return None
            return np.pad(np.asarray(values, np.float32), ((0, missing), *((0, 0),) * (np.ndim(values) - 1)), "edge")

        onsets = None if self.onsets is None else np.pad(np.asarray(self.onsets, np.float32), (0, missing))
        return Controls(pad_edge(self.energy), onsets, pad_edge(self.texture))

    def window(self, start: int, frames: int) -> Controls:
        """The controls of a window. A window that extends beyond the end wraps around to the start."""
        places = range(start, start + frames)
        parts = {name: np.take(self._values_of(name), places, axis=0, mode="wrap") for name in self.names}
        return Controls(**parts)

    def _values_of(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True)
class ControlBatch:
    """Controls of several windows of equal length, as tensors.

    Attributes:
        energies: `[B, T]` in nats.
        onsets: `[B, T]` from 0 to 1.
        textures: `[B, T, TEXTURE_BANDS]` in nats.
        is_given: `[B, 3]` bool, in the order of CONTROL_NAMES. Values of other controls are ignored.
    """

    energies: torch.Tensor
    onsets: torch.Tensor
    textures: torch.Tensor
    is_given: torch.Tensor

    @classmethod
    def from_windows(cls, windows: Sequence[Controls], device: str | torch.device) -> ControlBatch:
        """Stack the controls of windows of equal length."""
        frames = windows[0].frames

        def stack_control(name: str, fill_value: float, *shape: int) -> torch.Tensor:
            absent = np.full((frames, *shape), fill_value, np.float32)
            rows = [absent if getattr(window, name) is None else getattr(window, name) for window in windows]
            return torch.from_numpy(np.stack(rows).astype(np.float32)).to(device)

        given = torch.tensor([[name in window.names for name in CONTROL_NAMES] for window in windows], device=device)
        return cls(
            stack_control("energy", SILENCE_NATS),
            stack_control("onsets", 0.0),
            stack_control("texture", 0.0, TEXTURE_BANDS),
            given,
        )


def hint_channels(latent_channels: int, patch: int) -> int:
    """Number of channels of a hint with all controls: energy latent, onsets of each frame, texture, and flags."""
    return latent_channels + patch + 1 + len(CONTROL_NAMES)


def supported_controls(adapter: Any) -> tuple[str, ...]:
    """Names of the controls that an adapter supports."""
    narrow = adapter.config.hint_channels in (None, adapter.encoder.config.in_channels)
    return CONTROL_NAMES[:1] if narrow else CONTROL_NAMES


def control_hint(batch: ControlBatch, encode: Encode, bins: int, adapter: Any) -> torch.Tensor:
    """Build the adapter's hint `[B, C, T/r, bins/r]`. Controls that are not given are zero."""
    given = batch.is_given.to(batch.energies.dtype)[:, :, None, None, None]
    energy = energy_hint(batch.energies, encode, bins)
    energy = energy * given[:, 0].to(energy.dtype)
    if supported_controls(adapter) == CONTROL_NAMES[:1]:
        return energy
    count, _, positions, width = energy.shape
    patch = batch.onsets.shape[1] // positions
    onsets = batch.onsets.reshape(count, positions, patch).transpose(1, 2)[..., None].expand(-1, -1, -1, width)
    bands = batch.textures.reshape(count, positions, patch, TEXTURE_BANDS).mean(dim=2) / _TEXTURE_SCALE_NATS
    texture = bands[..., torch.arange(width, device=bands.device) * TEXTURE_BANDS // width][:, None]
    flags = given[..., 0].expand(-1, -1, positions, width)
    planes = [energy, onsets * given[:, 1], texture * given[:, 2], flags]
    return torch.cat([plane.to(energy.dtype) for plane in planes], dim=1)


def energy_hint(energies: torch.Tensor, encode: Encode, bins: int) -> torch.Tensor:
    """Encode energies `[B, T]` in nats, repeated over all mel bins, to latents `[B, C, T/r, bins/r]` (paper, 3.3)."""
    return encode(energies[:, :, None].expand(-1, -1, bins))


def onset_track(times_s: FloatArray, strengths: FloatArray, frames: int, frame_rate_hz: float) -> FloatArray:
    """Convert onset times in seconds and strengths from 0 to 1 to `[frames]`. Each frame keeps its strongest onset."""
    track = np.zeros(frames, np.float32)
    places = np.floor(np.asarray(times_s) * frame_rate_hz + 1e-9).astype(int)
    inside = (places >= 0) & (places < frames)
    np.maximum.at(track, places[inside], np.asarray(strengths, np.float32)[inside])
    return track


def measure_textures(log_mels: torch.Tensor, silence_nats: float = SILENCE_NATS) -> torch.Tensor:
    """Measure textures `[B, T, TEXTURE_BANDS]` of log-mels `[B, T, bins]`: bands above the energy in nats, smoothed.

    Frames are weighted by their level above silence, so that gaps do not blur the sound next to them.
    """
    count, frames, bins = log_mels.shape
    energies = log_mels.mean(dim=-1, keepdim=True)
    bands = log_mels.reshape(count, frames, TEXTURE_BANDS, bins // TEXTURE_BANDS).mean(dim=-1) - energies
    weights = (energies - silence_nats).clamp(min=0)
    return _smooth_over_time(bands * weights) / (_smooth_over_time(weights) + 0.05)


def measure_log_mel_texture(log_mel: torch.Tensor, rate_hz: Fraction) -> TextureCurve:
    """Measure the texture of a log-mel `[T, bins]`."""
    return TextureCurve(measure_textures(log_mel[None])[0].cpu().numpy(), rate_hz, "audio")


def _smooth_over_time(values: torch.Tensor) -> torch.Tensor:
    pooled = functional.avg_pool1d(
        values.transpose(1, 2), TEXTURE_SMOOTHING_FRAMES, stride=1, padding=TEXTURE_SMOOTHING_FRAMES // 2
    )
    return pooled.transpose(1, 2)
