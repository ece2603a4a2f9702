"""The public interface of the engine, with an untrained pack of the real classes."""

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_clips import write_numbered_clip

from rewas_engine import (
    SILENCE_NATS,
    Cancelled,
    Control,
    EnergyCurve,
    MediaError,
    Output,
    PackError,
    Progress,
    ReWaS,
    Sampling,
    SettingsError,
    VideoClip,
)
from rewas_engine.exact_time import sample_count
from rewas_engine.requests.validation import check_total_duration

GROUPS = {"control": Control, "output": Output, "sampling": Sampling}
FAST = {"prompt": "a bell", "sampling": Sampling(num_inference_steps=1, guidance_scale=1.0)}


def _generate(model: ReWaS, clip: VideoClip, change: dict[str, Any]) -> None:
    groups = {name: GROUPS[name](**value) if name in GROUPS else value for name, value in change.items()}
    model.generate(clip, **{**FAST, **groups})


def _curve(duration_s: Fraction | float, rate_hz: int = 100) -> EnergyCurve:
    count = round(Fraction(duration_s) * rate_hz)
    return EnergyCurve(-6 + 3 * np.sin(np.arange(count) / 17), Fraction(rate_hz))


@pytest.mark.parametrize(
    ("start", "duration", "rate_hz"),
    [
        ("0", "1/5", None),
        ("1001/24000", "1001/24000", 48_000),
        ("3", "7007/24000", 44_100),
        ("1/3", "5", 48_000),
        ("0", "6.4321", 22_050),
        ("0.01", "20", 96_000),
    ],
)
def test_the_sound_has_the_exact_length_of_the_clip(
    model: ReWaS, long_clip: Path, start: str, duration: str, rate_hz: int | None
) -> None:
    clip = VideoClip(long_clip, start=start, duration=duration)
    result = model.generate(clip, output=Output(sample_rate_hz=rate_hz), **FAST)
    stem = result.takes[0].stems["primary"]
    assert stem.sample_rate_hz == (rate_hz or 16_000)
    assert stem.waveform.shape == (1, sample_count(Fraction(duration), stem.sample_rate_hz))
    assert stem.waveform.dtype == np.float32
    assert np.isfinite(stem.waveform).all()
    assert np.abs(stem.waveform).max() <= 1
    assert stem.waveform.any()
    assert result.requested_energy.rate_hz == 100
    assert result.requested_energy.source == "picture"
    assert result.takes[0].produced_energy.values.size == result.requested_energy.values.size
    assert (result.clip.start_s, result.clip.duration_s) == (Fraction(start), Fraction(duration))


def test_without_a_duration_the_clip_extends_to_the_end(model: ReWaS, long_clip: Path) -> None:
    read = model.read_clip(VideoClip(long_clip, start=20))
    assert read.duration_s == pytest.approx(504 * 1001 / 24_000 - 20, abs=0.002)
    stem = model.generate(VideoClip(long_clip, start=20), **FAST).takes[0].stems["primary"]
    assert stem.waveform.shape[1] == sample_count(read.duration_s, 16_000)


def test_the_same_seed_gives_the_same_sound(model: ReWaS, long_clip: Path) -> None:
    clip, energy = VideoClip(long_clip, duration=1), _curve(1)
    several = model.generate(clip, takes=3, seed=41, control=Control(energy=energy), **FAST)
    assert sorted(take.seed for take in several.takes) == [41, 42, 43]
    waveforms = [take.stems["primary"].waveform for take in several.takes]
    for take, waveform in zip(several.takes, waveforms, strict=True):
        alone = model.generate(clip, seed=take.seed, control=Control(energy=energy), **FAST).takes[0]
        assert np.array_equal(alone.stems["primary"].waveform, waveform)
        assert (alone.energy_mae_nats, alone.energy_correlation) == (take.energy_mae_nats, take.energy_correlation)
    assert not np.array_equal(waveforms[0], waveforms[1])


def test_a_reloaded_pack_generates_the_same_sound(model: ReWaS, tiny_pack: Path, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=Fraction(1, 2))
    first, second = (
        loaded.generate(clip, seed=5, **FAST) for loaded in (model, ReWaS.from_pretrained(tiny_pack, device="cpu"))
    )
    assert np.array_equal(first.requested_energy.values, second.requested_energy.values)
    assert np.array_equal(first.takes[0].stems["primary"].waveform, second.takes[0].stems["primary"].waveform)


@pytest.mark.slow
def test_prompt_energy_strength_and_guidance_each_change_the_sound(model: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=1)
    settings = {
        "prompt": "a bell",
        "control": Control(energy=_curve(1)),
        "sampling": Sampling(num_inference_steps=2, guidance_scale=2.0),
    }
    # New zero convolutions ignore the energy, so this test sets them.
    conv = model._components["adapter"].middle_zero_conv
    conv.weight.fill_(0.3)
    try:
        sounds = [
            model.generate(clip, **{**settings, **change}).takes[0].stems["primary"].waveform
            for change in (
                {},
                {"prompt": "a dog barks"},
                {"control": Control(energy=_curve(1).scale(0.2))},
                {"control": Control(energy=_curve(1), strength=0.5)},
                {"sampling": Sampling(num_inference_steps=2, guidance_scale=4.0)},
                {"sampling": Sampling(num_inference_steps=3, guidance_scale=2.0)},
            )
        ]
    finally:
        conv.weight.zero_()
    for changed in sounds[1:]:
        assert not np.allclose(sounds[0], changed, atol=1e-6)


def test_a_given_energy_is_the_requested_energy(model: ReWaS, long_clip: Path) -> None:
    drawn = EnergyCurve(np.array([-8, -2, -30, -5], np.float32), Fraction(2))
    result = model.generate(VideoClip(long_clip, duration=2), control=Control(energy=drawn), **FAST)
    expected = np.maximum(drawn.resample(100, 200), SILENCE_NATS)
    np.testing.assert_allclose(result.requested_energy.values, expected, atol=1e-5)
    assert result.requested_energy.source == "user"
    take = result.takes[0]
    mae_nats = np.abs(take.produced_energy.values - result.requested_energy.values).mean()
    assert take.energy_mae_nats == pytest.approx(float(mae_nats), abs=1e-4)


def test_energy_from_video_has_one_value_per_frame(model: ReWaS, long_clip: Path) -> None:
    for duration, values in (("1/25", 1), ("6.01", 151), ("20", 500)):
        curve = model.estimate_energy(VideoClip(long_clip, duration=duration))
        assert (curve.values.size, curve.rate_hz, curve.source) == (values, 25, "picture")


def test_energy_of_the_audio_is_that_of_the_range(model: ReWaS, tmp_path: Path) -> None:
    sound = np.zeros(64_000, np.float32)
    sound[32_000:40_000] = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    path = write_numbered_clip(tmp_path / "a.mkv", frames=100, sound=sound)
    curve = model.measure_energy(VideoClip(path, start=1, duration=2))
    assert (curve.values.size, curve.rate_hz, curve.source) == (200, 100, "audio")
    assert curve.values[105:145].mean() > -5
    assert curve.values[:95].mean() < -9
    # Sounds are normalised, so the level of a recording does not matter.
    louder = write_numbered_clip(tmp_path / "b.mkv", frames=100, sound=sound * 4)
    other = model.measure_energy(VideoClip(louder, start=1, duration=2))
    assert np.abs(other.values[105:145] - curve.values[105:145]).mean() < 0.05
    silent = model.measure_energy(VideoClip(path, start=3, duration=1))
    np.testing.assert_allclose(silent.values, SILENCE_NATS, atol=1e-3)


@pytest.mark.slow
def test_progress_never_decreases_and_reports_every_step(model: ReWaS, long_clip: Path) -> None:
    updates: list[Progress] = []
    model.clear_cache()
    model.generate(
        VideoClip(long_clip, duration=10),
        prompt="a bell",
        takes=2,
        on_progress=updates.append,
        sampling=Sampling(num_inference_steps=3),
    )
    fractions = [progress.fraction for progress in updates]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert list(dict.fromkeys(progress.stage for progress in updates)) == ["decode", "energy", "sample", "vocode"]
    assert [progress.step for progress in updates if progress.stage == "sample"] == [0, 1, 2, 3] * 2
    assert {progress.total_steps for progress in updates if progress.stage == "sample" and progress.step} == {3}
    assert [progress.step for progress in updates if progress.stage == "energy"] == [0, 1, 2, 3]
    assert len([progress for progress in updates if progress.stage == "vocode" and not progress.step]) == 2


@pytest.mark.parametrize(
    ("stage", "step"), [("decode", 0), ("energy", 0), ("energy", 1), ("sample", 0), ("sample", 2), ("vocode", 0)]
)
def test_a_cancel_takes_effect_within_one_step(model: ReWaS, long_clip: Path, stage: str, step: int) -> None:
    cancel, later = threading.Event(), []

    def stop_there(progress: Progress) -> None:
        if cancel.is_set():
            later.append(progress)
        if (progress.stage, progress.step) == (stage, step):
            cancel.set()

    with pytest.raises(Cancelled):
        model.generate(
            VideoClip(long_clip, duration=8),
            prompt="a bell",
            takes=2,
            on_progress=stop_there,
            cancel=cancel,
            sampling=Sampling(num_inference_steps=4),
        )
    assert cancel.is_set()
    assert later == []


def test_estimating_and_measuring_can_be_cancelled(model: ReWaS, long_clip: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    for work in (model.estimate_energy, model.measure_energy):
        with pytest.raises(Cancelled):
            work(VideoClip(long_clip, duration=8), cancel=cancel)


def test_an_error_in_the_progress_callback_reaches_the_caller(model: ReWaS, long_clip: Path) -> None:
    def fail(progress: Progress) -> None:
        raise ConnectionError("the client is gone")

    with pytest.raises(ConnectionError, match="gone"):
        model.generate(VideoClip(long_clip, duration=1), on_progress=fail, **FAST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n\t"}, "prompt is empty"),
        ({"prompt": "a" * 10_000}, "prompt has 10000 characters"),
        ({"takes": 0}, "takes is 0"),
        ({"takes": 101}, "takes is 101"),
        ({"takes": 1.5}, "takes is 1.5"),
        ({"takes": 10_000}, "takes is 10000"),
        ({"takes": -1}, "takes is -1"),
        ({"prompt": None}, "prompt is None, which is not text"),
        ({"sampling": {"negative_prompt": 7}}, "negative prompt is 7, which is not text"),
        ({"sampling": {"guidance_scale": "high"}}, "guidance_scale is high"),
        ({"sampling": {"sampler": "euler"}}, "The sampler 'euler' is unknown"),
        ({"output": {"gain_db": float("nan")}}, "gain_db is nan"),
        ({"control": {"start": 0.5, "end": 0.5}}, "acts from 0.5 to 0.5"),
        ({"control": {"start": float("nan")}}, "acts from nan to 1"),
        ({"control": {"end": float("inf")}}, "acts from 0.0 to inf"),
        ({"control": {"start": "a", "end": "b"}}, "acts from a to b"),
        ({"sampling": {"negative_prompt": "wind", "guidance_scale": 1.0}}, "needs guidance"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"seed": 2**63 - 1, "takes": 2}, "seed is"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"sampling": {"num_inference_steps": 0}}, "num_inference_steps is 0"),
        ({"sampling": {"num_inference_steps": 1001}}, "num_inference_steps is 1001"),
        ({"sampling": {"num_inference_steps": 2.5}}, "num_inference_steps is 2.5"),
        ({"sampling": {"guidance_scale": float("nan")}}, "guidance_scale is nan"),
        ({"sampling": {"guidance_scale": float("inf")}}, "guidance_scale is inf"),
        ({"sampling": {"guidance_scale": -1.0}}, "guidance_scale is -1"),
        ({"control": {"strength": float("nan")}}, "control_strength is nan"),
        ({"control": {"strength": 2.1}}, "control_strength is 2.1"),
        ({"output": {"sample_rate_hz": 8_001}}, "sample_rate_hz is 8001"),
        ({"output": {"sample_rate_hz": 0}}, "sample_rate_hz is 0"),
    ],
)
def test_settings_out_of_range_are_refused_before_any_work(model: ReWaS, tmp_path: Path, change, message: str) -> None:
    # The file does not exist: settings are checked first.
    with pytest.raises(SettingsError, match=message) as caught:
        _generate(model, VideoClip(tmp_path / "a.mp4"), change)
    assert caught.value.remedy


def test_too_much_sound_at_once_is_reported_with_the_requested_numbers() -> None:
    check_total_duration(80, 9, Fraction(10))
    with pytest.raises(SettingsError, match=r"^100 takes of 9 stems of 10 s are 2\.5 hours of sound\. "):
        check_total_duration(100, 9, Fraction(10))
    with pytest.raises(SettingsError, match=r"^1 take of 9000 s is 2\.5 hours"):
        check_total_duration(1, 1, Fraction(9000))


def test_an_energy_of_another_length_is_refused(model: ReWaS, long_clip: Path) -> None:
    for duration_s in (1.5, 2.6):
        with pytest.raises(SettingsError, match=r"energy curve lasts .* but the clip long.mkv lasts 2.000 s"):
            model.generate(VideoClip(long_clip, duration=2), control=Control(energy=_curve(duration_s)), **FAST)


def test_an_invalid_energy_is_refused(model: ReWaS, long_clip: Path) -> None:
    for energy, name in ((np.zeros(200), "ndarray"), ([(0, -5), (2, -5)], "list"), ("flat", "str")):
        with pytest.raises(SettingsError, match=f"The energy is of the type {name}"):
            model.generate(VideoClip(long_clip, duration=2), control=Control(energy=energy), **FAST)


@pytest.mark.parametrize(("start", "duration"), [(20, 5), (30, None), (30, 1), (0, 22)])
def test_a_range_outside_the_media_is_refused(model: ReWaS, long_clip: Path, start: int, duration: int | None) -> None:
    with pytest.raises(MediaError, match=r"Kitchen .*long.mkv ends at 21.0"):
        model.generate(VideoClip(long_clip, start=start, duration=duration, name="Kitchen"), **FAST)


def test_unusable_media_is_named(model: ReWaS, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no film", "utf-8")
    mute = write_numbered_clip(tmp_path / "mute.mp4", frames=25)
    for work, path in (
        (lambda clip: model.generate(clip, **FAST), tmp_path / "gone.mp4"),
        (lambda clip: model.generate(clip, **FAST), tmp_path / "notes.mp4"),
        (model.estimate_energy, tmp_path / "notes.mp4"),
        (model.measure_energy, mute),
    ):
        with pytest.raises(MediaError, match=path.name):
            work(VideoClip(path))


def test_a_pack_without_joint_space_reports_unsupported(model: ReWaS, long_clip: Path) -> None:
    report = model.check_conflict(VideoClip(long_clip), "a bell")
    assert (report.verdict, report.score) == ("unsupported", None)
    assert "tiny" in report.explanation
    with pytest.raises(SettingsError):
        model.check_conflict(VideoClip(long_clip), " ")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:-1", ""])
def test_a_missing_device_is_refused(tiny_pack: Path, device: str) -> None:
    with pytest.raises((SettingsError, PackError)) as caught:
        ReWaS.from_pretrained(tiny_pack, device=device)
    assert repr(device) in caught.value.what
