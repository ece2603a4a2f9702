"""One small real run through every stage, and settings that are refused."""

import json
import math
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rewas_engine import EnergyCurve, Execution, PackError, ReWaS, Sampling, SettingsError
from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.suite import EvaluationPlan
from rewas_engine.packs.description import read_pack, verify_files
from rewas_engine.recipes import model_card as card
from rewas_engine.recipes import starter
from rewas_engine.recipes.starter import VERSION, StarterTraining
from rewas_engine.recipes.untrained_starter import TINY
from rewas_engine.runtime.progress import Progress
from rewas_engine.training import words_stage
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.corpus import WorldCorpus, world_front_end
from rewas_engine.training.joint_stage import JointRecipe
from rewas_engine.training.loop import LoopConfig
from rewas_engine.training.pack_writer import SAMPLING, write_pack
from rewas_engine.training.picture_stage import PictureRecipe, augment, simulate_lower_rates
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.stage_order import STAGES
from rewas_engine.training.stages import (
    DenoiserBatches,
    DenoiserRecipe,
    soften_energies,
)
from rewas_engine.training.vocoder_stage import (
    WINDOWS_SAMPLES,
    WaveformCorpus,
    _magnitudes,
    _spectral_distance,
    vocoder_loss,
)
from rewas_engine.training.world_export import ClipFolder
from rewas_engine.world import CLASS_NAMES, sample_scene
from rewas_engine.world.vocabulary import further_captions

FEW = LoopConfig(steps=4, learning_rate=1e-3, warmup_steps=1, checkpoint_every=2)
SMALL = replace(
    TINY,
    sounds=8,
    pictures=3,
    codec_clips=8,
    denoiser=DenoiserRecipe(batch_size=2, crop_frames=64),
    words=FEW,
    base=FEW,
    adapter=FEW,
    vocoder=FEW,
    vocoder_batch=2,
    vocoder_crop_frames=32,
    picture=FEW,
    picture_batch=2,
    joint=FEW,
    joint_recipe=JointRecipe(seen=2, seen_and_heard=1, heard=2, strangers=1, more_words=2),
    joint_strangers=2,
)


@pytest.fixture(scope="module", autouse=True)
def few_phrases_and_fast_precision() -> Iterator[None]:
    """A few phrases of each class, and packs in float32: bfloat16 is slow on processors without instructions for it."""
    fast = {**SAMPLING, "precision": "float32"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(words_stage, "further_captions", lambda name: further_captions(name)[:2])
        patched.setattr(starter, "write_pack", partial(write_pack, sampling=fast))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[StarterTraining, list[Progress]]:
    """A run through all stages, and its progress reports."""
    reports: list[Progress] = []
    training = StarterTraining(SMALL, tmp_path_factory.mktemp("run"), report=reports.append)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(card, "MEASURED", EvaluationPlan(("energy", "picture"), 1, classes=("drum_hit", "rain")))
        training.run()
    return training, reports


@pytest.mark.slow
def test_all_stages_end_in_a_pack_that_generates_sound(trained) -> None:
    training, reports = trained
    model = ReWaS.from_pretrained(training.pack_folder, device="cpu")
    assert model.pack.name == "starter"
    # The version differs from that of the shipped pack and of every other run.
    assert model.pack.version == f"{VERSION}+{read_pack(training.pack_folder).fingerprint[:8]}"
    verify_files(read_pack(training.pack_folder))
    requested = EnergyCurve(np.full(100, -4, np.float32), 100)
    log_mel = model.sound_generator.generate_log_mel(
        "a drum", Controls.from_energy(requested), 0, model.sampling_settings(Sampling(num_inference_steps=2))
    )
    waveform = model.sound_generator.vocoder.vocode(log_mel, 16_000)
    assert waveform.shape == (16_000,)
    assert np.isfinite(waveform).all()
    assert waveform.any()
    names = list(dict.fromkeys(progress.stage for progress in reports))
    assert names[:2] == ["corpus: sounds", "corpus: pictures"]
    assert names[2:8] == ["words", "base", "adapter", "vocoder", "picture", "joint"]
    assert names[8] == "pack: measuring, rendering clips"
    assert all(name.startswith("pack: measuring, ") for name in names[8:])
    assert [progress.step for progress in reports if progress.stage == "adapter"] == [1, 2, 3, 4]
    trained_stages = {progress.stage for progress in reports if progress.loss is not None}
    assert trained_stages == set(names[2:8])
    assert all(progress.time_left_s is not None for progress in reports if progress.stage in trained_stages)


@pytest.mark.slow
def test_the_pack_is_described_with_its_figures(trained) -> None:
    training, _ = trained
    figures = json.loads((training.pack_folder / "figures.json").read_text("utf-8"))
    assert figures["figures"]["scenes"] == 2
    assert figures["config"]["sounds"] == 8
    assert (training.pack_folder / "README.md").read_text("utf-8").startswith("# starter")
    assert figures["training"][-1]["version"].startswith(f"{VERSION}+")


@pytest.mark.slow
def test_every_stage_draws_its_losses_and_a_sample_sheet(trained) -> None:
    training, _ = trained
    for stage in ("base", "adapter", "vocoder", "picture", "joint"):
        for picture in (
            training.folder / "curves" / f"{stage}.png",
            training.folder / "samples" / f"{stage}-000004.png",
        ):
            assert picture.read_bytes().startswith(b"\x89PNG")
            assert picture.stat().st_size > 5_000


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(trained) -> None:
    training, _ = trained
    reports: list[Progress] = []
    StarterTraining(SMALL, training.folder, report=reports.append).run()
    assert reports == []
    assert all((training.folder / f"{stage}.finished").is_file() for stage in STAGES)


@pytest.mark.slow
def test_training_changes_the_adapter_and_keeps_the_base(trained) -> None:
    training, _ = trained
    denoiser = training._load("denoiser", "UNet2DConditionModel")
    adapter = training._load("adapter", "EnergyAdapter")
    assert any(conv.weight.any() for conv in adapter.zero_convs)
    # The pack contains the base that the adapter was trained with.
    exact = Execution(precision="float32")
    packed = ReWaS.from_pretrained(training.pack_folder, device="cpu", execution=exact)._components["denoiser"]
    for name, tensor in denoiser.state_dict().items():
        torch.testing.assert_close(packed.state_dict()[name], tensor.half().float(), atol=0, rtol=0)


@pytest.mark.slow
def test_the_pack_has_a_joint_space_of_text_video_and_sound(trained) -> None:
    training, _ = trained
    model = ReWaS.from_pretrained(training.pack_folder, device="cpu")
    assert model.joint_scorer is not None
    assert len(model.joint_scorer.known_words) == len(CLASS_NAMES)
    assert 0 < model.score_text_sound("rain", np.ones(16_000, np.float32)) < 1
    untrained = SMALL.new_joint_space()
    kept = model.joint_scorer.space.state_dict()
    assert any(not torch.equal(kept[name], weights) for name, weights in untrained.state_dict().items())
    assert json.loads((training.folder / "began.json").read_text("utf-8"))["joint"] == "nothing"


@pytest.mark.slow
def test_a_pack_interrupted_while_it_was_measured_is_written_again(trained, tmp_path: Path, monkeypatch) -> None:
    training, _ = trained
    shutil.copytree(training.folder / "components", tmp_path / "components")
    for path in (training.folder / "began.json", *training.folder.glob("*.finished")):
        if path.name not in ("joint.finished", "pack.finished"):
            shutil.copy(path, tmp_path)
    shutil.rmtree(tmp_path / "components" / "joint")
    cut_off = tmp_path / "pack" / "starter"
    cut_off.mkdir(parents=True)
    (cut_off / "pack.toml").write_text("name = 'of an earlier attempt'", "utf-8")
    monkeypatch.setattr(card, "MEASURED", EvaluationPlan(("energy",), 1, classes=("drum_hit", "rain")))
    stop = threading.Event()
    stopped = StarterTraining(SMALL, tmp_path, report=lambda progress: stop.set(), cancel=stop)
    with pytest.raises(TrainingStopped, match="in the stage pack: measuring after"):
        stopped.run(["pack"])
    assert (cut_off / "pack.toml").is_file()
    again = StarterTraining(SMALL, tmp_path)
    again.run(["pack"])
    assert (cut_off / "README.md").is_file()
    assert read_pack(cut_off).info.name == "starter"
    assert read_pack(cut_off).info.kinds == CLASS_NAMES
    assert "joint" not in read_pack(cut_off).components
    # A finished pack is never removed.
    (tmp_path / "pack.finished").unlink()
    with pytest.raises(PackError, match="already exists"):
        again.run(["pack"])


def test_a_silent_batch_does_not_dominate_the_vocoder_loss() -> None:
    torch.manual_seed(0)
    vocoder, front_end = SMALL.new_vocoder(), world_front_end()
    generator = torch.Generator().manual_seed(0)
    noise = (8000 * torch.randn(4, 16_000, generator=generator)).clamp(-30_000, 30_000).short()

    def loss_on(waveforms: torch.Tensor) -> float:
        return float(vocoder_loss(WaveformCorpus(waveforms), vocoder, front_end, 4, 64)(0, generator.manual_seed(1)))

    loud, silent = loss_on(noise), loss_on(torch.zeros_like(noise))
    # Without a minimum level, each window would count thousands of times as much.
    assert silent < 20 * loud


def test_loud_spectra_are_compared_relative_to_their_level() -> None:
    generator = torch.Generator().manual_seed(0)
    waveforms = 0.02 * torch.randn(2, 8000, generator=generator)
    real, doubled = _magnitudes(waveforms), _magnitudes(2 * waveforms)
    assert _spectral_distance(real, real, real) == 0
    # For each window: the logarithm of the factor, and the difference relative to the level.
    distance = _spectral_distance(doubled, real, real) / len(WINDOWS_SAMPLES)
    assert distance == pytest.approx(math.log(2) + 1, abs=0.03)
    # The level of the real sound also counts between two draws.
    assert _spectral_distance(real, doubled, real) == pytest.approx(float(_spectral_distance(doubled, real, real)))


@pytest.mark.slow
def test_the_corpus_has_what_its_stages_need(trained) -> None:
    training, _ = trained
    sounds = training._sound_corpus()
    assert sounds.log_mels.shape == (8, 512, 64)
    assert sounds.prompts.shape == (8, 384)
    pictures = training.pictures.videos(training.front_end)
    scenes = [sample_scene(training.pictures.first_seed + clip) for clip in range(3)]
    assert any(scene.off_screen for scene in scenes)
    matching = [scene for scene in scenes if scene.is_silent or not scene.off_screen]
    assert pictures.frames.shape[0] == pictures.energies.shape[0] == len(matching) > 0
    loud = [scene.is_silent or scene.envelope.max() >= 0.65 for scene in matching]
    assert pictures.of_known_level is not None
    assert pictures.of_known_level.tolist() == loud
    assert pictures.frames.shape[1] == pictures.energies.shape[1] == 128
    assert training.sounds.waveforms().waveforms.abs().max() <= 16_384  # a peak of a half
    batches = DenoiserBatches(sounds, training._load("codec", "PatchAutoencoder"), SMALL.denoiser)
    first, again = (batches.draw(False, torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(one, vars(again)[name]) for name, one in vars(first).items())
    assert (first.latents.shape, first.prompts.shape, first.onsets.shape) == ((2, 8, 16, 16), (2, 384), (2, 64))
    assert batches.draw(True, torch.Generator().manual_seed(1)).latents.shape == (1, 8, 128, 16)


@pytest.mark.slow
def test_a_corpus_with_other_settings_is_refused(trained) -> None:
    training, _ = trained
    for other in (replace(SMALL, sounds=9), replace(SMALL, seed=2)):
        with pytest.raises(SettingsError, match="clips with other settings"):
            StarterTraining(other, training.folder).write_corpus()


@pytest.mark.slow
def test_the_picture_stage_learns_from_further_clips(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    ClipFolder(clips, 900, Fraction(25), 64, 64).write(2, workers=1)
    config, run = replace(SMALL, picture_folder=str(clips)), tmp_path / "run"
    training = StarterTraining(config, run)
    training.run(("corpus", "picture"))
    assert sorted(path.name for path in clips.glob("*.frames.npy")) == [
        "clip_000000.frames.npy",
        "clip_000001.frames.npy",
    ]
    assert training.ledger.is_finished("picture")
    with pytest.raises(SettingsError, match=r"The stage picture .* other settings: picture_folder"):
        StarterTraining(replace(SMALL, picture_folder=""), run).run(("picture",))
    with pytest.raises(SettingsError, match="contains no clips of the synthetic world"):
        StarterTraining(replace(SMALL, picture_folder=str(tmp_path)), tmp_path / "other").run(("picture",))
    assert not (tmp_path / "other").exists()


def test_a_stopped_corpus_keeps_its_finished_clips(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    corpus = WorldCorpus(tmp_path, 2, 0, 77)
    with pytest.raises(TrainingStopped):
        corpus.write(1, cancel=cancel)
    assert len(corpus.captions()) == 2
    assert list(tmp_path.glob("*partial*")) == []


def test_new_log_mels_are_not_read_from_their_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, read = WorldCorpus(tmp_path, 2, 0, 77), []
    corpus.write(1)
    load = np.load

    def recorded(path: Path) -> Any:
        read.append(Path(path).name)
        return load(path)

    monkeypatch.setattr(np, "load", recorded)
    computed = corpus.log_mels(world_front_end())
    assert "log_mels.npy" not in read
    cached = corpus.log_mels(world_front_end())
    assert "log_mels.npy" in read
    assert computed.dtype == cached.dtype == torch.float16
    assert torch.equal(computed, cached)


def test_an_unknown_stage_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no stage 'bass'"):
        StarterTraining(SMALL, tmp_path / "run").run(["corpus", "bass"])
    assert not (tmp_path / "run").exists()


def test_settings_are_read_over_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(
        "sounds = 12\nwidths = [16, 32]\n[base]\nsteps = 7\nlearning_rate = 1\n[denoiser]\nhint_dropout = 0\n"
    )
    config = StarterConfig.read(path)
    assert (config.sounds, config.widths, config.base.steps) == (12, (16, 32), 7)
    assert (config.base.learning_rate, config.base.warmup_steps) == (1.0, StarterConfig().base.warmup_steps)
    assert config.denoiser.hint_dropout == 0
    assert config.adapter == StarterConfig().adapter


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sounds = ", "small.toml cannot be read"),
        ("songs = 3", "small.toml sets songs"),
        ("[base]\nstep = 3", "base in small.toml sets step"),
        ("sounds = 'many'", "small.toml sets sounds"),
        ("sounds = 2.5", "small.toml sets sounds"),
        ("sounds = -1", "small.toml sets sounds"),
        ("sounds = true", "small.toml sets sounds"),
        ("base = 3", "small.toml sets base"),
        ("widths = 64", "small.toml sets widths"),
        ("widths = []", "small.toml sets widths"),
        ("widths = ['a']", "small.toml sets widths"),
        ("[seed]\na = 1", "small.toml sets seed"),
        ("[base]\nsteps = -1", "base in small.toml sets steps"),
        ("[base]\nlearning_rate = nan", "base in small.toml sets learning_rate"),
        ("[base]\nlearning_rate = inf", "base in small.toml sets learning_rate"),
    ],
)
def test_invalid_settings_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=message):
        StarterConfig.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.toml cannot be read"):
        StarterConfig.read(tmp_path / "nowhere.toml")


def test_softened_energies_are_coarse_and_keep_their_times() -> None:
    energies = torch.full((2, 512), -8.0)
    energies[:, 200:260] = -2
    soft = soften_energies(energies)
    assert soft.shape == (2, 512)
    assert soft[0, 230] == pytest.approx(-2, abs=0.6)
    assert soft[0, :150].sub(-8).abs().max() < 0.1
    # The rise stays where it was, to within one of the 112 values.
    rise = int((soft[0] > -5).float().argmax())
    assert abs(rise - 200) <= 6
    assert soften_energies(energies[:0]).shape == (0, 512)


def test_augmented_clips_are_valid_and_differ() -> None:
    frames = torch.rand(4, 6, 32, 32, generator=torch.Generator().manual_seed(0))
    one, other = (augment(frames, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert one.shape == frames.shape
    assert 0 <= one.min() <= one.max() <= 1
    assert not torch.allclose(one, other)
    assert torch.equal(one, augment(frames, torch.Generator().manual_seed(1)))


def test_lower_frame_rates_repeat_frames_close_to_their_time() -> None:
    frames = torch.arange(128).reshape(1, 128, 1, 1).expand(64, -1, 2, 2)
    slower = simulate_lower_rates(frames, 25.0, torch.Generator().manual_seed(3))[:, :, 0, 0]
    changed = (slower != frames[:, :, 0, 0]).any(dim=1)
    assert 10 < int(changed.sum()) < 54
    # At 12 fps, one frame replaces about two frames of 25 fps.
    assert int((slower - frames[:, :, 0, 0]).abs().max()) <= 2
    assert (slower.diff(dim=1) >= 0).all()
    assert ((slower.diff(dim=1) == 0).any(dim=1) == changed).all()


def test_an_untrained_video_encoder_does_not_stay_as_it_is(tmp_path: Path) -> None:
    config = replace(SMALL, picture_recipe=PictureRecipe(words=1, fixed_views=1))
    with pytest.raises(SettingsError, match="not trained yet"):
        StarterTraining(config, tmp_path).train_picture()


@pytest.mark.slow
def test_a_stage_without_steps_keeps_the_weights_of_the_pack(trained, tmp_path: Path) -> None:
    pack = trained[0].pack_folder
    config = replace(SMALL, start_from=str(pack), picture=replace(SMALL.picture, steps=0))
    training = StarterTraining(config, tmp_path)
    training.train_picture()
    for role in ("video_encoder", "phi"):
        found, expected = (load_file(folder / role / "model.safetensors") for folder in (tmp_path / "components", pack))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name].float()) for name in found)
    wider = replace(config, picture_features=2 * SMALL.picture_features)
    with pytest.raises(SettingsError, match="no such component of the same size"):
        StarterTraining(wider, tmp_path).train_picture()


def test_a_stage_without_steps_needs_a_pack(tmp_path: Path) -> None:
    config = replace(SMALL, start_from="", picture=replace(SMALL.picture, steps=0))
    with pytest.raises(SettingsError, match="The stage picture has 0 steps"):
        StarterTraining(config, tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


def test_a_corpus_of_more_classes_has_sounds_of_all_and_pictures_of_some(tmp_path: Path) -> None:
    config = replace(SMALL, classes=("rain", "bell", "thunder", "cat_meow", "siren"), sounds=12, pictures=6)
    training = StarterTraining(config, tmp_path / "run")
    training.run(("corpus",))
    assert isinstance(training.sounds, WorldCorpus)
    assert isinstance(training.pictures, WorldCorpus)
    heard = {scene.class_name for scene in training.sounds.scenes()}
    assert {"thunder", "cat_meow", "siren"} & heard
    assert heard <= set(config.classes)
    assert {scene.class_name for scene in training.pictures.scenes()} <= {"rain", "bell"}
    with pytest.raises(SettingsError, match=r"contains another corpus|other settings"):
        StarterTraining(replace(config, classes=("rain", "bell")), tmp_path / "run").run(("corpus",))


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (("rain", "bell", "moo"), "contains moo"),
        (("rain", "rain", "bell"), "the same class twice"),
        (("rain", "thunder", "siren"), "fewer than two classes with a picture"),
    ],
)
def test_unusable_classes_are_refused(classes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        StarterConfig(classes=classes)
