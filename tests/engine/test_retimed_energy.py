"""The energy of clips at other speeds: estimated from the frames as they are shown, and retimed for their sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import noise, write_numbered_clip

from rewas_engine import MediaError, ReWaS, VideoClip
from rewas_engine.media.video import read_frames
from rewas_engine.requests.notes import retimed_sound_note


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s at 25 fps, with bursts of noise at 1 s and 2.5 s."""
    sound = np.zeros(64_000, np.float32)
    for begin_s in (1.0, 2.5):
        begin = int(begin_s * 16_000)
        sound[begin : begin + 1600] = noise(1600)
    path = tmp_path_factory.mktemp("film") / "a.mkv"
    return write_numbered_clip(path, frames=100, sound=sound, encoder={"preset": "ultrafast"})


@pytest.mark.parametrize("speed", [Fraction(1, 2), Fraction(2), Fraction(-1), Fraction(-5, 4)])
def test_the_energy_is_that_of_the_frames_as_they_are_shown(speed: Fraction, film: Path, model: ReWaS) -> None:
    clip = VideoClip(film, start=4 if speed < 0 else 0, duration=2, speed=speed)
    rate, width, height = model.frame_format
    frames = read_frames(
        film, start_s=clip.start_s, duration_s=Fraction(2), frame_rate=rate, width=width, height=height, speed=speed
    )
    estimated = model.estimate_energy(clip)
    assert estimated.duration_s == 2
    shown = estimated.resample(rate, len(frames))
    assert np.allclose(shown, model.estimate_energy_from_frames(frames), atol=1e-4)


def test_a_freeze_frame_has_a_steady_energy_and_a_note(film: Path, model: ReWaS) -> None:
    clip = VideoClip(film, start=1, duration=30, speed=0)
    energy = model.estimate_energy(clip)
    assert np.ptp(energy.values) == 0
    assert energy.duration_s == 30
    result = model.generate(VideoClip(film, start=1, duration=1, speed=0), prompt="wind")
    stem = result.takes[0].stems["primary"]
    assert stem.waveform.shape[-1] == stem.sample_rate_hz
    (note,) = [note for note in result.notes if note.kind == "little_motion"]
    assert note.text.startswith("The picture stands still, so ")


@pytest.mark.parametrize(
    ("speed", "bursts_s"),
    [(Fraction(2), (0.5, 1.25)), (Fraction(1, 2), (2.0, 5.0)), (Fraction(-1), (1.5, 3.0)), (Fraction(-2), (0.75, 1.5))],
)
def test_the_energy_of_the_sound_moves_with_the_picture(
    speed: Fraction, bursts_s: tuple[float, float], film: Path, model: ReWaS
) -> None:
    clip = VideoClip(film, start=4 if speed < 0 else 0, speed=speed)
    energy = model.measure_energy(clip)
    assert abs(energy.duration_s - 4 / abs(speed)) <= 1 / energy.rate_hz
    loud = energy.times_s()[energy.values > energy.values.min() + 0.5 * np.ptp(energy.values)]
    length_s = 0.1 / float(abs(speed))
    for burst_s in bursts_s:
        begin_s, end_s = (burst_s, burst_s + length_s) if speed > 0 else (burst_s - length_s, burst_s)
        near = loud[np.abs(loud - (begin_s + end_s) / 2) < length_s]
        assert near.size
        assert near.min() == pytest.approx(begin_s, abs=0.06)
        assert near.max() == pytest.approx(end_s, abs=0.06)
    assert model.measure_texture(clip).duration_s == energy.duration_s


def test_a_freeze_frame_has_no_sound_to_measure(film: Path, model: ReWaS) -> None:
    with pytest.raises(MediaError, match="is a freeze frame, so it has no sound"):
        model.measure_energy(VideoClip(film, start=1, duration=1, speed=0))


@pytest.mark.parametrize(
    ("speed", "how"),
    [
        (Fraction(2), "a.mov runs at 200 % speed."),
        (Fraction(-1), "a.mov runs backwards."),
        (Fraction(-1, 3), "a.mov runs backwards at 33.33 % speed."),
    ],
)
def test_a_note_describes_how_the_sound_was_measured(speed: Fraction, how: str) -> None:
    assert retimed_sound_note("a.mov", speed).text.startswith(f"{how} Its sound was measured at the original speed")
