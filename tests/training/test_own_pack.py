"""A pack trained from forty clips in a user's folders: training, continuing, loading and generating."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from foreign_layout import CAPTION_COLUMN, FILE_COLUMN, write_foreign_layout

from rewas_cli.main import run
from rewas_engine import ReWaS, Sampling, SettingsError, VideoClip
from rewas_engine.conditioning.controls import Controls
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.joint import JointSpace
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.packs.description import read_pack
from rewas_engine.recipes import own_pack, starter
from rewas_engine.recipes.own_model_card import measure_held_out
from rewas_engine.recipes.own_pack import RecordingsTraining
from rewas_engine.recipes.pack_terms import PackTerms
from rewas_engine.recipes.starter import COMPONENT_CLASSES
from rewas_engine.recipes.untrained_starter import TINY, write_untrained_pack
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.continuation import ContinuedConfig
from rewas_engine.training.corpus import world_front_end
from rewas_engine.training.cutting import ClipFormat
from rewas_engine.training.loop import LoopConfig
from rewas_engine.training.pack_writer import SAMPLING, write_pack
from rewas_engine.training.recording_catalog import CaptionSource, list_recordings
from rewas_engine.training.recordings import HeldOutClips, Recordings
from rewas_engine.training.stages import DenoiserRecipe, adapter_loss

TERMS = PackTerms("workshop", "CC-BY-4.0", "Any use that names the workshop.")
FAST = {**SAMPLING, "precision": "float32"}
SOME = LoopConfig(steps=40, learning_rate=4e-3, warmup_steps=5, ema_decay=0.9)
SMALL = replace(
    TINY,
    device="cpu",
    denoiser=DenoiserRecipe(batch_size=4, crop_frames=64, whole_from=1.0),
    base=SOME,
    adapter=SOME,
    vocoder=replace(SOME, learning_rate=1e-3),
    vocoder_batch=8,
    vocoder_crop_frames=32,
    picture=SOME,
    picture_batch=2,
)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of forty clips."""
    folder = tmp_path_factory.mktemp("foreign")
    write_foreign_layout(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def fast_precision() -> Iterator[None]:
    """Packs run in float32: bfloat16 is slow on processors without instructions for it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(own_pack, "write_pack", partial(write_pack, sampling=FAST))
        yield


@pytest.fixture(autouse=True)
def few_are_measured_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `trained` measures more clips, and draws its sheets."""
    monkeypatch.setattr(own_pack, "MEASURED_CLIPS", 2)
    monkeypatch.setattr(starter, "can_draw", lambda: False)


@pytest.fixture(scope="module")
def trained(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordingsTraining, set[str]]:
    """A run from scratch through all stages, and the stages that it reported."""
    source = CaptionSource(foreign / "notes.tsv", FILE_COLUMN, CAPTION_COLUMN)
    listing = list_recordings(foreign / "sounds", foreign / "takes", source)
    folder = tmp_path_factory.mktemp("run")
    reports: list[Progress] = []
    recordings = Recordings(folder / "recordings", listing, ClipFormat(hop_s=Fraction(512, 100)))
    training = RecordingsTraining(SMALL, folder, recordings, TERMS, report=reports.append)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(own_pack, "MEASURED_CLIPS", 4)
        training.run()
    return training, {progress.stage for progress in reports}


@pytest.mark.slow
def test_every_recording_of_the_folder_is_used(trained, foreign: Path) -> None:
    training, _ = trained
    facts = training.recordings.facts()
    assert (facts["recordings"], facts["videos"], facts["left_out"]) == (40, 16, 0)
    assert facts["held_out_recordings"] == 4
    named = [line.split("\t")[0] for line in (foreign / "notes.tsv").read_text("utf-8").splitlines()[1:]]
    assert {recording.captions[0] for recording in training.recordings.catalog.recordings} == set(named)


@pytest.mark.slow
def test_every_stage_learns(trained) -> None:
    training, reports = trained
    assert {"base", "adapter", "vocoder", "picture", "pack: measuring"} <= reports
    assert "joint" not in reports
    for stage in ("base", "vocoder", "picture"):
        losses = json.loads((training.folder / f"{stage}.record.json").read_text("utf-8"))["losses"]
        assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5]), stage
    # The losses of so small an adapter depend more on the random draws than on training, so compare the same draws.
    denoiser, adapter = (
        training._load(*role) for role in (("denoiser", "UNet2DConditionModel"), ("adapter", "EnergyAdapter"))
    )
    fresh = EnergyAdapter.from_denoiser(denoiser, 16, adapter.config.hint_channels)
    before, after = (
        adapter_loss(training._batches(), denoiser, one, training.schedule(), 64, 1) for one in (fresh, adapter)
    )
    draws = range(12)
    with torch.inference_mode():
        losses = [[float(loss(0, torch.Generator().manual_seed(draw))) for draw in draws] for loss in (before, after)]
    assert np.mean(losses[1]) < 0.98 * np.mean(losses[0])


@pytest.mark.slow
def test_the_pack_loads_and_generates_sound_for_a_clip(trained, foreign: Path) -> None:
    training, _ = trained
    model = ReWaS.from_pretrained(training.pack_folder, device="cpu")
    assert (model.pack.name, model.pack.licence, model.pack.permits) == tuple(
        getattr(TERMS, name) for name in ("name", "licence", "permits")
    )
    clip = VideoClip(foreign / "takes" / "24.mp4", duration=2)
    result = model.generate(clip, prompt="a dog barks", sampling=Sampling(num_inference_steps=2))
    waveform = result.takes[0].stems["primary"].waveform
    assert waveform.shape == (1, 32_000)
    assert np.isfinite(waveform).all()
    assert waveform.any()


@pytest.mark.slow
def test_the_card_states_the_data_and_the_terms(trained) -> None:
    training, _ = trained
    card = (training.pack_folder / "README.md").read_text("utf-8")
    terms = "Licence: CC-BY-4.0. Any use that names the workshop."
    for text in ("# workshop", terms, "36 recordings", "trained from scratch"):
        assert text in card
    document = json.loads((training.pack_folder / "figures.json").read_text("utf-8"))
    assert document["data"] == training.recordings.facts()
    assert {"mean_mel_correlation", "mean_uncontrolled_mel_correlation"} <= document["figures"].keys()
    model = ReWaS.from_pretrained(training.pack_folder, device="cpu")
    again = measure_held_out(model, training.recordings.held_out(4))
    assert document["figures"] == pytest.approx(again, abs=1e-3)


def test_held_out_sounds_are_compared_with_the_generated_ones() -> None:
    front_end = world_front_end()
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    loud_and_soft = np.repeat(np.array([[1, 0.01, 1, 0.01], [0.01, 1, 0.01, 1]], np.float32), 4000, axis=1)
    sounds = noise * loud_and_soft
    mels = [front_end.encode(sound) for sound in sounds]

    def log_mel(caption: str, controls: Controls, seed: int, control_strength: float) -> torch.Tensor:
        np.testing.assert_allclose(controls.energy, mels[seed].mean(dim=-1), atol=1e-5)
        return mels[seed] - 0.5 if control_strength else -mels[seed]

    def waveform(log_mel: torch.Tensor, samples: int) -> np.ndarray:
        # The vocoder is silent for the second clip and correct for the first.
        return sounds[0] if torch.equal(log_mel, mels[0] - 0.5) else np.zeros(samples, np.float32)

    model = SimpleNamespace(
        front_end=front_end,
        sampling_settings=lambda sampling=None, control=None: 1.0 if control is None else control.strength,
        sound_generator=SimpleNamespace(generate_log_mel=log_mel, vocoder=SimpleNamespace(vocode=waveform)),
    )
    figures = measure_held_out(model, HeldOutClips(("one", "two"), sounds, (None, None)))
    assert figures["clips"] == 2
    assert (figures["mean_mel_correlation"], figures["mean_mel_mae_nats"]) == (1, 0.5)
    assert (figures["mean_sound_correlation"], figures["worse_tenth_sound_correlation"]) == (0.5, 0.1)
    above_silence_nats = float(mels[1].mean()) - front_end.config.silence_nats
    assert figures["mean_sound_mae_nats"] == pytest.approx(above_silence_nats / 2, abs=1e-3)
    assert figures["mean_uncontrolled_mel_correlation"] == -1
    assert "mean_picture_correlation" not in figures


def continued(foreign: Path, folder: Path, pack: Path) -> RecordingsTraining:
    """A training on eight sounds, without a video, that continues a pack; not yet run."""
    listing = list_recordings(foreign / "sounds" / "day 0", None, CaptionSource(words="folder"))
    config = ContinuedConfig(start_from=str(pack), device="cpu")
    return RecordingsTraining(config, folder, Recordings(folder / "recordings", listing), TERMS)


def test_without_videos_a_pack_to_continue_is_required(foreign: Path, tmp_path: Path) -> None:
    listing = list_recordings(foreign / "sounds", None)
    with pytest.raises(SettingsError, match="no videos to train the estimator on"):
        RecordingsTraining(SMALL, tmp_path, Recordings(tmp_path / "recordings", listing), TERMS)


def test_sizes_are_those_of_the_continued_pack() -> None:
    with pytest.raises(SettingsError, match="widths is set, but the continued pack starter"):
        ContinuedConfig(widths=(8, 8))
    assert ContinuedConfig().base.steps < StarterConfig().base.steps


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('codec = "PatchAutoencoder"', 'codec = "AutoencoderKL"', "its codec is of the class AutoencoderKL"),
        ("hop_samples = 160", "hop_samples = 256", "its audio format differs"),
        ("width = 64", "width = 224", "its frame rate or frame size differs"),
    ],
)
def test_packs_of_another_kind_are_not_continued(
    old: str, new: str, message: str, foreign: Path, tmp_path: Path
) -> None:
    pack = write_untrained_pack(tmp_path / "other")
    text = (pack / "pack.toml").read_text("utf-8")
    assert old in text
    (pack / "pack.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(SettingsError, match=f"The pack other cannot be continued: {message}"):
        continued(foreign, tmp_path / "run", pack)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "../x"}, "is not a valid pack name"),
        ({"name": ""}, "is not a valid pack name"),
        ({"licence": " "}, "licence is empty"),
        ({"permits": "a\nb"}, "permits is empty, too long or has more than one line"),
    ],
)
def test_empty_terms_are_refused(values, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(TERMS, **values)


@pytest.fixture(scope="module")
def command(trained, foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that continues the pack of `trained`, with a joint space, on four sounds and a broken one."""
    folder = tmp_path_factory.mktemp("gates")
    (folder / "sounds").mkdir()
    for number, path in enumerate(sorted((foreign / "sounds").rglob("*.WAV"))[:4]):
        (folder / "sounds" / f"rusty-gate_{number}.wav").write_bytes(path.read_bytes())
    (folder / "sounds" / "broken gate.wav").write_bytes(b"RIFF")
    loops = "".join(f"[{stage}]\nsteps = 2\nlearning_rate = 0.0001\n" for stage in ("base", "adapter", "vocoder"))
    text = f"device = 'cpu'\nvocoder_batch = 2\n{loops}[denoiser]\nbatch_size = 2\ncrop_frames = 64\n"
    (folder / "small.toml").write_text(text, "utf-8")
    options = ["--sounds", folder / "sounds", "--config", folder / "small.toml", "-o", folder / "run"]
    training, projection = trained[0], TextProjection(choices=(4, 3), flags=2)
    with torch.no_grad():
        projection.meanings.copy_(torch.randn(9, 384, generator=torch.Generator().manual_seed(0)))
    write_pack(
        {
            **{role: training._load(role, name) for role, name in COMPONENT_CLASSES.items()},
            "joint": JointSpace(width=16, known_words=("rain",)),
            "text_projection": projection,
        },
        folder / "workshop",
        schedule=training.schedule(),
        sentence_encoder=SENTENCE_ENCODER,
        audio=training.front_end.config,
        version="1.2.0",
        summary="Continued by a test.",
        licence=TERMS.licence,
        permits=TERMS.permits,
        sampling=FAST,
    )
    start = ["--start-from", folder / "workshop"]
    terms = ["--name", "gates", "--licence", "CC0-1.0", "--permits", "Anything."]
    return [str(argument) for argument in ["train", "pack", *options, *start, *terms]]


@pytest.mark.slow
def test_the_command_continues_a_pack_without_videos(command: list[str], capfd) -> None:
    assert run([*command, "--json"]) == 0
    output = capfd.readouterr()
    report = json.loads(output.out)
    run_folder = Path(report["folder"])
    assert report["pack"] == str(run_folder / "pack" / "gates")
    assert report["data"]["recordings"] == 4
    assert [each["what"] for each in report["left_out"]] == ["broken gate.wav"]
    assert "rusty gate (" in output.err
    assert "left out: broken gate.wav: " in output.err
    assert (run_folder / "left-out.txt").read_text("utf-8").startswith("broken gate.wav: ")

    folders = (Path(command[command.index("--start-from") + 1]), Path(report["pack"]))
    old, new = (ReWaS.from_pretrained(path, device="cpu")._components for path in folders)
    for role in ("codec", "video_encoder", "phi", "joint"):
        for name, tensor in old[role].state_dict().items():
            assert torch.equal(new[role].state_dict()[name], tensor), (role, name)
    # The text branch of the joint space is trained together with the sound branch.
    for role in ("text_projection", "denoiser", "adapter", "vocoder"):
        pairs = [(tensor, new[role].state_dict()[name]) for name, tensor in old[role].state_dict().items()]
        assert any(not torch.equal(one, other) for one, other in pairs), role
        # Two small steps change little.
        assert all((one - other).abs().max() < 0.01 for one, other in pairs if one.is_floating_point()), role
    card = (folders[1] / "README.md").read_text("utf-8")
    assert "It continues the pack workshop 1.2.0, whose terms also apply: CC-BY-4.0." in card
    assert "Trained from scratch" not in card
    both = read_pack(folders[1])
    assert both.info.licence == "CC0-1.0; for the pack it is made from: CC-BY-4.0"
    assert both.info.permits == f"Anything; for the pack it is made from: {TERMS.permits}"
    assert 'made_from = "workshop 1.2.0"' in (folders[1] / "pack.toml").read_text("utf-8")


@pytest.mark.slow
def test_repeating_the_command_continues_or_is_refused(command: list[str], capfd) -> None:
    run_folder = Path(command[command.index("-o") + 1])
    assert run(command) == 0
    capfd.readouterr()
    assert run(command) == 0
    assert "base:" not in capfd.readouterr().err
    # After a kill while the pack was measured, only the pack is written again.
    card = run_folder / "pack" / "gates" / "README.md"
    (run_folder / "pack.finished").unlink()
    assert run(command) == 2
    assert "already exists" in capfd.readouterr().err
    card.unlink()
    assert run(command) == 0
    assert "base:" not in capfd.readouterr().err
    assert card.is_file()
    # Other settings are refused: the model card would state settings that were not used.
    settings = Path(command[command.index("--config") + 1])
    kept = settings.read_text("utf-8")
    settings.write_text(kept.replace("vocoder_batch = 2", "vocoder_batch = 3"), "utf-8")
    assert run(command) == 2
    assert "finished with other settings: vocoder_batch (2, now 3)" in " ".join(capfd.readouterr().err.split())
    settings.write_text(kept, "utf-8")
    # Other recordings in the same folder are refused.
    (Path(command[command.index("--sounds") + 1]) / "rusty-gate_0.wav").unlink()
    assert run(command) == 2
    assert "clips of other recordings or settings" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--sounds", "nowhere"], "The folder nowhere does not exist"),
        ([], "No recordings are given"),
        (["--sounds", ".", "--stage", "bass"], "no stage 'bass'"),
        (["--sounds", ".", "--hop", "nan"], "is not a time in seconds"),
        (["--sounds", ".", "--start-from", "no/where"], "pack folder no/where does not exist"),
        (["--sounds", ".", "--captions", "no.csv"], "no.csv cannot be read"),
    ],
)
def test_the_command_refuses_invalid_options(
    changes: list[str], message: str, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain.wav").write_bytes(b"")
    write_untrained_pack(tmp_path / "packs" / "tiny")
    start = [] if "--start-from" in changes else ["--start-from", "packs/tiny"]
    terms = ["--name", "gates", "--licence", "CC0-1.0", "--permits", "Anything."]
    assert run(["train", "pack", *terms, "-o", "run", *start, *changes]) == 2
    assert message in capfd.readouterr().err
    assert not list((tmp_path / "run").glob("*.checkpoint"))
