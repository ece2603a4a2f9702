"""Reference sounds: sounds that a generated sound should resemble."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds
from rewas_engine.media.audio import SILENT_PEAK, probe_sound, read_audio, sample_peak
from rewas_engine.media.facts import read_media_facts
from rewas_engine.runtime.progress import CancelSignal

MIN_REFERENCE_S = Fraction(1, 10)
MAX_REFERENCE_S = 600


@dataclass(frozen=True, init=False)
class ReferenceSound:
    """A sound that a generated sound should resemble: a sound file, the sound of a video, or a range of either.

    Attributes:
        path: The file.
        start_s: Start of the range, in seconds from the start of the sound.
        duration_s: Seconds, from MIN_REFERENCE_S to MAX_REFERENCE_S. None means up to the end of the sound.
        name: Name in messages. The default is the file name.

    Raises:
        SettingsError: The start is negative, or the duration is out of range.
    """

    path: Path
    start_s: Fraction
    duration_s: Fraction | None
    name: str

    def __init__(
        self, path: str | Path, *, start: Seconds = 0, duration: Seconds | None = None, name: str | None = None
    ) -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "name", name or Path(path).name)
        start_s = exact_seconds(start, f"The start of {self.name}")
        duration_s = None if duration is None else exact_seconds(duration, f"The duration of {self.name}")
        object.__setattr__(self, "start_s", start_s)
        object.__setattr__(self, "duration_s", duration_s)
        if start_s < 0:
            raise SettingsError(
                f"The start of {self.name} is negative ({float(start_s):g} s).", "Give a start of 0 s or later."
            )
        if duration_s is not None and not MIN_REFERENCE_S <= duration_s <= MAX_REFERENCE_S:
            raise SettingsError(
                f"The duration of the reference sound {self.name} is {float(duration_s):g} s.",
                f"Give a duration from {float(MIN_REFERENCE_S):g} to {MAX_REFERENCE_S} s.",
            )

    def read(self, sample_rate_hz: int, cancel: CancelSignal | None = None) -> NDArray[np.float32]:
        """Read the sound in mono, `[samples]`.

        Raises:
            MediaError: The file is missing, cannot be read, has no sound, or is silent, too short or too long.
            Cancelled: `cancel` was set.
        """
        try:
            duration_s = self._resolve_duration()
            sound = read_audio(
                self.path, start_s=self.start_s, duration_s=duration_s, sample_rate_hz=sample_rate_hz, cancel=cancel
            )
        except MediaError as error:
            raise MediaError(error.what.replace(self.path.name, self.name), error.remedy) from error
        if sample_peak(sound) <= SILENT_PEAK:
            raise MediaError(
                f"The reference sound {self.name} is silent.", "Choose an audible sound, or an audible part of it."
            )
        return sound

    def _resolve_duration(self) -> Fraction:
        # Check the header first, because decoding hours of sound takes long.
        stated_s = read_media_facts(self.path).duration_s
        if self.duration_s is None and stated_s is not None:
            self._check_not_too_long(stated_s - self.start_s)
        left_s = probe_sound(self.path).duration_s - self.start_s
        duration_s = left_s if self.duration_s is None else min(self.duration_s, left_s)
        self._check_not_too_long(duration_s)
        if duration_s < MIN_REFERENCE_S:
            raise MediaError(
                f"The reference sound {self.name} lasts {max(0.0, float(duration_s)):.3g} s, which is too short.",
                f"Choose a sound of at least {float(MIN_REFERENCE_S):g} s.",
            )
        return duration_s

    def _check_not_too_long(self, duration_s: Fraction) -> None:
        if duration_s > MAX_REFERENCE_S:
            raise MediaError(
                f"The reference sound {self.name} lasts {float(duration_s) / 60:.0f} minutes; the limit is "
                f"{MAX_REFERENCE_S // 60} minutes.",
                "Choose a shorter sound, such as the part of it that the new sound should resemble.",
            )
