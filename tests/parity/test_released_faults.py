"""Known faults of the release are not present here."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from rewas_engine import Control, EnergyCurve, Execution, ReWaS, Sampling, VideoClip
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conversion.released import DEFAULT_NUM_STEPS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds of coloured noise at 25 frames a second."""
    path = tmp_path_factory.mktemp("clips") / "noise.mp4"
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(175):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (64, 96, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _flat(duration_s: float) -> EnergyCurve:
    return EnergyCurve(np.full(round(25 * duration_s), -5.0, np.float32), Fraction(25))


def test_the_prompt_is_never_dropped(released_model: ReWaS) -> None:
    # The release replaces one prompt in ten with the empty one. 40 draws would show that almost certainly.
    seen: list[torch.Tensor] = []
    hook = released_model._components["denoiser"].register_forward_pre_hook(
        lambda module, inputs, named: seen.append(named["class_labels"].clone()), with_kwargs=True
    )
    controls = [Controls(energy=np.full(512, -5.0, np.float32))] * 8
    settings = replace(released_model.sampling_settings(Sampling(num_inference_steps=5)), eta=0.0)
    try:
        released_model.sound_generator.generate_log_mels(["a dog"] * 8, controls, range(8), settings)
    finally:
        hook.remove()
    expected, empty = released_model.sound_generator._embed_prompts(["a dog", ""])
    conditional = torch.cat([labels[: len(labels) // 2] for labels in seen])
    unconditional = torch.cat([labels[len(labels) // 2 :] for labels in seen])
    assert len(conditional) == 40
    torch.testing.assert_close(conditional, expected.expand(40, -1))
    torch.testing.assert_close(unconditional, empty.expand(40, -1))


def test_the_same_seed_gives_the_same_sound(released_model: ReWaS, clip: Path) -> None:
    result = [
        released_model.generate(
            VideoClip(clip, start=0, duration=1),
            prompt="a dog",
            seed=5,
            control=Control(energy=_flat(1)),
            sampling=Sampling(num_inference_steps=2),
        )
        .takes[0]
        .stems["primary"]
        .waveform
        for _ in range(2)
    ]
    np.testing.assert_array_equal(result[0], result[1])


@pytest.mark.parametrize("scale", [1.0, 0.0, 3.0])
def test_any_guidance_scale_works(released_model: ReWaS, clip: Path, scale: float) -> None:
    result = released_model.generate(
        VideoClip(clip, start=0, duration=1),
        prompt="a dog",
        control=Control(energy=_flat(1)),
        sampling=Sampling(num_inference_steps=2, guidance_scale=scale),
    )
    waveform = result.takes[0].stems["primary"].waveform
    assert waveform.shape == (1, 16_000)
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize("duration_s", [0.32, 5.0, 5.12, 6.6])
def test_any_duration_works_from_video_to_sound(released_model: ReWaS, clip: Path, duration_s: float) -> None:
    result = released_model.generate(
        VideoClip(clip, start=0.2, duration=duration_s), prompt="a dog", sampling=Sampling(num_inference_steps=1)
    )
    waveform = result.takes[0].stems["primary"].waveform
    assert waveform.shape[1] == round(duration_s * 16_000)
    assert np.isfinite(waveform).all()
    assert result.requested_energy.source == "picture"


def test_clips_of_a_batch_do_not_affect_each_other(released_model: ReWaS) -> None:
    phi = released_model._components["phi"]
    assert phi.config.attends_over == "batch"
    features = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = phi(features)
        alone = torch.cat([phi(one[None]) for one in features])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_each_requested_take_is_returned(released_model: ReWaS, clip: Path) -> None:
    # The release generates several candidates and returns the first without comparing them.
    result = released_model.generate(
        VideoClip(clip, start=0, duration=0.5),
        prompt="a dog",
        takes=2,
        seed=1,
        control=Control(energy=_flat(0.5)),
        sampling=Sampling(num_inference_steps=1),
    )
    assert sorted(take.seed for take in result.takes) == [1, 2]


def test_default_and_released_sampling_settings(released_model: ReWaS) -> None:
    usual, released = released_model.sampling_settings(), released_model.sampling_settings(Sampling(sampler="ddim"))
    assert (usual.sampler, usual.num_inference_steps) == ("dpm++", DEFAULT_NUM_STEPS)
    assert (released.sampler, released.num_inference_steps, released.eta, released.guidance_scale) == (
        "ddim",
        200,
        1.0,
        3.0,
    )
    assert released_model.sampling_settings(Sampling(num_inference_steps=7, sampler="ddim")).num_inference_steps == 7


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("low_memory", [False, True])
def test_the_pack_runs_in_each_precision(released_pack: Path, clip: Path, precision: str, low_memory: bool) -> None:
    execution = Execution(precision=precision, low_memory=low_memory)
    model = ReWaS.from_pretrained(released_pack, device="cpu", execution=execution)
    result = model.generate(
        VideoClip(clip, start=0, duration=1), prompt="a dog", seed=5, sampling=Sampling(num_inference_steps=2)
    )
    assert result.settings.sampler == "dpm++"
    assert np.isfinite(result.takes[0].stems["primary"].waveform).all()


def test_low_precision_estimates_the_same_energy(released_pack: Path, clip: Path) -> None:
    curves = [
        ReWaS.from_pretrained(released_pack, device="cpu", execution=Execution(precision=precision))
        .estimate_energy(VideoClip(clip, start=0, duration=3))
        .values
        for precision in ("float32", "bfloat16")
    ]
    assert np.abs(curves[0] - curves[1]).mean() < 0.02 + 0.05 * curves[0].std()
