"""Takes: faults, scores, sorting, and the replacement of faulty takes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import (
    SILENCE_NATS,
    Control,
    EnergyCurve,
    GenerationResult,
    ReWaS,
    Sampling,
    SettingsError,
    Take,
    VideoClip,
)
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.requests import take_making
from rewas_engine.requests.scoring import clipped_share, find_faults, score_take, sort_best_first

RATE_HZ = 16_000
FRONT_END = AudioFrontEnd(MelConfig(sample_rate_hz=RATE_HZ))
LOUD = EnergyCurve(np.full(300, -5.0, np.float32), Fraction(100))


def noise(duration_s: float = 3.0, strength: float = 0.3) -> np.ndarray:
    return np.random.default_rng(0).uniform(-strength, strength, round(duration_s * RATE_HZ)).astype(np.float32)


def get_faults(waveform: np.ndarray, text_score: float | None = None, requested: EnergyCurve = LOUD) -> tuple[str, ...]:
    return find_faults(waveform, FRONT_END.encode(waveform).numpy(), requested, SILENCE_NATS, text_score)


def test_an_ordinary_sound_has_no_faults() -> None:
    assert get_faults(noise()) == ()
    assert get_faults(noise(), text_score=0.5) == ()


def test_silence_is_a_fault_only_if_sound_is_requested() -> None:
    silence = np.zeros(3 * RATE_HZ, np.float32)
    assert get_faults(silence) == ("silent",)
    assert get_faults(silence, text_score=0.0) == ("silent",)
    assert get_faults(silence, requested=EnergyCurve(np.full(300, SILENCE_NATS, np.float32), Fraction(100))) == ()
    # There is sound, but not where it was requested.
    late = np.concatenate([np.zeros(2 * RATE_HZ, np.float32), noise(1.0)])
    early = EnergyCurve(np.where(np.arange(300) < 100, -5.0, SILENCE_NATS).astype(np.float32), Fraction(100))
    assert get_faults(late, requested=early) == ("silent",)


def test_clipping_is_detected() -> None:
    cut = np.clip(3 * noise(), -0.5, 0.5)
    assert get_faults(cut) == ("clipped",)
    wave = np.sin(2 * np.pi * 200 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    assert clipped_share(np.clip(wave, -0.5, 0.5)) == pytest.approx(2 / 3, abs=0.02)
    assert clipped_share(noise()) == 0
    assert clipped_share(np.zeros(100, np.float32)) == 0
    # The peak of a slow wave is broad without clipping.
    assert clipped_share(wave) < 1e-3


def test_a_constant_spectrum_is_stuck() -> None:
    hum = (0.3 * np.sin(2 * np.pi * 400 * np.arange(3 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    rising = EnergyCurve(np.linspace(-9, -4, 300, dtype=np.float32), Fraction(100))
    assert get_faults(hum, requested=rising) == ("stuck",)
    # A steady tone is allowed if a steady energy is requested, or if it lasts only half a second.
    assert get_faults(hum) == ()
    assert get_faults(hum[: RATE_HZ // 2], requested=EnergyCurve(rising.values[:50], Fraction(100))) == ()
    assert get_faults(noise(), requested=rising) == ()


def test_a_low_text_score_is_wrong() -> None:
    assert get_faults(noise(), text_score=0.05) == ("wrong",)


def test_scores_are_means_of_the_known_parts() -> None:
    assert score_take(0.8, 0.3, None) == 0.8
    assert score_take(0.8, 0.3, 0.4) == pytest.approx(0.6)
    assert score_take(-0.5, 0.3, 0.4) == pytest.approx(0.2)
    assert score_take(None, 0.0, None) == 1.0
    assert score_take(None, 100.0, None) == pytest.approx(0.0)


def take(seed: int, score: float, *faults: str) -> Take:
    return Take(
        seed=seed,
        stems={},
        produced_energy=LOUD,
        energy_mae_nats=0.1,
        energy_correlation=0.9,
        score=score,
        faults=faults,  # type: ignore[arg-type]
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.1, 0.5, 0.9]), st.booleans())))
def test_the_best_takes_come_first_and_faulty_ones_last(drawn: list[tuple[int, float, bool]]) -> None:
    takes = [take(seed, score, *(["stuck"] if is_faulty else [])) for seed, score, is_faulty in drawn]
    ranked = sort_best_first(takes)
    assert sorted(map(id, ranked)) == sorted(map(id, takes))
    keys = [(bool(one.faults), -one.score, one.seed) for one in ranked]
    assert keys == sorted(keys)


@pytest.fixture
def silent_seeds(model: ReWaS, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Seeds whose sounds are silent."""
    seeds: set[int] = set()
    log_mel = model.sound_generator.generate_log_mel

    def flawed_log_mel(prompt, controls, seed, *rest, **more):
        output = log_mel(prompt, controls, seed, *rest, **more)
        return output.fill_(SILENCE_NATS) if seed in seeds else output

    waveform = model.sound_generator.vocoder.vocode

    def silent_where_flat(log_mel, samples, on_window, *, seed):
        output = waveform(log_mel, samples, on_window, seed=seed)
        return np.zeros_like(output) if float(log_mel.max()) <= SILENCE_NATS else output

    monkeypatch.setattr(model.sound_generator, "generate_log_mel", flawed_log_mel)
    monkeypatch.setattr(model.sound_generator.vocoder, "vocode", silent_where_flat)
    return seeds


FAST = {"prompt": "a bell", "sampling": Sampling(num_inference_steps=1, guidance_scale=1.0)}


def test_a_faulty_take_is_replaced_once(model: ReWaS, long_clip: Path, silent_seeds: set[int]) -> None:
    clip = VideoClip(long_clip, duration=3)
    energy = LOUD
    faultless = model.generate(clip, takes=3, seed=5, control=Control(energy=energy), **FAST)
    assert {one.seed for one in faultless.takes} == {5, 6, 7}
    assert all(one.replaced_seed is None for one in faultless.takes)
    silent_seeds.add(6)
    replaced = model.generate(clip, takes=3, seed=5, control=Control(energy=energy), **FAST)
    assert {one.seed: one.replaced_seed for one in replaced.takes} == {5: None, 7: None, 9: 6}
    # Of two faulty takes the first is kept, marked and sorted last.
    silent_seeds.add(9)
    unreplaced = model.generate(clip, takes=3, seed=5, control=Control(energy=energy), **FAST)
    assert (unreplaced.takes[-1].seed, unreplaced.takes[-1].faults) == (6, ("silent",))


def test_a_faulty_take_is_not_replaced_by_another_faulty_one(
    model: ReWaS, long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even if the score of the second one is much better.
    def find_stuck(waveform, log_mel, requested, silence_nats, text_score):
        return ("stuck",)

    scores = iter([0.1, 0.9])
    monkeypatch.setattr(take_making, "find_faults", find_stuck)
    monkeypatch.setattr(take_making, "score_take", lambda *of_what: next(scores))
    result = model.generate(VideoClip(long_clip, duration=3), seed=5, control=Control(energy=LOUD), **FAST)
    assert [(one.seed, one.score, one.faults) for one in result.takes] == [(5, 0.1, ("stuck",))]


def test_progress_never_decreases_while_a_take_is_replaced(
    model: ReWaS, long_clip: Path, silent_seeds: set[int]
) -> None:
    silent_seeds.update({0, 1})
    fractions: list[float] = []
    clip = VideoClip(long_clip, duration=3)
    model.generate(
        clip, takes=2, on_progress=lambda one: fractions.append(one.fraction), control=Control(energy=LOUD), **FAST
    )
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_too_much_sound_at_once_is_refused_before_any_work(model: ReWaS, long_clip: Path) -> None:
    with pytest.raises(SettingsError, match="takes is 10000"):
        model.generate(VideoClip(long_clip, duration=3), takes=10_000, **FAST)
    with pytest.raises(SettingsError, match="takes is 0"):
        model.generate(VideoClip(long_clip, duration=3), takes=0, **FAST)


def test_a_negative_prompt_needs_guidance_and_changes_the_sound(model: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    control = Control(energy=LOUD)

    def generate(negative_prompt: str | None, guidance_scale: float = 2.0) -> GenerationResult:
        sampling = Sampling(num_inference_steps=1, guidance_scale=guidance_scale, negative_prompt=negative_prompt)
        return model.generate(clip, prompt="a bell", control=control, sampling=sampling)

    plain, away = (generate(words) for words in (None, "wind and rain"))
    waveforms = [result.takes[0].stems["primary"].waveform for result in (plain, away)]
    assert not np.array_equal(*waveforms)
    assert (plain.settings.negative_prompt, away.settings.negative_prompt) == ("", "wind and rain")
    with pytest.raises(SettingsError, match="needs guidance"):
        generate("wind", guidance_scale=1.0)
    with pytest.raises(SettingsError, match="negative prompt is empty"):
        generate(" ")
    assert model.sampling_settings(Sampling(negative_prompt="wind")).guidance_scale >= 2


def test_controls_act_from_their_start_to_their_end(model: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    sampling = Sampling(num_inference_steps=4, guidance_scale=1.0)

    def generate(**more) -> np.ndarray:
        control = Control(energy=LOUD, **more)
        result = model.generate(clip, prompt="a bell", sampling=sampling, control=control)
        return result.takes[0].stems["primary"].waveform

    # New zero convolutions ignore the energy, so this test sets them.
    conv = model._components["adapter"].middle_zero_conv
    conv.weight.fill_(0.3)
    try:
        whole, none, repeated = generate(), generate(strength=0.0), generate(start=0.0, end=1.0)
        early, late = generate(end=0.5), generate(start=0.5)
    finally:
        conv.weight.zero_()
    assert len({one.tobytes() for one in (whole, none, early, late)}) == 4
    assert np.array_equal(repeated, whole)


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.7, 0.2), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_an_invalid_control_interval_is_refused(model: ReWaS, long_clip: Path, interval: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="The control acts from"):
        model.generate(VideoClip(long_clip, duration=3), control=Control(start=interval[0], end=interval[1]), **FAST)


def test_controls_without_effect_are_refused(model: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    options = {"prompt": "a bell", "sampling": Sampling(guidance_scale=1.0, num_inference_steps=4)}
    with pytest.raises(SettingsError, match=r"acts from 0\.3 to 0\.31 of the sampling, but none of the 4 steps"):
        model.generate(clip, control=Control(energy=LOUD, start=0.3, end=0.31), **options)
    # Without a control, its start and end do not matter.
    assert model.generate(clip, control=Control(energy=LOUD, start=0.3, end=0.31, strength=0.0), **options).takes
