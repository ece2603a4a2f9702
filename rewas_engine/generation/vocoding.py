"""Vocoding: from log-mels of any length to waveforms, window by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow, join
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.loops import LOOP_FADE_S, shorten_loop
from rewas_engine.media.audio import limit_peak
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.memory import run_within_memory

VOCODING_MEMORY_REMEDY = "Choose a shorter clip, use --low-memory, or close other programs."
OnWindow = Callable[[int, int], object]
"""Called with the number of finished windows and of all windows. An exception from it ends the work."""

_POSITIONS_PER_SEED = 2**31
"""Distance between the positions of one seed and the next, in mel frames: longer than any sound."""
_DISTINCT_SEEDS = 2**31
"""Number of seeds with different noise."""


class WindowedVocoder:
    """Turn log-mels into waveforms with the vocoder of a pack.

    Args:
        backbone: The model.
        front_end: Log-mel front end of the pack.
        window: Length and overlap of the windows.
    """

    def __init__(self, backbone: Backbone, front_end: AudioFrontEnd, window: SoundWindow) -> None:
        self._backbone, self._front_end, self._window = backbone, front_end, window

    @torch.inference_mode()
    def vocode_loop(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """Vocode a log-mel whose end joins its beginning.

        Args:
            log_mel: [T, bins] nats.
            samples: Length of the loop, from half the length of T mel frames to all of it. The rest is faded into the
                beginning.
            on_window: Called after each window.
            seed: As for `vocode`.

        Returns:
            Waveform [samples] within ±1, a loop.

        Raises:
            InsufficientMemoryError: Not even one window fits into memory.
        """
        config = self._front_end.config
        hop, fade = config.hop_samples, sample_count(LOOP_FADE_S, config.sample_rate_hz)
        # A vocoder reads some frames on each side, and beyond each end of a loop its other end follows.
        margin = min(self._window.overlap_frames, len(log_mel))
        positions = torch.arange(-margin, len(log_mel) + margin) % len(log_mel)
        extended = self._vocode_windows(
            log_mel[positions.to(log_mel.device)], positions, seed, len(positions) * hop, on_window
        )
        loop = limit_peak(extended)[margin * hop : (margin + len(log_mel)) * hop]
        return limit_peak(shorten_loop(loop, samples, fade))

    def vocode(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """Vocode a log-mel.

        Args:
            log_mel: [T, bins] nats.
            samples: Length of the waveform.
            on_window: Called after each window.
            seed: Seed of whatever a log-mel does not contain, such as the phase of noise. Some vocoders ignore it.

        Returns:
            Waveform [samples] at the sample rate of the pack, within ±1.

        Raises:
            InsufficientMemoryError: Not even one window fits into memory.
        """
        return limit_peak(self.vocode_unlimited(log_mel, samples, on_window, seed=seed))

    @torch.inference_mode()
    def vocode_unlimited(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """Vocode a log-mel like `vocode`, but let the waveform exceed ±1."""
        return self._vocode_windows(log_mel, torch.arange(len(log_mel)), seed, samples, on_window)

    def _vocode_windows(
        self,
        log_mel: torch.Tensor,
        frame_positions: torch.Tensor,
        seed: int,
        samples: int,
        on_window: OnWindow | None,
    ) -> NDArray[np.float32]:
        """Waveform [samples] of a log-mel [T, bins]. `frame_positions`: [T], position of each frame in the sound."""
        hop, window = self._front_end.config.hop_samples, self._window.frames
        starts = self._window.starts(len(log_mel))
        positions = _first_position(seed) + frame_positions.to(log_mel.device)

        def vocode_window(number: int, start: int) -> torch.Tensor:
            within = slice(start, start + window)
            waveform = self._backbone.vocode(log_mel[None, within], positions[None, within])[0]
            if on_window is not None:
                on_window(number, len(starts))
            return waveform.float()

        def run_batch(_batch_size: int) -> NDArray[np.float32]:
            parts = (vocode_window(number, start) for number, start in enumerate(starts, start=1))
            whole = join(parts, [start * hop for start in starts], window * hop, len(log_mel) * hop)
            return whole[:samples].numpy()

        return run_within_memory(run_batch, 1, "vocoding", VOCODING_MEMORY_REMEDY)


def _first_position(seed: int) -> int:
    """Position of the first frame for a seed, so far from that of the next seed that no two sounds share noise."""
    return (seed % _DISTINCT_SEEDS) * _POSITIONS_PER_SEED
