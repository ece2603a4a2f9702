"""What a bench requests from a pack in each condition: prompts, energies, noise and settings."""

from collections.abc import Sequence

import numpy as np
import pytest
from bench_fixtures import ScriptedSource, make_bench, make_clip, mels_of
from curve_fixtures import ACROSS, STEPS
from pack_fixtures import tiny_model

from rewas_engine import ReWaS
from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.sound_store import Request

CLIPS = [make_clip(name, mels_of([energy])[0]) for name, energy in (("rain", STEPS), ("bell", ACROSS))]
"""The energies of the other class are those of the clips in reverse."""
PLAIN, UNSEEN = ["rain", "bell"], ["paraphrase of rain", "paraphrase of bell"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ReWaS:
    return tiny_model(tmp_path_factory.mktemp("pack"))


@pytest.mark.parametrize(
    ("condition", "prompts", "energies", "strength"),
    [
        ("plain", PLAIN, [STEPS, ACROSS], 1.0),
        ("swapped", PLAIN, [ACROSS, STEPS], 1.0),
        ("paraphrased", UNSEEN, [STEPS, ACROSS], 1.0),
        ("uncontrolled", PLAIN, [STEPS, ACROSS], 0.0),
    ],
)
def test_each_condition_changes_one_thing(
    model: ReWaS, condition: str, prompts: list[str], energies: list[FloatArray], strength: float
) -> None:
    requests: list[Request] = []

    def generate(request: Request) -> FloatArray:
        requests.append(request)
        return mels_of([STEPS, STEPS])

    bench = make_bench(model, CLIPS, source=ScriptedSource(generate))
    assert bench.settings.control_strength == 1
    np.testing.assert_array_equal(getattr(bench, condition), mels_of([STEPS, STEPS]))
    (request,) = requests
    assert list(request.prompts) == prompts
    assert [each.names for each in request.controls] == [("energy",)] * 2
    for each, energy in zip(request.controls, energies, strict=True):
        np.testing.assert_allclose(each.energy, energy, atol=1e-6)
    assert request.settings.control_strength == strength


def test_plain_vocoded_uses_the_vocoder(model: ReWaS) -> None:
    received: list[FloatArray] = []

    def vocode(log_mels: FloatArray) -> list[FloatArray]:
        received.extend(log_mels)
        return [np.full(8, number, np.float32) for number in range(len(log_mels))]

    def log_mels(waveforms: Sequence[FloatArray]) -> FloatArray:
        return np.stack([waveform[:1, None] for waveform in waveforms])

    source = ScriptedSource(lambda request: mels_of([ACROSS, STEPS]), vocode)
    bench = make_bench(model, CLIPS, source=source, log_mels=log_mels)
    assert bench.plain_vocoded.ravel().tolist() == [0, 1]
    np.testing.assert_array_equal(np.stack(received), bench.plain)
