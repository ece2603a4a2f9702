"""Reference sounds that were read, with the traits that models and libraries of recordings follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.timbre import Timbre
from rewas_engine.curves.energy import FloatArray
from rewas_engine.generation.reference import timbre_of
from rewas_engine.media.reference import ReferenceSound
from rewas_engine.recordings.sound_distances import SoundTraits, traits_of
from rewas_engine.runtime.progress import CancelSignal


@dataclass(frozen=True, eq=False)
class MeasuredReference:
    """A reference sound.

    Attributes:
        sound: `[samples]` at the level of the training sounds.
        rate_hz: Samples per second.
        timbre: What a model follows.
    """

    sound: FloatArray
    rate_hz: int
    timbre: Timbre

    @classmethod
    def read(
        cls, reference: ReferenceSound, front_end: AudioFrontEnd, cancel: CancelSignal | None = None
    ) -> MeasuredReference:
        """Read and measure a reference sound. Raises MediaError, Cancelled."""
        rate_hz = front_end.config.sample_rate_hz
        sound = normalise(reference.read(rate_hz, cancel))
        return cls(sound, rate_hz, timbre_of(sound, reference.name, front_end))

    @cached_property
    def traits(self) -> SoundTraits | None:
        """The traits that recordings of a library are compared with; None if it has no event and no stretch."""
        return traits_of(self.sound, self.rate_hz)
