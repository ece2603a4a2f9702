"""Sounds of the world made of real recordings, which these tests write."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import MediaError, SettingsError
from rewas_engine.evaluation.figures import Evaluation, Figure, Section
from rewas_engine.recipes.model_card import read_trainings, write_model_card
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.corpus import WorldCorpus
from rewas_engine.training.corpus_shards import FULL_SCALE
from rewas_engine.training.grain_recordings import GrainRecordings, list_recordings, read_grains
from rewas_engine.world import SAMPLE_RATE_HZ, Scene, render_sound, sample_scene
from rewas_engine.world.grains import Grains, cut_strikes, cut_texture

CLASSES = ("metal_hit", "drum_hit", "engine", "thunder")
RATE_HZ = 44_100


def click(rate_hz: int = RATE_HZ, pitch_hz: float = 900.0) -> np.ndarray:
    """A sound that starts at once and decays: [samples]."""
    times_s = np.arange(int(0.3 * rate_hz)) / rate_hz
    return 0.8 * np.cos(2 * np.pi * pitch_hz * times_s) * np.exp(-times_s / 0.05)


def hum(duration_s: float = 3.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    times_s = np.arange(int(duration_s * rate_hz)) / rate_hz
    return 0.4 * np.sin(2 * np.pi * 440 * times_s) + 0.05 * np.random.default_rng(0).standard_normal(times_s.size)


def write_folder(folder: Path, rows: list[dict[str, str]], sounds: dict[str, np.ndarray] | None = None) -> Path:
    """Write a table, and a click or a hum for each of its files."""
    folder.mkdir(exist_ok=True)
    for row in rows:
        sound = (sounds or {}).get(row["file"], hum() if row["kind"] == "motor" else click())
        stereo = np.stack([sound, sound], axis=1)
        soundfile.write(folder / row["file"], stereo, RATE_HZ)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(file: str, kind: str, licence: str = "CC0-1.0", credit: str = "A. Person") -> dict[str, str]:
    return {"file": file, "kind": kind, "licence": licence, "credit": credit}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [row(f"metal{number}.wav", "metal hit") for number in range(5)]
    rows += [row("motor1.wav", "motor"), row("motor2.wav", "motor"), row("thunder.wav", "thunder", "CC-BY-4.0")]
    return write_folder(tmp_path / "recordings", [*rows, row("laughing.wav", "laughing")])


def names(found: GrainRecordings) -> tuple[set[str], set[str]]:
    return {each.name for each in found.training}, {each.name for each in found.left_out}


def near(scene: Scene) -> Scene:
    return replace(scene, distance=0.0, reverb_s=0.0, ambience=None, floor=0.0)


def test_files_are_split_by_name(folder: Path) -> None:
    training, left_out = names(list_recordings(folder, CLASSES))
    assert training | left_out == {*(f"metal{n}.wav" for n in range(5)), "motor1.wav", "motor2.wav", "thunder.wav"}
    assert not training & left_out
    assert "thunder.wav" in training  # the only one of its kind
    for beginning in ("metal", "motor"):
        assert any(name.startswith(beginning) for name in training)
        assert any(name.startswith(beginning) for name in left_out)
    assert names(list_recordings(folder, CLASSES)) == (training, left_out)
    assert not any("thunder" in name for name in set.union(*names(list_recordings(folder, ("metal_hit",)))))


def test_a_column_decides_on_the_split(tmp_path: Path) -> None:
    splits = {"a.wav": "held-out", "b.wav": "training", "c.wav": ""}
    rows = [{**row(name, "metal hit"), "split": split} for name, split in splits.items()]
    assert names(list_recordings(write_folder(tmp_path / "r", rows), CLASSES)) == ({"b.wav", "c.wav"}, {"a.wav"})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (row("metal0.wav", "metal hit", licence="CC-BY-NC-4.0"), r"Line 2 .* licence"),
        (row("metal0.wav", "metal hit", credit=""), r"Line 2 .* credit"),
        (row("metal0.wav", "laughing"), "no recordings for training"),
    ],
)
def test_unusable_tables_are_refused(tmp_path: Path, changed: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        list_recordings(write_folder(tmp_path / "r", [changed]), CLASSES)


def test_missing_files_and_tables_are_refused(folder: Path) -> None:
    (folder / "metal0.wav").unlink()
    with pytest.raises(SettingsError, match=r"does not contain 'metal0.wav'"):
        list_recordings(folder, CLASSES)
    with pytest.raises(SettingsError, match="cannot be read"):
        list_recordings(folder / "other", CLASSES)


def test_a_silent_recording_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r", [row("a.wav", "metal hit")], {"a.wav": np.zeros(4000)})
    with pytest.raises(MediaError, match=r"a.wav is silent"):
        read_grains(list_recordings(folder, CLASSES).training)


def test_each_strike_of_a_recording_begins_at_its_onset() -> None:
    strike, sound = click(SAMPLE_RATE_HZ), np.zeros(3 * SAMPLE_RATE_HZ)
    for start in (1000, 12_000, 30_000):
        sound[start : start + strike.size] += strike
    cuts = cut_strikes(sound)
    assert len(cuts) == 3
    for cut in cuts:
        assert cut[0] != 0
        assert np.abs(cut[8:200] * 0.8 - strike[8:200]).max() < 0.01


def test_strikes_without_a_pause_are_separated() -> None:
    times_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    since_strike_s = times_s % 0.25
    sound = np.cos(2 * np.pi * 900 * times_s) * np.exp(-since_strike_s / 0.09)
    assert len(cut_strikes(sound)) == 4


@given(duration_s=st.floats(0.05, 10.0), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_textures_have_no_seam(duration_s: float, seed: int) -> None:
    size = int(duration_s * SAMPLE_RATE_HZ)
    noise = np.random.default_rng(seed).standard_normal(size)
    smooth = np.convolve(noise, np.hanning(64), "same")
    texture = cut_texture(smooth * np.linspace(0.3, 1.0, size))
    assert texture is not None
    steps = np.abs(np.diff(texture, append=texture[:1]))
    assert steps[-1] <= 1.5 * steps[:-1].max()
    assert texture.std() == pytest.approx(1, abs=1e-3)


def test_strikes_sound_exactly_at_the_events(folder: Path) -> None:
    grains = replace(read_grains(list_recordings(folder, CLASSES).training), share=1.0)
    for seed in range(8):
        scene = near(sample_scene(seed, "metal_hit", pattern="single"))
        sound = render_sound(scene, grains)
        assert np.flatnonzero(sound)[0] == round(scene.event_times_s[0] * SAMPLE_RATE_HZ)
        assert not np.array_equal(sound, render_sound(scene))
        assert np.array_equal(sound, render_sound(scene, grains))


def test_textures_follow_the_envelope(folder: Path) -> None:
    grains = replace(read_grains(list_recordings(folder, CLASSES).training), share=1.0)
    for seed in range(4):
        scene = near(sample_scene(seed, "engine", pattern="gated"))
        sound = render_sound(scene, grains)
        recorded, synthetic = (np.square(each).reshape(-1, 1280).mean(axis=1) for each in (sound, render_sound(scene)))
        assert np.corrcoef(recorded, synthetic)[0, 1] > 0.9
        silent = scene.intensity_at(np.arange(sound.size) / SAMPLE_RATE_HZ) == 0
        # Smoothing of the envelope, and the filters that follow it, last a few hundredths of a second.
        inner = np.convolve(silent, np.ones(3201), "same") > 3200
        assert inner.any()
        assert np.abs(sound[inner]).max() < 1e-3


def test_scenes_differ_in_what_they_make_of_a_recording(folder: Path) -> None:
    grains = replace(read_grains(list_recordings(folder, ("thunder",)).training), share=1.0)
    scenes = [near(sample_scene(seed, "thunder", pattern="single")) for seed in range(6)]
    strikes = [drawn[1][0] for scene in scenes if (drawn := grains.draw_strikes(scene)) is not None]
    assert len(strikes) == 6
    pitches_hz = {int(np.argmax(np.abs(np.fft.rfft(strike, SAMPLE_RATE_HZ)))) for strike in strikes}
    assert len(pitches_hz) >= 5
    assert all(700 < pitch_hz < 1150 for pitch_hz in pitches_hz)


@pytest.mark.parametrize("name", ["drum_hit", "rain", "metal_hit", "engine"])
def test_without_a_drawn_recording_no_sample_changes(name: str, folder: Path) -> None:
    grains = replace(read_grains(list_recordings(folder, CLASSES).training), share=0.0)
    for seed in range(3):
        scene = sample_scene(seed, name)
        plain = render_sound(scene)
        assert np.array_equal(plain, render_sound(scene, grains))
        assert np.array_equal(plain, render_sound(scene, Grains()))


def test_a_corpus_uses_recordings(folder: Path, tmp_path: Path) -> None:
    plain = WorldCorpus(tmp_path / "plain", 8, 0, 40, CLASSES)
    recorded = replace(plain, folder=tmp_path / "recorded", grains_folder=folder)
    for corpus in (plain, recorded):
        corpus.write(1)
        assert corpus.is_written()
    assert plain.captions() == recorded.captions()
    differing = [
        not np.array_equal(one, other)
        for one, other in zip(plain.waveforms().waveforms, recorded.waveforms().waveforms, strict=True)
    ]
    assert 1 <= sum(differing) < 8
    grains = read_grains(recorded.grain_recordings.training)
    for stored, scene in zip(recorded.waveforms().waveforms.numpy(), recorded.scenes(), strict=True):
        sound, expected = stored / FULL_SCALE, render_sound(scene, grains)
        if expected.any():
            assert np.corrcoef(sound, expected)[0, 1] > 0.999
    assert "grains" not in json.loads((tmp_path / "plain" / "corpus.json").read_text("utf-8"))


def test_a_corpus_of_other_recordings_is_refused(folder: Path, tmp_path: Path) -> None:
    corpus = WorldCorpus(tmp_path / "corpus", 2, 0, 40, CLASSES, folder)
    corpus.write(1)
    soundfile.write(folder / "thunder.wav", click(pitch_hz=300.0), RATE_HZ)
    with pytest.raises(SettingsError, match="these settings differ: grains"):
        replace(corpus).is_written()


def test_the_training_passes_its_recordings_to_sounds_without_video(folder: Path, tmp_path: Path) -> None:
    config = StarterConfig(seed=3, classes=CLASSES, grains_folder=str(folder), sounds=4, pictures=2)
    training = StarterTraining(config, tmp_path / "run")
    training.run(("corpus",))
    sounds, pictures = training.sounds, training.pictures
    assert isinstance(sounds, WorldCorpus)
    assert isinstance(pictures, WorldCorpus)
    assert names(sounds.grain_recordings) == names(list_recordings(folder, CLASSES))
    assert pictures.grain_recordings == GrainRecordings((), ())
    with pytest.raises(SettingsError, match="grains"):
        StarterTraining(replace(config, grains_folder=""), tmp_path / "run").run(("corpus",))
    with pytest.raises(SettingsError, match="cannot be read"):
        StarterTraining(replace(config, grains_folder=str(tmp_path / "none")), tmp_path / "other").run(("corpus",))


def test_the_model_card_credits_each_recording(folder: Path, tmp_path: Path) -> None:
    found = list_recordings(folder, CLASSES)
    figures = (Figure("energy_correlation_mean", "Energy", 0.5),)
    pack = {"name": "small", "version": "1.0.0", "licence": "Apache-2.0", "controls": ["energy"]}
    setting = {"clips": 2, "num_steps": 10}
    evaluation = Evaluation(pack, setting, "cpu", (Section("energy", "Energy", figures),))
    cards = []
    for version, recordings in (("1.0.0", found.training), ("1.1.0", ())):
        path = tmp_path / version
        path.mkdir()
        earlier = read_trainings(tmp_path / "1.0.0") if version == "1.1.0" else ()
        config = StarterConfig(classes=("metal_hit", "drum_hit", "engine", "thunder"))
        write_model_card(path, config, {}, {}, evaluation, version=version, earlier=earlier, recordings=recordings)
        cards.append((path / "README.md").read_text("utf-8"))
    for card in cards:  # the second pack continues the first one
        assert "| thunder.wav | thunder | CC-BY-4.0 | A. Person |" in card
        assert all(f"| {each.name} |" in card for each in found.training)
        assert not any(each.name in card for each in found.left_out)
        assert f"{len(found.training)} real recordings" in card
        assert "Everything is synthetic" not in card
