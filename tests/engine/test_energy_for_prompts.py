"""Packs that read words: the energy from video is estimated for the prompt of each sound."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rewas_engine import (
    Control,
    EnergyCurve,
    Execution,
    Layer,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    VideoClip,
    flat_curve,
    parse_edit,
)
from rewas_engine.energy_estimation import estimator
from rewas_engine.models.text import SentenceEncoder
from rewas_engine.packs.description import DESCRIPTION_FILE, find_pack, read_pack
from rewas_engine.recordings.library_pack import LibraryTerms, make_library

ONE_STEP = Sampling(num_inference_steps=1)
RAW = Output(level="raw")
LONG_AGO_S = 1_700_000_000


@pytest.fixture(scope="module")
def worded_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    return write_untrained_pack(tmp_path_factory.mktemp("packs") / "worded", reads_words=True)


@pytest.fixture(scope="module")
def worded(worded_pack: Path) -> ReWaS:
    return ReWaS.from_pretrained(worded_pack, device="cpu")


@pytest.fixture
def clip(long_clip: Path) -> VideoClip:
    return VideoClip(long_clip, duration=3)


def write_library(folder: Path, model: str) -> Path:
    """A library with a recording of knocks and one of wind, which reads video and prompts with a model pack."""
    rng, rate_hz = np.random.default_rng(0), 48_000
    knocks = rng.standard_normal(4 * rate_hz) * np.exp(-20 * (np.arange(4 * rate_hz) / rate_hz % 0.5))
    (folder / "sounds").mkdir()
    soundfile.write(folder / "sounds" / "knock.wav", 0.1 * knocks, rate_hz)
    soundfile.write(folder / "sounds" / "wind.wav", 0.1 * rng.standard_normal(4 * rate_hz), rate_hz)
    (folder / "sounds" / "captions.csv").write_text("file,description\nknock.wav,a knock on wood\nwind.wav,wind\n")
    encoder = SentenceEncoder.default()
    made = make_library(
        [folder / "sounds"], folder / "foley", LibraryTerms("CC0-1.0", ""), lambda words: encoder(list(words)).numpy()
    )
    description = made.pack.path / DESCRIPTION_FILE
    description.write_text(description.read_text("utf-8").replace('model = "starter"', f'model = "{model}"'), "utf-8")
    return made.pack.path


def requested(model: ReWaS, clip: VideoClip, prompt: str, **arguments) -> np.ndarray:
    """The energy that the primary sound of a request follows."""
    result = model.generate(clip, prompt=prompt, sampling=ONE_STEP, **{"output": RAW, **arguments})
    return result.requested_energy.values


def on_mel_frames(model: ReWaS, curve: EnergyCurve, count: int) -> np.ndarray:
    config = model.front_end.config
    return np.maximum(curve.resample(config.frame_rate_hz, count), config.silence_nats)


def test_each_prompt_has_its_own_energy(worded: ReWaS, clip: VideoClip) -> None:
    rain, dog = (requested(worded, clip, prompt) for prompt in ("wind", "a dog barks"))
    assert np.abs(rain - dog).max() > 0.1
    for prompt, followed in (("wind", rain), ("a dog barks", dog)):
        estimate = worded.estimate_energy(clip, prompt=prompt)
        np.testing.assert_array_equal(followed, on_mel_frames(worded, estimate, len(followed)))
    assert np.any(worded.estimate_energy(clip).values != worded.estimate_energy(clip, prompt="a dog barks").values)


@pytest.mark.parametrize("speed", [1, 0])
def test_the_video_is_read_once_for_all_prompts(
    worded: ReWaS, long_clip: Path, speed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = Path(shutil.copy(long_clip, tmp_path / "clip.mkv"))
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    clip = VideoClip(path, duration=4, speed=speed)
    uncached = ReWaS.from_pretrained(worded.pack.path, device="cpu", execution=Execution(caching=False))
    begun = []
    read = estimator.iter_frames
    monkeypatch.setattr(estimator, "iter_frames", lambda *args, **named: begun.append(args) or read(*args, **named))
    worded.clear_cache()
    curves = {prompt: worded.estimate_energy(clip, prompt=prompt) for prompt in ("wind", "a dog barks", "", "wind ")}
    assert len(begun) == 1
    requested(worded, clip, "footsteps")
    assert len(begun) == 1
    assert curves["wind "].values.tobytes() == curves["wind"].values.tobytes()
    for prompt, curve in curves.items():
        expected = uncached.estimate_energy(clip, prompt=prompt)
        np.testing.assert_array_equal(curve.values, expected.values)
        assert curve.rate_hz == expected.rate_hz


def test_edits_apply_after_the_estimate_and_a_given_energy_stays(worded: ReWaS, clip: VideoClip) -> None:
    edited = requested(worded, clip, "wind", control=Control(edits=[parse_edit("offset -1.5")]))
    expected = np.maximum(requested(worded, clip, "wind") - 1.5, worded.front_end.config.silence_nats)
    np.testing.assert_allclose(edited, expected, atol=1e-5)
    given = Control(energy=flat_curve(duration=Fraction(3), nats=-4))
    for prompt in ("wind", "a dog barks"):
        np.testing.assert_array_equal(requested(worded, clip, prompt, control=given), np.float32(-4))


@pytest.mark.parametrize("level", ["raw", "standard"])
def test_a_layer_that_follows_the_video_is_estimated_for_its_own_prompt(
    worded: ReWaS, clip: VideoClip, level: str
) -> None:
    layers = [Layer("rain", "heavy rain", "video"), Layer("hits", "a hammer", "video"), Layer("room", "wind")]
    given = Control(energy=flat_curve(duration=Fraction(3), nats=-4))
    for control in (None, given):
        result = worded.generate(
            clip, prompt="wind", layers=layers, control=control, sampling=ONE_STEP, output=Output(level=level)
        )
        reports = result.takes[0].layers
        for name, prompt in (("rain", "heavy rain"), ("hits", "a hammer")):
            estimate = worded.estimate_energy(clip, prompt=prompt)
            if level == "standard":
                estimate = worded.apply_typical_level(estimate, prompt)
            followed = reports[name].requested_energy.values
            np.testing.assert_array_equal(followed, on_mel_frames(worded, estimate, len(followed)))
        assert np.ptp(reports["room"].requested_energy.values) == 0


def test_a_regeneration_with_another_prompt_is_estimated_for_it(worded: ReWaS, clip: VideoClip) -> None:
    (take,) = worded.generate(clip, prompt="wind", sampling=ONE_STEP, output=RAW).takes
    whole = Regenerate(take.stems["primary"])
    again = requested(worded, clip, "a dog barks", regenerate=whole)
    np.testing.assert_array_equal(again, requested(worded, clip, "a dog barks"))


def test_packs_state_whether_they_read_words(worded_pack: Path, tiny_pack: Path, worded: ReWaS) -> None:
    assert (read_pack(worded_pack).info.reads_words, read_pack(tiny_pack).info.reads_words) == (True, False)
    assert worded.pack.reads_words is worded._estimator.uses_text is True
    assert read_pack(find_pack("starter")).info.reads_words is ReWaS.from_pretrained("starter")._estimator.uses_text


def test_a_library_estimates_for_the_prompt_with_the_pack_that_it_uses(
    worded_pack: Path, clip: VideoClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWAS_PACKS", str(worded_pack.parent))
    library = ReWaS.from_pretrained(write_library(tmp_path, "worded"), device="cpu")
    assert library.pack.reads_words
    lender = ReWaS.from_pretrained(worded_pack, device="cpu")
    for prompt in ("a knock on wood", "wind"):
        found, expected = (model.estimate_energy(clip, prompt=prompt) for model in (library, lender))
        np.testing.assert_array_equal(found.values, expected.values)
        followed = library.generate(clip, prompt=prompt, output=RAW).requested_energy.values
        np.testing.assert_array_equal(followed, on_mel_frames(library, expected, len(followed)))


def test_the_estimate_of_a_pack_without_words_ignores_prompts(tiny_pack: Path, clip: VideoClip) -> None:
    model = ReWaS.from_pretrained(tiny_pack, device="cpu")
    without = model.estimate_energy(clip).values.tobytes()
    for prompt in ("wind", "a dog barks"):
        model.clear_cache()
        assert model.estimate_energy(clip, prompt=prompt).values.tobytes() == without
