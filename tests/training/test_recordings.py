"""Somebody's own recordings: cut, kept, held out, and refused where they cannot be used."""

import json
import threading
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from foreign_layout import audible_scene, write_stereo, write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.training.corpus import world_front_end
from rewas_engine.training.cutting import ClipFormat, cut_recording
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.recording_catalog import CaptionSource, Recording, RecordingCatalog, list_recordings
from rewas_engine.training.recordings import Recordings

RATE = 16_000
CLIP = ClipFormat().samples


def noise(duration_s: float, strength: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-strength, strength, round(duration_s * RATE)).astype(np.float32)


def written(path: Path, waveform: np.ndarray, rate_hz: int = RATE, subtype: str = "FLOAT") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate_hz, subtype=subtype)
    return path


def cut(path: Path, is_seen: bool = False, **settings_of_clips):
    return cut_recording(Recording(path, path.name, ("x",), is_seen), ClipFormat(**settings_of_clips))


def embed(captions) -> torch.Tensor:
    """A stand-in for sentence embeddings: the number of characters."""
    return torch.tensor([[float(len(caption))] * 3 for caption in captions])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_number_of_channels_becomes_mono_at_the_packs_rate(
    rate_hz: int, channels: int, tmp_path: Path
) -> None:
    times_s = np.arange(2 * rate_hz) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 1000 * times_s)
    made = cut(written(tmp_path / "tone.wav", np.stack([tone] * channels, axis=1), rate_hz, "PCM_16"))
    assert made.starts_s == (0, 0)
    assert made.sounds.shape == (2, CLIP)
    sound = made.sounds[0] / 32767
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.02)
    spectrum = np.abs(np.fft.rfft(sound[: 2 * RATE]))
    assert spectrum.argmax() / 2 == pytest.approx(1000, abs=1)
    # What is shorter than a clip ends in true silence.
    assert not sound[2 * RATE + 10 :].any()


def test_a_short_sound_is_also_heard_again_and_again(tmp_path: Path) -> None:
    hit = np.exp(-np.arange(4000) / 500).astype(np.float32) * noise(0.25)
    made = cut(written(tmp_path / "hit.wav", hit))
    assert len(made.sounds) == 2
    loud = np.flatnonzero(np.abs(made.sounds[1]) > 1500)
    begins = loud[np.concatenate([[True], np.diff(loud) > 2000])]
    assert 3 <= len(begins) <= 12
    assert len(set(np.diff(begins))) > 1
    assert np.abs(made.sounds[1]).max() == pytest.approx(16384, rel=0.01)
    again = cut(tmp_path / "hit.wav")
    assert np.array_equal(again.sounds, made.sounds)
    assert not np.array_equal(cut(written(tmp_path / "other.wav", hit)).sounds[1], made.sounds[1])
    # A longer one is long enough, and a film keeps its sound where it was.
    assert len(cut(written(tmp_path / "long.wav", noise(2.6))).sounds) == 1


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 400_000),
    hop=st.integers(1, 512),
    most=st.integers(1, 60),
)
def test_clips_of_a_steady_sound_cover_it_evenly(length: int, hop: int, most: int) -> None:
    from rewas_engine.training.cutting import _choose_starts

    clips = ClipFormat(hop_s=Fraction(hop, 100), most_clips=most)
    sound = np.tile(np.array([0.5, -0.5], np.float32), length)[:length]
    if length == 1:
        return
    starts = _choose_starts(sound, clips)
    assert 1 <= len(starts) <= most
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert all(start + CLIP <= max(length, CLIP) for start in starts)
    if len(starts) < most:
        assert starts[-1] == max(0, length - CLIP)
        assert all(later - earlier <= hop * RATE // 100 for earlier, later in pairwise(starts))


def test_a_long_recording_gives_clips_at_the_hop_and_not_more_than_wanted(tmp_path: Path) -> None:
    path = written(tmp_path / "long.flac", noise(30), subtype="PCM_16")
    made = cut(path, hop_s=Fraction(5))
    assert made.starts_s[0] == 0
    assert made.starts_s[-1] == 30 - Fraction(512, 100)
    assert len(made.starts_s) == 6
    assert len(cut(path, most_clips=3).starts_s) == 3
    whole = np.round(noise(30) * 32767) / 32768
    start = int(made.starts_s[2] * RATE)
    part = whole[start : start + CLIP] - whole[start : start + CLIP].mean()
    np.testing.assert_allclose(made.sounds[2] / 32767, part / np.abs(part).max() / 2, atol=2e-4)


def test_silence_is_mostly_dropped(tmp_path: Path) -> None:
    # 60 s of noise, 60 s of nothing, 60 s of what is 54 dB weaker.
    sound = np.concatenate([noise(60), np.zeros(60 * RATE, np.float32), noise(60, 0.001)])
    made = cut(written(tmp_path / "a.wav", sound), hop_s=Fraction(5))
    silent = [start_s for start_s, clip in zip(made.starts_s, made.sounds, strict=True) if np.abs(clip).max() < 1000]
    assert 12 <= len(made.starts_s) - len(silent) <= 14
    assert len(silent) == 1


def test_what_is_faint_in_its_recording_stays_faint(tmp_path: Path) -> None:
    sound = np.concatenate([noise(10), noise(10, 0.5 / 50), noise(10, 0.5 / 5)])
    made = cut(written(tmp_path / "a.wav", sound), hop_s=Fraction(1))
    peaks = {
        float(start_s): np.abs(clip).max() / 32767 for start_s, clip in zip(made.starts_s, made.sounds, strict=True)
    }
    assert peaks[0.0] == pytest.approx(0.5, abs=0.01)
    assert min(peaks.values()) == pytest.approx(0.1, abs=0.01)  # a fiftieth of the strongest
    assert peaks[max(peaks)] == pytest.approx(0.5, abs=0.01)  # a fifth of it is normalised


def test_a_constant_offset_is_no_sound(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="silent throughout"):
        cut(written(tmp_path / "a.wav", np.full(RATE, 0.3, np.float32)))
    made = cut(written(tmp_path / "b.wav", noise(2, 0.1) + 0.3))
    assert abs(made.sounds[0, : 2 * RATE].mean()) < 20
    assert not made.sounds[0, 2 * RATE :].any()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as media"),
        (b"this is no sound " * 100, "cannot be read as media"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cannot be"),
    ],
)
def test_unreadable_files_are_told(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(MediaError, match=said):
        cut(tmp_path / "a.wav")


def test_sounds_of_no_length_of_zeros_or_of_no_numbers_are_told(tmp_path: Path) -> None:
    for waveform, said in (
        (np.zeros(0, np.float32), r"cannot be|silent"),
        (np.zeros(RATE, np.float32), "silent throughout"),
        (np.full(RATE, np.nan, np.float32), r"not numbers|silent"),
    ):
        with pytest.raises(MediaError, match=said):
            cut(written(tmp_path / "a.wav", waveform))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hop_s": Fraction(0)}, "hop is 0 s"),
        ({"hop_s": Fraction(6)}, "hop is 6 s"),
        ({"most_clips": 0}, "most_clips is 0"),
    ],
)
def test_formats_that_make_no_sense_are_refused(values, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ClipFormat(**values)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of one striking thing and one of it without sound."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        scene = audible_scene(880_000_000 + number, "hammer", (5.12, 3.0, 8.0, 2.0)[number])
        write_video(folder / f"hammer {number}.mp4", scene)
    write_video(folder / "mute hammer.mp4", scene, with_sound=False)
    return folder


@pytest.mark.slow
def test_videos_are_seen_and_heard(films: Path) -> None:
    made = cut(films / "hammer 2.mp4", is_seen=True)
    assert len(made.starts_s) == 3
    assert made.frames is not None
    assert made.frames.shape == (3, 128, 64, 64)
    assert made.frames.dtype == np.uint8
    # Overlapping clips show the same pictures at the same times.
    shift = round(float(made.starts_s[1]) * 25)
    difference = made.frames[0, shift:].astype(int) - made.frames[1, : 128 - shift]
    assert np.abs(difference).mean() < 3
    short = cut(films / "hammer 3.mp4", is_seen=True)
    assert len(short.sounds) == 1
    assert (short.frames[0, 55:] == short.frames[0, 55]).all()  # the last picture stands
    assert not short.sounds[0, round(2.1 * RATE) :].any()


def test_videos_without_sound_and_sounds_without_picture_are_told(films: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"mute hammer.mp4 has no sound"):
        cut(films / "mute hammer.mp4", is_seen=True)
    # A video may be listened to alone.
    assert cut(films / "hammer 0.mp4").frames is None
    with pytest.raises(MediaError, match="has no video"):
        cut(written(tmp_path / "a.wav", noise(1)), is_seen=True)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Twenty sounds of two captions, and three that are none."""
    folder = tmp_path / "sounds"
    for number in range(20):
        words = "wind" if number % 2 else "steam"
        write_stereo(folder / words / f"{number:02d}.wav", noise(1 + number % 3 * 4, seed=number))
    (folder / "wind" / "broken.wav").write_bytes(b"RIFF")
    written(folder / "wind" / "empty.wav", np.zeros(0, np.float32))
    written(folder / "steam" / "silent.wav", np.zeros(RATE, np.float32))
    return folder


@pytest.mark.slow
def test_what_cannot_be_used_is_named_and_left_out(sounds: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    told = []
    recordings.write(2, lambda done, total: told.append((done, total)))
    left_out = recordings.left_out()
    assert sorted(each.what for each in left_out) == ["steam/silent.wav", "wind/broken.wav", "wind/empty.wav"]
    assert sorted(done for done, _ in told)[-1] == 23
    assert {total for _, total in told} == {23}
    recordings.write(1)
    assert recordings.left_out() == left_out
    facts = recordings.facts()
    assert (facts["recordings"], facts["held_out_recordings"], facts["left_out"]) == (20, 2, 3)
    assert (facts["videos"], facts["captions"]) == (0, 2)
    assert not recordings.has_pictures
    assert list((tmp_path / "cache").glob("*partial*")) == []
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.slow
def test_the_stages_are_given_what_the_world_gives_them(sounds: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    recordings.write(1)
    captions, front_end = recordings.captions(), world_front_end()
    corpus = recordings.sounds(front_end, embed)
    waveforms = recordings.waveforms().waveforms
    assert len(captions) == len(waveforms) == len(corpus.log_mels) == len(corpus.prompts)
    assert waveforms.dtype == torch.int16
    assert corpus.log_mels.shape[1:] == (512, 64)
    assert torch.equal(corpus.has_onsets, corpus.onsets.any(dim=1))
    assert corpus.onsets.shape == corpus.log_mels.shape[:2]
    assert corpus.prompts[:, 0].tolist() == [len(caption) for caption in captions]
    torch.testing.assert_close(
        corpus.log_mels[3].float(), front_end.log_mel(waveforms[3:4] / 32767)[0], atol=0.01, rtol=0
    )
    # Read again, from the disk.
    again = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    assert torch.equal(again.sounds(front_end, embed).log_mels, corpus.log_mels)
    with pytest.raises(SettingsError, match="None of the training recordings has video"):
        recordings.videos(front_end)


def test_strikes_are_found_in_a_recording_and_none_in_rain(tmp_path: Path) -> None:
    strikes = np.zeros(5 * RATE, np.float32)
    for time_s, strength in ((0.5, 0.5), (1.7, 0.2), (2.2, 0.4), (3.9, 0.5)):
        start = round(time_s * RATE)
        strikes[start : start + 4000] += strength * np.exp(-np.arange(4000) / 600) * noise(0.25, 1.0)
    written(tmp_path / "sounds" / "hits.wav", strikes)
    written(tmp_path / "sounds" / "rain.wav", noise(5.12, 0.3))
    recordings = Recordings(tmp_path / "cache", list_recordings(tmp_path / "sounds", None))
    recordings.write(1)
    # One of two is held out; what is asked here is asked of all.
    tracks = recordings._onsets(world_front_end(), 512)
    of_name = {clip.recording: tracks[clip.row] for clip in recordings._all_clips}
    assert np.flatnonzero(of_name["hits.wav"]) == pytest.approx([50, 170, 220, 390], abs=3)
    assert of_name["hits.wav"].max() == 1
    assert not of_name["rain.wav"].any()


@pytest.mark.slow
def test_whole_recordings_are_held_out(sounds: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None), ClipFormat(hop_s=Fraction(1)))
    recordings.write(1)
    held_out = recordings.held_out(1000)
    assert len(held_out.captions) == len(held_out.sounds) == len(held_out.pictures)
    training = {clip.tobytes() for clip in recordings.waveforms().waveforms.numpy()}
    assert not training & {np.round(clip * 32767).astype(np.int16).tobytes() for clip in held_out.sounds}
    assert len(recordings.held_out(1).captions) == 1
    # The same are held out where others come.
    write_stereo(sounds / "new" / "hail.wav", noise(2, seed=99))
    more = Recordings(tmp_path / "more", list_recordings(sounds, None), ClipFormat(hop_s=Fraction(1)))
    more.write(1)
    assert len(more._held_out - recordings._held_out) <= 1


def test_videos_teach_picture_and_sound(films: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(None, films))
    recordings.write(2)
    assert [each.what for each in recordings.left_out()] == ["mute hammer.mp4"]
    front_end = world_front_end()
    pictures = recordings.videos(front_end)
    assert recordings.has_pictures
    assert pictures.frames.shape[1:] == (128, 64, 64)
    assert pictures.energies.shape == pictures.frames.shape[:2]
    mels = recordings.sounds(front_end, embed).log_mels
    torch.testing.assert_close(
        pictures.energies[0], mels[0].float().mean(-1).reshape(128, 4).mean(-1), atol=0.02, rtol=0
    )
    held_out = recordings.held_out(10)
    assert set(held_out.captions) == {"hammer"}
    assert all(picture is not None and picture.shape == (128, 64, 64) for picture in held_out.pictures)


def test_a_pictures_rate_that_does_not_fit_is_refused(films: Path, tmp_path: Path) -> None:
    clips = ClipFormat(frame_rate=Fraction(24))
    recordings = Recordings(tmp_path / "cache", list_recordings(None, films), clips)
    recordings.write(1)
    with pytest.raises(SettingsError, match="24 frames per second do not divide 100 log-mel frames per second"):
        recordings.videos(world_front_end())


def test_captions_are_taken_in_turn(sounds: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "all.csv"
    manifest.write_text("file,caption_1,caption_2\n02.wav,one,two\n05.wav,three,\n", "utf-8")
    listing = list_recordings(sounds, None, CaptionSource(manifest=manifest))
    recordings = Recordings(tmp_path / "cache", RecordingCatalog(listing.recordings[:1]))
    recordings.write(1)
    assert len(recordings.captions()) > 1
    assert set(recordings.captions()) == {"one", "two"}


@pytest.mark.slow
def test_a_stopped_preparation_goes_on_where_it_was(sounds: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    with pytest.raises(TrainingStopped):
        recordings.write(1, lambda done, total: cancel.set(), cancel)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("0*.json")}
    assert 1 <= len(made) < 3
    cancel.clear()
    recordings.write(1, cancel=cancel)
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in made.items())
    whole = Recordings(tmp_path / "whole", list_recordings(sounds, None))
    whole.write(2)
    assert torch.equal(recordings.waveforms().waveforms, whole.waveforms().waveforms)


@pytest.mark.slow
def test_a_folder_of_other_recordings_or_settings_is_refused(sounds: Path, tmp_path: Path) -> None:
    listing = list_recordings(sounds, None)
    Recordings(tmp_path / "cache", listing).write(1)
    changed = replace(listing.recordings[0], captions=("other",))
    for other in (
        Recordings(tmp_path / "cache", listing, ClipFormat(most_clips=7)),
        Recordings(tmp_path / "cache", RecordingCatalog(listing.recordings[1:])),
        Recordings(tmp_path / "cache", RecordingCatalog((changed, *listing.recordings[1:]))),
    ):
        with pytest.raises(SettingsError, match="clips of other recordings or settings"):
            other.write(1)


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "rain.wav").write_bytes(b"no")
    with pytest.raises(SettingsError, match=r"None of the 1 recordings can be used; rain.wav: rain.wav cannot be read"):
        Recordings(tmp_path / "cache", list_recordings(folder, None)).write(1)
