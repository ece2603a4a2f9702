"""Other backbones: a pack with the geometry of Make-An-Audio, and a family from outside the engine."""

import ast
import math
import os
import subprocess
import sys
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w
import torch
from tones_family import FAMILY as TONES
from tones_family import write_tones_pack

from rewas_cli.main import run
from rewas_engine import Control, EnergyCurve, Output, PackError, ReWaS, Sampling, SettingsError, VideoClip
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.packs.backbones import families
from rewas_engine.packs.backbones.families import Family, find_family, register_family
from rewas_engine.packs.description import DESCRIPTION_FILE, read_pack, verify_files
from rewas_engine.recipes.untrained_make_an_audio import TINY_MAKE_AN_AUDIO, write_untrained_make_an_audio
from rewas_engine.requests.regeneration import Regenerate

ROOT = Path(__file__).resolve().parents[2]
FAST = {"prompt": "a drum", "seed": 3, "sampling": Sampling(num_inference_steps=2)}


@pytest.fixture(scope="module")
def make_an_audio(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    """A loaded tiny pack with the geometry of Make-An-Audio."""
    folder = write_untrained_make_an_audio(tmp_path_factory.mktemp("packs") / "tiny-make-an-audio")
    return ReWaS.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def tones_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones_pack(tmp_path_factory.mktemp("packs") / "hum")


@pytest.fixture
def tones_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_runtime_families", {})
    register_family(TONES)


@pytest.mark.slow
def test_make_an_audio_generates_wav_files_of_exact_length(
    make_an_audio: ReWaS, long_clip: Path, tmp_path: Path
) -> None:
    arguments = [str(long_clip), "--pack", str(make_an_audio.pack.path), "--prompt", "a drum", "--steps", "2"]
    for seconds, rate_hz in ((Fraction(7, 3), 48_000), (Fraction(17), 16_000)):
        folder = tmp_path / str(rate_hz)
        options = ["--duration", f"{float(seconds):.6f}", "--sample-rate", str(rate_hz), "--output", str(folder)]
        assert run(["generate", *arguments, *options]) == 0
        (wav,) = folder.glob("*.wav")
        info = soundfile.info(wav)
        assert (info.samplerate, info.frames) == (rate_hz, round(float(f"{float(seconds):.6f}") * rate_hz))
        assert np.abs(soundfile.read(wav)[0]).max() > 1e-3


def test_make_an_audio_energy_has_the_rate_of_its_hop(make_an_audio: ReWaS, long_clip: Path) -> None:
    assert make_an_audio.front_end.config.frame_rate_hz == Fraction(125, 2)
    assert make_an_audio.front_end.filter_bank.shape == (80, 513)
    result = make_an_audio.generate(VideoClip(long_clip, duration=3), **FAST)
    assert result.requested_energy.rate_hz == Fraction(125, 2)
    assert len(result.requested_energy.values) == 188
    assert len(result.takes[0].produced_energy.values) == 188


@pytest.mark.parametrize("draws", [True, False])
def test_a_vocoder_declares_whether_it_takes_positions(draws: bool) -> None:
    received: list[torch.Tensor] = []

    class Hum(torch.nn.Module):
        draws_by_position = draws

        def forward(self, log_mels: torch.Tensor, *positions: torch.Tensor) -> torch.Tensor:
            received.extend(positions)
            return log_mels.mean(dim=-1)

    for family in ("audioldm", "make-an-audio"):
        backbone = find_family(family).backbone({"vocoder": Hum()}, MelConfig(), "cpu")
        positions = torch.arange(7, 10)[None]
        assert backbone.vocode(torch.zeros(1, 3, 64), positions).shape == (1, 3)
        assert [each.tolist() for each in received] == ([[[7, 8, 9]]] if draws else [])
        received.clear()
    assert SpectralVocoder.draws_by_position


def test_make_an_audio_hints_have_80_bins(make_an_audio: ReWaS) -> None:
    curve = np.linspace(-9, -1, 624, dtype=np.float32)
    adapter = make_an_audio._components["adapter"]
    assert adapter.hint_linear.in_features == 10
    hint = make_an_audio.sound_generator._hints([Controls(energy=curve)])
    assert hint.shape == (1, 4, 78, 10)
    transposed = hint.transpose(-1, -2)
    mixed = torch.einsum("gf,bcft->bcgt", adapter.hint_linear.weight, transposed) + adapter.hint_linear.bias[:, None]
    expected = adapter.hint_conv(torch.nn.functional.silu(mixed))
    torch.testing.assert_close(adapter._project_hint(transposed), expected)


def test_make_an_audio_codec_gets_frequency_first_and_log10(make_an_audio: ReWaS) -> None:
    backbone, codec = make_an_audio.sound_generator._backbone, make_an_audio._components["codec"]
    log_mels = torch.randn(1, 64, 80) - 6
    latents = backbone.encode(log_mels)
    assert latents.shape == (1, 4, 8, 10)
    expected = codec.encode(log_mels.mT[:, None] / math.log(10)).latent_dist.mode()
    torch.testing.assert_close(latents, expected.mT)
    torch.testing.assert_close(backbone.decode(latents), codec.decode(expected).sample[:, 0].mT * math.log(10))


def test_make_an_audio_follows_prompt_and_energy(make_an_audio: ReWaS) -> None:
    settings = make_an_audio.sampling_settings(Sampling(num_inference_steps=2, guidance_scale=2.0))
    quiet, loud = (Controls(energy=np.full(624, level, np.float32)) for level in (-10, -2))
    sounds = [
        make_an_audio.sound_generator.generate_log_mel(*each, 5, settings)
        for each in (("a drum", loud), ("rain", loud), ("a drum", quiet))
    ]
    assert sounds[0].shape == (624, 80)
    assert torch.equal(sounds[0], make_an_audio.sound_generator.generate_log_mel("a drum", loud, 5, settings))
    for other in sounds[1:]:
        assert (sounds[0] - other).abs().max() > 1e-3


def test_make_an_audio_blends_windows_of_any_length(make_an_audio: ReWaS) -> None:
    batch_sizes: list[int] = []
    hook = make_an_audio._components["denoiser"].register_forward_pre_hook(
        lambda module, inputs: batch_sizes.append(len(inputs[0]))
    )
    try:
        controls = Controls(energy=np.full(1500, -5, np.float32))
        log_mel = make_an_audio.sound_generator.generate_log_mel(
            "rain", controls, 1, make_an_audio.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0))
        )
    finally:
        hook.remove()
    assert log_mel.shape == (1504, 80)
    assert batch_sizes == [3]
    assert make_an_audio.sound_generator.vocoder.vocode(log_mel, 1500 * 256).shape == (1500 * 256,)


def test_make_an_audio_loops_and_regenerates(make_an_audio: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    first = make_an_audio.generate(clip, output=Output(loop=True), **FAST).takes[0].stems["primary"]
    assert first.waveform.shape == (1, 48_000)
    second = make_an_audio.generate(clip, regenerate=Regenerate(first, 1, 2), **FAST).takes[0].stems["primary"]
    assert np.array_equal(second.waveform[:, :15_000], first.waveform[:, :15_000])
    assert not np.array_equal(second.waveform[:, 20_000:28_000], first.waveform[:, 20_000:28_000])


def test_a_new_adapter_with_tokens_changes_nothing() -> None:
    denoiser = TINY_MAKE_AN_AUDIO.new_denoiser().eval()
    adapter = EnergyAdapter.from_denoiser(denoiser, 10, frequency_first=True).eval()
    sample, tokens = torch.randn(2, 4, 10, 16), torch.randn(2, 77, 32)
    with torch.no_grad():
        skips, middle = adapter(sample, torch.tensor(500), tokens, torch.randn(2, 4, 10, 16))
        more = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
        steered = denoiser(sample, 500, encoder_hidden_states=tokens, **more).sample
        assert torch.equal(steered, denoiser(sample, 500, encoder_hidden_states=tokens).sample)


def test_an_external_family_is_loaded_and_generates_sound(tones_registered, tones_pack: Path, long_clip: Path) -> None:
    model = ReWaS.from_pretrained(tones_pack, device="cpu")
    curve = EnergyCurve(np.linspace(-9, -1, 120, dtype=np.float32), Fraction(40))
    result = model.generate(
        VideoClip(long_clip, duration=3),
        prompt="hum",
        control=Control(energy=curve),
        output=Output(sample_rate_hz=8000),
    )
    take = result.takes[0]
    assert take.stems["primary"].waveform.shape == (1, 24_000)
    assert take.energy_correlation is not None
    assert take.energy_correlation > 0.95


@pytest.mark.slow
def test_the_family_of_an_installed_package_is_found_by_every_command(
    tones_pack: Path,
    long_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a real process, which finds the family only through the metadata of the package."""
    installed = tmp_path / "tones_family-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tones-family\nVersion: 1.0\n", "utf-8")
    (installed / "entry_points.txt").write_text("[rewas_engine.backbones]\ntones = tones_family:FAMILY\n", "utf-8")
    here = Path(__file__).resolve().parent
    paths = [tmp_path, here, ROOT, ROOT / "proto", ROOT / "server"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "REWAS_PACKS": str(tones_pack.parent)}
    generate = ["generate", str(long_clip), "--pack", "hum", "--prompt", "hum", "--duration", "2.5"]
    generate += ["--output", str(tmp_path)]
    program = (
        "import sys; from rewas_cli.main import run\n"
        "assert run(['packs', 'list']) == 0; print('--- listed'); sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *generate]
    completed = subprocess.run(command, text=True, capture_output=True, env=variables, check=False)
    assert completed.returncode == 0, completed.stderr
    assert "hum" in completed.stdout.partition("--- listed")[0]
    (wav,) = tmp_path.glob("*.wav")
    assert soundfile.info(wav).frames == 120_000
    # In this process the package is not installed.
    monkeypatch.setenv("REWAS_PACKS", str(tones_pack.parent))
    assert run(generate) != 0
    assert "family of packs tones is unknown" in capsys.readouterr().err


def test_a_pack_of_an_unknown_family_is_refused(tones_pack: Path) -> None:
    with pytest.raises(PackError, match=r"tones is unknown\. Available: audioldm, make-an-audio"):
        read_pack(tones_pack)


@pytest.mark.parametrize("name", ["../audioldm", "os:system", "AudioLDM", "", 3])
def test_a_pack_can_only_name_a_family(tiny_pack: Path, tmp_path: Path, name: object) -> None:
    document = tomllib.loads((tiny_pack / DESCRIPTION_FILE).read_text("utf-8"))
    (tmp_path / DESCRIPTION_FILE).write_text(tomli_w.dumps({**document, "family": name}), "utf-8")
    with pytest.raises(PackError, match="family is"):
        read_pack(tmp_path)


def test_packs_without_a_family_are_audioldm_packs(tiny_pack: Path, tmp_path: Path) -> None:
    document = tomllib.loads((tiny_pack / DESCRIPTION_FILE).read_text("utf-8"))
    assert document.pop("family") == "audioldm"
    (tmp_path / DESCRIPTION_FILE).write_text(tomli_w.dumps(document), "utf-8")
    assert read_pack(tmp_path).family == "audioldm"


def test_code_in_the_folder_of_a_pack_is_not_run(tones_registered, tones_pack: Path) -> None:
    description = read_pack(tones_pack)
    verify_files(description)
    for name in ("tones_family.py", "denoiser/model.py", "__init__.py"):
        planted = tones_pack / name
        planted.write_text("raise SystemExit('run')", "utf-8")
        try:
            ReWaS.from_pretrained(tones_pack, device="cpu")
        finally:
            planted.unlink()


def test_a_class_of_another_family_is_refused(make_an_audio: ReWaS, tmp_path: Path) -> None:
    document = tomllib.loads((make_an_audio.pack.path / DESCRIPTION_FILE).read_text("utf-8"))
    for role in document["components"]:
        (tmp_path / role).symlink_to(make_an_audio.pack.path / role)
    (tmp_path / DESCRIPTION_FILE).write_text(tomli_w.dumps({**document, "family": "audioldm", "files": {}}), "utf-8")
    with pytest.raises(PackError, match="ClapTokenEncoder"):
        ReWaS(read_pack(tmp_path), "cpu")


def test_family_names_are_unique(tones_registered, monkeypatch: pytest.MonkeyPatch) -> None:
    register_family(TONES)
    for name in ("tones", "audioldm", "No Name"):
        with pytest.raises(SettingsError):
            register_family(Family(name, {}, TONES.backbone))
    point = families.EntryPoint("audioldm", "elsewhere:FAMILY", families.ENTRY_POINT_GROUP)
    monkeypatch.setattr(families, "_installed_entry_points", lambda: (point,))
    with pytest.raises(PackError, match=r"Several packages .*: elsewhere:FAMILY, rewas_engine"):
        find_family("audioldm")


@pytest.mark.parametrize(
    ("value", "sentence"), [("no_such_module:FAMILY", "cannot be loaded"), ("math:pi", "is not the family")]
)
def test_an_entry_point_without_a_family_is_named(monkeypatch: pytest.MonkeyPatch, value: str, sentence: str) -> None:
    point = families.EntryPoint("odd", value, families.ENTRY_POINT_GROUP)
    monkeypatch.setattr(families, "_installed_entry_points", lambda: (point,))
    with pytest.raises(PackError, match=sentence):
        find_family("odd")


def test_other_modules_do_not_import_a_family() -> None:
    """Pipeline, server, contract and add-on use backbones only through the interface."""
    family_modules = {"rewas_engine.packs.backbones.audioldm", "rewas_engine.packs.backbones.make_an_audio"}
    engine = list((ROOT / "rewas_engine").glob("*.py"))
    others = [path for folder in ("server", "addon", "proto") for path in (ROOT / folder).rglob("*.py")]
    for path in (*engine, *others):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert family_modules.isdisjoint(names), path
