"""φ with words and events: no effect at first, and composition of curves from what words say."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from rewas_engine import ReWaS, VideoClip
from rewas_engine.energy_estimation.estimator import EnergyEstimator
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import ATTACK_NATS, EVENT_FRAMES, Phi, Traits
from rewas_engine.packs.components import load_component, save_component
from rewas_engine.packs.description import DESCRIPTION_FILE, write_description
from rewas_engine.runtime.cache import ContentCache
from rewas_engine.training.starting_point import copy_known_weights

TEXT = 12


def new_phi(**options) -> Phi:
    torch.manual_seed(5)
    return Phi(features=8, width=16, blocks=1, heads=2, head=(8,), **options).eval()


def with_words(**options) -> Phi:
    return new_phi(text_width=TEXT, **options)


def traits(**changes: float) -> Traits:
    """The traits of one prompt."""
    names = ("level", "reliance", "variation", "loudness", "decay", "late_decay", "tail")
    values = dict.fromkeys(names, 0.0) | {"variation": 1.0, "tail": 40.0} | changes
    return Traits(**{name: torch.tensor([[value]]) for name, value in values.items()})


@pytest.mark.parametrize("has_events", [False, True])
def test_new_words_and_events_change_nothing(has_events: bool) -> None:
    old, new = new_phi(), with_words(has_events=has_events)
    copy_known_weights(old, new)
    features, text = torch.randn(3, 40, 8), torch.randn(3, TEXT)
    with torch.no_grad():
        wanted = old(features)
        for given in (None, torch.zeros(3, TEXT), text):
            torch.testing.assert_close(new(features, given), wanted, atol=0.01, rtol=0)


def test_words_change_the_curve() -> None:
    phi = with_words()
    for weights in (phi.words.tokens.weight, phi.words.traits):
        torch.nn.init.normal_(weights, std=0.3)
    features, (one, other) = torch.randn(1, 40, 8), torch.randn(2, 1, TEXT)
    with torch.no_grad():
        assert (phi(features, one) - phi(features, other)).abs().max() > 0.05
        torch.testing.assert_close(phi(features, one), phi(features, 7 * one))  # of any norm
        torch.testing.assert_close(phi(features), phi(features, torch.zeros(1, TEXT)))


def test_events_need_words() -> None:
    with pytest.raises(ValueError, match="text width"):
        new_phi(has_events=True)


@pytest.mark.parametrize("frame", [0, 1, 30, 79])
def test_an_event_rises_just_before_its_frame_and_decays_after_it(frame: int) -> None:
    logits = torch.full((1, 80), -50.0)
    logits[0, frame] = 50
    curve = traits(loudness=-2, decay=0.25).ring(torch.zeros(1, 80), logits)[0].numpy()
    assert int(curve.argmax()) == frame
    np.testing.assert_allclose(curve[frame], -2, atol=1e-3)
    after = np.arange(min(EVENT_FRAMES, 80 - frame))
    np.testing.assert_allclose(curve[frame : frame + EVENT_FRAMES], -2 - 0.25 * after, atol=1e-3)
    for before in (1, 2):
        if frame >= before:
            np.testing.assert_allclose(curve[frame - before], -2 - ATTACK_NATS * before, atol=1e-3)
    assert curve[: max(0, frame - 2)].max(initial=-99) < -40


def test_a_weaker_strike_is_lower_and_a_tail_decays_later() -> None:
    logits = torch.full((1, 80), -50.0)
    logits[0, [20, 60]] = 50
    heights = torch.zeros(1, 80)
    heights[0, 60] = -1.5
    curve = traits(decay=1.0, tail=3.0, late_decay=0.05).ring(heights, logits)[0]
    assert float(curve[20] - curve[60]) == pytest.approx(1.5, abs=0.1)
    assert float(curve[40]) == pytest.approx(-3 - 0.05 * 20, abs=0.05)  # the tail alone


def test_words_of_a_sustained_sound_make_its_curve_even() -> None:
    curve = torch.linspace(-9, -5, 50)[None]
    even = traits(level=-3.0, reliance=1.0, variation=0.0).shape_sustained(curve)
    torch.testing.assert_close(even, torch.full((1, 50), -3.0))
    torch.testing.assert_close(traits().shape_sustained(curve), curve)


def test_the_estimator_gives_text_to_phi_and_encodes_a_window_once() -> None:
    torch.manual_seed(1)
    encoder = MotionEncoder(widths=(8, 8), features=8, dilations=(1,)).eval()
    phi = with_words(has_events=True)
    torch.nn.init.normal_(phi.words.traits, std=0.3)
    torch.nn.init.normal_(phi.words.tokens.weight, std=0.3)
    cache = ContentCache()
    picture = {"frame_rate": "25", "width": 16, "height": 16, "window_frames": 32, "overlap_frames": 8}
    estimator = EnergyEstimator({"video_encoder": encoder, "phi": phi}, picture, -11.5, "cpu", cache)
    frames = np.random.default_rng(0).integers(0, 256, (50, 16, 16), np.uint8)
    assert estimator.uses_text
    one, other = (estimator.estimate(frames, text=text) for text in torch.randn(2, TEXT))
    assert cache.misses == 2  # windows
    assert np.abs(one.values - other.values).max() > 0.01
    assert np.array_equal(estimator.estimate(frames).values, estimator.estimate(frames, text=torch.zeros(TEXT)).values)


def _refresh_hashes(folder: Path) -> None:
    document = tomllib.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    write_description(folder, {name: value for name, value in document.items() if name not in ("format", "files")})


def test_a_pack_that_reads_words_estimates_for_a_prompt(tiny_pack: Path, long_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "worded"
    shutil.copytree(tiny_pack, folder)
    old = load_component(folder, "phi", "Phi")
    new = Phi(**{**dict(old.config), "text_width": 384, "has_events": True})
    copy_known_weights(old, new)
    torch.nn.init.normal_(new.words.tokens.weight, std=0.2)
    save_component(new, folder, "phi")
    _refresh_hashes(folder)
    assert json.loads((folder / "phi" / "config.json").read_text())["text_width"] == 384
    model, plain = (ReWaS.from_pretrained(pack, device="cpu") for pack in (folder, tiny_pack))
    clip = VideoClip(long_clip, duration=3)
    rain, dog = (model.estimate_energy(clip, prompt=prompt).values for prompt in ("heavy rain", "a dog barks"))
    assert np.abs(rain - dog).max() > 0.01
    np.testing.assert_array_equal(model.estimate_energy(clip, prompt="heavy rain").values, rain)
    same = [plain.estimate_energy(clip, prompt=prompt).values for prompt in ("heavy rain", "")]
    np.testing.assert_array_equal(*same)
