"""Libraries of recordings in which every event and stretch is known."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.recordings.index import LibraryIndex, Recording, SoundEvent, Stretch

RATE_HZ = 48_000
EVENT_S = 0.8
FRONT_END = AudioFrontEnd(MelConfig())


def strike_sound(rng: np.random.Generator, peak: float, decay_s: float = 0.05) -> np.ndarray:
    """A burst of noise that begins at once and decays, `[samples]`."""
    times_s = np.arange(round(0.5 * RATE_HZ)) / RATE_HZ
    sound = rng.standard_normal(times_s.size) * np.exp(-times_s / decay_s)
    sound *= peak / np.abs(sound).max()
    sound[-480:] *= np.linspace(1, 0, 480)
    return sound


def swell_sound(rng: np.random.Generator, length_s: float = 0.7) -> np.ndarray:
    """Noise that rises and falls slowly, `[samples]`."""
    count = round(length_s * RATE_HZ)
    return 0.2 * rng.standard_normal(count) * np.hanning(count)


def noise(rng: np.random.Generator, length_s: float, rms: float) -> np.ndarray:
    """Steady noise, `[samples]`."""
    return rms * rng.standard_normal(round(length_s * RATE_HZ))


class MadeLibrary:
    """Writes recordings and their index into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recordings: list[Recording] = []
        self.events: list[SoundEvent] = []
        self.stretches: list[Stretch] = []

    def add_events(self, name: str, sounds: Sequence[np.ndarray], words: str = "", channels: int = 2) -> None:
        """Add a recording of events, one every EVENT_S seconds."""
        whole = np.zeros((round((len(sounds) * EVENT_S + 0.1) * RATE_HZ), channels), np.float32)
        starts = [round((0.1 + number * EVENT_S) * RATE_HZ) for number in range(len(sounds))]
        for start, sound in zip(starts, sounds, strict=True):
            whole[start : start + sound.size] += sound[:, None].astype(np.float32) * np.linspace(1, 0.8, channels)
        self._write(name, whole, words)
        for start, sound in zip(starts, sounds, strict=True):
            end = start + sound.size
            levels = FRONT_END.measure_energy(whole[start - 4800 : end + 4800 : 3].mean(axis=1)).values
            peak_db = 20 * float(np.log10(np.abs(whole[start:end]).max()))
            self.events.append(
                SoundEvent(len(self.recordings) - 1, start - 240, start, end, peak_db, float(levels.max()), 1e3, 0.1, 0)
            )

    def add_stretch(self, name: str, sound: np.ndarray, words: str = "", channels: int = 2) -> None:
        """Add a recording of steady sound."""
        whole = np.repeat(sound[:, None], channels, axis=1).astype(np.float32)
        self._write(name, whole, words)
        level = float(FRONT_END.measure_energy(whole[::3].mean(axis=1)).values.mean())
        level_db = 20 * float(np.log10(sound.std()))
        ends = (0, len(whole))
        self.stretches.append(Stretch(len(self.recordings) - 1, *ends, *ends, level_db, level, 1e3))

    def index(self, embed: object = None) -> LibraryIndex:
        """Index of everything that was added. embed: function from words to embeddings `[N, D]`."""
        embeddings = np.zeros((len(self.recordings), 3), np.float16)
        if callable(embed):
            rows = embed([one.words for one in self.recordings]).numpy()
            embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
        return LibraryIndex(
            (self.folder,), tuple(self.recordings), tuple(self.events), tuple(self.stretches), embeddings
        )

    def _write(self, name: str, samples: np.ndarray, words: str) -> None:
        path = self.folder / name
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_24" if path.suffix != ".ogg" else None)
        state, content = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        peak_db = 20 * float(np.log10(np.abs(samples).max()))
        row = (path, state.st_size, state.st_mtime_ns, content, RATE_HZ, samples.shape[1], len(samples), words)
        self.recordings.append(Recording(*row, None, None, -110.0, peak_db, 0.0))
