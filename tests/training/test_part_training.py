"""Training φ and the adapter of a pack on a small set of videos: they learn, resume exactly, and end in a pack."""

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from child_processes import CONTEXT, killed_child
from dataset_fixtures import write_greatest_hits_layout, write_vggsound_layout
from safetensors.torch import load_file
from torch import nn

from rewas_cli.main import run
from rewas_engine import PackError, ReWaS, Sampling, SettingsError, VideoClip
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.packs.description import PackDescription, read_pack, verify_files
from rewas_engine.packs.loading import load_components
from rewas_engine.recipes import part_training
from rewas_engine.recipes.pack_terms import PackTerms
from rewas_engine.recipes.part_pack import write_pack_with
from rewas_engine.recipes.part_training import TRAINING_EXECUTION, AdapterTraining, PhiTraining
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.recipes.untrained_make_an_audio import write_untrained_make_an_audio
from rewas_engine.recipes.untrained_starter import TINY
from rewas_engine.runtime.progress import Progress
from rewas_engine.training.clip_features import ClipFeatures
from rewas_engine.training.clip_reading import read_clip_log_mel
from rewas_engine.training.config import PROMPT_WIDTH
from rewas_engine.training.dataset_clips import Dataset
from rewas_engine.training.datasets import read_dataset
from rewas_engine.training.loop import LoopConfig, SteadyLoopConfig, train
from rewas_engine.training.pack_writer import write_pack
from rewas_engine.training.part_config import AdapterConfig, PhiConfig
from rewas_engine.training.phi_part import mean_between
from rewas_engine.training.stages import add_noise

SHARED_TIMEOUT_S = 300
TERMS = PackTerms("steered", "CC-BY-4.0", "Any use that names us.")
SOME = SteadyLoopConfig(steps=50, learning_rate=4e-3, warmup_steps=5, ema_decay=0.9, checkpoint_every=4, show_every=25)
ADAPTER = AdapterConfig(device="cpu", batch_size=4, precision="float32", judged_clips=3, judged_steps=6, loop=SOME)
FEW = replace(ADAPTER, batch_size=2, judged_clips=1, judged_steps=1, loop=replace(SOME, steps=8))
PHI = PhiConfig(
    device="cpu", batch_size=8, judged_clips=3, loop=replace(SOME, steps=120, learning_rate=1e-2, show_every=60)
)
FEW_PHI = replace(PHI, batch_size=2, judged_clips=1, loop=replace(PHI.loop, steps=8))


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests do not depend on the plots, which take longer than the training."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr(part_training, "can_draw", lambda: False)


@pytest.fixture
def plots() -> None:
    """The training draws its plots."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training clips and three held-out ones, in the layout of VGGSound."""
    return write_vggsound_layout(tmp_path_factory.mktemp("data") / "vggsound", 11, 3)


@pytest.fixture(scope="module")
def source(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pack with a slightly trained base and an untrained adapter."""
    folder = tmp_path_factory.mktemp("source")
    dataset = read_dataset(videos, "vggsound")
    front_end = AudioFrontEnd(MelConfig())
    features = ClipFeatures(folder, dataset.clips, {"name": "log-mels"})
    features.write(lambda clip: read_clip_log_mel(clip, front_end, None), lambda log_mel: log_mel, workers=1)
    clip_log_mels = [torch.from_numpy(features.rows(name)[:480].astype(np.float32)) for name in features.of_clip]
    log_mels = torch.stack(clip_log_mels)
    torch.manual_seed(0)
    codec = PatchAutoencoder()
    codec.fit(log_mels)
    latents, schedule = encode_scaled(codec.eval(), log_mels).detach(), StarterTraining.schedule()
    denoiser = replace(TINY, widths=(16, 32), heads=(1, 2)).new_denoiser()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(latents), (8,), generator=generator)
        starts = torch.randint(latents.shape[2] - 32, (8,), generator=generator)
        crops = torch.stack([latents[row, :, start : start + 32] for row, start in zip(rows, starts, strict=True)])
        noisy, timesteps, wanted = add_noise(crops, schedule, generator)
        words = torch.zeros(8, PROMPT_WIDTH)
        predicted = denoiser(noisy, timesteps, encoder_hidden_states=None, class_labels=words).sample
        return nn.functional.mse_loss(predicted, wanted)

    loop = LoopConfig(steps=60, learning_rate=4e-3, warmup_steps=5, ema_decay=0.9)
    train("base", denoiser, loss_of, loop, folder=folder, seed=0)
    components = {
        "codec": codec,
        "denoiser": denoiser,
        "adapter": EnergyAdapter.from_denoiser(denoiser),
        "vocoder": TINY.new_vocoder(),
        "video_encoder": TINY.new_video_encoder(),
        "phi": TINY.new_phi(),
    }
    return write_pack(
        components,
        folder / "small",
        schedule=schedule,
        sentence_encoder=SENTENCE_ENCODER,
        audio=front_end.config,
        version="0.0.1",
        summary="Small.",
    )


def adapter_training(videos: Path, source: Path, folder: Path, config: AdapterConfig = FEW, **more) -> AdapterTraining:
    return AdapterTraining(config, folder, read_dataset(videos, "vggsound"), read_pack(source), TERMS, **more)


def phi_training(videos: Path, source: Path, folder: Path, config: PhiConfig = FEW_PHI, **more) -> PhiTraining:
    return PhiTraining(config, folder, read_dataset(videos, "vggsound"), read_pack(source), TERMS, **more)


PARTS = {"adapter": adapter_training, "phi": phi_training}


def written(path: Path, config: object, loop: LoopConfig) -> Path:
    lines = [f"{name} = {json.dumps(value)}" for name, value in vars(config).items() if name != "loop"]
    lines += ["[loop]", *(f"{name} = {json.dumps(value)}" for name, value in vars(loop).items())]
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.mark.slow
def test_an_adapter_learns_to_control_and_ends_in_a_pack(
    videos: Path, source: Path, tmp_path: Path, plots: None, capfd
) -> None:
    """The whole command, and generating with the pack that it writes."""
    config = written(tmp_path / "adapter.toml", ADAPTER, ADAPTER.loop)
    folder = tmp_path / "run"
    arguments = ["train", "adapter", "--data", videos, "--layout", "vggsound", "--start-from", source, "-o", folder]
    terms = ["--name", "steered", "--licence", "CC-BY-4.0", "--permits", "Any use that names us.", "--config", config]
    assert run([str(each) for each in (*arguments, *terms, "--json")]) == 0
    output = capfd.readouterr()
    reports = json.loads(output.out)
    assert "Continuing small 0.0.1 (Apache-2.0): " in output.err
    losses = json.loads((folder / "adapter.record.json").read_text("utf-8"))["losses"]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    course = json.loads((folder / "validation.json").read_text("utf-8"))
    assert list(course) == ["0", "25", "50"]
    assert course["50"]["loss"] < course["0"]["loss"]
    assert course["50"]["control_error_nats"] < 0.9 * course["0"]["control_error_nats"]
    assert course["50"]["correlation"] > course["0"]["correlation"] + 0.3
    assert reports["figures"] == course["50"]
    pictures = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert {"curves/adapter.png", "curves/adapter-validation.png", "samples/adapter-000050.png"} <= pictures
    pack = read_pack(Path(reports["pack"]))
    verify_files(pack)
    assert (pack.info.name, pack.info.controls) == ("steered", ("energy",))
    assert pack.info.licence.startswith("CC-BY-4.0; for the pack it is made from: Apache-2.0")
    model = ReWaS.from_pretrained(pack.path, device="cpu")
    result = model.generate(
        VideoClip(next(videos.rglob("*.mp4")), duration=2), prompt="knocking", sampling=Sampling(num_inference_steps=2)
    )
    assert result.takes[0].stems["primary"].waveform.shape == (1, 32_000)
    theirs, ours = (load_file(path / "denoiser" / "model.safetensors") for path in (source, pack.path))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def train_until_6(wait: Callable[[str], None], videos: Path, source: Path, folder: Path, part: str) -> None:
    def report(progress: Progress) -> None:
        if progress.stage == part and progress.step == 6:
            wait("at 6")

    PARTS[part](videos, source, folder, report=report).run()


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_killed_training_resumes_to_the_same_weights(part: str, videos: Path, source: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with killed_child(train_until_6, videos, source, killed, part, said="at 6"):
        pass
    reports: list[Progress] = []
    PARTS[part](videos, source, killed, report=reports.append).run()
    steps = [progress.step for progress in reports if progress.stage == part]
    assert steps == list(range(5, 9))  # the last checkpoint was at 4
    assert not [progress for progress in reports if progress.stage.startswith("features")]
    PARTS[part](videos, source, whole).run()
    resumed, uninterrupted = (
        load_file(folder / "pack" / "steered" / part / "model.safetensors") for folder in (killed, whole)
    )
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in uninterrupted)


@pytest.mark.slow
def test_an_adapter_learns_in_bfloat16_too(videos: Path, source: Path, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = replace(FEW, precision=precision, loop=replace(SOME, steps=2))
        training = adapter_training(videos, source, tmp_path / precision, config)
        training.run()
        reports = json.loads((tmp_path / precision / "adapter.record.json").read_text("utf-8"))
        losses[precision] = np.array(reports["losses"])
    assert (losses["bfloat16"] != losses["float32"]).all()
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)
    kept = load_file(training.folder / "pack" / "steered" / "adapter" / "model.safetensors")
    fresh = EnergyAdapter.from_denoiser(dict(load_components(read_pack(source), "cpu", TRAINING_EXECUTION))["denoiser"])
    moved = [name for name, tensor in fresh.state_dict().items() if not torch.equal(kept[name].float(), tensor)]
    assert "middle_zero_conv.weight" in moved
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())


@pytest.mark.slow
@pytest.mark.parametrize(("text_dropout", "least", "most"), [(0.0, 0.0, 0.0), (0.3, 0.2, 0.4), (1.0, 1.0, 1.0)])
def test_a_share_of_the_crops_has_no_prompt(
    text_dropout: float, least: float, most: float, videos: Path, source: Path, tmp_path: Path
) -> None:
    training = adapter_training(videos, source, tmp_path, replace(FEW, batch_size=200, text_dropout=text_dropout))
    training.write_features()
    components = dict(load_components(training.source, "cpu", TRAINING_EXECUTION))
    loss = training.prepare_loss(components, training.new_part(components))
    received: list[torch.Tensor] = []

    def predicted(sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, *rest: object) -> torch.Tensor:
        received.append(prompts)
        return sample

    training._backbone.predict = predicted
    loss(0, torch.Generator().manual_seed(3))
    (prompts,) = received
    (nothing,) = training._backbone.embed_prompts([""])
    share = float(((prompts - nothing).abs() < 1e-4).all(dim=1).float().mean())
    assert least <= share <= most
    assert len(prompts.unique(dim=0)) > (1 if text_dropout < 1 else 0)


def train_shared(rank: int, port: int, videos: Path, source: Path, folder: Path) -> None:
    """Train as one of two processes, with the environment that `torchrun` and `accelerate launch` set."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in ranks.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    torch.set_num_threads(1)
    training = adapter_training(videos, source, folder)
    assert training.processes.count == 2
    training.run()


@pytest.mark.slow
def test_two_processes_learn_the_same_as_one(videos: Path, source: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="the extra `training` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (port, videos, source, tmp_path / "two")
    processes = [CONTEXT.Process(target=train_shared, args=(rank, *arguments), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SHARED_TIMEOUT_S)
    assert [process.exitcode for process in processes] == [0, 0]
    adapter_training(videos, source, tmp_path / "one").run()
    two, one = (json.loads((tmp_path / each / "adapter.record.json").read_text("utf-8")) for each in ("two", "one"))
    np.testing.assert_allclose(two["losses"], one["losses"], atol=2e-4)


def test_several_processes_need_accelerate_and_a_batch_to_share(
    videos: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(SettingsError, match="accelerate is not installed"):
        adapter_training(videos, source, tmp_path)


@pytest.mark.slow
def test_phi_learns_to_estimate_the_energy(videos: Path, source: Path, tmp_path: Path, plots: None) -> None:
    dataset = read_dataset(videos, "vggsound")
    training = PhiTraining(PHI, tmp_path, dataset, read_pack(source), TERMS)
    training.run()
    course = training.validation()
    assert course[120]["energy_mae_nats"] < 0.5 * course[0]["energy_mae_nats"]
    losses = json.loads((tmp_path / "phi.record.json").read_text("utf-8"))["losses"]
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    model = ReWaS.from_pretrained(training.pack_folder, device="cpu")
    energy = model.estimate_energy(VideoClip(next(videos.rglob("*.mp4")), duration=2))
    assert np.isfinite(energy.values).all()
    with pytest.raises(SettingsError, match="another training; these settings differ: settings, fine_tune"):
        PhiTraining(replace(PHI, seed=2), tmp_path, dataset, read_pack(source), TERMS, fine_tune=True)


@pytest.mark.slow
def test_broken_held_out_clips_are_named_and_listed(source: Path, tmp_path: Path, capfd) -> None:
    videos = write_vggsound_layout(tmp_path / "vggsound", 4, 1)
    for split in ("train", "test"):
        min((videos / split).iterdir()).write_bytes(b"")
    with (videos / "vggsound.csv").open("a", encoding="utf-8") as table:
        table.write("gone,7,rain,train\n")
    folder = tmp_path / "run"
    arguments = ["train", "phi", "--data", videos, "--layout", "vggsound", "--start-from", source, "-o", folder]
    terms = ["--name", "steered", "--licence", "CC-BY-4.0", "--permits", "Any use.", "--json"]
    config = written(tmp_path / "phi.toml", FEW_PHI, FEW_PHI.loop)
    assert run([str(each) for each in (*arguments, *terms, "--config", config)]) == 2
    what = json.loads(capfd.readouterr().out)["error"]["what"]
    assert what.startswith("No clip to measure on can be used. The only one was left out: id-0003_x_000033: ")
    listed = (folder / "left-out.txt").read_text("utf-8").splitlines()
    named = [line.partition(": ")[0] for line in listed]
    assert named == [
        "vggsound.csv, line 5",
        "id-0000_x_000030",
        "id-0003_x_000033",
    ]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> PackDescription:
    """An untrained pack with the geometry of Make-An-Audio and a video encoder that reads segments."""
    return read_pack(write_untrained_make_an_audio(tmp_path_factory.mktemp("segmented") / "made"))


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One training clip and one held-out clip in the layout of Greatest Hits."""
    return read_dataset(write_greatest_hits_layout(tmp_path_factory.mktemp("data") / "hits", 2), "greatest-hits")


@pytest.mark.slow
def test_any_family_is_trained_on_two_second_clips(segmented: PackDescription, hits: Dataset, tmp_path: Path) -> None:
    """The geometry of Make-An-Audio and a video encoder that reads segments, with the layout of Greatest Hits."""
    loop = replace(SOME, steps=2)
    adapter = AdapterTraining(replace(FEW, loop=loop), tmp_path / "a", hits, segmented, TERMS)
    adapter.run()
    model = ReWaS.from_pretrained(adapter.pack_folder, device="cpu")
    assert model._components["adapter"].config.frequency_first
    phi = PhiTraining(replace(PHI, batch_size=2, loop=loop), tmp_path / "p", hits, segmented, TERMS, fine_tune=True)
    phi.run()
    name = phi.names(held_out=False)[0]
    assert phi.log_mels.rows(name).shape == (125, 80)
    # Two seconds have five segments of eight tokens, each with its time.
    assert phi.tokens.rows(name).shape == (40, 33)
    times_frames = [2 + 8 * segment + 2 * token for segment in range(5) for token in range(8)]
    assert phi.tokens.rows(name)[:, -1].tolist() == times_frames


@pytest.mark.slow
def test_an_adapter_is_fine_tuned_on_two_second_clips(
    segmented: PackDescription, hits: Dataset, tmp_path: Path
) -> None:
    """It starts from the adapter of the pack: after one small step it is close to it and far from a new one."""
    once = replace(FEW, loop=replace(SOME, steps=1, learning_rate=1e-3, warmup_steps=0, ema_decay=0.0))
    own = load_file(segmented.path / "adapter" / "model.safetensors")
    distance = {}
    for fine_tune in (True, False):
        folder = tmp_path / f"fine-tune {fine_tune}"
        training = AdapterTraining(once, folder, hits, segmented, TERMS, fine_tune=fine_tune)
        training.run()
        trained = load_file(training.pack_folder / "adapter" / "model.safetensors")
        assert trained.keys() == own.keys()
        apart = [float((trained[name].float() - own[name].float()).abs().max()) for name in own]
        distance[fine_tune] = max(apart)
        assert "from its own" in read_pack(training.pack_folder).info.summary or not fine_tune
    assert 0 < distance[True] < 5e-3
    assert distance[False] > 0.05


def test_packs_with_the_released_time_map_are_not_trained(videos: Path, source: Path, tmp_path: Path) -> None:
    pack = read_pack(source)
    literal = replace(pack, picture={**pack.picture, "token_times": "released"})
    with pytest.raises(SettingsError, match="token times of the release"):
        PhiTraining(PHI, tmp_path, read_dataset(videos, "vggsound"), literal, TERMS)


def test_a_damaged_pack_is_not_trained(videos: Path, source: Path, tmp_path: Path) -> None:
    pack = read_pack(source)
    damaged = replace(pack, files={**pack.files, "phi/config.json": "0" * 64})
    dataset = read_dataset(videos, "vggsound")
    with pytest.raises(PackError, match="is damaged"):
        AdapterTraining(FEW, tmp_path, dataset, damaged, TERMS)


def test_the_terms_of_both_packs_are_one_sentence(source: Path, tmp_path: Path) -> None:
    theirs, phi = read_pack(source), TINY.new_phi()
    written_pack = write_pack_with(
        theirs,
        tmp_path / "steered",
        "phi",
        phi,
        TERMS,
        summary="Small.",
        controls=("energy",),
        report={"figures": {}, "training_clips": 1, "judged_clips": 1},
    )
    about = read_pack(written_pack).info
    assert about.licence == f"CC-BY-4.0; for the pack it is made from: {theirs.info.licence}"
    assert about.permits == f"Any use that names us; for the pack it is made from: {theirs.info.permits}"


def test_means_between_positions_are_exact() -> None:
    values = np.array([1.0, 3.0, 5.0, 7.0])
    found = mean_between(values, np.array([0.0, 0.5, 1.0, 3.5, -1.0, 9.0]), np.array([4.0, 1.5, 2.0, 4.0, 0.5, 10.0]))
    np.testing.assert_allclose(found, [4, 2, 3, 7, 1, 7], atol=1e-5)
