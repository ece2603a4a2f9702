"""Realism: lists of recordings, and the section on recordings whose distances are known."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pack_fixtures import TWO_CLASSES, tiny_model
from test_sound_embedding import needs_weights, untrained_embedder

from rewas_engine import PackError, ReWaS, SettingsError
from rewas_engine.evaluation import sound_embedding
from rewas_engine.evaluation.bench import Bench, Watch
from rewas_engine.evaluation.figures import Evaluation, Section
from rewas_engine.evaluation.real_sounds import real_sounds
from rewas_engine.evaluation.realism import SOURCES, realism_section
from rewas_engine.evaluation.report import markdown
from rewas_engine.evaluation.sound_embedding import SoundEmbedder
from rewas_engine.evaluation.sound_sources import Sounds
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.recordings.packaged.table import read_table
from rewas_engine.world import CLASS_NAMES, SAMPLE_RATE_HZ, Scene, render_sound
from rewas_engine.world.recorded_kinds import class_of_kind


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sounds of each of two classes in subfolders, as recordings would be, and some of no class."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in TWO_CLASSES:
        (folder / name).mkdir()
        for number, scene in enumerate(DEVELOPMENT.audible(name, 3)):
            soundfile.write(folder / name / f"{number}.wav", second_of(scene), SAMPLE_RATE_HZ)
    (folder / "lightsaber hum").mkdir()
    for number in range(2):
        tone = np.sin(np.arange(SAMPLE_RATE_HZ) * (0.05 + 0.01 * number))
        soundfile.write(folder / "lightsaber hum" / f"{number}.flac", 0.4 * tone, SAMPLE_RATE_HZ)
    return folder


def bench_of(model: ReWaS) -> Bench:
    settings = replace(model.sampling_settings(), num_inference_steps=1)
    return Bench(model, None, [], settings, Watch())


@pytest.fixture(scope="module")
def section(model: ReWaS, recordings: Path) -> Section:
    return realism_section(bench_of(model), real_sounds(recordings), TWO_CLASSES, untrained_embedder())


def second_of(scene: Scene) -> np.ndarray:
    """One second of a sound of the world, from where it begins."""
    sound = render_sound(scene)
    begin = int(np.argmax(np.abs(sound) > 0.05 * np.abs(sound).max()))
    return sound[begin : begin + SAMPLE_RATE_HZ]


class Ready:
    """A source whose sounds are waveforms that are already there."""

    def __init__(self, waveforms: list[np.ndarray]) -> None:
        self._waveforms = waveforms

    def waveforms(self, made: np.ndarray, on_sound: object) -> list[np.ndarray]:
        return self._waveforms


def write_table(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_subfolders_are_kinds(recordings: Path) -> None:
    found = real_sounds(recordings)
    assert {kind: len(sounds) for kind, sounds in found.items()} == {"drum hit": 3, "lightsaber hum": 2, "rain": 3}


def test_a_table_names_kinds_and_what_was_held_out(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.wav").touch()
    rows = [{"file": f"{name}.wav", "kind": "door slam", "split": "held-out"} for name in "abc"]
    rows.append({"file": "d.wav", "kind": "door slam", "split": "training"})
    write_table(tmp_path, rows)
    assert [sound.path.name for sound in real_sounds(tmp_path)["door slam"]] == ["a.wav", "b.wav", "c.wav"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"file": "a.wav", "words": "door"}], "no columns"),
        ([{"file": "missing.wav", "kind": "door"}], "Line 2 of .* its file does not exist"),
        ([{"file": "a.wav", "kind": ""}], "has no kind"),
        ([{"file": "a.wav", "kind": "door"}], "No kind in .* has 2 recordings"),
    ],
)
def test_invalid_tables_are_explained(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    (tmp_path / "a.wav").touch()
    write_table(tmp_path, rows)
    with pytest.raises(SettingsError, match=message):
        real_sounds(tmp_path)


def test_folders_without_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No kind in .* has 2 recordings"):
        real_sounds(tmp_path)
    with pytest.raises(SettingsError, match="does not exist"):
        real_sounds(tmp_path / "missing")


def test_kinds_are_recognised_as_classes() -> None:
    assert class_of_kind("drum_hit") == class_of_kind("Drum hit") == class_of_kind("snare drum") == "drum_hit"
    assert class_of_kind("footsteps in snow") == "snow_steps"
    assert class_of_kind("lightsaber hum") is None
    kinds = {sound.kind for sound in read_table()}
    found = {class_of_kind(kind) for kind in kinds} - {None}
    assert found <= set(CLASS_NAMES)
    assert len(found) >= 20


def test_the_pack_is_compared_with_other_recordings_noise_and_the_world(section: Section) -> None:
    figures = {figure.key: figure for figure in section.figures}
    assert figures["realism_nearness"].value is not None
    assert "2 kinds, 6 recordings" in figures["realism_nearness"].note
    assert {f"realism_distance_{source}" for source in SOURCES} <= figures.keys()
    assert figures["realism_frechet_real"].value is not None
    assert "2 and 2 sounds" in figures["realism_frechet_real"].note
    # The kinds of the world alone count, since the folder has some.
    assert [row["kind"] for row in section.details["kinds"]] == ["drum hit", "rain"]
    assert section.details["other_kinds"] == ["lightsaber hum"]
    for row in section.details["kinds"]:
        assert set(row["distances"]) == set(SOURCES)
        # A half of three recordings has one, and one has no covariance.
        assert set(row["frechet"].values()) == {None}


def test_the_report_has_a_row_for_each_kind(section: Section, model: ReWaS) -> None:
    setting = {"clips": 1, "split": "test", "clips_per_class": 1, "num_steps": 1, "guidance_scale": 1.0}
    setting |= {"onsets_guidance_scale": 1.0, "device": "cpu", "lender": None}
    evaluation = Evaluation({"name": "tiny", "version": "1", "controls": ["energy"]}, setting, "cpu", (section,))
    page = markdown(evaluation, {})
    assert "## Realism" in page
    assert "| drum hit | 3 |" in page
    assert "| rain | 3 |" in page


def test_without_a_class_of_the_world_all_kinds_are_measured(model: ReWaS, recordings: Path) -> None:
    kinds = {"lightsaber hum": real_sounds(recordings)["lightsaber hum"]}
    found = realism_section(bench_of(model), kinds, TWO_CLASSES, untrained_embedder())
    (row,) = found.details["kinds"]
    assert row["kind"] == "lightsaber hum"
    assert set(row["distances"]) == {"real", "made", "noise"}


def test_recordings_that_cannot_be_compared_are_listed(model: ReWaS, tmp_path: Path) -> None:
    folder = tmp_path / "rain"
    folder.mkdir()
    soundfile.write(folder / "silent.wav", np.zeros(8000), SAMPLE_RATE_HZ)
    (folder / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(folder / "good.wav", np.random.default_rng(0).normal(0, 0.1, 8000), SAMPLE_RATE_HZ)
    found = realism_section(bench_of(model), real_sounds(tmp_path), TWO_CLASSES, untrained_embedder())
    assert set(found.details["unread"]) == {"silent.wav", "broken.wav"}
    (figure,) = found.figures
    assert figure.value is None
    assert figure.note == "not measured: no kind has 2 readable recordings"


@needs_weights
@pytest.mark.slow
def test_sounds_like_the_recordings_are_nearer_than_noise(
    model: ReWaS, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_of(model)
    world = [scene for name in TWO_CLASSES for scene in DEVELOPMENT.audible(name, 6)[3:]]
    noise = np.random.default_rng(1).normal(0, 0.1, (6, SAMPLE_RATE_HZ)).astype(np.float32)
    found = {}
    for name, waveforms in (("world", [second_of(scene) for scene in world]), ("noise", list(noise))):
        sounds = Sounds(noise, Ready(waveforms))
        monkeypatch.setattr(bench, "generate", lambda *given, sounds=sounds, **named: sounds)
        kinds = {kind: each for kind, each in real_sounds(recordings).items() if kind != "lightsaber hum"}
        made = realism_section(bench, kinds, TWO_CLASSES, SoundEmbedder.load())
        found[name] = {figure.key: figure.value for figure in made.figures}
    # Other sounds of the same synthesis are about as near as those that stand for recordings are to each other.
    assert found["world"]["realism_nearness"] > 0.6
    assert found["noise"]["realism_nearness"] < 0.75 * found["world"]["realism_nearness"]
    assert found["world"]["realism_distance_made"] < found["world"]["realism_distance_other_kinds"]
    assert found["noise"]["realism_frechet_made"] > found["world"]["realism_frechet_made"]


def test_a_plan_needs_the_folder_and_the_package(
    model: ReWaS, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="needs a folder of real recordings"):
        EvaluationPlan(("realism",))
    monkeypatch.setattr(sound_embedding, "PACKAGE", "aisfx-that-nobody-has")
    with pytest.raises(PackError, match="pip install --no-deps"):
        evaluate(model, EvaluationPlan(("realism",), 1, classes=TWO_CLASSES, real_sounds=recordings))


def test_hidden_files_beside_recordings_are_no_recordings(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "._a.wav"):
        (tmp_path / "door").mkdir(exist_ok=True)
        (tmp_path / "door" / name).touch()
    (tmp_path / "door" / "takes.wav").mkdir()
    assert [sound.path.name for sound in real_sounds(tmp_path)["door"]] == ["a.wav", "b.wav"]
