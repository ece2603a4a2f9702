"""The vocoder: lengths, times, and phases drawn by position."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rewas_engine.models.vocoder import SpectralVocoder, _draw_noise
from rewas_engine.recipes.untrained_starter import TINY


@pytest.mark.parametrize("frames", [1, 2, 7, 64, 513])
def test_the_vocoder_returns_one_hop_per_frame(frames: int) -> None:
    vocoder = TINY.new_vocoder().eval()
    with torch.no_grad():
        waveforms = vocoder(torch.randn(2, frames, 64) - 6)
    assert waveforms.shape == (2, 160 * frames)
    assert torch.isfinite(waveforms).all()


def test_noise_is_drawn_by_position() -> None:
    vocoder = TINY.new_vocoder().eval()
    log_mel = torch.randn(1, 300, 64, generator=torch.Generator().manual_seed(0)) - 6
    places = torch.arange(300)
    with torch.no_grad():
        whole, again, other = (vocoder(log_mel, places + first)[0] for first in (0, 0, 1 << 40))
        part = vocoder(log_mel[:, 100:], places[100:])[0]
    assert torch.equal(whole, again)
    assert np.corrcoef(whole, other)[0, 1] < 0.9
    # Away from its edges, a part gives the same samples as in the whole.
    rim = 60 * 160
    torch.testing.assert_close(part[rim:], whole[100 * 160 + rim :], atol=1e-5, rtol=0)


def test_drawn_phases_are_uniform_and_uncorrelated() -> None:
    drawn = _draw_noise(torch.arange(2000)[None] + (5 << 31), 513)
    assert drawn.shape == (1, 513, 2000)
    counts = torch.histc(drawn, 20, -1, 1) / drawn.numel()
    torch.testing.assert_close(counts, torch.full((20,), 0.05), atol=5e-4, rtol=0)
    table = drawn[0]
    for neighbour in (table.roll(1, 0), table.roll(1, 1), table.roll((1, 1), (0, 1)), table.roll((1, -1), (0, 1))):
        assert abs(float((table * neighbour).mean())) < 5e-3
    assert not torch.equal(table, _draw_noise(torch.arange(2000)[None] + (6 << 31), 513)[0])


def test_a_vocoder_without_random_phases_needs_no_positions() -> None:
    vocoder = SpectralVocoder(width=16, blocks=1).eval()
    log_mel = torch.full((1, 40, 64), -6.0)
    with torch.no_grad():
        assert vocoder.spectrum(log_mel).scatter is None
        assert torch.equal(vocoder(log_mel), vocoder(log_mel, torch.arange(40) + 77))


def test_vocoding_in_windows_equals_one_pass(model) -> None:
    log_mel = torch.randn(1704, 64, generator=torch.Generator().manual_seed(0)) - 7
    whole = model.sound_generator.vocoder.vocode(log_mel, 1704 * 160)
    with torch.no_grad():
        once = model._components["vocoder"](log_mel[None])[0].numpy()  # positions from 0, as those of seed 0
    once = once / max(1.0, np.abs(once).max())
    np.testing.assert_allclose(whole, once, atol=1e-5)


@pytest.mark.parametrize("corrections", [0, 4])
def test_a_frame_affects_only_its_own_time(corrections: int) -> None:
    # A change in one log-mel frame changes the waveform there, and the corrections spread it slightly.
    vocoder = replace(TINY, vocoder_corrections=corrections).new_vocoder().eval()
    log_mel = torch.full((1, 200, 64), -6.0)
    struck = log_mel.clone()
    struck[0, 100] = 0
    with torch.no_grad():
        change = (vocoder(struck) - vocoder(log_mel))[0].abs()
    touched = change.nonzero().flatten() / 160
    reach = 11 + 6.4 * corrections
    assert 100 - reach < float(touched.min()) < 100 < float(touched.max()) < 100 + reach
    assert 95 < float(change.argmax()) / 160 < 106
