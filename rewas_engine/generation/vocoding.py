"""From log-mels of any length to waveforms, window by window."""

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

VOCODING_MEMORY_REMEDY = "Choose a shorter clip, run it with less memory (--low-memory), or close other programs."
OnWindow = Callable[[int, int], object]
"""Called with finished and total windows."""

_POSITIONS_PER_SEED = 2**31
"""Positions from the draws of one seed to those of the next: a mel frame each, more than any sound has."""
_DISTINCT_SEEDS = 2**31
"""Seeds whose draws differ."""


class WindowedVocoder:
    """Makes waveforms of log-mels with one pack's vocoder, in windows of one length."""

    def __init__(self, backbone: Backbone, front_end: AudioFrontEnd, window: SoundWindow) -> None:
        self._backbone, self._front_end, self._window = backbone, front_end, window

    @torch.inference_mode()
    def loop(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """Waveform [samples] of a circular log-mel [T, bins], whose last sample goes on with its first.

        samples: at most T mel frames' and at least half of them. What is too much is faded over the beginning.
        on_window, seed: as for `waveform`.
        """
        config = self._front_end.config
        hop, fade = config.hop_samples, sample_count(LOOP_FADE_S, config.sample_rate_hz)
        # A vocoder sees some frames to each side; what lies beyond the ends of a circle is its other end.
        margin = min(self._window.overlap_frames, len(log_mel))
        places = torch.arange(-margin, len(log_mel) + margin) % len(log_mel)
        turned = self._vocode_windows(log_mel[places.to(log_mel.device)], places, seed, len(places) * hop, on_window)
        whole = limit_peak(turned)[margin * hop : (margin + len(log_mel)) * hop]
        return limit_peak(shorten_loop(whole, samples, fade))

    def waveform(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """Waveform [samples] of a log-mel [T, bins], at the pack's rate, within ±1.

        on_window: called with finished and total windows; what it raises ends the work. seed: of what a log-mel does
        not say, such as the phases of noise; not every vocoder draws any.
        """
        return limit_peak(self.vocode_unlimited(log_mel, samples, on_window, seed=seed))

    @torch.inference_mode()
    def vocode_unlimited(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None, *, seed: int = 0
    ) -> NDArray[np.float32]:
        """The same, however far it goes beyond ±1. Raises InsufficientMemoryError."""
        return self._vocode_windows(log_mel, torch.arange(len(log_mel)), seed, samples, on_window)

    def _vocode_windows(
        self, log_mel: torch.Tensor, places: torch.Tensor, seed: int, samples: int, on_window: OnWindow | None
    ) -> NDArray[np.float32]:
        """The same. places: [T], where each frame stands in the sound."""
        hop, window = self._front_end.config.hop_samples, self._window.frames
        starts = self._window.starts(len(log_mel))
        positions = _first_position(seed) + places.to(log_mel.device)

        def made(count: int) -> NDArray[np.float32]:
            numbered = enumerate(starts, start=1)
            parts = (
                self._vocode_window(log_mel, positions, start, number, len(starts), on_window)
                for number, start in numbered
            )
            whole = join(parts, [start * hop for start in starts], window * hop, len(log_mel) * hop)
            return whole[:samples].numpy()

        return run_within_memory(made, 1, "making the waveform", VOCODING_MEMORY_REMEDY)

    def _vocode_window(
        self,
        log_mel: torch.Tensor,
        positions: torch.Tensor,
        start: int,
        number: int,
        windows: int,
        on_window: OnWindow | None,
    ) -> torch.Tensor:
        """Waveform of one window. A vocoder may add some samples of its own at its end."""
        within = slice(start, start + self._window.frames)
        made = self._backbone.vocode(log_mel[None, within], positions[None, within])[0]
        if on_window is not None:
            on_window(number, windows)
        return made.float()


def _first_position(seed: int) -> int:
    """Where the draws of a sound begin: sounds of other seeds are further away than any is long."""
    return (seed % _DISTINCT_SEEDS) * _POSITIONS_PER_SEED
