"""Griffin-Lim: the output has the given mel."""

import numpy as np
import pytest
import torch

from rewas_engine.conditioning.levels import normalise
from rewas_engine.evaluation.griffin_lim import griffin_lim, magnitudes_of
from rewas_engine.training.corpus import world_front_end
from rewas_engine.world import render_sound, sample_scene

FRONT_END = world_front_end()


@pytest.mark.parametrize("class_name", ["rain", "bell"])
def test_a_real_mel_is_reconstructed(class_name: str) -> None:
    log_mel = FRONT_END.encode(normalise(render_sound(sample_scene(5, class_name, 1.28, pattern="steady"))))
    waveform = griffin_lim(log_mel.numpy(), FRONT_END)
    assert waveform.shape == (128 * 160,)
    assert float((FRONT_END.encode(waveform) - log_mel).abs().mean()) < 0.2
    np.testing.assert_array_equal(waveform, griffin_lim(log_mel.numpy(), FRONT_END))


def test_iterations_improve_the_phases() -> None:
    log_mel = FRONT_END.encode(normalise(render_sound(sample_scene(5, "rain", 1.28, pattern="steady"))))
    distances = [
        float((FRONT_END.encode(griffin_lim(log_mel.numpy(), FRONT_END, rounds)) - log_mel).abs().mean())
        for rounds in (0, 32)
    ]
    assert distances[1] < 0.7 * distances[0]


def test_silence_stays_silence() -> None:
    silence = np.full((64, 64), FRONT_END.config.silence_nats, np.float32)
    assert not griffin_lim(silence, FRONT_END).any()


def test_magnitudes_reproduce_their_mel() -> None:
    spectrum = torch.rand(513, 20, generator=torch.Generator().manual_seed(0))
    log_mel = torch.log(torch.from_numpy(FRONT_END.filter_bank) @ spectrum).T
    found = magnitudes_of(log_mel, FRONT_END)
    assert (found >= 0).all()
    again = torch.log(torch.from_numpy(FRONT_END.filter_bank) @ found).T
    torch.testing.assert_close(again, log_mel, atol=0.02, rtol=0)
