"""Layers: separate stems, gains and energies, and a mix that is exactly their sum."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import (
    SILENCE_NATS,
    Control,
    EnergyCurve,
    Layer,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    SettingsError,
    Stem,
    VideoClip,
)
from rewas_engine.requests.gains import PCM24_STEPS, apply_gains

FAST = {"prompt": "a bell", "sampling": Sampling(num_inference_steps=1, guidance_scale=1.0)}
SWELL = EnergyCurve((-7 + 3 * np.sin(np.arange(300) / 25)).astype(np.float32), Fraction(100))


def stem(role: str, waveform: np.ndarray) -> Stem:
    return Stem(role, waveform.astype(np.float32)[None], 16_000)


waveforms = st.lists(st.lists(st.floats(-1, 1, width=32), min_size=5, max_size=5), min_size=1, max_size=5)


@given(waveforms, st.lists(st.floats(-60, 24), min_size=5, max_size=5))
@settings(max_examples=200)
def test_the_mix_is_the_sum_and_nothing_clips(drawn: list[list[float]], gains_db: list[float]) -> None:
    stems = {f"layer{number}": stem("x", np.array(row)) for number, row in enumerate(drawn)}
    scaled = apply_gains(stems, dict(zip(stems, gains_db, strict=False)))
    whole = [np.round(one.waveform.astype(np.float64) * PCM24_STEPS) for one in scaled.values()]
    for steps, one in zip(whole, scaled.values(), strict=True):
        assert np.array_equal(steps / PCM24_STEPS, one.waveform)
        assert np.abs(one.waveform).max() < 1
    # The sum is exact in single precision too, as it is delivered.
    total = np.zeros((1, 5), np.float32)
    for one in scaled.values():
        total = total + one.waveform
    assert np.array_equal(total.astype(np.float64) * PCM24_STEPS, sum(whole))
    assert np.abs(total).max() < 1


def test_gains_are_decibels_and_their_ratio_is_kept_when_lowered() -> None:
    stems = {"one": stem("one", np.full(8, 0.25)), "other": stem("other", np.full(8, 0.25))}
    scaled = apply_gains(stems, {"one": 0.0, "other": -6.0205999})
    assert scaled["one"].waveform[0, 0] == 0.25
    assert scaled["other"].waveform[0, 0] == pytest.approx(0.125, abs=1e-6)
    tone = 0.25 * np.hanning(16_000) * np.sin(np.arange(16_000) / 20)
    loud = apply_gains({name: stem(name, tone) for name in stems}, {"one": 20.0, "other": 14.0})
    ratio = loud["one"].waveform[0, 5000] / loud["other"].waveform[0, 5000]
    assert ratio == pytest.approx(10 ** (6 / 20), rel=1e-5)
    # The sum is lowered to a true peak of -1 dBTP, less a tenth for other meters.
    total = loud["one"].waveform + loud["other"].waveform
    assert 20 * np.log10(np.abs(total).max()) == pytest.approx(-1.1, abs=0.05)


@pytest.fixture(scope="module")
def layered(model: ReWaS, long_clip: Path):
    layers = (
        Layer("ambience", "wind in trees", gain_db=-9),
        Layer("crowd", "people clapping", "following"),
        Layer("drone", "an engine", SWELL.scale(0.5)),
    )
    return model.generate(
        VideoClip(long_clip, duration=3), layers=layers, takes=2, seed=4, control=Control(energy=SWELL), **FAST
    )


def test_each_layer_is_a_stem_and_the_mix_is_their_sum(layered, tmp_path: Path) -> None:
    for take in layered.takes:
        assert list(take.stems) == ["primary", "ambience", "crowd", "drone"]
        assert {one.waveform.shape for one in take.stems.values()} == {(1, 48_000)}
        written = {
            role: soundfile.read(one.save(tmp_path / f"{take.seed} {role}.wav"), dtype="int32")[0].astype(np.int64)
            for role, one in {**take.stems, "mix": take.mix()}.items()
        }
        mix = written.pop("mix")
        assert mix.any()
        assert np.array_equal(sum(written.values()), mix)


def test_each_layer_has_its_own_prompt_seed_and_energy(layered) -> None:
    first, second = layered.takes
    assert len({report.seed for take in (first, second) for report in take.layers.values()}) == 6
    reports = first.layers
    assert np.ptp(reports["ambience"].requested_energy.values) == 0
    primary, crowd = layered.requested_energy.values, reports["crowd"].requested_energy.values
    assert np.ptp(crowd) < 0.6 * np.ptp(primary)
    assert np.corrcoef(primary, crowd)[0, 1] > 0.5
    assert crowd.max() == pytest.approx(primary.max() - 1.5, abs=0.1)
    np.testing.assert_allclose(reports["drone"].requested_energy.values, SWELL.scale(0.5).values, atol=0.1)
    assert 0 <= first.score <= 1


def test_a_following_layer_sounds_between_strikes() -> None:
    # Three strikes at intervals of 1 s with silence between: the layer has a swell, not silence.
    values = np.full(500, SILENCE_NATS, np.float32)
    values[[100, 200, 300]] = -2
    strikes = EnergyCurve(values, Fraction(100))
    following = Layer("crowd", "people clapping", "following").resolve_energy(strikes).values
    assert following.max() == pytest.approx(-3.5, abs=0.1)
    assert following[100:300].min() > -6
    assert -9 < following[-20:].min() < -7
    steady = Layer("ambience", "wind").resolve_energy(strikes)
    assert set(steady.values) == {-5}


@given(st.floats(-11, 4))
def test_a_steady_layer_is_audible_below_the_primary_sound(loudest: float) -> None:
    primary = EnergyCurve(np.array([SILENCE_NATS, loudest, SILENCE_NATS], np.float32), Fraction(10))
    level = Layer("ambience", "wind").resolve_energy(primary).values
    assert np.ptp(level) == 0
    assert -9 <= level[0] <= -5
    if loudest > -7:
        assert level[0] <= loudest - 2 + 1e-5


def test_layers_of_a_silent_primary_sound() -> None:
    silent = EnergyCurve(np.full(50, SILENCE_NATS, np.float32), Fraction(10))
    assert (Layer("crowd", "people", "following").resolve_energy(silent).values == SILENCE_NATS).all()
    assert (Layer("wind", "wind").resolve_energy(silent).values == -5).all()


def test_layers_change_only_the_level_of_the_primary_sound(model: ReWaS, layered, long_clip: Path) -> None:
    alone = model.generate(VideoClip(long_clip, duration=3), takes=2, seed=4, control=Control(energy=SWELL), **FAST)
    for take in layered.takes:
        (same,) = (one for one in alone.takes if one.seed == take.seed)
        ours, theirs = (one.stems["primary"].waveform[0].astype(np.float64) for one in (take, same))
        factor = (ours @ theirs) / (theirs @ theirs)
        np.testing.assert_allclose(ours, factor * theirs, atol=1 / PCM24_STEPS)


def test_the_video_is_read_once(model: ReWaS, long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = model._estimator.stream_frames
    times = []
    monkeypatch.setattr(model._estimator, "stream_frames", lambda *arguments: times.append(1) or read(*arguments))
    layers = (Layer("ambience", "wind", "following"), Layer("more", "rain"))
    fractions: list[float] = []
    model.generate(
        VideoClip(long_clip, duration=3), layers=layers, on_progress=lambda one: fractions.append(one.fraction), **FAST
    )
    assert len(times) == 1
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "primary"}, "is not a valid name for a layer"),
        ({"name": "mix"}, "is not a valid name for a layer"),
        ({"name": "Wind"}, "is not a valid name for a layer"),
        ({"name": "../x"}, "is not a valid name for a layer"),
        ({"prompt": " "}, "prompt of the layer ambience is empty"),
        ({"gain_db": float("nan")}, "gain_db of the layer ambience"),
        ({"gain_db": 25.0}, "gain_db of the layer ambience"),
        ({"energy": "loud"}, "energy of the layer ambience"),
    ],
)
def test_invalid_layers_are_refused(values, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Layer(**{"name": "ambience", "prompt": "wind", **values})


def test_contradictory_layers_are_refused(model: ReWaS, long_clip: Path) -> None:
    clip, wind = VideoClip(long_clip, duration=3), Layer("ambience", "wind")
    with pytest.raises(SettingsError, match="Two layers have the name ambience"):
        model.generate(clip, layers=(wind, wind), **FAST)
    with pytest.raises(SettingsError, match="9 layers"):
        model.generate(clip, layers=tuple(Layer(f"a{number}", "wind") for number in range(9)), **FAST)
    old = Regenerate(Stem("primary", np.zeros((1, 48_000), np.float32), 16_000), 1, 2)
    with pytest.raises(SettingsError, match="A regenerated sound cannot have layers"):
        model.generate(clip, layers=(wind,), regenerate=old, **FAST)
    with pytest.raises(SettingsError, match="its kept part keeps its level"):
        model.generate(clip, regenerate=old, output=Output(gain_db=-3), **FAST)
    short = Layer("ambience", "wind", EnergyCurve(SWELL.values[:100], Fraction(100)))
    with pytest.raises(SettingsError, match="energy curve lasts"):
        model.generate(clip, layers=(short,), **FAST)
