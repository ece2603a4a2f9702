"""Parts of recordings at any rate continue each other, and an error reports a missing or changed file."""

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_library import RATE_HZ, MadeLibrary, noise, strike_sound

from rewas_engine.errors import MediaError
from rewas_engine.recordings import forward_reading
from rewas_engine.recordings.reading import RecordingReader


@pytest.fixture
def library(tmp_path: Path) -> MadeLibrary:
    made = MadeLibrary(tmp_path)
    made.add_stretch("noise.flac", noise(np.random.default_rng(0), 2, 0.1))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate_hz=st.sampled_from([16_000, 44_100, 48_000, 96_000]),
    origin=st.integers(0, RATE_HZ),
    first=st.integers(-500, 3000),
    middle=st.integers(1, 3000),
    rest=st.integers(1, 3000),
)
def test_parts_continue_each_other(tmp_path_factory, rate_hz, origin, first, middle, rest) -> None:
    made = MadeLibrary(tmp_path_factory.mktemp("library"))
    made.add_stretch("noise.wav", noise(np.random.default_rng(0), 2, 0.1))
    with RecordingReader(made.index(), rate_hz=rate_hz, channels=1) as reader:
        whole = reader.read(0, origin, first, first + middle + rest)
        parts = [
            reader.read(0, origin, first, first + middle),
            reader.read(0, origin, first + middle, first + middle + rest),
        ]
    assert whole.shape == (1, middle + rest)
    assert np.allclose(np.concatenate(parts, axis=1), whole, atol=2e-5)


def test_the_same_rate_and_channels_give_the_samples_of_the_file(library: MadeLibrary, tmp_path: Path) -> None:
    samples = soundfile.read(tmp_path / "noise.flac", dtype="float32")[0].T
    with RecordingReader(library.index(), rate_hz=RATE_HZ, channels=2) as reader:
        assert np.array_equal(reader.read(0, 1000, -100, 300), samples[:, 900:1300])
        assert not reader.read(0, 0, -50, 0).any()


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".ogg", {"subtype": "VORBIS"}), (".ogg", {"subtype": "OPUS"}), (".mp3", {"subtype": "MPEG_LAYER_III"}),
        (".flac", {}), (".aiff", {}),
    ],
)  # fmt: skip
def test_parts_are_exact_in_any_order(tmp_path: Path, suffix: str, form: dict[str, str], monkeypatch) -> None:
    monkeypatch.setattr(forward_reading, "KEPT_BYTES", 8 * RATE_HZ)
    rng = np.random.default_rng(1)
    made = MadeLibrary(tmp_path)
    made.add_events("a.wav", [strike_sound(rng, gain) for gain in (0.9, 0.2, 0.5, 0.7, 0.1, 0.6)])
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, soundfile.read(tmp_path / "a.wav")[0], RATE_HZ, **form)
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    index = made.index()
    state = path.stat()
    recording = replace(
        index.recordings[0], path=path, size_bytes=state.st_size, modified_ns=state.st_mtime_ns,
        samples=whole.shape[1], channels=len(whole),
    )  # fmt: skip
    with RecordingReader(replace(index, recordings=(recording,)), rate_hz=RATE_HZ, channels=len(whole)) as reader:
        for start in rng.integers(0, whole.shape[1] - 100, 60).tolist():
            stop = min(whole.shape[1], start + int(rng.integers(1, 20_000)))
            np.testing.assert_allclose(reader.read(0, start, 0, stop - start), whole[:, start:stop], atol=1e-5)


def test_a_faster_speed_raises_the_pitch(tmp_path: Path) -> None:
    made = MadeLibrary(tmp_path)
    made.add_stretch("tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE_HZ) / RATE_HZ))
    with RecordingReader(made.index(), rate_hz=RATE_HZ, channels=1) as reader:
        sound = reader.read(0, 4800, 0, RATE_HZ, speed=Fraction(11, 10))[0]
    assert int(np.abs(np.fft.rfft(sound)).argmax()) == 1100


def test_channels_that_cancel_each_other_out_are_heard_in_mono(tmp_path: Path) -> None:
    made = MadeLibrary(tmp_path)
    sound = noise(np.random.default_rng(0), 1, 0.1)
    made._write("wide.wav", np.stack([sound, -sound], axis=1).astype(np.float32), "")
    with RecordingReader(made.index(), rate_hz=RATE_HZ, channels=1) as reader:
        assert reader.read(0, 0, 0, RATE_HZ).std() == pytest.approx(0.1, rel=0.05)


def test_a_missing_file_is_named(library: MadeLibrary, tmp_path: Path) -> None:
    (tmp_path / "noise.flac").unlink()
    with (
        RecordingReader(library.index(), rate_hz=RATE_HZ, channels=2) as reader,
        pytest.raises(MediaError, match=r"noise\.flac is missing"),
    ):
        reader.read(0, 0, 0, 100)


def test_a_changed_file_is_named(library: MadeLibrary, tmp_path: Path) -> None:
    path = tmp_path / "noise.flac"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(0, 0))
    with (
        RecordingReader(library.index(), rate_hz=RATE_HZ, channels=2) as reader,
        pytest.raises(MediaError, match=r"noise\.flac has changed since the library was made"),
    ):
        reader.read(0, 0, 0, 100)


def test_a_restored_file_with_another_time_is_read(library: MadeLibrary, tmp_path: Path) -> None:
    os.utime(tmp_path / "noise.flac", ns=(0, 0))
    with RecordingReader(library.index(), rate_hz=RATE_HZ, channels=2) as reader:
        assert reader.read(0, 0, 0, 100).any()


def test_a_format_of_ffmpeg_alone_is_read(library: MadeLibrary, tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path) -> None:
        raise soundfile.LibsndfileError(1)

    index = library.index()
    with RecordingReader(index, rate_hz=RATE_HZ, channels=2) as reader:
        expected = reader.read(0, 70_000, 0, 500)
    monkeypatch.setattr(soundfile, "SoundFile", refuse)
    with RecordingReader(index, rate_hz=RATE_HZ, channels=2) as reader:
        assert np.array_equal(reader.read(0, 70_000, 0, 500), expected)
