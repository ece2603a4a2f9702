"""Layers of synthetic scenes: an ambience with its own caption, and noise floors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.world import (
    AMBIENCE_CLASSES,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
    Scene,
    render_layers,
    render_sound,
    sample_scene,
)
from rewas_engine.world.scene import amplitude, intensity_of
from rewas_engine.world.vocabulary import describe_behind, join_captions

FRONT_END = AudioFrontEnd(MelConfig())


def scenes_with_ambience(count: int) -> list[Scene]:
    return [scene for scene in map(sample_scene, range(40 * count)) if scene.ambience is not None][:count]


def loudest_db(sound: NDArray[np.float32]) -> float:
    stretches = sound.astype(np.float64)[: sound.size // 1024 * 1024].reshape(-1, 1024)
    return float(10 * np.log10(np.square(stretches).mean(axis=1).max()))


def test_the_layers_add_up_exactly_to_the_mix() -> None:
    for scene in scenes_with_ambience(10):
        layers = render_layers(scene)
        assert list(layers) == ["primary", "ambience"]
        assert np.array_equal(layers["primary"] + layers["ambience"], render_sound(scene))
        assert np.abs(render_sound(scene)).max() <= 1.0
    plain = replace(scene, ambience=None)
    assert list(render_layers(plain)) == ["primary"]
    assert np.array_equal(render_layers(plain)["primary"], render_sound(plain))


def test_the_ambience_is_a_quieter_sustained_sound_of_another_class() -> None:
    for scene in scenes_with_ambience(25):
        ambience = scene.ambience
        assert ambience is not None
        assert ambience.class_name in AMBIENCE_CLASSES
        assert ambience.class_name in SUSTAINED_CLASSES
        assert ambience.class_name != scene.class_name
        assert ambience.ambience is None
        assert not scene.is_silent
        layers = render_layers(scene)
        below_db = loudest_db(layers["primary"]) - loudest_db(layers["ambience"])
        assert below_db == pytest.approx(ambience.below_db, abs=0.1)
        assert 8.0 <= ambience.below_db <= 22.0


def test_an_ambience_does_not_change_the_primary_sound() -> None:
    for scene in scenes_with_ambience(6):
        primary = render_layers(scene)["primary"].astype(np.float64)
        alone = render_sound(replace(scene, ambience=None))
        # A mix that would clip is turned down as a whole.
        gain = np.dot(primary, alone) / np.dot(alone, alone)
        # Processors round differently. 1e-5 is a third of a step of 16-bit audio.
        assert gain <= 1 + 1e-5
        assert primary == pytest.approx(gain * alone, abs=1e-5)


def test_captions_name_both_layers() -> None:
    for scene in scenes_with_ambience(40):
        assert scene.full_caption.startswith(scene.caption)
        assert len(scene.full_caption) > len(scene.caption)
        assert scene.full_caption == sample_scene(scene.seed).full_caption
        assert replace(scene, ambience=None).full_caption == scene.caption
    rng = np.random.default_rng(0)
    wet = {join_captions(rng, "a dog barks", describe_behind(rng, "rain"), "rain") for _ in range(200)}
    assert len(wet) > 15
    assert all(words.startswith("a dog barks") and "rain" in words for words in wet)


@pytest.mark.slow
def test_shares_of_layered_off_screen_and_floored_scenes() -> None:
    audible = [scene for scene in map(sample_scene, range(4000)) if not scene.is_silent]
    for of_kind in (STRUCK_CLASSES, SUSTAINED_CLASSES):
        own = [scene for scene in audible if scene.class_name in of_kind]
        assert np.mean([scene.ambience is not None for scene in own]) == pytest.approx(0.15, abs=0.035)
        assert np.mean([scene.off_screen for scene in own]) == pytest.approx(0.07, abs=0.025)
        assert np.mean([scene.floor > 0 for scene in own]) == pytest.approx(0.09, abs=0.03)
    silent = [scene for scene in map(sample_scene, range(600)) if scene.is_silent]
    assert not any(scene.ambience or scene.off_screen or scene.floor for scene in silent)


@pytest.mark.parametrize("class_name", ["metal_hit", "gravel_steps", "clock_tick", "dog_bark", "rain", "stream"])
def test_a_floor_keeps_the_energy_above_silence(class_name: str) -> None:
    floored = [s for s in (sample_scene(seed, class_name) for seed in range(200)) if s.floor > 0]
    assert len(floored) >= 5
    for scene in floored[:5]:
        assert scene.envelope.min() >= scene.floor - 1e-9
        contrast_nats = np.log(amplitude(scene.envelope.max()) / amplitude(np.float64(scene.floor)))
        assert 1.9 < contrast_nats < 5.1
        audible = render_sound(replace(scene, reverb_s=0.0, distance=0.0))
        louder = audible * np.float32(0.9 / np.abs(audible).max())
        assert FRONT_END.measure_energy(louder).values[8:-8].min() > SILENCE_NATS + 0.3


@given(st.floats(0.0, 1.0))
@settings(deadline=None)
def test_intensity_is_recovered_from_amplitude(intensity: float) -> None:
    assert intensity_of(amplitude(np.float64(intensity))) == pytest.approx(intensity, abs=2e-3)
