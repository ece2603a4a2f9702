"""The two-stream denoiser: inflation, interaction, alignment, a training step and sampling."""

from __future__ import annotations

import threading

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn

from rewas_engine.audible_video import full_size
from rewas_engine.audible_video.alignment import Alignment
from rewas_engine.audible_video.inflation import inflate, widen
from rewas_engine.audible_video.loss import training_loss
from rewas_engine.audible_video.sampling import sample_streams
from rewas_engine.audible_video.two_stream import TwoStreamDenoiser, TwoStreamOutput
from rewas_engine.errors import Cancelled

FRAMES = 4


def _unet(channels: int = 4) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24,
        attention_head_dim=4,
        norm_num_groups=8,
    )


@pytest.fixture
def denoiser() -> TwoStreamDenoiser:
    torch.manual_seed(1)
    return TwoStreamDenoiser.from_unet(_unet(), FRAMES, 8).eval()


def _inputs(clips: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(clips, FRAMES, 4, 8, 10, generator=generator),
        torch.randn(clips, 8, 16, 4, generator=generator),
        torch.randn(clips, 3, 24, generator=generator),
    )


def test_an_inflated_unet_starts_as_the_unet_on_each_frame() -> None:
    torch.manual_seed(0)
    unet = _unet().eval()
    frames, text = torch.randn(2 * FRAMES, 4, 8, 10), torch.randn(2 * FRAMES, 3, 24)
    with torch.no_grad():
        expected = unet(frames, 7, text).sample
        found = inflate(unet, FRAMES)(frames, 7, text).sample
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_trained_layers_over_time_mix_the_frames_of_a_clip_and_no_others() -> None:
    torch.manual_seed(0)
    unet = inflate(_unet(), FRAMES).eval()
    for name, parameter in unet.named_parameters():
        if ".temporal." in name:
            nn.init.normal_(parameter, std=0.1)
    frames, text = torch.randn(2 * FRAMES, 4, 8, 10), torch.randn(2 * FRAMES, 3, 24)
    changed = frames.clone()
    changed[0] += 1.0
    with torch.no_grad():
        difference = (unet(changed, 7, text).sample - unet(frames, 7, text).sample).abs().amax(dim=(1, 2, 3))
    assert (difference[1:FRAMES] > 1e-4).all()
    assert (difference[FRAMES:] < 1e-4).all()


def test_both_streams_start_from_the_weights_of_one_unet() -> None:
    torch.manual_seed(0)
    unet = _unet().eval()
    denoiser = TwoStreamDenoiser.from_unet(unet, FRAMES, 8).eval()
    picture, sound, text = _inputs()
    with torch.no_grad():
        found = denoiser(picture, sound, torch.tensor(9), text)
        by_frame = unet(picture.flatten(0, 1), 9, text.repeat_interleave(FRAMES, dim=0)).sample
        # Eight equal channels in two groups are, for widened weights, the same as the four channels.
        halves = denoiser(picture, sound[:, :4].repeat(1, 2, 1, 1), torch.tensor(9), text).sound
        of_four = unet(sound[:, :4], 9, text).sample
    torch.testing.assert_close(found.picture.flatten(0, 1), by_frame, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(halves, of_four.repeat(1, 2, 1, 1), atol=1e-5, rtol=1e-4)


def test_widening_to_a_number_that_is_not_a_multiple_fails() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        widen(_unet(), 6)


@pytest.mark.parametrize("interacts", [True, False])
def test_streams_read_each_other_only_through_the_interaction(interacts: bool) -> None:
    torch.manual_seed(3)
    template = TwoStreamDenoiser.from_unet(_unet(), FRAMES, 8)
    config = {name: value for name, value in template.config.items() if not name.startswith("_")}
    model = TwoStreamDenoiser(**{**config, "interacts": interacts}).eval()
    for name, parameter in model.named_parameters():
        if "out_proj" in name:
            nn.init.normal_(parameter, std=0.5)
    picture, sound, text = _inputs()
    with torch.no_grad():
        before = model(picture, sound, torch.tensor(9), text)
        other_sound = model(picture, sound + 1.0, torch.tensor(9), text)
        other_picture = model(picture + 1.0, sound, torch.tensor(9), text)
    assert ((other_sound.picture - before.picture).abs().max() > 1e-4) == interacts
    assert ((other_picture.sound - before.sound).abs().max() > 1e-4) == interacts


def test_the_alignment_loss_prefers_the_sound_of_the_same_clip() -> None:
    torch.manual_seed(0)
    alignment = Alignment(12, 12)
    directions = torch.eye(12)[:6, None]
    picture = directions + 0.05 * torch.randn(6, 9, 12)
    sound = directions + 0.05 * torch.randn(6, 5, 12)
    similarity = alignment.similarities(picture, sound)
    assert similarity.abs().max() <= 1 + 1e-5
    assert (similarity.argmax(dim=1) == torch.arange(6)).all()
    assert alignment(picture, sound) < 0.1 < 1.0 < alignment(picture, sound.roll(1, dims=0))
    assert float(alignment(picture[:1], sound[:1]).detach()) == pytest.approx(0.0, abs=1e-6)


def test_alignment_of_features_of_different_widths_has_gradients_everywhere() -> None:
    alignment = Alignment(12, 8)
    alignment(torch.randn(4, 9, 12), torch.randn(4, 5, 8)).backward()
    assert all(parameter.grad is not None for parameter in alignment.parameters())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_training_lowers_the_loss_of_a_batch(denoiser: TwoStreamDenoiser, prediction: str) -> None:
    schedule = DDIMScheduler(prediction_type=prediction)
    picture, sound, text = _inputs(clips=3)
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=2e-3)
    denoiser.train()

    def loss() -> torch.Tensor:
        return training_loss(denoiser, schedule, picture, sound, text, torch.Generator().manual_seed(5))

    first = float(loss().detach())
    for _ in range(12):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert float(loss().detach()) < 0.8 * first


def test_every_parameter_is_trained(denoiser: TwoStreamDenoiser) -> None:
    # Layers that start as the identity pass no gradient to what lies before their last weights.
    for name, parameter in denoiser.named_parameters():
        if "proj_out" in name or "out_proj" in name:
            nn.init.normal_(parameter, std=0.1)
    training_loss(denoiser, DDIMScheduler(), *_inputs(3), torch.Generator().manual_seed(5)).backward()
    assert [name for name, parameter in denoiser.named_parameters() if parameter.grad is None] == []


def test_sampling_repeats_with_its_seed_and_stops_on_request(denoiser: TwoStreamDenoiser) -> None:
    text = _inputs()[2]
    cancel = threading.Event()
    steps: list[tuple[int, int]] = []

    def sample(seed: int, guidance_scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        return sample_streams(
            denoiser,
            DDIMScheduler(),
            text,
            torch.zeros(1, 3, 24),
            picture_shape=(FRAMES, 4, 8, 10),
            sound_shape=(8, 16, 4),
            num_steps=3,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(seed),
            on_step=lambda done, total: steps.append((done, total)),
            cancel=cancel,
        )

    first, again, other, guided = sample(1), sample(1), sample(2), sample(1, 3.0)
    assert [stream.shape for stream in first] == [(2, FRAMES, 4, 8, 10), (2, 8, 16, 4)]
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], guided[1])
    assert steps[:3] == [(1, 3), (2, 3), (3, 3)]
    cancel.set()
    with pytest.raises(Cancelled):
        sample(1)


class _Recorder:
    """A denoiser that predicts no noise and keeps the requested time steps."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.heard: list[torch.Tensor] = []

    def __call__(
        self,
        picture: torch.Tensor,
        sound: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        sound_timestep: torch.Tensor,
    ) -> TwoStreamOutput:
        self.asked.append((int(timestep), int(sound_timestep)))
        self.heard.append(sound)
        return TwoStreamOutput(torch.zeros_like(picture), torch.zeros_like(sound), picture, sound)


@pytest.mark.parametrize(("lag", "waits"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_the_sound_is_generated_behind_the_picture(lag: float, waits: int) -> None:
    recorder, steps = _Recorder(), []
    schedule = DDIMScheduler()
    sample_streams(
        recorder,
        schedule,
        _inputs()[2],
        None,
        picture_shape=(FRAMES, 4, 8, 10),
        sound_shape=(8, 16, 4),
        num_steps=4,
        sound_lag=lag,
        generator=torch.Generator().manual_seed(1),
        on_step=lambda done, total: steps.append((done, total)),
    )
    schedule.set_timesteps(4)
    times = schedule.timesteps.tolist()
    assert [seen for seen, _ in recorder.asked] == [*times, *[0] * waits]
    assert [heard for _, heard in recorder.asked] == [*[times[0]] * waits, *times]
    assert steps[-1] == (4 + waits, 4 + waits)
    # Until its turn comes, the sound is the same noise.
    assert all(torch.equal(heard, recorder.heard[0]) for heard in recorder.heard[: waits + 1])
    assert not torch.equal(recorder.heard[-1], recorder.heard[0])


@pytest.mark.parametrize("apart_share", [0.0, 1.0])
def test_streams_have_different_time_steps_only_on_request(apart_share: float) -> None:
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def denoiser(
        picture: torch.Tensor, sound: torch.Tensor, step: torch.Tensor, text: torch.Tensor, sound_step: torch.Tensor
    ) -> TwoStreamOutput:
        asked.append((step, sound_step))
        return TwoStreamOutput(picture, sound, picture, sound)

    generator = torch.Generator().manual_seed(2)
    training_loss(denoiser, DDIMScheduler(), *_inputs(clips=8), generator, 0.0, apart_share)
    ((steps, sound_steps),) = asked
    assert bool((steps == sound_steps).all()) == (apart_share == 0)


@pytest.mark.slow
def test_the_full_size_has_the_shapes_of_the_paper() -> None:
    with torch.device("meta"):
        model = TwoStreamDenoiser.from_unet(
            full_size.stable_diffusion_unet(), full_size.FRAMES, full_size.SOUND_CHANNELS
        )
        height, width = full_size.HEIGHT // full_size.PICTURE_FACTOR, full_size.WIDTH // full_size.PICTURE_FACTOR
        output = model(
            torch.empty(1, full_size.FRAMES, 4, height, width),
            torch.empty(1, full_size.SOUND_CHANNELS, 256, 16),
            torch.tensor(5),
            torch.empty(1, full_size.TEXT_TOKENS, full_size.TEXT_WIDTH),
        )
    assert output.picture.shape == (1, 20, 4, 32, 40)
    assert output.sound.shape == (1, 8, 256, 16)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    # Stable Diffusion 1.5's UNet has 859 520 964 parameters; four more channels add 4 * 320 * 9 * 2 + 4.
    assert counts["sound_unet"] == 859_520_964 + 4 * 320 * 9 * 2 + 4
    assert counts["picture_unet"] == 1_463_918_776
