"""Clips in the layouts of TAVGBench and FAVDBench."""

import contextlib
import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import SettingsError
from rewas_engine.training.datasets import list_clips, read_dataset


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "name",
    ["-a_b_000030", "-a_b_30", "-a_b_30.000", "-a_b_30000_40000", "-a_b_30000", "-a_b_30_40", "-a_b", "Y-a_b_30"],
)
@pytest.mark.parametrize("start", ["30", "30.0", "30.000"])
def test_tavgbench_videos_are_found_by_their_usual_names(tmp_path: Path, name: str, start: str) -> None:
    touch(tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "tavgbench.csv").write_text(f'-a_b,{start},"A man speaks, rain falls."\n', "utf-8")
    (clip,) = list_clips(tmp_path, "tavgbench").clips
    assert (clip.name, clip.caption, clip.start_s, clip.duration_s) == (name, "A man speaks, rain falls.", 0, 10)


def test_missing_and_unlisted_tavgbench_clips_are_counted(tmp_path: Path) -> None:
    touch(tmp_path / "a_1.mp4", tmp_path / "b_2.mp4", tmp_path / "more_3.mp4")
    (tmp_path / "t.csv").write_text(
        "youtube_id,start_seconds,split,text\na,1,train,rain\nb,2,test,wind\ngone,3,test,a dog\na,soon,test,rain\n",
        "utf-8",
    )
    dataset = read_dataset(tmp_path, "tavgbench")
    assert [(clip.name, clip.caption, clip.is_held_out) for clip in dataset.clips] == [
        ("a_1", "rain", False),
        ("b_2", "wind", True),
    ]
    assert [str(each) for each in dataset.left_out] == [
        "t.csv, line 4: there is no video gone_000003",
        "t.csv, line 5: it is not of the form id,start,text",
        "1 videos: t.csv does not list them",
    ]


def test_a_tenth_of_tavgbench_is_held_out_without_splits(tmp_path: Path) -> None:
    touch(*(tmp_path / f"id{number}_{number}.mp4" for number in range(40)))
    table = tmp_path / "all.csv"
    table.write_text("".join(f"id{number},{number},rain\n" for number in range(40)), "utf-8")
    dataset = read_dataset(tmp_path, "tavgbench", table)
    assert sum(clip.is_held_out for clip in dataset.clips) == 4


@pytest.mark.parametrize("content", ["link,start,text\na,1,rain\n", "id,begin,text\na,1,rain\n", "id,start,words\n"])
def test_a_tavgbench_table_with_other_columns_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text(content, "utf-8")
    with pytest.raises(SettingsError, match="has no column for the"):
        list_clips(tmp_path, "tavgbench")


def test_tavgbench_needs_exactly_one_table(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no table"):
        list_clips(tmp_path, "tavgbench")
    touch(tmp_path / "a.csv", tmp_path / "b.csv")
    with pytest.raises(SettingsError, match="2 tables"):
        list_clips(tmp_path, "tavgbench")


@given(st.text())
def test_any_tavgbench_table_gives_clips_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("table")
    (folder / "t.csv").write_text(text, "utf-8")
    with contextlib.suppress(SettingsError):
        assert list_clips(folder, "tavgbench").clips == ()


def coco(path: Path, captions: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for name, _ in captions))
    content = {
        "images": [{"id": number, "file_name": f"{name}.mp4"} for number, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": names.index(name), "caption": caption}
            for number, (name, caption) in enumerate(captions)
        ],
    }
    path.write_text(json.dumps(content), "utf-8")


def test_favdbench_has_splits_and_joined_captions(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "x1.mp4", tmp_path / "videos" / "x2.mp4")
    coco(tmp_path / "metadata" / "train.caption_coco_format.json", [("x1", "A red car."), ("x1", "Its engine hums.")])
    coco(
        tmp_path / "metadata" / "test.caption_coco_format.json", [("x2", "A dog barks."), ("gone", "Rain."), ("x2", "")]
    )
    dataset = read_dataset(tmp_path, "favdbench")
    assert [(clip.name, clip.caption, clip.is_held_out) for clip in dataset.clips] == [
        ("x1", "A red car. Its engine hums.", False),
        ("x2", "A dog barks.", True),
    ]
    assert {clip.duration_s for clip in dataset.clips} == {Fraction(10)}
    assert [str(each) for each in dataset.left_out] == [
        "test.caption_coco_format.json: x2.mp4 has no caption",
        "test.caption_coco_format.json: there is no video gone.mp4",
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"annotations": [{}]}', '{"annotations": 3}', "[" * 100_000])
def test_damaged_favdbench_captions_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "test.caption_coco_format.json"
    path.write_text(content, "utf-8")
    with pytest.raises(SettingsError, match="cannot be read"):
        list_clips(tmp_path, "favdbench")


@pytest.mark.parametrize("start", ["1e99999999", "1e-99999999", "9" * 5000, "1/3", "-1", "nan"])
def test_a_tavgbench_line_with_an_absurd_start_is_left_out_at_once(tmp_path: Path, start: str) -> None:
    touch(tmp_path / "a_1.mp4")
    (tmp_path / "t.csv").write_text(f"id,start,text\na,1,rain\na,{start},rain\n", "utf-8")
    dataset = list_clips(tmp_path, "tavgbench")
    assert [clip.name for clip in dataset.clips] == ["a_1"]
    assert [str(each) for each in dataset.left_out] == ["t.csv, line 3: it is not of the form id,start,text"]


def test_a_second_tavgbench_line_for_a_video_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "t.csv").write_text("a,1,rain\na,20,wind\n", "utf-8")
    dataset = list_clips(tmp_path, "tavgbench")
    assert [(clip.name, clip.caption) for clip in dataset.clips] == [("a", "rain")]
    assert [str(each) for each in dataset.left_out] == ["t.csv, line 2: an earlier line describes a.mp4"]
