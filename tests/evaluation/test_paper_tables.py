"""Tables of papers on folders of clips: known values, missing clips, interrupted runs, and written files."""

from __future__ import annotations

import csv
import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from encoder_folders import write_ast, write_clap
from hypothesis import given
from hypothesis import strategies as st
from pack_fixtures import tiny_model
from published_tensors import panns_shapes, random_tensors, vggish_shapes, write_folder

from rewas_engine import PackError, ReWaS, Sampling, SettingsError
from rewas_engine.errors import Cancelled
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.encoders.protocols import SoundFeatures
from rewas_engine.evaluation.encoders.selection import EncoderSet, load_encoder
from rewas_engine.evaluation.tables.av_benchmark import write_videos
from rewas_engine.evaluation.tables.cache import ResultCache
from rewas_engine.evaluation.tables.clips import TableClip, read_clips
from rewas_engine.evaluation.tables.measures import RowClips, TableMeasures
from rewas_engine.evaluation.tables.page import html_page
from rewas_engine.evaluation.tables.presets import COLUMNS, PRESETS, find_preset
from rewas_engine.evaluation.tables.report import TableReport
from rewas_engine.evaluation.tables.row_sources import FolderSource, OriginalSource, PackSource, prompts_of
from rewas_engine.evaluation.tables.run import TablePlan, measure_table
from rewas_engine.media.video import probe_video
from rewas_engine.recipes.world_library import write_world_library
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.clip_series import encode_clip
from rewas_engine.world import SAMPLE_RATE_HZ, render_sound, render_video, sample_scene

RATE = Fraction(25)
QUICK = Sampling(num_inference_steps=1, guidance_scale=1.0)
SCENES = {"drum": ("drum_hit", 3), "hammer": ("hammer", 5), "rain": ("rain", 4)}


@pytest.fixture(scope="module")
def model() -> ReWaS:
    return ReWaS.from_pretrained("starter", device="cpu")


def write_scene(path: Path, class_name: str, seed: int, *, sound: bool | None = True) -> None:
    """A small clip of the world of 3 seconds with its caption. sound: None leaves the track out, False is silent."""
    scene = sample_scene(seed, class_name)
    frames = render_video(scene, frame_rate=RATE, width=64, height=48)[:75]
    waveform = render_sound(scene)[: 3 * SAMPLE_RATE_HZ]
    if sound is None:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    else:
        encode_clip(path, frames, RATE, 20, waveform if sound else np.zeros_like(waveform))
    path.with_suffix(".txt").write_text(scene.caption, "utf-8")


@pytest.fixture(scope="module")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, (class_name, seed) in SCENES.items():
        write_scene(folder / f"{name}.mp4", class_name, seed)
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def values(report: TableReport, row: str) -> dict[str, float | None]:
    (found,) = [each for each in report.rows if each.name == row]
    return {key: cell.value for key, cell in found.cells.items()}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=str)
def test_every_preset_has_known_columns_and_complete_quoted_rows(preset: object) -> None:
    found = PRESETS[preset.name]  # type: ignore[attr-defined]
    assert all(key in COLUMNS for key in found.columns)
    for row in found.quoted:
        assert [float(value) > 0 for value in row.values] == [True] * len(found.columns)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"no preset 'table9'.*rewas-table2"):
        find_preset("table9")


@pytest.mark.parametrize("name", ["rewas-table2", "rewas-table3", "reproduction", "rewas-table6"])
def test_the_originals_as_a_system_are_perfect(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path, name: str
) -> None:
    plan = TablePlan(find_preset(name), clips_folder, systems={"copies": clips_folder}, with_pack=False)
    report = measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    assert (report.clips, list(report.left_out)) == (3, [])
    found, original = values(report, "copies"), values(report, "original")
    perfect = {"fd": 0.0, "fad": 0.0, "mkl": 0.0, "energy_mae": 0.0, "onset_acc": 100.0, "onset_ap": 100.0}
    for key in find_preset(name).columns:
        expected = perfect.get(key, original.get(key))
        assert found[key] == pytest.approx(expected, abs=1e-4 if key not in ("fd", "fad") else 1e-2), key
    assert set(original) == set(find_preset(name).columns) - perfect.keys()


def test_pictures_are_compared_only_if_they_are_not_the_original_ones(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    names = list(SCENES)
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        shutil.copy(clips_folder / f"{other}.mp4", swapped / f"{name}.mp4")
    plan = TablePlan(
        find_preset("tavgbench"), clips_folder, systems={"same": clips_folder, "swapped": swapped}, with_pack=False
    )
    report = measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    same, other = values(report, "same"), values(report, "swapped")
    # The same videos in another order are the same set, but no longer belong to the texts.
    assert other["fvd"] == pytest.approx(0.0, abs=1e-3)
    assert other["clipsim"] is not None
    assert same["clipsim"] is not None
    assert other["clipsim"] < same["clipsim"]
    assert other["avhscore"] == pytest.approx(same["avhscore"], abs=1e-3)
    original = values(report, "original")
    assert same["avhscore"] == pytest.approx(original["avhscore"], abs=1e-4)


def test_clips_that_cannot_be_measured_are_listed(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips_folder, folder)
    write_scene(folder / "mute.mp4", "rain", 8, sound=None)
    write_scene(folder / "silent.mp4", "rain", 9, sound=False)
    (folder / "broken.mp4").write_bytes(b"no video")
    partial = tmp_path / "partial"
    partial.mkdir()
    shutil.copy(folder / "drum.mp4", partial)
    soundfile.write(partial / "rain.wav", np.ones(1000, np.float32), 16_000)
    plan = TablePlan(find_preset("rewas-table3"), folder, systems={"partial": partial}, with_pack=False)
    report = measure_table(model, plan, tmp_path / "out", cache_folder=shared_cache)
    assert report.clips == 3
    reasons = {each.what: each.why for each in report.left_out}
    assert set(reasons) == {"mute", "silent", "broken"}
    assert reasons["silent"] == "The sound is silent in the measured part"
    (row,) = [each for each in report.rows if each.name == "partial"]
    assert row.clips == 1
    assert row.missing["hammer"] == "The folder has no file hammer"
    assert "less than half" in row.missing["rain"]
    assert row.cells["energy_mae"].clips == 1
    written = report.report()
    assert written["clips"]["measured"] == 3
    assert len(written["clips"]["left_out"]) == 3


def test_one_clip_has_no_distance_but_other_values(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    plan = TablePlan(
        find_preset("rewas-table2"), clips_folder, limit=1, systems={"copies": clips_folder}, with_pack=False
    )
    report = measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    row = report.rows[1]
    assert row.cells["fd"].value is None
    assert "not defined for one clip" in row.cells["fd"].note
    assert row.cells["energy_mae"].value == pytest.approx(0.0, abs=1e-4)
    assert row.cells["energy_mae"].error is None
    html_page(report)


@pytest.mark.parametrize("content", [[], ["notes.txt"]])
def test_a_folder_without_clips_is_refused(model: ReWaS, tmp_path: Path, content: list[str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("rain", "utf-8")
    with pytest.raises(SettingsError, match="no video files"):
        measure_table(model, TablePlan(find_preset("rewas-table2"), folder), tmp_path / "out")


def test_a_folder_of_broken_clips_is_refused_with_the_first_reason(model: ReWaS, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"no clips that can be measured. First of 1 problems: a: "):
        measure_table(model, TablePlan(find_preset("rewas-table2"), tmp_path), tmp_path / "out")


def test_an_interrupted_run_continues(model: ReWaS, clips_folder: Path, tmp_path: Path) -> None:
    plan = TablePlan(find_preset("rewas-table3"), clips_folder, sampling=QUICK)
    cancel, stages = threading.Event(), []

    def stop_at_the_last_clip(progress: Progress) -> None:
        stages.append((progress.stage, progress.step))
        if progress.stage == "Sounds: starter, energy from the picture" and progress.step == 2:
            cancel.set()

    with pytest.raises(Cancelled):
        measure_table(model, plan, tmp_path, on_progress=stop_at_the_last_clip, cancel=cancel)
    assert ("Sounds: starter, energy from the picture", 2) in stages
    cache = tmp_path / "cache"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.flac")}
    assert len(before) == 5  # three originals and two generated sounds
    first = measure_table(model, plan, tmp_path)
    sounds = {path: path.stat().st_mtime_ns for path in cache.rglob("*.flac")}
    assert len(sounds) == 6
    assert sounds.items() >= before.items()
    again = measure_table(model, plan, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.flac")} == sounds
    assert again.report() == first.report()


def test_the_rows_of_a_pack_follow_their_conditions(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    plan = TablePlan(find_preset("rewas-table6"), clips_folder, limit=2, sampling=QUICK)
    report = measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    assert [(row.name, row.clips) for row in report.rows] == [
        ("original", 2),
        ("starter-picture", 2),
        ("starter-no-text", 2),
        ("starter-other-text", 2),
        ("starter-no-energy", 2),
    ]
    sounds = {
        row.name: soundfile.read(tmp_path / "sounds" / row.name / "drum.flac")[0].tobytes() for row in report.rows
    }
    assert len(set(sounds.values())) == 5
    assert report.pack is not None
    assert (report.pack["name"], report.pack["num_steps"]) == ("starter", 1)
    assert report.pack["permits"] in html_page(report)


def test_a_row_that_a_pack_cannot_make_says_why(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    source = PackSource(model, "onsets", [], ResultCache(tmp_path))
    expected = "" if "onsets" in model.pack.controls else "the pack has no control for onsets"
    assert source.unsupported == expected


def test_files_for_av_benchmark_have_the_same_names(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    plan = TablePlan(
        find_preset("rewas-table3"),
        clips_folder,
        systems={"copies": clips_folder},
        with_pack=False,
        for_av_benchmark=True,
    )
    stale = tmp_path / "sounds" / "copies" / "of-an-earlier-run.flac"
    stale.parent.mkdir(parents=True)
    stale.touch()
    measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    for folder, suffix in (("sounds/original", "flac"), ("sounds/copies", "flac"), ("videos", "mp4")):
        assert {path.name for path in (tmp_path / folder).iterdir()} == {f"{name}.{suffix}" for name in SCENES}
    with (tmp_path / "captions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == sorted(SCENES)
    assert all(row["caption"] for row in rows)
    with av.open(str(tmp_path / "videos" / "drum.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50  # 2 s at 25 frames per second
    assert soundfile.info(tmp_path / "sounds" / "original" / "drum.flac").frames == 2 * 48_000


def test_av_benchmark_finds_the_features_of_given_encoders(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    encoders = tmp_path / "encoders"
    widths, parts = [4, 4, 6, 6, 8, 8], [4, 6, 8, 8, 10, 10]
    panns = {"sample_rate_hz": 16_000, "window_samples": 512, "hop_samples": 160, "classes": 9, "widths": widths}
    write_folder(
        encoders / "panns",
        random_tensors(panns_shapes(tuple(widths), window=512, classes=9)),
        {"model_type": "panns", **panns},
    )
    write_folder(
        encoders / "vggish",
        random_tensors(vggish_shapes(tuple(parts), (12, 12, 7))),
        {"model_type": "vggish", "channels": parts, "widths": [12, 12, 7]},
    )
    plan = TablePlan(
        find_preset("rewas-table3"),
        clips_folder,
        systems={"copies": clips_folder},
        with_pack=False,
        for_av_benchmark=True,
    )
    measure_table(model, plan, tmp_path, encoders=encoders, cache_folder=shared_cache)
    for row in ("original", "copies"):
        cache = tmp_path / "sounds" / row / "cache"
        assert {path.name for path in cache.iterdir()} == {"pann_features.pth", "vggish_features.pth"}
        found = torch.load(cache / "pann_features.pth", weights_only=True)
        assert set(found) == set(SCENES)
        assert {name: tuple(values.shape) for name, values in found["drum"].items()} == {"2048": (8,), "logits": (9,)}
        # Two seconds have two whole parts of 0.96 s.
        assert torch.load(cache / "vggish_features.pth", weights_only=True)["rain"].shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "start_s", "duration_s"), [("rewas-table2", 0, 3), ("rewas-table3", 0, 2), ("tavgbench", 0, 3)]
)
def test_short_clips_are_measured_as_far_as_they_go(
    clips_folder: Path, name: str, start_s: int, duration_s: int
) -> None:
    clips = read_clips(clips_folder, find_preset(name)).clips
    assert {(clip.start_s, clip.duration_s) for clip in clips} == {(start_s, duration_s)}


def test_long_clips_are_measured_from_two_to_seven_seconds(tmp_path: Path, shared_cache: Path) -> None:
    frames = np.zeros((250, 48, 64, 3), np.uint8)
    ramp = np.linspace(0, 0.5, 10 * 16_000, dtype=np.float32)
    tone = ramp * np.sin(np.arange(ramp.size) * 0.3).astype(np.float32)
    encode_clip(tmp_path / "a dog.mp4", frames, RATE, 20, tone)
    (clip,) = read_clips(tmp_path, find_preset("rewas-table2")).clips
    assert (clip.name, clip.prompt, clip.start_s, clip.duration_s) == ("a_dog", "a dog", 2, 5)
    original = soundfile.read(OriginalSource(ResultCache(shared_cache)).render(clip).sound)[0]
    # Another system's file for the whole clip is cut at the same place, one for the part is used from its start.
    folders = {"whole": tone, "part": tone[2 * 16_000 : 7 * 16_000]}
    for name, waveform in folders.items():
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a_dog.wav", waveform, 16_000)
        rendition = FolderSource(name, tmp_path / name, ResultCache(shared_cache)).render(clip)
        sound = soundfile.read(rendition.sound)[0]
        assert sound.size == original.size == 5 * 48_000
        assert np.abs(np.abs(sound).max() - np.abs(original).max()) < 0.02, name


def test_file_names_are_safe_and_unique(tmp_path: Path) -> None:
    for place in ("a/b.mp4", "c/b.mp4", "ä ö.mp4"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        encode_clip(path, np.zeros((25, 48, 64, 3), np.uint8), RATE, 30, np.ones(16_000, np.float32))
    names = [clip.name for clip in read_clips(tmp_path, find_preset("rewas-table3")).clips]
    assert len(set(names)) == 3
    assert names[0] == "b"
    assert all(re.fullmatch(r"[\w.\-]+", name) for name in names)


def test_only_the_test_split_of_a_data_set_is_measured(clips_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name, number in (("drum", 1), ("rain", 2)):
        shutil.copy(clips_folder / f"{name}.mp4", tmp_path / "videos" / f"{name}_{number:06d}.mp4")
    table = tmp_path / "vggsound.csv"
    table.write_text("drum,1,drum roll,test\nrain,2,raining,train\ngone,3,wind,test\n", "utf-8")
    found = read_clips(tmp_path, find_preset("rewas-table2"), layout="vggsound")
    assert [(clip.name, clip.prompt) for clip in found.clips] == [("drum_000001", "drum roll")]
    assert [str(each) for each in found.left_out] == ["vggsound.csv, line 3: there is no video gone_000003"]
    table.write_text("rain,2,raining,train\n", "utf-8")
    assert [clip.name for clip in read_clips(tmp_path, find_preset("rewas-table2"), layout="vggsound").clips] == [
        "rain_000002"
    ]


def test_a_manifest_names_the_clips_and_missing_ones_are_counted(clips_folder: Path, tmp_path: Path) -> None:
    shutil.copy(clips_folder / "rain.mp4", tmp_path / "1.mp4")
    shutil.copy(clips_folder / "drum.mp4", tmp_path / "not listed.mp4")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("file,heard\n1.mp4,rain on a roof\ngone.mp4,wind\n../1.mp4,wind\n", "utf-8")
    found = read_clips(tmp_path, find_preset("rewas-table3"))
    assert [(clip.name, clip.prompt) for clip in found.clips] == [("1", "rain on a roof")]
    assert [each.what for each in found.left_out] == ["manifest.csv, line 3", "manifest.csv, line 4"]
    manifest.write_text("file,caption\n1.mp4,rain\ngone.mp4,wind\n", "utf-8")
    found = read_clips(tmp_path, find_preset("rewas-table3"))
    assert [(clip.name, clip.prompt) for clip in found.clips] == [("1", "rain")]
    assert len(found.left_out) == 2
    manifest.write_text("file,words\n1.mp4,rain\n", "utf-8")
    with pytest.raises(SettingsError, match="column"):
        read_clips(tmp_path, find_preset("rewas-table3"))
    manifest.unlink()
    assert {clip.prompt for clip in read_clips(tmp_path, find_preset("rewas-table3")).clips} == {"", "not listed"}


def test_renamed_clips_keep_their_sounds(model: ReWaS, clips_folder: Path, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache")
    (tmp_path / "renamed").mkdir()
    shutil.copy(clips_folder / "rain.mp4", tmp_path / "renamed" / "other.mp4")
    shutil.copy(clips_folder / "rain.txt", tmp_path / "renamed" / "other.txt")
    found = []
    for folder, name in ((clips_folder, "rain"), (tmp_path / "renamed", "other")):
        clips = read_clips(folder, find_preset("rewas-table3")).clips
        (clip,) = [each for each in clips if each.name == name]
        found.append(PackSource(model, "picture", clips, cache, QUICK).render(clip).sound)
    assert found[0] == found[1]


@given(st.lists(st.sampled_from(["", "rain", "wind", "dog"]), min_size=1, max_size=8))
def test_another_clip_gives_the_text(prompts: list[str]) -> None:
    clips = [
        TableClip(str(number), Path(), Path(), Fraction(0), Fraction(1), Fraction(0), prompt, "")
        for number, prompt in enumerate(prompts)
    ]
    others = prompts_of(clips, "other-text")
    different = len(set(prompts) - {""}) > 1
    for clip in clips:
        other = others[clip.name]
        assert other != clip.prompt or not other
        assert bool(other) == (bool(clip.prompt) and different)


def test_damaged_cache_files_are_made_again(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)

    def ones(places: object) -> list[dict[str, np.ndarray]]:
        return [{"a": np.ones(3)}]

    cache.arrays(["key"], ones)
    (path,) = tmp_path.rglob("*.npz")
    for content in (b"", b"PK\x03\x04 cut short", path.read_bytes()[:40]):
        path.write_bytes(content)
        assert cache.arrays(["key"], ones)[0]["a"].tolist() == [1, 1, 1]


def not_called(places: object) -> list[dict[str, np.ndarray]]:
    raise AssertionError("computed again")


def test_results_are_computed_once_in_batches(tmp_path: Path) -> None:
    cache, calls = ResultCache(tmp_path), []

    def squares(places: list[int]) -> list[dict[str, np.ndarray]]:
        calls.append(list(places))
        return [{"square": np.array(place**2)} for place in places]

    make: Callable[..., list[dict[str, np.ndarray]]] = squares
    found = cache.arrays([[number] for number in range(5)], make, at_once=2)
    assert [int(each["square"]) for each in found] == [0, 1, 4, 9, 16]
    assert calls == [[0, 1], [2, 3], [4]]
    assert [int(each["square"]) for each in cache.arrays([[3], [1]], not_called)] == [9, 1]


class OneBrokenSound:
    """An encoder with one result that is not finite."""

    name, is_stand_in, content_sha256 = "broken", False, "0"

    def __init__(self) -> None:
        self.seen = 0

    def describe_sounds(self, sounds: list[np.ndarray], sample_rate_hz: int) -> list[SoundFeatures]:
        found = []
        for sound in sounds:
            self.seen += 1
            value = np.nan if self.seen == 1 else float(np.abs(sound).mean())
            found.append(SoundFeatures(np.array([[value, 1.0]], np.float32), np.array([value, 0.0], np.float32)))
        return found


def test_features_that_are_not_finite_are_left_out_and_counted(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = OneBrokenSound()
    monkeypatch.setattr(EncoderSet, "for_sounds", lambda self, measure: encoder)
    clips = read_clips(clips_folder, find_preset("reproduction")).clips
    originals = [OriginalSource(ResultCache(shared_cache)).render(clip) for clip in clips]
    measures = TableMeasures(EncoderSet(model), ResultCache(tmp_path), Watch())
    row = RowClips(clips, originals, originals)
    for key in ("is", "mkl", "fd"):
        cell = measures.measure(COLUMNS[key], row)
        assert cell.clips == 2, key
        assert "1 clip is left out" in cell.note, key


def test_given_encoders_are_used_and_others_are_named_in_capitals(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    encoders = tmp_path / "encoders"
    write_clap(encoders / "clap")
    write_ast(encoders / "ast")
    plan = TablePlan(find_preset("rewas-table2"), clips_folder, systems={"copies": clips_folder}, with_pack=False)
    report = measure_table(model, plan, tmp_path / "out", encoders=encoders, cache_folder=shared_cache)
    assert {key: used.is_published_kind for key, used in report.encoders.items()} == {
        "fd": False,
        "fad": False,
        "mkl": False,
        "clap": True,
    }
    (warning,) = report.encoder_warnings()
    assert warning.startswith("FD, FAD, MKL: MEASURED WITH ")
    assert warning.upper() == warning
    built_in = measure_table(model, plan, tmp_path / "out", cache_folder=shared_cache)
    assert values(report, "copies")["clap"] != values(built_in, "copies")["clap"]
    (encoders / "clap" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(PackError):
        measure_table(model, plan, tmp_path / "out", encoders=encoders, cache_folder=shared_cache)


def test_a_pack_without_a_joint_space_leaves_out_its_columns(
    clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    plan = TablePlan(find_preset("rewas-table6"), clips_folder, systems={"copies": clips_folder}, with_pack=False)
    report = measure_table(tiny_model(tmp_path), plan, tmp_path / "out", cache_folder=shared_cache)
    cells = report.rows[1].cells
    assert cells["clap"].value is None
    assert "no joint space" in cells["clap"].note
    assert cells["av_align"].value is not None


def test_unreadable_pictures_leave_out_only_their_clip(
    model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    originals = OriginalSource(ResultCache(shared_cache))
    clips = read_clips(clips_folder, find_preset("tavgbench")).clips
    good = [originals.render(clip) for clip in clips]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    row = [replace(good[0], video=broken, video_key="broken"), *good[1:]]
    measures = TableMeasures(EncoderSet(model), ResultCache(tmp_path), Watch())
    for key in ("av_align", "clipsim", "avhscore", "fvd", "kvd"):
        cell = measures.measure(COLUMNS[key], RowClips(clips, good, row))
        assert cell.clips == 2, key
        assert "1 clip is left out" in cell.note, key
    # It was not remembered: once the file can be read, it is measured.
    shutil.copy(good[0].video, broken)
    assert measures.measure(COLUMNS["av_align"], RowClips(clips, good, row)).clips == 3


def test_a_library_performs_the_rows_of_a_model(clips_folder: Path, shared_cache: Path, tmp_path: Path) -> None:
    written = write_world_library(tmp_path / "library", classes=("drum_hit", "rain"), takes=2)
    library = ReWaS.from_pretrained(written.path, device="cpu")
    plan = TablePlan(find_preset("rewas-table6"), clips_folder, limit=2)
    report = measure_table(library, plan, tmp_path / "out", cache_folder=shared_cache)
    rows = {row.name.removeprefix(f"{library.pack.name}-"): row for row in report.rows}
    assert rows["no-text"].note == "not supported: a library of recordings needs words to choose from"
    assert (rows["picture"].clips, rows["other-text"].clips, rows["no-energy"].clips) == (2, 2, 2)
    assert "not supported" in html_page(report)


class References(HTMLParser):
    """Collects references to other files, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "data") and tag != "use"]
        if tag not in ("meta", "br", "path", "use", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_complete_in_itself(model: ReWaS, clips_folder: Path, shared_cache: Path, tmp_path: Path) -> None:
    from rewas_cli.plots.paper_tables import draw_table

    systems = {"<b>&copies</b>": clips_folder}
    plan = TablePlan(find_preset("rewas-table2"), clips_folder, systems=systems, with_pack=False)
    report = measure_table(model, plan, tmp_path, cache_folder=shared_cache)
    plots = draw_table(report)
    page = References()
    content = html_page(report, plots)
    page.feed(content)
    assert page.references == []
    assert page.open == []
    assert "FD, FAD, MKL: MEASURED WITH THE BUILT-IN JUDGE" in page.text
    assert "<b>&copies</b>" in page.text
    assert "15.24" in page.text
    assert "arXiv 2407.05551" in page.text
    assert "prefers-color-scheme: dark" in content
    assert "#010203" not in content
    assert json.loads(json.dumps(report.report(), allow_nan=False))["warnings"] == report.encoder_warnings()
    assert draw_table(report) == plots


def test_videos_of_another_part_of_a_clip_are_written_again(clips_folder: Path, tmp_path: Path) -> None:
    clip = read_clips(clips_folder, find_preset("rewas-table3"), limit=1).clips[0]
    path = write_videos([clip], tmp_path) / f"{clip.name}.mp4"
    first = path.read_bytes()
    changed = path.stat().st_mtime_ns
    write_videos([clip], tmp_path)
    assert path.stat().st_mtime_ns == changed
    write_videos([replace(clip, start_s=Fraction(1), duration_s=Fraction(1))], tmp_path)
    assert path.read_bytes() != first
    assert probe_video(path).duration_s == 1


@pytest.mark.parametrize("other", ["a_b", "A b", "original ", "starter-picture"])
def test_two_rows_never_share_a_folder(model: ReWaS, clips_folder: Path, tmp_path: Path, other: str) -> None:
    plan = TablePlan(find_preset("rewas-table3"), clips_folder, systems={"a b": clips_folder, other: clips_folder})
    with pytest.raises(SettingsError, match="folder"):
        measure_table(model, plan, tmp_path)
    assert not (tmp_path / "sounds").exists()


@pytest.mark.parametrize(
    "config", [{"model_type": "panns", "sample_rate_hz": "fast"}, {"model_type": "i3d", "classes": [1]}]
)
def test_an_encoder_with_wrong_values_in_its_configuration_is_named(tmp_path: Path, config: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(PackError, match=r"config\.json"):
        load_encoder(tmp_path)
