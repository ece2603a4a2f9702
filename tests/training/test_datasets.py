"""Clips in the layouts of VGGSound and Greatest Hits, and in any folder."""

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from foreign_layout import write_video
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import SettingsError
from rewas_engine.training.datasets import Hit, caption_of_hits, read_dataset, read_hits
from rewas_engine.training.recordings import held_out_names
from rewas_engine.world import sample_scene

NAME = "2015-02-16-16-49-06"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def film(*paths: Path) -> None:
    """A video of six seconds at each path."""
    first = write_video(paths[0], sample_scene(1), Fraction(25))
    for path in paths[1:]:
        shutil.copy(first, path)


def test_the_vggsound_table_has_clips_labels_and_splits(tmp_path: Path) -> None:
    touch(
        tmp_path / "videos" / "---g-f_I2yQ_000001.mp4",
        tmp_path / "videos" / "--0PQM4-hqg_30000_40000.mp4",
        tmp_path / "other_000005.mp4",
    )
    table = tmp_path / "vggsound.csv"
    table.write_text(
        '---g-f_I2yQ,1,"people marching, far",test\n--0PQM4-hqg,30,waterfall burbling,train\ngone,7,rain,train\n'
        "odd line\n--0PQM4-hqg,soon,rain,train\n",
        "utf-8",
    )
    dataset = read_dataset(tmp_path, "vggsound")
    assert [(clip.name, clip.caption, clip.is_held_out) for clip in dataset.clips] == [
        ("---g-f_I2yQ_000001", "people marching, far", True),
        ("--0PQM4-hqg_30000_40000", "waterfall burbling", False),
    ]
    assert {clip.duration_s for clip in dataset.clips} == {Fraction(10)}
    assert [str(each) for each in dataset.left_out] == [
        "vggsound.csv, line 3: there is no video gone_000007",
        "vggsound.csv, line 4: it is not of the form id,start,label,train or test",
        "vggsound.csv, line 5: it is not of the form id,start,label,train or test",
        "1 videos: vggsound.csv does not list them",
    ]
    assert read_dataset(tmp_path / "videos", "vggsound", table).clips == dataset.clips


def test_symlinks_out_of_the_folder_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path / "outside_000001.mp4", tmp_path / "in" / "a_000002.mp4", tmp_path / "in" / "b_000003.mp4")
    (tmp_path / "in" / "outside_000001.mp4").symlink_to(tmp_path / "outside_000001.mp4")
    table = tmp_path / "in" / "vggsound.csv"
    table.write_text("outside,1,rain,train\na,2,rain,train\nb,3,rain,test\n", "utf-8")
    assert [clip.name for clip in read_dataset(tmp_path / "in", "vggsound").clips] == ["a_000002", "b_000003"]


def test_greatest_hits_is_cut_into_clips_of_two_seconds_with_hits(tmp_path: Path) -> None:
    other = NAME.replace("06", "07")
    film(
        tmp_path / f"{NAME}_denoised.mp4",
        tmp_path / f"{NAME}_mic.mp4",
        tmp_path / f"{other}_denoised_thumb.mp4",
        tmp_path / "2015-02-16-16-49-08_denoised.mp4",
    )
    touch(tmp_path / f"{NAME}_mic.wav")
    (tmp_path / f"{NAME}_times.txt").write_text(
        "0.5 leaf hit deform\n1.9 leaf hit static\n5 None scratch None\n", "utf-8"
    )
    (tmp_path / f"{other}_times.txt").write_text("\n3.25 plastic-bag hit rigid-motion\n", "utf-8")
    (tmp_path / "test.txt").write_text(f"{other}\n", "utf-8")
    dataset = read_dataset(tmp_path, "greatest-hits")
    found = [(clip.name, clip.video.name, clip.sound.name, clip.caption, clip.is_held_out) for clip in dataset.clips]
    video = f"{NAME}_denoised.mp4"
    assert found == [
        (f"{NAME}+0", video, f"{NAME}_mic.wav", "a drumstick hitting leaf", False),
        (f"{NAME}+4", video, f"{NAME}_mic.wav", "a drumstick scratching something", False),
        (
            f"{other}+2",
            f"{other}_denoised_thumb.mp4",
            f"{other}_denoised_thumb.mp4",
            "a drumstick hitting plastic bag",
            True,
        ),
    ]
    assert {(clip.start_s, clip.duration_s) for clip in dataset.clips} == {(0, 2), (4, 2), (2, 2)}
    assert "2015-02-16-16-49-08_times.txt cannot be read" in str(dataset.left_out[0])


def test_unusable_recordings_are_not_held_out(tmp_path: Path) -> None:
    names = [f"2015-02-16-16-49-{index:02d}" for index in range(7)]
    drawn, timeless = held_out_names(names)[0], min(set(names) - set(held_out_names(names)))
    film(*(tmp_path / f"{name}_denoised.mp4" for name in names))
    for name in set(names) - {timeless}:
        (tmp_path / f"{name}_times.txt").write_text("0.5 leaf hit deform\n", "utf-8")
    (tmp_path / f"{drawn}_denoised.mp4").write_bytes(b"")
    dataset = read_dataset(tmp_path, "greatest-hits")
    (held_out,) = {clip.name.partition("+")[0] for clip in dataset.clips if clip.is_held_out}
    assert [held_out] == held_out_names(set(names) - {drawn, timeless})
    assert sorted(each.what for each in dataset.left_out) == sorted([drawn, timeless])
    # The draw does not depend on broken videos.
    (tmp_path / f"{timeless}_denoised.mp4").unlink()
    assert read_dataset(tmp_path, "greatest-hits").clips == dataset.clips


def test_unreadable_videos_are_not_held_out(tmp_path: Path) -> None:
    names = ["a dog.mp4", "rain.mp4", "wind.mp4"]
    film(*(tmp_path / name for name in names))
    (drawn,) = held_out_names(names)
    (tmp_path / drawn).write_bytes(b"")
    dataset = read_dataset(tmp_path)
    assert sorted(clip.is_held_out for clip in dataset.clips) == [False, True]
    assert [each.what for each in dataset.left_out] == [drawn]


@pytest.mark.parametrize("line", ["soon wood hit static", "1.5 wood hit", "-1 wood hit static", "nan wood hit static"])
def test_invalid_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "times.txt"
    path.write_text(f"1.0 wood hit static\n{line}\n", "utf-8")
    with pytest.raises(ValueError, match="line 2"):
        read_hits(path)


@given(st.text())
def test_any_text_is_read_as_hits_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("hits") / "times.txt"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        hits = read_hits(path)
    except ValueError:
        return
    assert all(hit.time_s >= 0 for hit in hits)


def test_a_caption_names_each_material_once() -> None:
    hits = [Hit(0, "wood", "hit", "static"), Hit(1, "wood", "hit", "None"), Hit(2, "glass", "None", "static")]
    assert caption_of_hits(hits) == "a drumstick hitting wood and touching glass"


def test_any_folder_is_cut_into_clips_of_ten_seconds(tmp_path: Path) -> None:
    for name in ("a dog.mp4", "rain.mp4"):
        write_video(tmp_path / name, sample_scene(1), Fraction(25))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    dataset = read_dataset(tmp_path)
    assert [clip.name for clip in dataset.clips] == ["a dog.mp4+0", "rain.mp4+0"]
    assert sorted(clip.is_held_out for clip in dataset.clips) == [False, True]
    assert "broken.mp4" in str(dataset.left_out[0])


@pytest.mark.parametrize("layout", ["vggsound", "greatest-hits", "folder", "imagenet"])
def test_a_folder_without_clips_is_refused(tmp_path: Path, layout: str) -> None:
    with pytest.raises(SettingsError):
        read_dataset(tmp_path, layout)
    with pytest.raises(SettingsError, match=r"The folder .* does not exist"):
        read_dataset(tmp_path / "gone", "vggsound")
