"""Datasets of the synthetic world: written by several processes, taken up again, and read back whole."""

from pathlib import Path

import numpy as np
import pytest

from rewas_engine.errors import SettingsError
from rewas_engine.training.world import read_shard, render_picture, render_sound, sample_scene, write_dataset


@pytest.mark.slow
def test_a_dataset_holds_what_its_seeds_render(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_dataset(
        tmp_path,
        7,
        40,
        with_picture=True,
        workers=2,
        clips_per_shard=4,
        width=24,
        height=16,
        on_progress=lambda done, count: told.append((done, count)),
    )
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    shard = read_shard(tmp_path, 1)
    assert [entry["seed"] for entry in shard.entries] == [44, 45, 46]
    scene = sample_scene(45)
    assert shard.entries[1]["caption"] == scene.caption
    assert shard.picture is not None
    assert np.array_equal(shard.picture[1], render_picture(scene, width=24, height=16))
    sound = render_sound(scene)
    assert shard.waveform(1) == pytest.approx(sound, abs=float(np.abs(sound).max()) / 32767)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_broken_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_dataset(tmp_path, 4, with_picture=False, clips_per_shard=2)
    kept = (tmp_path / "sound-00000.npy").stat().st_mtime_ns
    (tmp_path / "shard-00001.json").unlink()
    told: list[int] = []
    write_dataset(tmp_path, 4, with_picture=False, clips_per_shard=2, on_progress=lambda done, _: told.append(done))
    assert told == [2, 4]
    assert (tmp_path / "sound-00000.npy").stat().st_mtime_ns == kept
    assert read_shard(tmp_path, 1).picture is None


def test_another_dataset_in_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1, with_picture=False)
    with pytest.raises(SettingsError, match="other settings"):
        write_dataset(tmp_path, 1, seed=1, with_picture=False)
    with pytest.raises(SettingsError, match="Shard 3"):
        read_shard(tmp_path, 3)
    with pytest.raises(SettingsError, match="no dataset"):
        read_shard(tmp_path / "elsewhere", 0)
    with pytest.raises(SettingsError, match="0 clips"):
        write_dataset(tmp_path / "empty", 0, with_picture=False)
