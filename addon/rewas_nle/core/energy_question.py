# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the server for the energy of a clip, as keys that the user can edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..timeline.energy_keys import EnergyKey, keys_from_curve
from ..timeline.strips import SelectedClip
from ..timeline.takes import EnergyCurve
from .sound_settings import SoundSettings
from .sound_work import MeasuredSound, build_estimate_work, extend_with_silence, measured_path

if TYPE_CHECKING:
    from rewas_api.v1 import rewas_pb2


@dataclass(frozen=True)
class EnergyAnswer:
    """The energy of a clip.

    keys: with times from the start of the clip. notes: sentences for the user. is_for_prompt: whether it depends on the
    prompt, because the pack reads words.
    """

    keys: tuple[EnergyKey, ...]
    notes: tuple[str, ...] = ()
    is_for_prompt: bool = False


@dataclass(frozen=True)
class EnergyQuestion:
    """Which energy would the sound of a clip follow?

    settings: name the source, its edits and the pack. duration_s: of the clip. A shorter sound is followed by silence.
    layer: name of the layer whose sound it is, or "" for the primary sound. prompt: that of the layer.
    """

    settings: SoundSettings
    duration_s: Fraction
    layer: str = ""
    prompt: str = ""

    @property
    def minor_version(self) -> int:
        """Any server can answer, and refuses settings that it does not know."""
        return 0

    def media_path(self, clip: SelectedClip) -> str:
        """Return the file that the server must read."""
        return measured_path(clip, self.settings)

    def build_work(self, clip: SelectedClip, uploaded: Mapping[str, str]) -> rewas_pb2.EnergyWork:
        """Return the work of the contract."""
        return build_estimate_work(replace(clip, prompt=self.prompt_for(clip)), self.settings, uploaded)

    def prompt_for(self, clip: SelectedClip) -> str:
        """Return the prompt of the sound that will follow the energy."""
        return self.prompt if self.layer else clip.prompt

    def read_answer(self, job: rewas_pb2.Job) -> EnergyAnswer:
        """Return the answer."""
        curve = extend_with_silence(MeasuredSound(job.energy.energy), self.duration_s).energy
        rate_hz = Fraction(curve.rate_hz.numerator, max(curve.rate_hz.denominator, 1))
        keys = keys_from_curve(EnergyCurve(rate_hz, tuple(curve.values)), Fraction(0))
        is_for_prompt = not self.settings.energy.is_measured and job.energy.pack.reads_words
        return EnergyAnswer(keys, tuple(note.text for note in job.energy.notes), is_for_prompt)
