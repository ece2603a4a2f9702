"""Cuts in videos: detection, false alarms that must not be reported, and their times in a clip."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rewas_engine import Cancelled, VideoClip, find_cuts
from rewas_engine.evaluation.cuts import render_films, score_cuts
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.media.cuts import SMALL_HEIGHT, SMALL_WIDTH, detect_cuts

RATE = Fraction(25)


def scenery(seed: int, width: int = SMALL_WIDTH) -> np.ndarray:
    """A frame of random patches, as different from any other as two places are."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(20, 235, (SMALL_HEIGHT // 6, -(-width // 6)))
    return patches.repeat(6, axis=0).repeat(6, axis=1)[:, :width].astype(np.uint8)


def concatenate_shots(*shots: tuple[int, int]) -> np.ndarray:
    """Shots of (seed, frames), with grain."""
    still = np.concatenate([np.repeat(scenery(seed)[None], frames, axis=0) for seed, frames in shots])
    grain = np.random.default_rng(0).normal(0, 3, still.shape)
    return np.clip(still + grain, 0, 255).astype(np.uint8)


def cut_frames(frames: np.ndarray, rate: Fraction = RATE) -> list[int]:
    return [cut.frame for cut in detect_cuts(frames, rate)]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(12), Fraction(60)])
def test_a_cut_is_at_the_first_frame_of_the_new_shot(rate: Fraction) -> None:
    assert cut_frames(concatenate_shots((1, 40), (2, 300), (3, 30)), rate) == [40, 340]


def test_one_shot_has_no_cuts() -> None:
    assert cut_frames(concatenate_shots((1, 100))) == []
    assert cut_frames(concatenate_shots((1, 1))) == []


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_flash_is_not_a_cut(length: int) -> None:
    frames = concatenate_shots((1, 60))
    frames[30 : 30 + length] = 250
    assert cut_frames(frames) == []
    # The light may fade over several frames, as with a gunshot.
    fading = concatenate_shots((1, 60)).astype(float)
    for number in range(8):
        fading[30 + number] += (255 - fading[30 + number]) * 0.7**number
    assert cut_frames(fading.astype(np.uint8)) == []


def test_frames_shorter_than_a_shot_are_not_a_cut() -> None:
    assert cut_frames(concatenate_shots((1, 30), (2, 4), (1, 30))) == []
    assert cut_frames(concatenate_shots((1, 30), (2, 10), (1, 30))) == [30, 40]


def test_a_pan_is_not_a_cut() -> None:
    wide = scenery(5, 60 * 3 + SMALL_WIDTH)
    assert cut_frames(np.stack([wide[:, 3 * number : 3 * number + SMALL_WIDTH] for number in range(60)])) == []


def test_constantly_changing_frames_have_no_cuts() -> None:
    rain = np.random.default_rng(1).integers(0, 255, (80, SMALL_HEIGHT, SMALL_WIDTH)).astype(np.uint8)
    assert cut_frames(rain) == []


def test_slowly_rising_light_is_not_a_cut() -> None:
    shares = np.linspace(0.3, 1, 50)[:, None, None]
    assert cut_frames((shares * scenery(3)).astype(np.uint8)) == []


def test_a_dissolve_is_not_a_cut() -> None:
    shares = np.clip((np.arange(80) - 30) / 15, 0, 1)[:, None, None]
    assert cut_frames(((1 - shares) * scenery(1) + shares * scenery(2)).astype(np.uint8)) == []


@pytest.mark.slow
def test_most_cuts_of_synthetic_clips_are_found() -> None:
    films = render_films(DEVELOPMENT, 24)
    own, edited = score_cuts(films["own shots of the world"]), score_cuts(films["scenes cut together"])
    assert own.recall is not None
    assert own.recall >= 0.6
    assert edited.recall is not None
    assert edited.recall >= 0.75
    for kind in ("one shot of the world", "gunshots of the world", "white flashes", "pans, slow to whipped"):
        score = score_cuts(films[kind])
        assert score.false <= 0.1 * score.clips, kind


def write_film(path: Path, frames: np.ndarray, rate: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = 4 * SMALL_WIDTH, 4 * SMALL_HEIGHT, "yuv420p"
        for number, small in enumerate(frames):
            large = np.ascontiguousarray(small.repeat(4, axis=0).repeat(4, axis=1))
            frame = av.VideoFrame.from_ndarray(large, format="gray")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
    return path


def test_cuts_of_a_clip_are_counted_from_its_start(tmp_path: Path) -> None:
    rate = Fraction(24000, 1001)
    path = write_film(tmp_path / "film.mp4", concatenate_shots((1, 40), (2, 50), (3, 30)), rate)
    assert find_cuts(VideoClip(path)) == (40 / rate, 90 / rate)
    start_s = 24 / rate
    assert find_cuts(VideoClip(path, start=start_s)) == (16 / rate, 66 / rate)
    # A cut too close to the start or end would leave no shot and is ignored.
    assert find_cuts(VideoClip(path, start=38 / rate, duration=54 / rate)) == ()


def test_finding_cuts_can_be_cancelled(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", concatenate_shots((1, 30)), RATE)

    class CancelOnSecondCheck:
        def is_set(self) -> bool:
            return True

    with pytest.raises(Cancelled):
        find_cuts(VideoClip(path), cancel=CancelOnSecondCheck())
