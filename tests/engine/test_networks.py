"""The networks of a pack: their properties in the method, and strict loading."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewas_engine import PackError
from rewas_engine.conditioning.controls import energy_hint
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.conditioning.windows import window_starts
from rewas_engine.generation.denoising import ControlledDenoiser
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.models.phi import Phi
from rewas_engine.packs.backbones.audioldm import AudioLdm
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.recipes.untrained_starter import TINY
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return TINY.new_denoiser().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained_adapter(denoiser) -> EnergyAdapter:
    """An adapter with non-zero output convolutions, as after training."""
    adapter = EnergyAdapter.from_denoiser(denoiser).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for conv in (*adapter.zero_convs, adapter.middle_zero_conv):
        conv.weight.copy_(0.2 * torch.randn(conv.weight.shape, generator=generator))
    return adapter


def _steered(denoiser, adapter, total: int, *, scale: float = 1.0, strength: float = 1.0, window: int = 32):
    generator = torch.Generator().manual_seed(2)
    starts = window_starts(total, window, 8)
    prompts = torch.randn(2, 384, generator=generator)
    hints = torch.randn(len(starts), 8, window, 16, generator=generator)
    wanted = prompts[0].expand(len(starts), -1)
    backbone = AudioLdm({"denoiser": denoiser, "adapter": adapter}, MelConfig(), "cpu")
    return ControlledDenoiser(backbone, wanted, prompts[1], hints, starts, scale, strength)


def _latents(total: int) -> torch.Tensor:
    return torch.randn(8, total, 16, generator=torch.Generator().manual_seed(3))


STEP = torch.tensor(500)


@pytest.mark.parametrize("frames", [8, 32, 128])
@pytest.mark.parametrize("levels", [((16, 32), (1, 2)), ((16, 16, 32), (1, 1, 2))])
def test_a_new_adapter_changes_nothing(frames: int, levels) -> None:
    denoiser = replace(TINY, widths=levels[0], heads=levels[1]).new_denoiser().eval()
    adapter = EnergyAdapter.from_denoiser(denoiser).eval()
    sample, prompts, hint = torch.randn(2, 8, frames, 16), torch.randn(2, 384), torch.randn(2, 8, frames, 16)
    with torch.no_grad():
        skips, middle = adapter(sample, STEP, prompts, hint)
        steered = denoiser(
            sample,
            STEP,
            encoder_hidden_states=None,
            class_labels=prompts,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle,
        ).sample
        alone = denoiser(sample, STEP, encoder_hidden_states=None, class_labels=prompts).sample
    # One for the first convolution, then for each level its blocks and, except on the last, its downsampler.
    assert len(skips) == 1 + 2 * len(levels[0]) - 1
    assert all(not skip.any() for skip in skips)
    assert torch.equal(steered, alone)


def test_a_trained_adapter_depends_on_the_energy(denoiser, trained_adapter: EnergyAdapter) -> None:
    sample, prompts = torch.randn(1, 8, 32, 16), torch.randn(1, 384)
    with torch.no_grad():
        loud, _ = trained_adapter(sample, STEP, prompts, torch.ones(1, 8, 32, 16))
        quiet, _ = trained_adapter(sample, STEP, prompts, torch.zeros(1, 8, 32, 16))
    assert all((one - other).abs().max() > 1e-4 for one, other in zip(loud, quiet, strict=True))


def test_the_adapter_is_a_copy_of_the_encoder_half(denoiser) -> None:
    adapter = EnergyAdapter.from_denoiser(denoiser)
    copied = {name.removeprefix("encoder.") for name in adapter.state_dict() if name.startswith("encoder.")}
    theirs = {
        name for name in denoiser.state_dict() if not name.startswith(("up_blocks.", "conv_norm_out.", "conv_out."))
    }
    assert copied == theirs
    assert torch.equal(adapter.encoder.conv_in.weight, denoiser.conv_in.weight)
    assert adapter.encoder.conv_in.weight.data_ptr() != denoiser.conv_in.weight.data_ptr()


def test_a_strength_of_0_is_the_base_model(denoiser, trained_adapter: EnergyAdapter) -> None:
    latents = _latents(32)
    steered = _steered(denoiser, trained_adapter, 32, strength=0.0)
    with torch.no_grad():
        off = steered(latents, STEP)
        alone = denoiser(latents[None], STEP, encoder_hidden_states=None, class_labels=steered.prompts).sample[0]
        on = _steered(denoiser, trained_adapter, 32, strength=1.0)(latents, STEP)
        half = _steered(denoiser, trained_adapter, 32, strength=0.5)(latents, STEP)
    torch.testing.assert_close(off, alone)
    assert (on - off).abs().max() > 1e-3
    assert 0 < (half - off).abs().mean() < (on - off).abs().mean()


def test_a_guidance_scale_of_1_skips_the_unconditional_branch(denoiser, trained_adapter: EnergyAdapter) -> None:
    batch_sizes: list[int] = []
    hook = denoiser.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(len(inputs[0])))
    try:
        with torch.no_grad():
            plain = _steered(denoiser, trained_adapter, 32, scale=1.0)(_latents(32), STEP)
            near = _steered(denoiser, trained_adapter, 32, scale=1.0 + 1e-6)(_latents(32), STEP)
    finally:
        hook.remove()
    assert batch_sizes == [1, 2]
    torch.testing.assert_close(plain, near, atol=1e-4, rtol=1e-4)


def test_the_unconditional_branch_keeps_the_adapter(denoiser, trained_adapter: EnergyAdapter) -> None:
    steered, latents = _steered(denoiser, trained_adapter, 32, scale=3.0), _latents(32)
    empty = steered.empty_prompt[None]
    bare = replace(steered, prompts=empty, hints=torch.zeros_like(steered.hints), guidance_scale=1.0)
    with torch.no_grad():
        guided = steered(latents, STEP)
        conditional, unconditional = replace(steered, guidance_scale=1.0)(latents, STEP), bare(latents, STEP)
    torch.testing.assert_close(guided, unconditional + 3 * (conditional - unconditional), atol=1e-4, rtol=1e-3)


def test_guidance_ends_below_its_lowest_timestep(denoiser, trained_adapter: EnergyAdapter) -> None:
    ending = replace(_steered(denoiser, trained_adapter, 32, scale=3.0), min_guided_timestep=300.0)
    latents = _latents(32)
    with torch.no_grad():
        for timestep, scale in ((torch.tensor(299), 1.0), (torch.tensor(300), 3.0)):
            alike = replace(ending, guidance_scale=scale, min_guided_timestep=0.0)
            torch.testing.assert_close(ending(latents, timestep), alike(latents, timestep))


def test_a_long_latent_is_denoised_in_bounded_batches(denoiser, trained_adapter: EnergyAdapter) -> None:
    batch_sizes: list[int] = []
    hook = denoiser.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(len(inputs[0])))
    try:
        with torch.no_grad():
            whole = _steered(denoiser, trained_adapter, 200)(_latents(200), STEP)
    finally:
        hook.remove()
    assert whole.shape == (8, 200, 16)
    assert sum(batch_sizes) == 8
    assert max(batch_sizes) <= DEFAULT_BATCH_SIZE // 2


@pytest.fixture(scope="module")
def fitted() -> tuple[PatchAutoencoder, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    tones = torch.randn(24, 3, generator=generator) @ torch.randn(3, 64, generator=generator)
    levels = torch.randn(24, 96, 1, generator=generator).cumsum(dim=1) * 0.3
    log_mels = (levels + tones[:, None] * 0.5 - 6).clamp(-11.5129, 3)
    codec = PatchAutoencoder()
    codec.fit(log_mels)
    return codec.eval().requires_grad_(False), log_mels


def test_the_codec_reconstructs_its_training_data(fitted) -> None:
    codec, log_mels = fitted
    latents = codec.encode(log_mels[:, None]).latent_dist.mode()
    assert latents.shape == (24, 8, 24, 16)
    back = codec.decode(latents).sample[:, 0]
    unexplained = (back - log_mels).pow(2).mean() / log_mels.var()
    assert unexplained < 0.02


def test_a_codec_of_full_rank_is_lossless(fitted) -> None:
    codec = PatchAutoencoder(latent_channels=16)
    codec.fit(fitted[1])
    back = codec.decode(codec.encode(fitted[1][:, None]).latent_dist.mode()).sample[:, 0]
    torch.testing.assert_close(back, fitted[1], atol=2e-2, rtol=0)


def test_the_codec_keeps_the_energy(fitted) -> None:
    codec, _ = fitted
    energies = torch.linspace(-10, -1, 96)[None]
    hint = energy_hint(energies, partial(encode_scaled, codec), 64)
    assert hint.shape == (1, 8, 24, 16)
    back = codec.decode(hint / codec.config.scaling_factor).sample[0, 0].mean(dim=1)
    torch.testing.assert_close(back, energies[0], atol=0.25, rtol=0)
    # Equal bins have one latent for each time, whatever the frequency.
    torch.testing.assert_close(hint, hint[..., :1].expand_as(hint))


def test_phi_attends_over_time_or_per_token() -> None:
    torch.manual_seed(3)
    over_time = Phi(features=8, width=16, blocks=1, heads=2, head=(8,)).eval()
    per_token = Phi(features=8, width=16, blocks=1, heads=2, head=(8,), attends_over="batch").eval()
    per_token.load_state_dict(over_time.state_dict())
    features = torch.randn(1, 12, 8)
    other = features.clone()
    other[0, 11] += 3
    with torch.no_grad():
        assert over_time(features).shape == (1, 12)
        assert not torch.allclose(over_time(features)[0, :11], over_time(other)[0, :11])
        torch.testing.assert_close(per_token(features)[0, :11], per_token(other)[0, :11])


def test_prompt_embeddings_have_unit_length(model) -> None:
    encoder = model._components["text_encoder"]
    bell, dog, empty = encoder(["a church bell", "a dog barks", ""])
    torch.testing.assert_close(torch.stack([bell, dog, empty]).norm(dim=1), torch.full((3,), encoder.scale))
    assert torch.equal(encoder(["a church bell"])[0], encoder(["a church bell"])[0])
    torch.testing.assert_close(encoder(["a church bell"])[0], bell, atol=1e-3, rtol=1e-3)
    near = torch.cosine_similarity(bell, encoder(["a bell rings in a church"])[0], dim=0)
    assert near > torch.cosine_similarity(bell, dog, dim=0) + 0.2
    assert torch.isfinite(encoder(["word " * 5000])).all()


@pytest.fixture
def phi_folder(tmp_path: Path) -> Path:
    save_component(Phi(features=8, width=16, blocks=1, heads=2, head=(8,)), tmp_path / "mine", "phi", torch.float32)
    return tmp_path / "mine"


def test_saved_weights_are_loaded_unchanged(phi_folder: Path) -> None:
    loaded = load_component(phi_folder, "phi", "Phi")
    tensors = load_file(phi_folder / "phi" / "model.safetensors")
    assert not loaded.training
    assert all(torch.equal(tensors[name], tensor) for name, tensor in loaded.state_dict().items())
    assert all(not parameter.requires_grad for parameter in loaded.parameters())


def _remove_tensor(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["projection.bias"]


def _add_tensor(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projection.more"] = torch.zeros(1)


def _rename_tensor(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projection.offset"] = tensors.pop("projection.bias")


def _reshape_tensor(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projection.bias"] = torch.zeros(1)  # would broadcast


def _set_non_finite(tensors: dict[str, torch.Tensor]) -> None:
    tensors["projection.bias"][3] = float("nan")


@pytest.mark.parametrize("damage", [_remove_tensor, _add_tensor, _rename_tensor, _reshape_tensor, _set_non_finite])
def test_wrong_tensors_are_refused_by_name(damage, phi_folder: Path) -> None:
    path = phi_folder / "phi" / "model.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(PackError, match=r"component phi of the pack mine .*projection\."):
        load_component(phi_folder, "phi", "Phi")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", None),
        ("model.safetensors", b"not tensors"),
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"\xff\xfe\x00"),
        ("config.json", b"[1, 2]"),
        ("config.json", json.dumps({"features": 8, "width": 16, "heads": 3, "head": [8]}).encode()),
        ("config.json", json.dumps({"features": "many"}).encode()),
        ("config.json", json.dumps({"features": 8, "width": 16, "heads": 0, "head": [8]}).encode()),
    ],
)
def test_unreadable_files_are_reported_with_their_component(file: str, content: bytes | None, phi_folder: Path) -> None:
    path = phi_folder / "phi" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PackError, match="phi of the pack mine"):
        load_component(phi_folder, "phi", "Phi")


def test_only_known_classes_are_built(phi_folder: Path) -> None:
    with pytest.raises(PackError, match="mine names a component Popen"):
        load_component(phi_folder, "phi", "Popen")
    with pytest.raises(PackError, match="has no folder vocoder"):
        load_component(phi_folder, "vocoder", "SpectralVocoder")


def test_a_pickle_is_not_read(phi_folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"

    class Payload:
        def __reduce__(self):
            return Path.touch, (witness,)

    torch.save({"projection.bias": Payload()}, phi_folder / "phi" / "model.safetensors")
    shutil.copy(phi_folder / "phi" / "model.safetensors", phi_folder / "phi" / "pytorch_model.bin")
    with pytest.raises(PackError, match="phi of the pack mine"):
        load_component(phi_folder, "phi", "Phi")
    assert not witness.exists()
