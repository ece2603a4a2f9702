"""Folders of `rewas train world` as training data: labels and energies as from memory, and what is left out."""

from __future__ import annotations

import json
import shutil
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.training.clip_pictures import ClipPictures, JoinedPictures
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.picture_labels import label_scenes
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.world_export import ClipFolder
from rewas_engine.world import sample_scene

CLIPS, FIRST_SEED = 4, 31


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips at 12 frames per second, whose last frame ends before their sound."""
    folder = tmp_path_factory.mktemp("world") / "clips"
    ClipFolder(folder, FIRST_SEED, Fraction(12), 64, 64).write(CLIPS, workers=1)
    ClipPictures(folder).write(1)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "clips")


def change(folder: Path, index: int, **entries: object) -> None:
    path = folder / f"clip_{index:06d}.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **entries}), "utf-8")


def test_clips_have_the_labels_and_energies_of_their_scenes(written: Path) -> None:
    pictures = ClipPictures(written)
    assert pictures.is_written()
    corpus = pictures.videos(world_front_end())
    scenes = [sample_scene(FIRST_SEED + index) for index in range(CLIPS)]
    kept = [scene for scene in scenes if scene.is_silent or not scene.off_screen]
    assert corpus.frames.shape == (len(kept), 128, 64, 64)
    assert corpus.energies.shape == (len(kept), 128)
    wanted = label_scenes(kept, 128, 25.0)
    assert corpus.labels is not None
    assert torch.equal(corpus.labels.classes, wanted.classes)
    assert corpus.labels.courses == pytest.approx(wanted.courses, abs=1e-3)
    assert corpus.labels.strikes == pytest.approx(wanted.strikes, abs=1e-3)
    assert pictures.captions() == [scene.full_caption for scene in kept]
    # Two frames of 25 show the same frame of 12, and the last one is held.
    assert torch.equal(corpus.frames[0, -1], corpus.frames[0, -2])
    assert corpus.frames.float().std() > 5


def test_energies_equal_those_of_a_corpus(written: Path, tmp_path: Path) -> None:
    memory = WorldCorpus(tmp_path / "corpus", CLIPS, CLIPS, FIRST_SEED)
    memory.write(1)
    ours, theirs = ClipPictures(written).videos(world_front_end()), memory.videos(world_front_end())
    assert torch.allclose(ours.energies, theirs.energies, atol=1e-3)
    assert ours.of_known_level is not None
    assert theirs.of_known_level is not None
    assert torch.equal(ours.of_known_level, theirs.of_known_level)

    joined = JoinedPictures((ClipPictures(written), memory))
    assert joined.is_written()
    both = joined.videos(world_front_end())
    assert len(both.frames) == len(ours.frames) + len(theirs.frames)
    assert both.labels is not None
    assert len(both.labels.classes) == len(both.energies) == len(both.frames)


def test_hidden_and_motionless_sources_are_left_out(folder: Path) -> None:
    for index in range(CLIPS):
        change(folder, index, silent_motion=False, still=False, off_screen=False)
    assert len(ClipPictures(folder).videos(world_front_end()).frames) == CLIPS
    change(folder, 0, off_screen=True)
    change(folder, 1, motionless=True)
    assert len(ClipPictures(folder).videos(world_front_end()).frames) == CLIPS - 2
    assert len(ClipPictures(folder, motionless=True).videos(world_front_end()).frames) == CLIPS - 1


def test_reading_is_resumed(folder: Path) -> None:
    for path in folder.glob("*.frames.npy"):
        path.unlink()
    cancel = threading.Event()
    with pytest.raises(TrainingStopped):
        ClipPictures(folder).write(1, lambda done, total: None, cancel=_set(cancel))
    assert not ClipPictures(folder).is_written()
    reported: list[tuple[int, int]] = []
    ClipPictures(folder).write(1, lambda done, total: reported.append((done, total)))
    assert reported[-1] == (CLIPS, CLIPS)
    assert 1 <= len(reported) < CLIPS


def _set(event: threading.Event) -> threading.Event:
    event.set()
    return event


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="contains no clips of the synthetic world"):
        ClipPictures(tmp_path).is_written()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"class": "kazoo"}, r"clip_000002\.json has the unknown class 'kazoo'"),
        ({"envelope": "x"}, "does not describe"),
    ],
)
def test_a_damaged_description_is_named(folder: Path, entries: dict[str, object], message: str) -> None:
    change(folder, 2, **entries)
    with pytest.raises(MediaError, match=message):
        ClipPictures(folder).videos(world_front_end())


def test_clips_of_several_durations_are_refused(folder: Path) -> None:
    change(folder, 0, duration_s=2.0, silent_motion=True)
    with pytest.raises(SettingsError, match="do not have one duration"):
        ClipPictures(folder).videos(world_front_end())


def test_sources_of_several_formats_are_refused(written: Path, tmp_path: Path) -> None:
    class Unlabelled(ClipPictures):
        def videos(self, front_end: object) -> object:  # type: ignore[override]
            corpus = super().videos(front_end)  # type: ignore[arg-type]
            return type(corpus)(corpus.frames, corpus.energies)

    joined = JoinedPictures((ClipPictures(written), Unlabelled(written)))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="only some have labels"):
        joined.videos(world_front_end())


def test_frames_are_brightness(written: Path) -> None:
    frames = np.load(written / "clip_000000.frames.npy")
    assert frames.dtype == np.uint8
    assert frames.shape == (128, 64, 64)
