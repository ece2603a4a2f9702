"""The vocoder figures of a vocoder with known faults."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bench_fixtures import ScriptedJudge, figures_of, make_clip, values_of

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation import vocoding
from rewas_engine.evaluation.bench import Bench, BenchClip, Watch
from rewas_engine.evaluation.figures import Section
from rewas_engine.evaluation.vocoding import vocoder_section
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.training.corpus import world_front_end

FRONT_END = world_front_end()
SOFTER_NATS = {"rain": (0.05, 0.1, 0.15, 0.1), "drum_hit": (0.3, 0.5, 0.3, 0.1), "bell": (-0.2, -0.1, -0.2, -0.3)}
"""How much softer each clip comes out: 0.1 nats for rain, 0.3 for drums; bells come out louder by 0.2."""
GRIFFIN_LIM_NATS = 0.45


def noisy_clip(class_name: str, seed: int) -> BenchClip:
    sound = (0.05 * np.random.default_rng(seed).standard_normal(8000)).astype(np.float32)
    return make_clip(class_name, FRONT_END.log_mel(torch.from_numpy(sound)[None])[0].numpy(), sound)


CLIPS = [noisy_clip(name, 10 * row + seed) for row, name in enumerate(SOFTER_NATS) for seed in range(4)]
FAULTS_NATS = [fault for row in SOFTER_NATS.values() for fault in row]


@dataclass(frozen=True)
class FaultyVocoder:
    """Returns a clip's own sound, softer by a known amount."""

    faults_nats: list[float]

    def vocode(self, log_mel: torch.Tensor, samples: int) -> FloatArray:
        place = [bool(np.array_equal(clip.log_mel, log_mel.numpy())) for clip in CLIPS].index(True)
        return np.asarray(CLIPS[place].sound[:samples] * np.exp(-self.faults_nats[place]), np.float32)


@dataclass(frozen=True)
class BuzzingVocoder:
    """Returns one pulse in every hop."""

    def vocode(self, log_mel: torch.Tensor, samples: int) -> FloatArray:
        sound = np.zeros(samples, np.float32)
        sound[40 :: FRONT_END.config.hop_samples] = 0.5
        return sound


def build_section(vocoder: FaultyVocoder | BuzzingVocoder, monkeypatch: pytest.MonkeyPatch) -> Section:
    """The vocoder's figures with a judge that classifies every clip more than 0.25 nats off as fire."""

    def rebuilt(log_mel: FloatArray, front_end: object) -> FloatArray:
        return FaultyVocoder([GRIFFIN_LIM_NATS] * len(CLIPS)).vocode(torch.from_numpy(log_mel), 8000)

    monkeypatch.setattr(vocoding, "griffin_lim", rebuilt)
    judge = ScriptedJudge()
    for clip, fault in zip(CLIPS, FAULTS_NATS, strict=True):
        judge.set_classes(clip.log_mel[None], [clip.class_name])
        judge.set_classes(clip.log_mel[None] - fault, [clip.class_name if abs(fault) < 0.25 else "fire"])
    pack = SimpleNamespace(is_library=False, kinds=())
    model = SimpleNamespace(
        pack=pack, front_end=FRONT_END, device="cpu", sound_generator=SimpleNamespace(vocoder=vocoder)
    )
    return vocoder_section(Bench(model, judge, CLIPS, SamplingSettings(1, 1.0, 1.0, 0.0), Watch()))


def test_the_loss_is_the_distance_between_the_mels(monkeypatch: pytest.MonkeyPatch) -> None:
    section = build_section(FaultyVocoder(FAULTS_NATS), monkeypatch)
    figures = figures_of(section)
    assert figures["vocoder_l1"].value == pytest.approx(0.2, abs=1e-4)
    assert figures["vocoder_l1_worst"].value == pytest.approx(0.3, abs=1e-4)
    assert figures["vocoder_l1_worst"].note == "drum hit"
    assert section.details["l1_by_class"] == pytest.approx({"rain": 0.1, "drum_hit": 0.3, "bell": 0.2}, abs=1e-4)


def test_a_vocoder_without_fault_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = values_of(build_section(FaultyVocoder([0.0] * len(CLIPS)), monkeypatch))
    assert (figures["vocoder_l1"], figures["vocoder_l1_worst"]) == (0, 0)
    assert figures["vocoder_real_class"] == 1


def test_classes_are_judged_after_the_vocoder(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three drums and a bell come out too far off.
    figures = values_of(build_section(FaultyVocoder(FAULTS_NATS), monkeypatch))
    assert figures["vocoder_real_class"] == pytest.approx(8 / 12)


def test_griffin_lim_is_compared_with_the_vocoder_on_the_same_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    section = build_section(FaultyVocoder(FAULTS_NATS), monkeypatch)
    figure = figures_of(section)["griffin_lim_l1"]
    assert figure.value == pytest.approx(GRIFFIN_LIM_NATS, abs=1e-4)
    # The first clip and the eleventh: 0.05 and 0.2.
    assert figure.note == "on 2 clips, where the vocoder has 0.125"
    assert section.details["griffin_lim_l1_by_class"] == pytest.approx({"rain": 0.45, "bell": 0.45}, abs=1e-4)


def test_the_ripple_is_the_vocoders_and_not_the_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures_of(build_section(BuzzingVocoder(), monkeypatch))["vocoder_ripple"]
    # All power is in one of 160 positions.
    assert figure.value == pytest.approx(159**0.5)
    # For 50 hops of noise without buzz: √(2 / 50).
    assert float(figure.note.removeprefix("original sounds: ")) == pytest.approx(0.2, abs=0.05)
