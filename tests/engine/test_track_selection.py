"""Files with several audio tracks and channels: which are read, and how they are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numbered_clips import noise, write_sound

from rewas_engine import MediaError, VideoClip
from rewas_engine.media.audio import AudioTrack, read_audio, read_audio_track
from rewas_engine.media.probe import select_audio_track
from rewas_engine.requests.notes import audio_track_note

RATE_HZ = 16_000
SOUND = noise(2 * RATE_HZ)
SILENCE = np.zeros_like(SOUND)
WHOLE = {"start_s": Fraction(0), "duration_s": Fraction(2), "sample_rate_hz": RATE_HZ}


def write_tracks(path: Path, tracks: Sequence[np.ndarray]) -> Path:
    """Write one mono track for each sound [samples]."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono") for _ in tracks]
        for stream, sound in zip(streams, tracks, strict=True):
            samples = np.round(sound * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_channels(path: Path, channels: np.ndarray) -> Path:
    soundfile.write(path, channels.T, RATE_HZ, subtype="FLOAT")
    return path


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_the_first_track_with_sound_is_read(name: str, tmp_path: Path) -> None:
    path = write_tracks(tmp_path / name, [SILENCE, SOUND, SOUND / 4])
    sound, track = read_audio_track(path, **WHOLE)
    np.testing.assert_allclose(sound, SOUND, atol=1e-3)
    assert track == AudioTrack(2, 3, (1,))
    assert select_audio_track(VideoClip(path)) == track
    np.testing.assert_array_equal(read_audio(path, **WHOLE), sound)


def test_a_chosen_track_is_read_even_if_it_is_silent(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mov", [SILENCE, SOUND, SOUND / 4])
    for number, expected in ((1, SILENCE), (2, SOUND), (3, SOUND / 4)):
        sound, track = read_audio_track(path, track=number, **WHOLE)
        np.testing.assert_allclose(sound, expected, atol=1e-3)
        assert track == AudioTrack(number, 3) == select_audio_track(VideoClip(path), number)


def test_silence_is_that_of_the_range(tmp_path: Path) -> None:
    late = np.concatenate([SILENCE[:RATE_HZ], SOUND[:RATE_HZ]])
    path = write_tracks(tmp_path / "a.mov", [late, SOUND])
    assert select_audio_track(VideoClip(path, duration="0.5")) == AudioTrack(2, 2, (1,))
    assert select_audio_track(VideoClip(path, start="1.5")) == AudioTrack(1, 2)


@pytest.mark.parametrize("level", [0, 5e-5])
def test_the_first_of_silent_tracks_is_read(level: float, tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mov", [SOUND * level, SILENCE])
    assert read_audio_track(path, **WHOLE)[1] == AudioTrack(1, 2)


def test_a_missing_track_is_refused_with_the_number_of_tracks(tmp_path: Path) -> None:
    two, one = write_tracks(tmp_path / "two.mov", [SOUND, SOUND]), write_sound(tmp_path / "one.wav", SOUND, RATE_HZ)
    with pytest.raises(MediaError, match=r"two.mov has no audio track 3: it has 2 audio tracks.*from 1 to 2"):
        read_audio(two, track=3, **WHOLE)
    with pytest.raises(MediaError, match=r"one.wav has no audio track 2: it has 1 audio track\."):
        read_audio(one, track=2, **WHOLE)


def test_the_note_names_the_track_and_the_silent_ones() -> None:
    one, two = AudioTrack(2, 3, (1,)), AudioTrack(3, 3, (1, 2))
    assert audio_track_note("a.mov", AudioTrack(1, 2)).text == (
        "a.mov has 2 audio tracks, and track 1 was read. To read another, choose its number."
    )
    assert "track 2 was read, since track 1 is silent in this range." in audio_track_note("a.mov", one).text
    assert "track 3 was read, since tracks 1 and 2 are silent in this range." in audio_track_note("a.mov", two).text


@pytest.mark.parametrize("factor", [-1.0, -0.8])
def test_channels_that_cancel_each_other_keep_their_energy(factor: float, tmp_path: Path) -> None:
    path = write_channels(tmp_path / "a.wav", np.stack([SOUND, factor * SOUND]))
    sound = read_audio(path, **WHOLE)
    assert rms(sound) == pytest.approx(rms(SOUND) * np.sqrt((1 + factor**2) / 2), rel=0.01)
    assert abs(np.corrcoef(sound, SOUND)[0, 1]) > 0.999


def test_a_range_decides_about_its_own_channels(tmp_path: Path) -> None:
    inverted = np.concatenate([SOUND[:RATE_HZ], -SOUND[RATE_HZ:]])
    path = write_channels(tmp_path / "a.wav", np.stack([SOUND, inverted]))
    later = read_audio(path, start_s=Fraction(11, 10), duration_s=Fraction(1, 2), sample_rate_hz=RATE_HZ)
    assert rms(later) == pytest.approx(rms(SOUND), rel=0.05)


@pytest.mark.parametrize(("channels", "place"), [(4, 3), (6, 3), (8, 3), (16, 12), (24, 23)])
def test_a_sound_on_one_of_many_channels_is_read(channels: int, place: int, tmp_path: Path) -> None:
    waveform = np.zeros((channels, SOUND.size), np.float32)
    waveform[place] = SOUND
    sound = read_audio(write_channels(tmp_path / "a.wav", waveform), **WHOLE)
    assert np.corrcoef(sound, SOUND)[0, 1] > 0.999
    assert rms(sound) == pytest.approx(rms(SOUND) / (channels if channels < 10 else 1), rel=0.01)


def test_many_independent_channels_keep_their_mean_power(tmp_path: Path) -> None:
    waveform = np.random.default_rng(3).uniform(-0.5, 0.5, (16, SOUND.size)).astype(np.float32)
    sound = read_audio(write_channels(tmp_path / "a.wav", waveform), **WHOLE)
    assert rms(sound) == pytest.approx(rms(waveform), rel=0.05)
    assert all(np.corrcoef(sound, channel)[0, 1] > 0.1 for channel in waveform)


@pytest.mark.parametrize("width", [0.0, 0.5, 1.0])
def test_ordinary_mono_and_stereo_are_mixed_by_ffmpeg_as_before(width: float, tmp_path: Path) -> None:
    other = (1 - width) * SOUND + width * noise(SOUND.size, 1)
    for channels in (SOUND[None], np.stack([SOUND, other]), np.stack([SOUND, SILENCE])):
        path = write_channels(tmp_path / "a.wav", channels)
        with av.open(str(path)) as container:
            mixer = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
            frames = [mixed for frame in container.decode(audio=0) for mixed in mixer.resample(frame)]
            mixed = np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *mixer.resample(None)]])
        np.testing.assert_array_equal(read_audio(path, **WHOLE), mixed)
