"""How near recordings are to another sound, and the choice of the nearest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.choosing import choose
from rewas_engine.recordings.index import LibraryIndex, Recording
from rewas_engine.recordings.sound_distances import SoundTraits, rank_by_sound, sound_distances, traits_of

RATE_HZ = 16_000
TRAITS = st.builds(SoundTraits, st.booleans(), st.floats(5, 13), st.floats(-7, 4), st.floats(-10, 5))


def band(centre_hz: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Noise within an octave around a frequency, with a peak of 0.5."""
    noise = np.random.default_rng(seed).normal(size=int(seconds * RATE_HZ))
    spectrum = np.fft.rfft(noise)
    frequencies_hz = np.fft.rfftfreq(noise.size, 1 / RATE_HZ)
    spectrum[(frequencies_hz < centre_hz / 1.4) | (frequencies_hz > centre_hz * 1.4)] = 0
    sound = np.fft.irfft(spectrum, noise.size)
    return (sound / np.abs(sound).max() / 2).astype(np.float32)


def strikes(centre_hz: float, decay_s: float, seed: int = 0) -> np.ndarray:
    """Four strikes, one a second."""
    sound = band(centre_hz, 4, seed)
    times_s = np.arange(sound.size) / RATE_HZ % 1
    return (sound * np.exp(-times_s / decay_s) * (times_s > 0.05)).astype(np.float32)


SOUNDS = {
    "low strikes": strikes(300, 0.05),
    "high strikes": strikes(3000, 0.05),
    "long high strikes": strikes(3000, 0.3),
    "low noise": band(300, 4),
    "high noise": band(3000, 4),
}
OTHERS = {
    "low strikes": strikes(350, 0.06, seed=1),
    "high strikes": strikes(2700, 0.05, seed=1),
    "long high strikes": strikes(3200, 0.3, seed=1),
    "low noise": band(350, 3, seed=1),
    "high noise": band(2700, 6, seed=1),
}


def library(sounds: dict[str, np.ndarray]) -> LibraryIndex:
    """The index of a library with a recording of each sound, and with one without any sounds."""
    recordings, events, stretches = [], [], []
    for number, (words, sound) in enumerate({**sounds, "nothing": np.zeros(RATE_HZ, np.float32)}.items()):
        found = analyse([sound[:, None]], RATE_HZ)
        recordings.append(
            Recording(
                Path(f"/sounds/{number}.wav"), 1, 1, "", RATE_HZ, 1, sound.size, words, None, None, -60.0,
                found.peak_db, 0.0,
            )
        )  # fmt: skip
        events += [replace(event, recording=number) for event in found.events]
        stretches += [replace(stretch, recording=number) for stretch in found.stretches]
    embeddings = np.zeros((len(recordings), 3), np.float16)
    return LibraryIndex((Path("/sounds"),), tuple(recordings), tuple(events), tuple(stretches), embeddings)


def traits(sound: np.ndarray) -> SoundTraits:
    found = traits_of(sound, RATE_HZ)
    assert found is not None
    return found


@pytest.mark.parametrize("name", SOUNDS)
def test_another_sound_of_the_same_kind_is_nearest(name: str) -> None:
    index = library(SOUNDS)
    ranked = rank_by_sound(index, traits(OTHERS[name]))
    assert index.recordings[ranked[0]].words == name
    assert sorted(ranked) == list(range(len(SOUNDS)))


def test_the_level_of_a_sound_matters_little() -> None:
    index = library(SOUNDS)
    for sound in SOUNDS.values():
        loud, soft = (sound_distances(index, traits((sound * gain).astype(np.float32))) for gain in (1.0, 0.3))
        np.testing.assert_allclose(loud[:-1], soft[:-1], atol=0.6)


@given(TRAITS, TRAITS)
def test_distances_are_symmetric_and_zero_for_equal_sounds(first: SoundTraits, second: SoundTraits) -> None:
    assert first.distance(second) == second.distance(first) >= 0
    assert first.distance(first) == 0


def test_silence_has_no_traits_and_recordings_without_sounds_are_infinitely_far() -> None:
    assert traits_of(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert np.isinf(sound_distances(library(SOUNDS), traits(SOUNDS["low noise"]))[-1])


def no_meaning(texts: object) -> torch.Tensor:
    return torch.ones(1, 3)


def test_of_the_recordings_whose_words_fit_the_nearest_are_chosen() -> None:
    index = library(
        {"door knock": SOUNDS["low strikes"], "knock, door": SOUNDS["high strikes"], "river": SOUNDS["high noise"]}
    )
    for wanted, nearest in (("high strikes", 1), ("low strikes", 0), ("high noise", 1)):
        distances = sound_distances(index, traits(OTHERS[wanted]))
        choice = choose(index, "door knock", no_meaning, distances=distances)
        assert choice.recordings == (nearest,)
        assert choice.is_known
        second = choose(index, "door knock", no_meaning, distances=distances, place=1)
        assert second.recordings == (1 - nearest,)
    assert choose(index, "door knock", no_meaning).recordings == (0, 1)


def test_if_no_words_fit_the_nearest_of_all_are_chosen() -> None:
    index = library(SOUNDS)
    distances = sound_distances(index, traits(OTHERS["high noise"]))
    choice = choose(index, "a whale", no_meaning, distances=distances)
    assert [index.recordings[one].words for one in choice.recordings] == ["high noise"]
    assert not choice.is_known
