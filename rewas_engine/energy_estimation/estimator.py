"""Estimating the energy curve from frames, with the video encoder and φ of one pack on one device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

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


class Tokens(NamedTuple):
    """Video tokens of frames.

    Attributes:
        windows: [N, D] for each window.
        frames: Number of frames.
        is_steady: Whether all frames are identical, so that only the first window was encoded.
    """

    windows: list[torch.Tensor]
    frames: int
    is_steady: bool


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
        config = getattr(self._components["phi"], "config", None)
        return bool(getattr(config, "text_width", 0))

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
        frames, starts = self._in_colour(frames), self._window_starts(len(frames))
        energies = []
        for number, start in enumerate(starts, start=1):
            energies.append(self._predict_energy(self._window(frames, start), text))
            if on_window is not None:
                on_window(number, len(starts))
        return self._join(energies, len(frames))

    def estimate_steady(self, frames: FrameSequence, text: torch.Tensor | None = None) -> EnergyCurve:
        """Estimate the energy of identical frames: one value for all of them, from one window.

        `text` is the embedding [D] of a prompt. Raises InsufficientMemoryError.
        """
        return self._hold(self.estimate(self._first_window(frames), text=text), len(frames))

    def encode(self, frames: FrameSequence, on_window: OnWindow | None = None, *, is_steady: bool = False) -> Tokens:
        """Encode frames once, to estimate their energy for any number of prompts.

        Args:
            frames: The frames.
            on_window: Called after every window.
            is_steady: Whether all frames are identical.

        Raises:
            InsufficientMemoryError: Not even a small batch fits into memory.
        """
        encoded = self._in_colour(self._first_window(frames) if is_steady else frames)
        starts, windows = self._window_starts(len(encoded)), []
        for number, start in enumerate(starts, start=1):
            windows.append(self.encode_frames(self._window(encoded, start)))
            if on_window is not None:
                on_window(number, len(starts))
        return Tokens(windows, len(frames), is_steady)

    @torch.inference_mode()
    def estimate_from_tokens(self, tokens: Tokens, text: torch.Tensor | None = None) -> EnergyCurve:
        """Estimate as `estimate` and `estimate_steady` do, from frames that are already encoded."""
        energies = [self._read_tokens(window, text) for window in tokens.windows]
        if not tokens.is_steady:
            return self._join(energies, tokens.frames)
        return self._hold(self._join(energies, min(tokens.frames, self._window_frames)), tokens.frames)

    @property
    def _window_frames(self) -> int:
        return int(self._video_format["window_frames"])

    @property
    def _is_as_released(self) -> bool:
        """Whether a window of 5 s of video is stretched over 5.12 s, and shorter video is repeated."""
        return self._video_format.get("token_times") == "released"

    def _in_colour(self, frames: FrameSequence) -> FrameSequence:
        if self._in_colours and isinstance(frames, np.ndarray) and frames.ndim == 3:
            return np.broadcast_to(frames[..., None], (*frames.shape, 3))
        return frames

    def _first_window(self, frames: FrameSequence) -> NDArray[np.uint8]:
        return frames[0 : min(len(frames), self._window_frames)]

    def _window_starts(self, count: int) -> list[int]:
        total = max(count, self._window_frames) if self._is_as_released else count
        return window_starts(total, min(total, self._window_frames), int(self._video_format["overlap_frames"]))

    def _window(self, frames: FrameSequence, start: int) -> NDArray[np.uint8]:
        """Frames of the window at `start`."""
        if not self._is_as_released:
            return frames[start : start + min(len(frames), self._window_frames)]
        part = frames[start : start + RELEASED_FRAMES]
        return part[np.arange(RELEASED_FRAMES) % len(part)]

    def _join(self, energies: Sequence[torch.Tensor], count: int) -> EnergyCurve:
        """Join the energies of the tokens of all windows to the energy of `count` frames."""
        rate, starts = self.format[0], self._window_starts(count)
        if self._is_as_released:
            # Energies at the mel frame rate, of which there are several per video frame.
            times = RELEASED_CONTROL_FRAMES // self._window_frames
            parts = [torch.from_numpy(released_control(tokens.cpu().numpy())) for tokens in energies]
            values = blend(parts, [times * start for start in starts], times * max(count, self._window_frames), dim=0)
            curve = EnergyCurve(self._below_limit(values)[: times * count], rate * times, "picture")
        else:
            parts = [self._at_frames(tokens, min(count, self._window_frames)) for tokens in energies]
            curve = EnergyCurve(self._below_limit(blend(parts, starts, count, dim=0)), rate, "picture")
            if "smoothing_frames" in self._video_format:
                curve = curve.smooth(int(self._video_format["smoothing_frames"]))
        return EnergyCurve(curve.values.clip(self._silence_nats, MAX_ENERGY_NATS), curve.rate_hz, "picture")

    def _hold(self, curve: EnergyCurve, count: int) -> EnergyCurve:
        """The mean of a curve over `count` frames."""
        values = math.ceil(count * curve.rate_hz / self.format[0])
        return EnergyCurve(np.full(values, curve.values.mean(), np.float32), curve.rate_hz, "picture")

    @staticmethod
    def _below_limit(values: torch.Tensor) -> FloatArray:
        return values.cpu().numpy().clip(max=MAX_ENERGY_NATS)

    def _at_frames(self, energies: torch.Tensor, count: int) -> torch.Tensor:
        """Energies [count] of the frames of a window from those of its tokens."""
        encoder = self._components["video_encoder"]
        if not hasattr(encoder, "token_times_frames"):
            return energies  # one token for each frame
        times = encoder.token_times_frames(count).numpy()
        return torch.from_numpy(interpolate_at_token_times(energies.cpu().numpy(), times, count))

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

        if not self.uses_text:
            by_token: torch.Tensor = self._cache.get_or_compute(
                "video energy", frames, lambda: self._read_tokens(self.encode_frames(frames), None)
            )
            return by_token
        tokens = self._cache.get_or_compute("video tokens", frames, lambda: self.encode_frames(frames))
        return self._read_tokens(tokens, text)

    def _read_tokens(self, tokens: torch.Tensor, text: torch.Tensor | None) -> torch.Tensor:
        """Energies [N] of tokens [N, D] for a prompt [D]."""
        words = () if text is None else (text[None].to(self._device).float(),)
        predicted: torch.Tensor = self._components["phi"](tokens[None], *words)[0].float()
        return predicted
