"""Estimating the energy curve from frames, with the video encoder and φ of one pack on one device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.windows import blend, window_starts
from rewas_engine.curves.energy import MAX_ENERGY_NATS, EnergyCurve, FloatArray
from rewas_engine.energy_estimation.token_times import (
    RELEASED_CONTROL_FRAMES,
    RELEASED_FRAMES,
    interpolate_at_token_times,
    released_control,
)
from rewas_engine.media.frame_stream import FrameSequence, FrameStream
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.video import frame_count, iter_frames
from rewas_engine.models.motionformer import SEGMENT_BATCH_SIZE
from rewas_engine.runtime.cache import ContentCache
from rewas_engine.runtime.memory import run_within_memory
from rewas_engine.runtime.precision import autocast_to_weight_dtype
from rewas_engine.runtime.progress import CancelSignal

OnWindow = Callable[[int, int], object]
"""Called with finished and total windows."""
ESTIMATION_MEMORY_REMEDY = "Run with --low-memory, provide the energy curve, or choose a shorter clip."


class EnergyEstimator:
    """The video encoder and φ of a pack: frames in, energy curve out.

    Args:
        components: Role -> component, with "video_encoder" and "phi".
        video_format: The table [picture] of pack.toml.
        silence_nats: Lowest energy.
        device: Torch device name.
        cache: Keeps the energies of windows by their frames; None keeps nothing.
    """

    def __init__(
        self,
        components: Mapping[str, Any],
        video_format: Mapping[str, Any],
        silence_nats: float,
        device: str,
        cache: ContentCache | None = None,
    ) -> None:
        self._components, self._cache = components, cache or ContentCache(0)
        self._video_format, self._silence_nats, self._device = video_format, silence_nats, device
        self.format = Fraction(video_format["frame_rate"]), int(video_format["width"]), int(video_format["height"])
        """Frame rate, width and height that the video encoder needs."""
        self._in_colours = bool(video_format.get("colours", False))

    def read_frames(self, clip: ProbedClip, cancel: CancelSignal | None) -> NDArray[np.uint8]:
        """Read a clip's frames in the encoder's format: brightness [T, H, W] or RGB [T, H, W, 3], 0 to 255."""
        return self.stream_frames(clip, cancel)[:]

    def stream_frames(self, clip: ProbedClip, cancel: CancelSignal | None) -> FrameStream:
        """Open the frames as a stream that decodes on access, which is also when decoding errors are raised."""
        rate, width, height = self.format
        shown = iter_frames(
            clip.path,
            start_s=clip.start_s,
            duration_s=clip.duration_s,
            frame_rate=rate,
            width=width,
            height=height,
            rgb=self._in_colours,
            short_side=self._video_format.get("short_side"),
            speed=clip.speed,
            sequence=clip.sequence,
            cancel=cancel,
        )
        return FrameStream(shown, frame_count(clip.duration_s, rate))

    @property
    def uses_text(self) -> bool:
        """Whether φ reads the words of a prompt."""
        return bool(getattr(self._components["phi"].config, "text_width", 0))

    @torch.inference_mode()
    def estimate(
        self, frames: FrameSequence, on_window: OnWindow | None = None, text: torch.Tensor | None = None
    ) -> EnergyCurve:
        """Estimate the energy of any number of frames.

        Brightness [T, H, W] is repeated over the channels for an encoder of RGB frames. Windows in the cache are not
        encoded again.

        Args:
            frames: The frames.
            on_window: Called after every window.
            text: Embedding [D] of a prompt, if `uses_text`; None for no prompt.

        Raises:
            InsufficientMemoryError: Not even a small batch fits into memory.
        """
        if self._in_colours and isinstance(frames, np.ndarray) and frames.ndim == 3:
            frames = np.broadcast_to(frames[..., None], (*frames.shape, 3))
        rate = self.format[0]
        if self._video_format.get("token_times") == "released":
            values, times = self._estimate_as_released(frames, on_window, text)
            curve = EnergyCurve(values, rate * times, "picture")
        else:
            curve = EnergyCurve(self._estimate_at_token_times(frames, on_window, text), rate, "picture")
            if "smoothing_frames" in self._video_format:
                curve = curve.smooth(int(self._video_format["smoothing_frames"]))
        return EnergyCurve(curve.values.clip(self._silence_nats, MAX_ENERGY_NATS), curve.rate_hz, "picture")

    def estimate_steady(self, frames: FrameSequence, text: torch.Tensor | None = None) -> EnergyCurve:
        """Estimate the energy of identical frames: one value for all of them, from one window.

        `text` is the embedding [D] of a prompt. Raises InsufficientMemoryError.
        """
        curve = self.estimate(frames[0 : min(len(frames), int(self._video_format["window_frames"]))], text=text)
        count = math.ceil(len(frames) * curve.rate_hz / self.format[0])
        return EnergyCurve(np.full(count, curve.values.mean(), np.float32), curve.rate_hz, "picture")

    def _estimate_at_token_times(
        self, frames: FrameSequence, on_window: OnWindow | None, text: torch.Tensor | None
    ) -> FloatArray:
        """Energies [T], one per frame."""
        window = min(len(frames), int(self._video_format["window_frames"]))
        starts = window_starts(len(frames), window, int(self._video_format["overlap_frames"]))
        parts = []
        for number, start in enumerate(starts, start=1):
            parts.append(self._estimate_window(frames[start : start + window], text))
            if on_window is not None:
                on_window(number, len(starts))
        return blend(parts, starts, len(frames), dim=0).cpu().numpy().clip(max=MAX_ENERGY_NATS)

    def _estimate_window(self, frames: NDArray[np.uint8], text: torch.Tensor | None) -> torch.Tensor:
        energies = self._predict_energy(frames, text)
        encoder = self._components["video_encoder"]
        if not hasattr(encoder, "token_times_frames"):
            return energies  # one token for each frame
        times = encoder.token_times_frames(len(frames)).numpy()
        return torch.from_numpy(interpolate_at_token_times(energies.cpu().numpy(), times, len(frames)))

    def _estimate_as_released(
        self, frames: FrameSequence, on_window: OnWindow | None, text: torch.Tensor | None
    ) -> tuple[FloatArray, int]:
        """Energies at the mel frame rate, and the number of them per video frame.

        As in the release, a window of 5 s of video is stretched over 5.12 s, and shorter video is repeated.
        """
        window = int(self._video_format["window_frames"])
        times = RELEASED_CONTROL_FRAMES // window
        starts = window_starts(max(len(frames), window), window, int(self._video_format["overlap_frames"]))
        parts = []
        for number, start in enumerate(starts, start=1):
            part = frames[start : start + RELEASED_FRAMES]
            tokens = self._predict_energy(part[np.arange(RELEASED_FRAMES) % len(part)], text)
            parts.append(torch.from_numpy(released_control(tokens.cpu().numpy())))
            if on_window is not None:
                on_window(number, len(starts))
        total = times * max(len(frames), window)
        values = blend(parts, [times * start for start in starts], total, dim=0).numpy()
        return values[: times * len(frames)].clip(max=MAX_ENERGY_NATS), times

    @torch.inference_mode()
    def encode_frames(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Tokens [N, D] of frames, from the video encoder."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self._device).float() / 255
        encoder = self._components["video_encoder"]

        def run_batch(batch_size: int) -> torch.Tensor:
            with autocast_to_weight_dtype(encoder, self._device):
                # An encoder that reads segments takes several of them per batch.
                if hasattr(encoder, "segment_starts"):
                    tokens = encoder(pixels[None], batch_size)
                else:
                    tokens = encoder(pixels[None])
            return cast(torch.Tensor, tokens)[0].float()

        return run_within_memory(run_batch, SEGMENT_BATCH_SIZE, "encoding the video", ESTIMATION_MEMORY_REMEDY)

    def _predict_energy(self, frames: NDArray[np.uint8], text: torch.Tensor | None) -> torch.Tensor:
        """Energies [N] of tokens. The cache keeps the tokens for a φ that reads words, because another prompt has other
        energies, and the energies themselves for any other φ.
        """

        def read_tokens(tokens: torch.Tensor, *words: torch.Tensor) -> torch.Tensor:
            predicted: torch.Tensor = self._components["phi"](tokens[None], *words)[0].float()
            return predicted

        if not self.uses_text:
            by_token: torch.Tensor = self._cache.get_or_compute(
                "video energy", frames, lambda: read_tokens(self.encode_frames(frames))
            )
            return by_token
        tokens = self._cache.get_or_compute("video tokens", frames, lambda: self.encode_frames(frames))
        return read_tokens(tokens, *(() if text is None else (text[None].to(self._device).float(),)))
