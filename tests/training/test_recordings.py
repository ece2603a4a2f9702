"""A user's recordings: cutting, caching, held-out recordings, and errors for unusable ones."""

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


def write_sound(path: Path, waveform: np.ndarray, rate_hz: int = RATE, subtype: str = "FLOAT") -> Path:
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
def test_any_rate_and_channels_become_mono_at_the_packs_rate(rate_hz: int, channels: int, tmp_path: Path) -> None:
    times_s = np.arange(2 * rate_hz) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 1000 * times_s)
    clips = cut(write_sound(tmp_path / "tone.wav", np.stack([tone] * channels, axis=1), rate_hz, "PCM_16"))
    assert clips.starts_s == (0, 0)
    assert clips.sounds.shape == (2, CLIP)
    sound = clips.sounds[0] / 32767
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.02)
    spectrum = np.abs(np.fft.rfft(sound[: 2 * RATE]))
    assert spectrum.argmax() / 2 == pytest.approx(1000, abs=1)
    # A sound shorter than a clip is padded with digital silence.
    assert not sound[2 * RATE + 10 :].any()


def test_a_short_sound_is_also_repeated(tmp_path: Path) -> None:
    hit = np.exp(-np.arange(4000) / 500).astype(np.float32) * noise(0.25)
    clips = cut(write_sound(tmp_path / "hit.wav", hit))
    assert len(clips.sounds) == 2
    loud = np.flatnonzero(np.abs(clips.sounds[1]) > 1500)
    begins = loud[np.concatenate([[True], np.diff(loud) > 2000])]
    assert 3 <= len(begins) <= 12
    assert len(set(np.diff(begins))) > 1
    assert np.abs(clips.sounds[1]).max() == pytest.approx(16384, rel=0.01)
    repeated = cut(tmp_path / "hit.wav")
    assert np.array_equal(repeated.sounds, clips.sounds)
    assert not np.array_equal(cut(write_sound(tmp_path / "other.wav", hit)).sounds[1], clips.sounds[1])
    # A longer sound is not repeated.
    assert len(cut(write_sound(tmp_path / "long.wav", noise(2.6))).sounds) == 1


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


def test_a_long_recording_is_cut_at_the_hop_up_to_the_limit(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "long.flac", noise(30), subtype="PCM_16")
    clips = cut(path, hop_s=Fraction(5))
    assert clips.starts_s[0] == 0
    assert clips.starts_s[-1] == 30 - Fraction(512, 100)
    assert len(clips.starts_s) == 6
    assert len(cut(path, most_clips=3).starts_s) == 3
    whole = np.round(noise(30) * 32767) / 32768
    start = int(clips.starts_s[2] * RATE)
    part = whole[start : start + CLIP] - whole[start : start + CLIP].mean()
    np.testing.assert_allclose(clips.sounds[2] / 32767, part / np.abs(part).max() / 2, atol=2e-4)


def test_silence_is_mostly_dropped(tmp_path: Path) -> None:
    # 60 s of noise, 60 s of silence, 60 s of noise that is 54 dB lower.
    sound = np.concatenate([noise(60), np.zeros(60 * RATE, np.float32), noise(60, 0.001)])
    clips = cut(write_sound(tmp_path / "a.wav", sound), hop_s=Fraction(5))
    silent = [start_s for start_s, clip in zip(clips.starts_s, clips.sounds, strict=True) if np.abs(clip).max() < 1000]
    assert 12 <= len(clips.starts_s) - len(silent) <= 14
    assert len(silent) == 1


def test_faint_parts_of_a_recording_stay_faint(tmp_path: Path) -> None:
    sound = np.concatenate([noise(10), noise(10, 0.5 / 50), noise(10, 0.5 / 5)])
    clips = cut(write_sound(tmp_path / "a.wav", sound), hop_s=Fraction(1))
    peaks = {
        float(start_s): np.abs(clip).max() / 32767 for start_s, clip in zip(clips.starts_s, clips.sounds, strict=True)
    }
    assert peaks[0.0] == pytest.approx(0.5, abs=0.01)
    assert min(peaks.values()) == pytest.approx(0.1, abs=0.01)  # 1/50 of the loudest
    assert peaks[max(peaks)] == pytest.approx(0.5, abs=0.01)  # 1/5 of the loudest is normalised


def test_a_constant_offset_is_silent(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="silent throughout"):
        cut(write_sound(tmp_path / "a.wav", np.full(RATE, 0.3, np.float32)))
    clips = cut(write_sound(tmp_path / "b.wav", noise(2, 0.1) + 0.3))
    assert abs(clips.sounds[0, : 2 * RATE].mean()) < 20
    assert not clips.sounds[0, 2 * RATE :].any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as media"),
        (b"this is not audio " * 100, "cannot be read as media"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cannot be"),
    ],
)
def test_unreadable_files_are_reported(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(MediaError, match=message):
        cut(tmp_path / "a.wav")


def test_empty_silent_or_non_finite_sounds_are_reported(tmp_path: Path) -> None:
    for waveform, message in (
        (np.zeros(0, np.float32), r"cannot be|silent"),
        (np.zeros(RATE, np.float32), "silent throughout"),
        (np.full(RATE, np.nan, np.float32), r"not numbers|silent"),
    ):
        with pytest.raises(MediaError, match=message):
            cut(write_sound(tmp_path / "a.wav", waveform))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hop_s": Fraction(0)}, "hop is 0 s"),
        ({"hop_s": Fraction(6)}, "hop is 6 s"),
        ({"most_clips": 0}, "most_clips is 0"),
    ],
)
def test_invalid_formats_are_refused(values, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ClipFormat(**values)


@pytest.fixture(scope="module")
def videos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of a hammer and one without sound."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(4):
        scene = audible_scene(880_000_000 + number, "hammer", (5.12, 3.0, 8.0, 2.0)[number])
        write_video(folder / f"hammer {number}.mp4", scene)
    write_video(folder / "mute hammer.mp4", scene, with_sound=False)
    return folder


@pytest.mark.slow
def test_videos_give_frames_and_audio(videos_folder: Path) -> None:
    clips = cut(videos_folder / "hammer 2.mp4", is_seen=True)
    assert len(clips.starts_s) == 3
    assert clips.frames is not None
    assert clips.frames.shape == (3, 128, 64, 64)
    assert clips.frames.dtype == np.uint8
    # Overlapping clips have the same frames at the same times.
    shift = round(float(clips.starts_s[1]) * 25)
    difference = clips.frames[0, shift:].astype(int) - clips.frames[1, : 128 - shift]
    assert np.abs(difference).mean() < 3
    short = cut(videos_folder / "hammer 3.mp4", is_seen=True)
    assert len(short.sounds) == 1
    assert (short.frames[0, 55:] == short.frames[0, 55]).all()  # the last frame is repeated
    assert not short.sounds[0, round(2.1 * RATE) :].any()


def test_videos_without_audio_and_sounds_without_video_are_reported(videos_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"mute hammer.mp4 has no sound"):
        cut(videos_folder / "mute hammer.mp4", is_seen=True)
    # The audio of a video may be used alone.
    assert cut(videos_folder / "hammer 0.mp4").frames is None
    with pytest.raises(MediaError, match="has no video"):
        cut(write_sound(tmp_path / "a.wav", noise(1)), is_seen=True)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Twenty sounds with two captions, and three unusable files."""
    folder = tmp_path / "sounds"
    for number in range(20):
        caption = "wind" if number % 2 else "steam"
        write_stereo(folder / caption / f"{number:02d}.wav", noise(1 + number % 3 * 4, seed=number))
    (folder / "wind" / "broken.wav").write_bytes(b"RIFF")
    write_sound(folder / "wind" / "empty.wav", np.zeros(0, np.float32))
    write_sound(folder / "steam" / "silent.wav", np.zeros(RATE, np.float32))
    return folder


@pytest.mark.slow
def test_unusable_files_are_named_and_skipped(sounds: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    progress = []
    recordings.write(2, lambda done, total: progress.append((done, total)))
    left_out = recordings.left_out()
    assert sorted(each.what for each in left_out) == ["steam/silent.wav", "wind/broken.wav", "wind/empty.wav"]
    assert sorted(done for done, _ in progress)[-1] == 23
    assert {total for _, total in progress} == {23}
    recordings.write(1)
    assert recordings.left_out() == left_out
    facts = recordings.facts()
    assert (facts["recordings"], facts["held_out_recordings"], facts["left_out"]) == (20, 2, 3)
    assert (facts["videos"], facts["captions"]) == (0, 2)
    assert not recordings.has_pictures
    assert list((tmp_path / "cache").glob("*partial*")) == []
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.slow
def test_recordings_give_the_stages_the_same_data_as_synthetic_clips(sounds: Path, tmp_path: Path) -> None:
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
    # Read from the disk.
    reopened = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    assert torch.equal(reopened.sounds(front_end, embed).log_mels, corpus.log_mels)
    with pytest.raises(SettingsError, match="None of the training recordings has video"):
        recordings.videos(front_end)


def test_onsets_are_found_in_strikes_but_not_in_rain(tmp_path: Path) -> None:
    strikes = np.zeros(5 * RATE, np.float32)
    for time_s, strength in ((0.5, 0.5), (1.7, 0.2), (2.2, 0.4), (3.9, 0.5)):
        start = round(time_s * RATE)
        strikes[start : start + 4000] += strength * np.exp(-np.arange(4000) / 600) * noise(0.25, 1.0)
    write_sound(tmp_path / "sounds" / "hits.wav", strikes)
    write_sound(tmp_path / "sounds" / "rain.wav", noise(5.12, 0.3))
    recordings = Recordings(tmp_path / "cache", list_recordings(tmp_path / "sounds", None))
    recordings.write(1)
    # One of the two is held out. The onsets of both are checked here.
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
    # The held-out recordings stay the same when others are added.
    write_stereo(sounds / "new" / "hail.wav", noise(2, seed=99))
    more = Recordings(tmp_path / "more", list_recordings(sounds, None), ClipFormat(hop_s=Fraction(1)))
    more.write(1)
    assert len(more._held_out - recordings._held_out) <= 1


def test_videos_give_training_data_for_video_and_sound(videos_folder: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "cache", list_recordings(None, videos_folder))
    recordings.write(2)
    assert [each.what for each in recordings.left_out()] == ["mute hammer.mp4"]
    front_end = world_front_end()
    videos = recordings.videos(front_end)
    assert recordings.has_pictures
    assert videos.frames.shape[1:] == (128, 64, 64)
    assert videos.energies.shape == videos.frames.shape[:2]
    mels = recordings.sounds(front_end, embed).log_mels
    torch.testing.assert_close(videos.energies[0], mels[0].float().mean(-1).reshape(128, 4).mean(-1), atol=0.02, rtol=0)
    held_out = recordings.held_out(10)
    assert set(held_out.captions) == {"hammer"}
    assert all(frames is not None and frames.shape == (128, 64, 64) for frames in held_out.pictures)


def test_an_incompatible_frame_rate_is_refused(videos_folder: Path, tmp_path: Path) -> None:
    clips = ClipFormat(frame_rate=Fraction(24))
    recordings = Recordings(tmp_path / "cache", list_recordings(None, videos_folder), clips)
    recordings.write(1)
    with pytest.raises(SettingsError, match="24 frames per second do not divide 100 log-mel frames per second"):
        recordings.videos(world_front_end())


def test_captions_are_used_in_turn(sounds: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "all.csv"
    manifest.write_text("file,caption_1,caption_2\n02.wav,one,two\n05.wav,three,\n", "utf-8")
    listing = list_recordings(sounds, None, CaptionSource(manifest=manifest))
    recordings = Recordings(tmp_path / "cache", RecordingCatalog(listing.recordings[:1]))
    recordings.write(1)
    assert len(recordings.captions()) > 1
    assert set(recordings.captions()) == {"one", "two"}


@pytest.mark.slow
def test_a_stopped_preparation_is_resumed(sounds: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    recordings = Recordings(tmp_path / "cache", list_recordings(sounds, None))
    with pytest.raises(TrainingStopped):
        recordings.write(1, lambda done, total: cancel.set(), cancel)
    modified_ns = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("0*.json")}
    assert 1 <= len(modified_ns) < 3
    cancel.clear()
    recordings.write(1, cancel=cancel)
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in modified_ns.items())
    whole = Recordings(tmp_path / "whole", list_recordings(sounds, None))
    whole.write(2)
    assert torch.equal(recordings.waveforms().waveforms, whole.waveforms().waveforms)


@pytest.mark.slow
def test_a_cache_of_other_recordings_or_settings_is_refused(sounds: Path, tmp_path: Path) -> None:
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


def test_no_usable_recordings_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "rain.wav").write_bytes(b"no")
    with pytest.raises(SettingsError, match=r"None of the 1 recordings can be used; rain.wav: rain.wav cannot be read"):
        Recordings(tmp_path / "cache", list_recordings(folder, None)).write(1)
