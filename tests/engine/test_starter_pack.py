"""The shipped pack: its size, its description and model card, and that it works."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import rewas_engine
from rewas_engine import Control, Execution, ReWaS, Sampling, VideoClip, installed_packs
from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.energy_from_video import energy_from_video_section
from rewas_engine.evaluation.figures import TARGETS
from rewas_engine.evaluation.splits import TEST
from rewas_engine.evaluation.suite import EvaluationPlan, evaluate
from rewas_engine.packs.description import read_pack

FOLDER = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"


@pytest.fixture(scope="module")
def starter(is_release: bool) -> ReWaS:
    """The shipped pack. A release measures its bfloat16, which takes minutes without hardware support."""
    return ReWaS.from_pretrained(FOLDER, execution=None if is_release else Execution(precision="float32"))


def test_the_pack_is_found_first_and_permits_commercial_use() -> None:
    first = installed_packs()[0]
    assert first.name == "starter"
    assert first.problem is None
    assert first.info is not None
    assert first.info.licence == "Apache-2.0"
    assert "commercial" in first.info.permits


def test_the_pack_is_small_and_in_half_precision() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 60e6
    assert not [file for file in FOLDER.rglob("*") if file.suffix in (".bin", ".pt", ".ckpt", ".pkl", ".checkpoint")]


def test_the_model_card_states_figures_and_limits() -> None:
    card = (FOLDER / "README.md").read_text("utf-8")
    figures = json.loads((FOLDER / "figures.json").read_text("utf-8"))["figures"]
    assert figures["scenes"] == 540
    for part in ("## Training", "## Figures", "## Limits", "Apache-2.0"):
        assert part in card
    assert f"| {figures['energy_correlation_mean']:.3f} |" in card
    assert "energy" in tomllib.loads((FOLDER / "pack.toml").read_text("utf-8"))["controls"]


MISSED_TARGETS = {"real_clips_zero_lag", "real_clips_best_lag"}
"""Targets that these weights miss. The card says so."""
LATER_TARGETS = {"realism_nearness"}
"""Targets that are newer than these weights, so the card does not have them."""


@pytest.mark.parametrize("key", sorted(TARGETS.keys() - LATER_TARGETS))
def test_the_stored_figures_are_of_these_weights_and_meet_all_but_the_named_targets(key: str) -> None:
    stored = json.loads((FOLDER / "figures.json").read_text("utf-8"))
    assert stored["measured"]["fingerprint"] == read_pack(FOLDER).fingerprint
    assert TARGETS[key].is_met_by(stored["figures"][key], "cpu") != (key in MISSED_TARGETS)


def test_the_card_states_each_missed_target() -> None:
    assert (FOLDER / "README.md").read_text("utf-8").count("| miss |") == len(MISSED_TARGETS)


@pytest.fixture(scope="module")
def figures(starter: ReWaS, is_release: bool) -> dict[str, float]:
    """Figures of a few clips: enough to see that something is broken, too few for the targets themselves."""
    classes = ("drum_hit", "bell", "dog_bark", "rain", "engine", "wind")
    # Half the default steps give the same figures of so few clips within 0.02.
    settings = None if is_release else starter.sampling_settings(Sampling(num_inference_steps=5))
    found = evaluate(starter, EvaluationPlan(("energy", "words", "vocoder"), 1, classes=classes), settings).figures()
    return {key: figure.value for key, figure in found.items() if figure.value is not None}


@pytest.mark.slow
@pytest.mark.weights
def test_sound_follows_the_requested_energy_because_of_the_control(figures: dict[str, float]) -> None:
    assert figures["energy_correlation_mean"] >= 0.9
    assert figures["energy_mae_nats"] <= 0.3
    assert figures["vocoded_correlation_mean"] >= 0.85
    assert figures["uncontrolled_correlation"] <= 0.4  # of six clips, so chance has a large effect


@pytest.mark.slow
@pytest.mark.weights
def test_the_judge_recognises_the_requested_classes(figures: dict[str, float]) -> None:
    assert figures["real_class"] >= 0.8
    assert figures["class"] >= 0.8
    assert figures["class_swapped"] >= 0.6


@pytest.mark.slow
@pytest.mark.weights
def test_the_judge_recognises_paraphrases(figures: dict[str, float]) -> None:
    assert figures["class_paraphrased"] >= 0.6


@pytest.mark.slow
@pytest.mark.weights
def test_the_vocoder_keeps_the_log_mel(figures: dict[str, float]) -> None:
    assert figures["vocoder_l1"] <= 0.2
    assert figures["vocoder_l1_worst"] <= 0.4


@pytest.mark.slow
@pytest.mark.weights
def test_the_estimator_beats_frame_differences(starter: ReWaS) -> None:
    found = {figure.key: figure.value for figure in energy_from_video_section(starter, TEST, 18, Watch()).figures}
    assert found["picture_visible"] >= 0.6
    assert found["picture_visible"] > max(found["picture_frame_difference"], found["picture_log_difference"])
    assert found["picture_silent_motion"] <= 0.4


@pytest.mark.weights
def test_the_prompt_determines_the_sound(starter: ReWaS) -> None:
    """Rain is high and an engine is low: the spectral centre differs, with prompts that were not trained on."""
    energy = rewas_engine.EnergyCurve(np.full(512, -6.0, np.float32), 100)
    settings = starter.sampling_settings(Sampling(num_inference_steps=8))

    def brightest_bin(prompt: str) -> float:
        magnitude = np.exp(
            starter.sound_generator.generate_log_mel(prompt, Controls.from_energy(energy), 1, settings).numpy()
        ).mean(axis=0)
        return float((magnitude * np.arange(magnitude.size)).sum() / magnitude.sum())

    assert brightest_bin("a downpour outside") > brightest_bin("a lorry idling") + 5


@pytest.mark.weights
def test_takes_of_unfamiliar_prompts_have_no_text_score(starter: ReWaS, long_clip: Path) -> None:
    clip, energy = VideoClip(long_clip, duration=2), rewas_engine.EnergyCurve(np.full(200, -5.0, np.float32), 100)
    known, strange = (
        starter.generate(clip, prompt=words, seed=1, control=Control(energy=energy)).takes[0]
        for words in ("heavy rain", "qwrtz")
    )
    assert known.text_score is not None
    assert known.text_score > 0.5
    assert strange.text_score is None
    assert strange.score is None


@pytest.mark.slow
@pytest.mark.weights
def test_a_steady_sound_stays_steady_to_its_end(starter: ReWaS) -> None:
    rate, frames = starter.front_end.config.frame_rate_hz, 300
    controls = Controls(energy=np.full(frames, -5, np.float32))
    for seed, prompt in enumerate(("heavy rain", "a stream running over stones", "wind in the trees")):
        log_mel = starter.sound_generator.generate_log_mel(prompt, controls, seed, starter.sampling_settings())
        waveform = starter.sound_generator.vocoder.vocode(log_mel, frames * starter.front_end.config.hop_samples)
        energy = starter.front_end.encode(waveform).numpy().mean(axis=1)
        # The last two frames overlap the end, as in any recording.
        assert np.abs(energy[-int(rate / 4) : -2] - energy[:-50].mean()).max() < 0.7
