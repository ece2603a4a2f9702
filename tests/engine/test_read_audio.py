"""Reading the audio of a range, accurate to the sample and padded with silence; and writing WAV files."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numbered_clips import clicks, noise, write_numbered_clip, write_sound

from rewas_engine import Cancelled, MediaError, Stem
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import limit_peak, read_audio, resample, write_wav
from rewas_engine.media.video import probe_video


def _peak(sound: np.ndarray) -> int:
    return int(np.abs(sound).argmax())


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_a_click_is_at_its_time(name: str, rate_hz: int, tmp_path: Path) -> None:
    sound = clicks(4 * rate_hz, [3 * rate_hz // 2])
    path = write_numbered_clip(tmp_path / name, frames=100, sound=sound, sound_rate_hz=rate_hz)
    audio = read_audio(path, start_s=Fraction(0), duration_s=Fraction(4), sample_rate_hz=16_000)
    assert audio.size == 64_000
    assert abs(_peak(audio) - 24_000) <= 1
    later = read_audio(path, start_s=Fraction(6, 5), duration_s=Fraction(1), sample_rate_hz=16_000)
    assert abs(_peak(later) - 4800) <= 1


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_audio_is_placed_relative_to_the_first_frame(name: str, tmp_path: Path) -> None:
    # The audio begins 0.25 s after the video, which begins at 2 s.
    path = write_numbered_clip(
        tmp_path / name,
        frames=75,
        first_s=Fraction(2),
        sound=clicks(32_000, [8000]),
        sound_first_s=Fraction(9, 4),
    )
    origin_s = probe_video(path).start_s
    audio = read_audio(path, start_s=Fraction(0), duration_s=Fraction(3), sample_rate_hz=16_000, origin_s=origin_s)
    assert abs(_peak(audio) - 12_000) <= 16 + 1  # Matroska rounds times to a millisecond
    assert not audio[:3900].any()


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_codec_delay_is_compensated(codec: str, tmp_path: Path) -> None:
    sound = np.zeros(48_000 * 2, np.float32)
    sound[48_000:50_400] = noise(2400)
    path = write_numbered_clip(
        tmp_path / ("a.mp4" if codec == "aac" else "a.mkv"),
        frames=50,
        sound=sound,
        sound_rate_hz=48_000,
        sound_codec=codec,
    )
    audio = read_audio(
        path,
        start_s=Fraction(0),
        duration_s=Fraction(2),
        sample_rate_hz=48_000,
        origin_s=probe_video(path).start_s,
    )
    lag = np.correlate(audio[46_000:53_000], sound[48_000:50_400], "valid").argmax() - 2000
    assert abs(int(lag)) <= 48  # one millisecond


def test_a_gap_in_the_audio_stays_silent(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for start in (*range(0, 16_000, 1000), *range(32_000, 48_000, 1000)):
            samples = np.zeros((1, 1000), np.int16)
            samples[0, 500] = 20_000 if start == 40_000 else 0
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio = read_audio(path, start_s=Fraction(0), duration_s=Fraction(3), sample_rate_hz=16_000)
    assert abs(_peak(audio) - 40_500) <= 17


@pytest.mark.parametrize(("start_s", "duration_s"), [("1/2", "5"), ("3", "1"), ("100", "1"), ("0", "1/16000")])
def test_audio_beyond_the_end_is_silent(start_s: str, duration_s: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", np.full(16_000, 0.25, np.float32), 16_000)
    start, duration = Fraction(start_s), Fraction(duration_s)
    audio = read_audio(path, start_s=start, duration_s=duration, sample_rate_hz=16_000)
    assert audio.size == sample_count(duration, 16_000)
    available_samples = int(max(0, min(duration, 1 - start)) * 16_000)
    np.testing.assert_allclose(audio[:available_samples], 0.25, atol=1e-3)
    assert not audio[available_samples:].any()


def test_channels_are_mixed(tmp_path: Path) -> None:
    stereo = np.zeros((2, 16_000), np.float32)
    stereo[0, 4000], stereo[1, 12_000] = 0.5, 0.5
    soundfile.write(tmp_path / "a.wav", stereo.T, 16_000)
    audio = read_audio(tmp_path / "a.wav", start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000)
    assert abs(audio[4000]) > 0.2
    assert abs(audio[12_000]) > 0.2


def test_a_clip_without_audio_is_named(tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "mute.mp4", frames=10)
    with pytest.raises(MediaError, match=r"mute.mp4 has no sound"):
        read_audio(path, start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000)
    with pytest.raises(MediaError, match=r"nowhere.wav"):
        read_audio(tmp_path / "nowhere.wav", start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000)


@pytest.mark.parametrize("sample", [np.nan, np.inf])
def test_non_finite_samples_are_refused_by_file_name(sample: float, tmp_path: Path) -> None:
    waveform = np.zeros(16_000, np.float32)
    waveform[8000] = sample
    soundfile.write(tmp_path / "broken.wav", waveform, 16_000, subtype="FLOAT")
    with pytest.raises(MediaError, match=r"broken\.wav contains samples that are not numbers"):
        read_audio(tmp_path / "broken.wav", start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000)


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", noise(16_000), 16_000)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        read_audio(path, start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000, cancel=cancel)


@given(st.integers(1, 3000), st.sampled_from([16_000, 22_050, 44_100, 48_000]), st.integers(1, 9000))
def test_resampling_gives_exactly_the_requested_samples(count: int, rate_hz: int, samples: int) -> None:
    assert resample(np.ones((2, count), np.float32), 16_000, rate_hz, samples).shape == (2, samples)


def test_resampling_keeps_the_pitch() -> None:
    seconds = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    changed = resample(tone[None], 16_000, 48_000, 48_000)[0]
    expected = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    np.testing.assert_allclose(changed[2000:-2000], expected[2000:-2000], atol=1e-3)


def test_only_clipping_sounds_are_scaled() -> None:
    loud = limit_peak(np.array([[0.5, -4.0]], np.float32))
    np.testing.assert_allclose(loud, [[0.125, -1.0]])
    quiet = np.array([[0.5, -0.25]], np.float32)
    assert np.array_equal(limit_peak(quiet), quiet)


def test_a_wav_file_keeps_24_bits(tmp_path: Path) -> None:
    waveform = np.stack([noise(4801), noise(4801, seed=1)])
    waveform[0, :2] = 1.0, -1.0
    path = Stem("primary", waveform, 48_000).save(tmp_path / "take 1.wav")
    assert path == tmp_path / "take 1.wav"
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.channels, info.frames) == ("PCM_24", 48_000, 2, 4801)
    back, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(back.T, waveform, atol=2**-23 * 1.01)


def test_a_failed_write_keeps_the_existing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100)[None], 16_000)
    before = path.read_bytes()
    real = soundfile.SoundFile.write

    def full(self, data) -> None:
        real(self, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_wav(path, noise(200)[None], 16_000)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.wav"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Stem("primary", noise(10)[None], 16_000).save(tmp_path / "nowhere" / "a.wav")
