"""Controls: validation, cutting and padding, and the hint for the adapter."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import SettingsError
from rewas_engine.conditioning.controls import (
    CONTROL_NAMES,
    ControlBatch,
    Controls,
    control_hint,
    energy_hint,
    hint_channels,
    measure_textures,
    onset_track,
    supported_controls,
)
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.curves.texture import TEXTURE_BANDS
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.recipes.untrained_starter import TINY


@pytest.fixture(scope="module")
def codec() -> PatchAutoencoder:
    fitted = PatchAutoencoder()
    fitted.fit(torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(1)).cumsum(dim=1) - 6)
    return fitted.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def wide() -> EnergyAdapter:
    return EnergyAdapter.from_denoiser(TINY.new_denoiser(), hint_channels=hint_channels(8, 4)).eval()


def _all(frames: int = 32) -> Controls:
    ramp = np.linspace(-9, -1, frames, dtype=np.float32)
    onsets = np.zeros(frames, np.float32)
    onsets[5] = 0.7
    texture = np.tile(np.array([1.5, 0.5, -0.5, -1.5], np.float32), (frames, 1))
    return Controls(ramp, onsets, texture)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"energy": np.zeros(4), "onsets": np.zeros(5)},
        {"energy": np.array([0.0, np.nan])},
        {"energy": np.zeros((4, 2))},
        {"texture": np.zeros((4, TEXTURE_BANDS + 1))},
    ],
)
def test_invalid_controls_are_refused(values) -> None:
    with pytest.raises(SettingsError):
        Controls(**values)


def test_padding_repeats_the_last_energy_and_adds_no_onsets() -> None:
    whole = _all(8)
    padded = whole.pad(12)
    assert padded.frames == 12
    np.testing.assert_array_equal(padded.energy[7:], np.full(5, whole.energy[7], np.float32))
    np.testing.assert_array_equal(padded.texture[7:], np.tile(np.asarray(whole.texture[7], np.float32), (5, 1)))
    assert not padded.onsets[8:].any()
    assert replace(whole, texture=None).pad(12).texture is None


def test_an_energy_only_adapter_reads_only_energy(codec: PatchAutoencoder) -> None:
    narrow = EnergyAdapter.from_denoiser(TINY.new_denoiser())
    assert supported_controls(narrow) == ("energy",)
    energies = torch.linspace(-9, -1, 32)[None]
    hint = control_hint(
        ControlBatch.from_windows([Controls(energies[0].numpy())], "cpu"), partial(encode_scaled, codec), 64, narrow
    )
    torch.testing.assert_close(hint, energy_hint(energies, partial(encode_scaled, codec), 64))


@pytest.mark.parametrize("names", [("energy",), ("onsets",), ("texture",), CONTROL_NAMES])
def test_a_hint_contains_exactly_the_given_controls(names, codec: PatchAutoencoder, wide: EnergyAdapter) -> None:
    everything = _all()
    controls = Controls(**{name: getattr(everything, name) for name in names})
    hint = control_hint(ControlBatch.from_windows([controls], "cpu"), partial(encode_scaled, codec), 64, wide)
    assert hint.shape == (1, 16, 8, 16)
    parts = dict(zip((*CONTROL_NAMES, "flags"), hint.split((8, 4, 1, 3), dim=1), strict=True))
    assert parts["flags"][0, :, 0, 0].tolist() == [float(name in names) for name in CONTROL_NAMES]
    for name in CONTROL_NAMES:
        assert bool(parts[name].any()) == (name in names)
    if "onsets" in names:
        # Frame 5 is the second of the second patch.
        assert parts["onsets"][0, 1, 1].tolist() == pytest.approx([0.7] * 16)
        assert float(parts["onsets"].sum()) == pytest.approx(0.7 * 16)
    if "texture" in names:
        assert parts["texture"][0, 0, 0].tolist() == pytest.approx(np.repeat([0.5, 1 / 6, -1 / 6, -0.5], 4).tolist())


@settings(deadline=None)
@given(st.lists(st.floats(0, 5.119), max_size=8), st.randoms(use_true_random=False))
def test_every_onset_is_in_its_frame(times_s: list[float], random) -> None:
    strengths = [random.uniform(0.1, 1.0) for _ in times_s]
    track = onset_track(np.array(times_s), np.array(strengths), 512, 100.0)
    frames = {int(np.floor(time_s * 100 + 1e-9)) for time_s in times_s}
    assert set(np.flatnonzero(track)) == frames
    assert track.max(initial=0.0) == pytest.approx(max(strengths, default=0.0))


def test_texture_is_relative_between_bands() -> None:
    tilted = torch.full((1, 80, 64), -4.0)
    tilted[..., :16] += 3.0
    texture = measure_textures(tilted)
    assert texture.shape == (1, 80, TEXTURE_BANDS)
    torch.testing.assert_close(texture[0, 40], torch.tensor([2.25, -0.75, -0.75, -0.75]), atol=0.05, rtol=0)
    torch.testing.assert_close(measure_textures(tilted - 2.0), texture, atol=0.05, rtol=0)
    assert measure_textures(torch.full((1, 80, 64), SILENCE_NATS)).abs().max() < 1e-6
