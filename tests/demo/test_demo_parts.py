"""Parts of the demo: its clips, its measurements and its drawing."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from draw_demo_energy import DrawnClip, draw_energy, frames_at
from make_demo_clips import (
    BLENDER_PYTHON,
    DEMO_CLIPS,
    FRAME_RATE,
    DemoClip,
    DrawnShot,
    RenderedShot,
    encode,
    make_clip,
)
from measure_demo_mix import matched_offsets_s, onset_f_score, read_mix, stem_lag_s
from numpy.typing import NDArray

from rewas_engine import SILENCE_NATS, EnergyCurve
from rewas_engine.curves.onsets import detect_onsets

RATE_HZ = 48000
HITS_S = (0.25, 0.8, 1.5)
Waveform = NDArray[np.float32]


def frames_of(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.float32)


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the drawn clip of the demo, and with the rendered one if Blender is set up."""
    folder = tmp_path_factory.mktemp("demo")
    for clip in DEMO_CLIPS:
        if isinstance(clip, DrawnShot) or BLENDER_PYTHON.exists():
            make_clip(clip, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("clip", DEMO_CLIPS, ids=lambda clip: clip.file_name)
def test_a_clip_has_the_exact_rate_and_length(clip: DemoClip, demo_folder: Path) -> None:
    path = demo_folder / clip.file_name
    if not path.exists():
        pytest.skip("Blender 4.5 is not set up; `make test` does it")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(24000, 1001)
        assert not container.streams.audio
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    assert times == [index / FRAME_RATE for index in range(clip.frames)]


@pytest.mark.slow
def test_the_ball_is_lowest_at_its_contacts(demo_folder: Path) -> None:
    clip = next(clip for clip in DEMO_CLIPS if clip.class_name == "ball_bounce")
    frames = frames_of(demo_folder / clip.file_name)[:, ::2, ::2]
    moved = np.abs(frames - np.median(frames, axis=0)).sum(axis=3) > 120
    rows = np.arange(frames.shape[1])
    heights = (moved * rows[:, None]).sum(axis=(1, 2)) / np.maximum(moved.sum(axis=(1, 2)), 1)
    for contact_s in clip.contacts_s:
        at = round(float(contact_s * FRAME_RATE))
        near = heights[max(at - 3, 0) : at + 4]
        assert abs(int(np.argmax(near)) - 3) <= 1, f"contact at {contact_s:.2f} s"


def test_the_rendered_shot_shows_every_strike() -> None:
    (clip,) = [clip for clip in DEMO_CLIPS if isinstance(clip, RenderedShot)]
    staged = clip.staged
    scene = staged.scene
    assert not (scene.off_screen)
    assert not (scene.is_silent)
    assert not (scene.silent_motion)
    assert not (staged.motionless)
    assert len(staged.shots.shots) == 1
    assert staged.frame_times_s.size == clip.frames
    assert len(clip.contacts_s) == 6
    assert 0 < min(clip.contacts_s) < max(clip.contacts_s) < clip.duration_s
    assert clip.staged is staged


@pytest.mark.slow
@pytest.mark.skipif(not BLENDER_PYTHON.exists(), reason="Blender 4.5 is not set up; `make test` does it")
def test_the_hammer_is_fastest_as_it_strikes(demo_folder: Path) -> None:
    (clip,) = [clip for clip in DEMO_CLIPS if isinstance(clip, RenderedShot)]
    frames = frames_of(demo_folder / clip.file_name)
    motion = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))  # motion[i]: from frame i to frame i + 1
    for contact_s in clip.contacts_s:
        struck = int(contact_s * FRAME_RATE)
        near = motion[struck - 5 : struck + 5]
        # The fastest change leads into the struck frame or out of it.
        assert int(np.argmax(near)) in (4, 5), f"strike at {contact_s:.2f} s"
        assert near.max() > 1.3 * np.median(motion), f"strike at {contact_s:.2f} s"


def test_the_frame_at_a_time_is_the_one_that_is_shown(tmp_path: Path) -> None:
    levels = np.arange(30, dtype=np.uint8) * 8
    encode(np.broadcast_to(levels[:, None, None, None], (30, 32, 32, 3)).copy(), tmp_path / "film.mp4", FRAME_RATE)
    times_s = (0.0, 10.01 / float(FRAME_RATE), 10.99 / float(FRAME_RATE), 99.0)
    shown = frames_at(tmp_path / "film.mp4", times_s)
    assert shown.shape == (4, 32, 26, 3)
    assert shown.mean(axis=(1, 2, 3)) == pytest.approx([0, 80, 80, 232], abs=4)


def test_frames_are_cropped_to_what_moves(tmp_path: Path) -> None:
    frames = np.full((20, 40, 128, 3), 60, np.uint8)
    frames[::2, 10:30, 96:112] = 220
    encode(frames, tmp_path / "film.mp4", FRAME_RATE)
    (shown,) = frames_at(tmp_path / "film.mp4", (0.0,))
    assert shown.shape == (40, 32, 3)
    assert (shown.mean(axis=2) > 150).sum() == pytest.approx(20 * 16, abs=40)


def strike_sound(duration_s: Fraction) -> Waveform:
    """Low-pass noise that decays after each of HITS_S."""
    samples = int(duration_s * RATE_HZ)
    waveform = np.zeros(samples, np.float32)
    white = np.random.default_rng(1).uniform(-1, 1, samples)
    noise = np.convolve(white, np.full(16, 0.25), mode="same").astype(np.float32)
    for hit_s in HITS_S:
        start = round(hit_s * RATE_HZ)
        fall = np.exp(-np.arange(samples - start) / (0.05 * RATE_HZ)).astype(np.float32)
        waveform[start:] += 0.5 * noise[start:] * fall
    return waveform


def write_film(path: Path, waveform: Waveform, frames: int) -> None:
    video_frames = np.full((frames, 64, 96, 3), 90, np.uint8)
    silent = path.with_name("silent.mp4")
    encode(video_frames, silent, FRAME_RATE)
    with av.open(str(silent)) as source, av.open(str(path), "w") as film:
        video = film.add_stream_from_template(source.streams.video[0])
        sound = film.add_stream("aac", rate=RATE_HZ, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                film.mux(packet)
        frame = av.AudioFrame.from_ndarray(waveform[None, :], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        film.mux(sound.encode(frame))
        film.mux(sound.encode(None))


@pytest.mark.parametrize("late_s", [0.0, 0.02, -0.05])
def test_a_shifted_stem_is_found(tmp_path: Path, late_s: float) -> None:
    frames = 60
    stem = strike_sound(Fraction(48) / FRAME_RATE)
    start_s = 6 / FRAME_RATE
    mixed = np.zeros(int(frames / FRAME_RATE * RATE_HZ), np.float32)
    start = round(float(start_s + Fraction(late_s)) * RATE_HZ)
    mixed[start : start + stem.size] += stem
    write_film(tmp_path / "film.mp4", mixed, frames)
    mix = read_mix(tmp_path / "film.mp4")
    assert (mix.frames, mix.frame_rate) == (frames, FRAME_RATE)
    assert stem_lag_s(mix, stem, start_s) == pytest.approx(late_s, abs=0.0005)


def test_a_missing_stem_is_found(tmp_path: Path) -> None:
    other = np.random.default_rng(2).uniform(-0.3, 0.3, 3 * RATE_HZ).astype(np.float32)
    write_film(tmp_path / "film.mp4", other, 72)
    with pytest.raises(RuntimeError, match="cannot be found"):
        stem_lag_s(read_mix(tmp_path / "film.mp4"), strike_sound(Fraction(2)), Fraction(0))


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    encode(np.zeros((5, 64, 96, 3), np.uint8), tmp_path / "film.mp4", FRAME_RATE)
    with pytest.raises(RuntimeError, match="has no video or no sound"):
        read_mix(tmp_path / "film.mp4")


def test_onsets_are_found_at_the_strikes() -> None:
    found, _ = detect_onsets(strike_sound(Fraction(2)), RATE_HZ)
    assert found == pytest.approx(HITS_S, abs=0.006)
    assert matched_offsets_s(found, (0.28, 1.0, 1.5)) == pytest.approx([-0.03, 0.0], abs=0.006)


def test_an_onset_matches_only_one_contact() -> None:
    assert matched_offsets_s(np.array([1.0]), (0.97, 1.01)) == pytest.approx([-0.01])


def test_a_roll_of_onsets_scores_low_although_it_matches_every_contact() -> None:
    roll = np.arange(0.0, 2.0, 0.05)
    matched = len(matched_offsets_s(roll, HITS_S))
    assert matched == len(HITS_S)
    assert onset_f_score(matched, roll.size, len(HITS_S)) < 0.2
    assert onset_f_score(3, 3, 3) == 1.0


def test_silence_matches_no_contact() -> None:
    assert matched_offsets_s(np.empty(0), HITS_S) == []


def test_the_drawing_shows_each_clip(tmp_path: Path) -> None:
    energy = EnergyCurve(np.linspace(SILENCE_NATS, -2, 200), Fraction(100))
    frames = np.random.default_rng(0).integers(0, 256, (len(HITS_S), 36, 64, 3), np.uint8)
    clip = DrawnClip("ball.mp4", strike_sound(Fraction(2)), RATE_HZ, energy, energy.scale(0.8), HITS_S, frames)
    images = []
    for count in (1, 2):
        draw_energy([clip] * count, tmp_path / "energy.png")
        with av.open(str(tmp_path / "energy.png")) as container:
            images.append(next(container.decode(video=0)).to_ndarray(format="rgb24"))
    assert images[1].shape[0] == pytest.approx(2 * images[0].shape[0], abs=2)
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) > 50 for image in images)
