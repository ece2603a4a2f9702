"""Inpainting, strength and seamless loops, with an untrained pack."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rewas_engine import Execution, ReWaS, Sampling, SettingsError
from rewas_engine.conditioning.controls import Controls
from rewas_engine.generation.synthesis import InpaintSource

FRAMES = 700
CODEC_NATS = 0.2
"""How much a frame may change by the codec and by clipping at silence."""


def rising_energy(frames: int = FRAMES) -> Controls:
    return Controls(energy=np.linspace(-9, -3, frames).astype(np.float32))


@pytest.fixture(scope="module")
def model(tiny_pack: Path) -> ReWaS:
    """The tiny pack in single precision, so that small changes are larger than rounding errors."""
    return ReWaS.from_pretrained(tiny_pack, device="cpu", execution=Execution(precision="float32"))


def generate(model: ReWaS, seed: int, **options) -> torch.Tensor:
    return model.sound_generator.generate_log_mel(
        "a drum", rising_energy(), seed, model.sampling_settings(Sampling(num_inference_steps=4)), **options
    )[:FRAMES]


@pytest.fixture(scope="module")
def first(model: ReWaS) -> torch.Tensor:
    return generate(model, 1)


def test_kept_frames_stay_and_the_rest_is_new(model: ReWaS, first: torch.Tensor) -> None:
    keep_mask = np.ones(FRAMES, np.bool_)
    keep_mask[202:403] = False
    output = generate(model, 2, inpaint_source=InpaintSource(first, keep_mask))
    change = (output - first).abs().mean(dim=1)
    # The range is extended to whole latent positions of four frames.
    assert change[:200].max() < CODEC_NATS
    assert change[404:].max() < CODEC_NATS
    assert change[202:403].mean() > 4 * CODEC_NATS


def test_a_lower_strength_changes_less(model: ReWaS, first: torch.Tensor) -> None:
    none = np.zeros(FRAMES, np.bool_)
    changes = [
        float((generate(model, 2, inpaint_source=InpaintSource(first, none, share)) - first).abs().mean())
        for share in (0.25, 0.5, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[0] < 0.7 * changes[-1]
    torch.testing.assert_close(generate(model, 2, inpaint_source=InpaintSource(first, none, 1.0)), generate(model, 2))


def test_a_sound_is_extended_beyond_its_end(model: ReWaS, first: torch.Tensor) -> None:
    begun = first[:300]
    output = generate(model, 2, inpaint_source=InpaintSource(begun, np.ones(300, np.bool_)))
    assert (output[:300] - begun).abs().mean(dim=1).max() < CODEC_NATS
    assert (output[300:] - first[300:]).abs().mean() > 4 * CODEC_NATS


@pytest.mark.parametrize("frames", [96, 512, 1000])
def test_a_loop_has_no_seam(model: ReWaS, frames: int) -> None:
    energy = np.full(frames, -4, np.float32)
    settings = model.sampling_settings(Sampling(num_inference_steps=4))
    log_mel = model.sound_generator.generate_log_mel("wind", Controls(energy=energy), 3, settings, is_loop=True)
    assert log_mel.shape == (frames, 64)
    hop = model.front_end.config.hop_samples
    samples = frames * hop - 333
    loop = model.sound_generator.vocoder.vocode_loop(log_mel, samples)
    assert loop.shape == (samples,)
    twice = np.concatenate([loop, loop])
    steps = np.abs(np.diff(twice))
    at_join = steps[samples - 1]
    assert at_join <= np.quantile(steps, 0.999)
    # The level near the join is like that of other frames.
    energy_nats = model.front_end.encode(twice).mean(dim=1).numpy()
    change = np.abs(np.diff(energy_nats))
    assert change[frames - 4 : frames + 4].max() <= change[4:-4].max() + 1e-3


def test_a_loop_does_not_depend_on_its_starting_point(model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> None:
    # Except for phases that are drawn by position.
    monkeypatch.setattr(model._components["vocoder"], "scatter_head", None)
    log_mel = model.sound_generator.generate_log_mel(
        "wind",
        Controls(energy=np.full(400, -4, np.float32)),
        3,
        model.sampling_settings(Sampling(num_inference_steps=2)),
        is_loop=True,
    )
    hop = model.front_end.config.hop_samples
    whole = model.sound_generator.vocoder.vocode_loop(log_mel, 400 * hop)
    turned = model.sound_generator.vocoder.vocode_loop(log_mel.roll(-160, dims=0), 400 * hop)
    np.testing.assert_allclose(np.roll(whole, -160 * hop), turned, atol=1e-4)


def test_a_source_of_another_length_is_refused(model: ReWaS, first: torch.Tensor) -> None:
    with pytest.raises(SettingsError, match="700 frames, but the mask has 3"):
        InpaintSource(first, np.ones(3, np.bool_))
    with pytest.raises(SettingsError, match="The strength is 0"):
        InpaintSource(first, np.ones(FRAMES, np.bool_), 0.0)
    longer = torch.cat([first, first])
    with pytest.raises(SettingsError, match="1400 frames, but the controls have only 700"):
        generate(model, 1, inpaint_source=InpaintSource(longer, np.ones(1400, np.bool_)))
