"""The energy of a clip is kept with the state of its file, so that its video is read once."""

import os
import shutil
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_clips import write_numbered_clip

from rewas_engine import Cancelled, Execution, Progress, ReWaS, Sampling, VideoClip
from rewas_engine.energy_estimation import estimator

ONE_STEP = Sampling(num_inference_steps=1)
LONG_AGO_S = 1_700_000_000


@pytest.fixture
def clip(tmp_path: Path) -> VideoClip:
    path = write_numbered_clip(tmp_path / "clip.mkv", frames=50)
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return VideoClip(path)


@pytest.fixture
def readings(model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Fraction]]:
    """File and start of each range of video that is read, from here on with an empty cache."""
    model.clear_cache()
    begun: list[tuple[str, Fraction]] = []
    read = estimator.iter_frames

    def count(path: Path, **arguments: Any) -> Any:
        begun.append((path.name, arguments["start_s"]))
        return read(path, **arguments)

    monkeypatch.setattr(estimator, "iter_frames", count)
    return begun


def samples(model: ReWaS, clip: VideoClip, **arguments: Any) -> np.ndarray:
    (take,) = model.generate(clip, prompt="rain", sampling=ONE_STEP, **arguments).takes
    return take.stems["primary"].waveform


def test_an_estimate_in_another_thread_saves_the_reading_and_changes_no_sample(
    model: ReWaS, clip: VideoClip, readings: list[tuple[str, Fraction]]
) -> None:
    expected = samples(model, clip)
    model.clear_cache()
    readings.clear()
    preparing = threading.Thread(target=lambda: model.estimate_energy(clip))
    preparing.start()
    preparing.join()
    assert readings == [("clip.mkv", 0)]
    updates: list[Progress] = []
    assert np.array_equal(samples(model, clip, on_progress=updates.append), expected)
    assert readings == [("clip.mkv", 0)]
    assert list(dict.fromkeys(update.stage for update in updates)) == ["decode", "energy", "sample", "vocode"]


def test_another_range_and_a_changed_file_are_read(
    model: ReWaS, clip: VideoClip, readings: list[tuple[str, Fraction]], tmp_path: Path
) -> None:
    model.estimate_energy(clip)
    model.estimate_energy(VideoClip(clip.path, start=1))
    assert readings == [("clip.mkv", 0), ("clip.mkv", 1)]
    size, state = clip.path.stat().st_size, clip.path.stat()
    # The same size and the same times: only the system's own record tells that it is another file.
    shutil.copy(clip.path, tmp_path / "other.mkv")
    os.utime(tmp_path / "other.mkv", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "other.mkv").replace(clip.path)
    assert clip.path.stat().st_size == size
    model.estimate_energy(clip)
    assert len(readings) == 3


def test_a_file_that_was_just_written_is_read_again(
    model: ReWaS, clip: VideoClip, readings: list[tuple[str, Fraction]]
) -> None:
    # A time ahead of the clock is as unreliable as one of a moment ago.
    os.utime(clip.path, (LONG_AGO_S, 2**32))
    now_ns = clip.path.stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewas_engine.media.probe.time.time_ns", lambda: now_ns + 1_000_000)
        model.estimate_energy(clip)
        model.estimate_energy(clip)
    assert len(readings) == 2


def test_a_cancelled_estimate_leaves_nothing_behind(
    model: ReWaS, clip: VideoClip, readings: list[tuple[str, Fraction]]
) -> None:
    cancel = threading.Event()

    def cancel_after_reading(update: Progress) -> None:
        if update.stage == "energy":
            cancel.set()

    with pytest.raises(Cancelled):
        model.estimate_energy(clip, on_progress=cancel_after_reading, cancel=cancel)
    model.estimate_energy(clip)
    assert len(readings) == 2


def test_without_caching_every_call_reads_the_video(
    tiny_pack: Path, clip: VideoClip, readings: list[tuple[str, Fraction]]
) -> None:
    uncached = ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(caching=False))
    uncached.estimate_energy(clip)
    uncached.estimate_energy(clip)
    assert len(readings) == 2
