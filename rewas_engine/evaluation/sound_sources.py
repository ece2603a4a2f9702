"""Sources of the sounds that an evaluation measures: a model, or the recordings of a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.checks import ControlName
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.evaluation.sound_store import Request
from rewas_engine.packs.description import LIBRARY_RATE_HZ, read_pack
from rewas_engine.pipeline import ReWaS
from rewas_engine.requests.plan import ResolvedEnergy, SoundRequest
from rewas_engine.requests.sound_makers import SoundProgress
from rewas_engine.runtime.progress import ProgressTracker

CLIPS_AT_ONCE_ON_CPU = 4
CLIPS_AT_ONCE_ON_GPU = 64
LOUDEST_STRIKE_NATS = -3.0
"""Energy of a strike of strength 1 for libraries, which perform curves instead of onsets."""
STRIKE_DECAY_NATS = 0.25
"""Fall of the energy after a strike, for each frame."""
NO_VOCODER = "a library has no vocoder"
"""Why a library has no figures after the vocoder."""
_MEASURED_AT_ONCE = 32

OnSound = Callable[[int, int], object]
"""Called with finished and total sounds."""


class SoundSource(Protocol):
    """Makes sounds from prompts, controls and seeds, as an array `[N, ...]` that can be stored."""

    @property
    def has_vocoder(self) -> bool:
        """Whether the sounds are log-mels that a vocoder turns into waveforms."""

    @property
    def clips_at_once(self) -> int:
        """Number of sounds in a request."""

    def generate(self, request: Request, check: Callable[[], None]) -> NDArray[np.float32]:
        """Make the sounds of a request. `check` is called often, and raises Cancelled to end the work."""

    def log_mels(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mels `[N, T, bins]` of these sounds."""

    def waveforms(self, made: NDArray[np.float32], on_sound: OnSound) -> list[FloatArray]:
        """Waveforms of these sounds, `[samples]` each at the sample rate of the front end."""


@dataclass(frozen=True, eq=False)
class Sounds:
    """The sounds of a condition.

    Attributes:
        made: The array of the source, `[N, ...]`.
        source: The source.
        on_sound: Called with finished and total waveforms.
    """

    made: NDArray[np.float32]
    source: SoundSource
    on_sound: OnSound = lambda done, total: None

    @cached_property
    def log_mels(self) -> NDArray[np.float32]:
        """Log-mels `[N, T, bins]`."""
        return self.source.log_mels(self.made)

    @cached_property
    def waveforms(self) -> list[FloatArray]:
        """Waveforms at the sample rate of the front end, `[samples]` each."""
        return self.source.waveforms(self.made, self.on_sound)

    def choose(self, places: Sequence[int]) -> Sounds:
        """Return the sounds at these positions."""
        return Sounds(self.made[list(places)], self.source, self.on_sound)


class ModelSource:
    """Generates log-mels `[N, T, bins]` with a model. Its vocoder makes waveforms of them."""

    has_vocoder = True

    def __init__(self, model: ReWaS) -> None:
        self._model = model

    @property
    def clips_at_once(self) -> int:
        """Number of sounds in a batch."""
        return CLIPS_AT_ONCE_ON_CPU if self._model.device == "cpu" else CLIPS_AT_ONCE_ON_GPU

    def generate(self, request: Request, check: Callable[[], None]) -> NDArray[np.float32]:
        """Sample the log-mels of a request in one batch."""
        log_mels = self._model.sound_generator.generate_log_mels(
            request.prompts, request.controls, request.seeds, request.settings, lambda step: check()
        )
        return np.asarray(log_mels.float().cpu().numpy())

    def log_mels(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-mels as they are."""
        return made

    def waveforms(self, made: NDArray[np.float32], on_sound: OnSound) -> list[FloatArray]:
        """Vocode the log-mels."""
        waveforms: list[FloatArray] = []
        hop_samples = self._model.front_end.config.hop_samples
        for log_mel in made:
            on_sound(len(waveforms), len(made))
            on_device = torch.from_numpy(log_mel).to(self._model.device)
            waveforms.append(self._model.sound_generator.vocoder.vocode(on_device, len(log_mel) * hop_samples))
        return waveforms


class LibrarySource:
    """Performs the recordings of a library. It makes waveforms `[N, samples]`, whose log-mels are measured.

    A library follows energy. If the energy is switched off, it performs a constant one of the same mean. Onsets become
    an energy that rises at each onset and then falls.
    """

    has_vocoder = False
    clips_at_once = CLIPS_AT_ONCE_ON_CPU

    def __init__(self, model: ReWaS) -> None:
        self._maker, self._front_end = model.library_maker, model.front_end
        self._window = SoundWindow(**read_pack(model.pack.path).window)

    def generate(self, request: Request, check: Callable[[], None]) -> NDArray[np.float32]:
        """Perform the sounds of a request."""
        waveforms = []
        for number, prompt in enumerate(request.prompts):
            check()
            waveforms.append(self._perform(request, prompt, request.controls[number], request.seeds[number]))
        return np.stack(waveforms)

    def log_mels(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measure the log-mels."""
        return measure_log_mels(self._front_end, made)

    def waveforms(self, made: NDArray[np.float32], on_sound: OnSound) -> list[FloatArray]:
        """Return the waveforms as they are."""
        return list(made)

    def _perform(self, request: Request, prompt: str, controls: Controls, seed: int) -> FloatArray:
        values, control = self._energy_of(controls, request.settings.control_strength > 0)
        energy = EnergyCurve(values, self._front_end.config.frame_rate_hz)
        sound = SoundRequest(
            front_end=self._front_end,
            window=self._window,
            settings=request.settings,
            control=control,
            duration_s=energy.duration_s,
            rate_hz=LIBRARY_RATE_HZ,
        )
        character = self._maker.character(prompt, sound.performance.place, "varied")
        plan = sound.plan_sound(prompt, ResolvedEnergy.without_edits(energy), character)
        render = self._maker.prepare(plan, seed, SoundProgress(ProgressTracker(None, None), 0, 1))
        return render(lambda done, total: None).waveform

    def _energy_of(self, controls: Controls, is_followed: bool) -> tuple[FloatArray, ControlName]:
        """The energy `[T]` to perform, and whether its shape or only its onsets are followed."""
        if controls.energy is None:
            assert controls.onsets is not None
            energy = energy_of_onsets(controls.onsets, self._front_end.config.silence_nats)
            # Without an onset to follow, the sound is silent.
            return energy, "onsets" if controls.onsets.any() else "energy"
        if is_followed:
            return controls.energy, "energy"
        return np.full_like(controls.energy, np.log(np.exp(controls.energy.astype(np.float64)).mean())), "energy"


def select_source(model: ReWaS) -> SoundSource:
    """Return the source of a pack's sounds."""
    return LibrarySource(model) if model.pack.is_library else ModelSource(model)


def energy_of_onsets(onsets: FloatArray, silence_nats: float) -> FloatArray:
    """Convert an onset control `[T]` to an energy `[T]` in nats with a strike at each onset."""
    energy = np.full(len(onsets), silence_nats, np.float32)
    for frame in np.flatnonzero(onsets):
        falling = np.arange(len(onsets) - frame) * STRIKE_DECAY_NATS
        peak = LOUDEST_STRIKE_NATS + np.log(onsets[frame])
        energy[frame:] = np.maximum(energy[frame:], peak - falling)
    return energy


def measure_log_mels(front_end: AudioFrontEnd, waveforms: Sequence[FloatArray] | NDArray[np.float32]) -> FloatArray:
    """Log-mels `[N, T, bins]` of waveforms of one length at the sample rate of a front end."""
    stacked = torch.from_numpy(np.stack(list(waveforms)))
    return torch.cat([front_end.log_mel(part) for part in stacked.split(_MEASURED_AT_ONCE)]).numpy()
