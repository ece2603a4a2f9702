"""A library of the synthetic world: it is reproducible, and the analysis finds the events that were played."""

from pathlib import Path

import numpy as np
import pytest

from rewas_engine.curves.onsets import match_onsets
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.packs.description import read_pack, verify_files
from rewas_engine.recipes.world_library import find_class, world_recordings, write_recordings, write_world_library
from rewas_engine.recordings.library_pack import LibraryPack
from rewas_engine.world import CLASS_NAMES

CLASSES = ("drum_hit", "door", "rain")
TAKES = 2


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> LibraryPack:
    return write_world_library(tmp_path_factory.mktemp("packs") / "world", classes=CLASSES, takes=TAKES)


def test_every_strike_of_a_recording_is_found_where_it_was_played(pack: LibraryPack) -> None:
    scenes = {recording.name: recording.scene for recording in world_recordings(CLASSES, TAKES)}
    assert len(scenes) == len(pack.index.recordings) == TAKES * len(CLASSES)
    for number, recording in enumerate(pack.index.recordings):
        scene = scenes[recording.path.name]
        assert (recording.sample_rate_hz, recording.channels) == (48_000, 2)
        if scene.class_name == "rain":
            (stretch,) = pack.index.stretches_of(number)
            assert stretch.end_sample - stretch.start_sample > 10 * 48_000
            continue
        events = pack.index.events_of(number)
        onsets_s = np.array([event.onset_sample / 48_000 for event in events])
        assert len(events) == len(match_onsets(scene.event_times_s, onsets_s, 0.005)) == scene.event_times_s.size
        # The measured levels have the order of the strengths.
        order = np.argsort(scene.event_strengths)
        levels = np.array([event.level_nats for event in events])[order]
        assert np.corrcoef(levels, np.sort(scene.event_strengths))[0, 1] > 0.9


def test_the_recordings_of_a_class_differ_and_have_the_same_words(pack: LibraryPack) -> None:
    for name in CLASSES:
        numbers = find_class(pack.index, name)
        found = [pack.index.recordings[number] for number in numbers]
        assert [one.path.name for one in found] == [f"{name}-01.wav", f"{name}-02.wav"]
        assert len({one.words for one in found}) == 1
        assert len({one.content for one in found}) == TAKES
    assert find_class(pack.index, "wind") == ()


def test_the_pack_contains_its_recordings_and_verifies(pack: LibraryPack) -> None:
    verify_files(read_pack(pack.path))
    assert all(recording.path.is_relative_to(pack.path) for recording in pack.index.recordings)


def test_the_same_arguments_write_the_same_files(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_recordings(tmp_path / folder, world_recordings(("drum_hit",), 1))
    (one, *_), (other, *_) = (sorted((tmp_path / folder).glob("*.wav")) for folder in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_every_class_of_the_world_has_its_takes() -> None:
    recordings = world_recordings()
    assert list(dict.fromkeys(one.scene.class_name for one in recordings)) == list(CLASS_NAMES)
    assert len({one.name for one in recordings}) == len(recordings) == 3 * len(CLASS_NAMES)


def test_bad_arguments_are_refused(pack: LibraryPack, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="already exists"):
        write_world_library(pack.path)
    with pytest.raises(SettingsError, match="takes"):
        write_world_library(tmp_path / "none", takes=0)
    with pytest.raises(SettingsError, match="no class 'dragon'"):
        write_world_library(tmp_path / "none", classes=("dragon",))
    assert not (tmp_path / "none").exists()
