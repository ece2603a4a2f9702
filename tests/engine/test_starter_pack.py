"""The pack that is shipped: small enough, described honestly, and alive."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import rewas_engine
from rewas_engine import ReWaS, installed_packs
from rewas_engine.control import Controls
from rewas_engine.evaluation.control import held_out_scenes, measure_control
from rewas_engine.evaluation.picture import measure_picture

FOLDER = Path(rewas_engine.__file__).parent / "data" / "packs" / "starter"


@pytest.fixture(scope="module")
def starter() -> ReWaS:
    return ReWaS.from_pretrained(FOLDER)


def test_it_comes_first_and_permits_commercial_use() -> None:
    first = installed_packs()[0]
    assert first.name == "starter"
    assert first.problem is None
    assert first.info is not None
    assert first.info.licence == "Apache-2.0"
    assert "commercial" in first.info.permits


def test_it_is_small_and_in_half_precision() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 60e6
    assert not [file for file in FOLDER.rglob("*") if file.suffix in (".bin", ".pt", ".ckpt", ".pkl", ".checkpoint")]


def test_its_card_tells_figures_and_limits() -> None:
    card = (FOLDER / "README.md").read_text("utf-8")
    figures = json.loads((FOLDER / "figures.json").read_text("utf-8"))["figures"]
    assert figures["scenes"] == 64
    assert figures["median_correlations"] >= 0.6
    assert figures["median_correlations"] - figures["median_uncontrolled_correlations"] >= 0.3
    for part in ("## Training", "## Figures", "## Limits", "Apache-2.0"):
        assert part in card
    assert f"| median correlations | {figures['median_correlations']:g} |" in card
    assert tomllib.loads((FOLDER / "pack.toml").read_text("utf-8"))["controls"] == ["energy"]


@pytest.mark.slow
def test_sound_follows_the_requested_energy_because_of_the_control(starter: ReWaS) -> None:
    figures = measure_control(starter, held_out_scenes(6))
    assert np.median(figures.correlations) >= 0.6
    assert np.median(figures.mel_correlations) >= 0.85
    assert np.median(figures.correlations) - np.median(figures.uncontrolled_correlations) >= 0.3


@pytest.mark.slow
def test_pictures_tell_more_than_plain_motion(starter: ReWaS) -> None:
    figures = measure_picture(starter, held_out_scenes(16))
    assert np.mean(figures.correlations) >= 0.6
    assert np.mean(figures.correlations) > np.mean(figures.motion)


def test_words_choose_the_sound(starter: ReWaS) -> None:
    """Rain hisses high, an engine hums low: told apart by the centre of the spectrum, with words never trained on."""
    energy = rewas_engine.EnergyCurve(np.full(512, -6.0, np.float32), 100)
    settings = starter.sampling_settings(num_steps=8)

    def brightest_bin(prompt: str) -> float:
        magnitude = np.exp(starter.sound.log_mel(prompt, Controls.following(energy), 1, settings).numpy()).mean(axis=0)
        return float((magnitude * np.arange(magnitude.size)).sum() / magnitude.sum())

    assert brightest_bin("a downpour outside") > brightest_bin("a lorry idling") + 5
