"""Sampling both streams together with DDIM (Song et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler

from rewas_engine.errors import Cancelled
from rewas_engine.runtime.progress import CancelSignal

OnStep = Callable[[int, int], object]
"""Called with the number of finished steps and of all steps."""


@torch.inference_mode()
def sample_streams(
    denoiser: Any,
    schedule: DDIMScheduler,
    text: torch.Tensor,
    unconditional: torch.Tensor | None,
    *,
    picture_shape: tuple[int, ...],
    sound_shape: tuple[int, ...],
    num_steps: int = 50,
    guidance_scale: float = 1.0,
    sound_lag: float = 0.0,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    cancel: CancelSignal | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Denoise picture and sound from pure noise, with one schedule.

    With a lag, the sound stays pure noise at first, and the picture is finished before it: the sound is then generated
    for a picture that is clearer than itself. Only models whose streams had different time steps in training can do so.

    Args:
        denoiser: TwoStreamDenoiser, in evaluation mode.
        schedule: The schedule that it was trained with.
        text: [B, L, D], tokens of the sentences.
        unconditional: [1, L, D], tokens of no sentence; needed only if guidance_scale is not 1.
        picture_shape: (T, C, H, W) of one clip.
        sound_shape: (C', T', F') of one clip.
        num_steps: Steps of DDIM.
        guidance_scale: Scale of classifier-free guidance; 1 is without.
        sound_lag: How far the sound is behind the picture, as a share of the steps, which adds as many; 0 to 1.
        generator: Source of the noise, on the CPU, so that every device starts from the same noise.
        on_step: Called after each step.
        cancel: Stops the sampling when it is set.

    Returns:
        Latents of the picture [B, T, C, H, W] and of the sound [B, C', T', F'].

    Raises:
        Cancelled: The caller asked to stop.
    """
    clips, device, dtype = len(text), text.device, text.dtype
    picture = torch.randn((clips, *picture_shape), generator=generator).to(device, dtype)
    sound = torch.randn((clips, *sound_shape), generator=generator).to(device, dtype)
    guided = guidance_scale != 1.0 and unconditional is not None
    if guided:
        assert unconditional is not None
        text = torch.cat([unconditional.expand_as(text), text])
    schedule = DDIMScheduler.from_config(schedule.config)
    schedule.set_timesteps(num_steps)
    times, lag = schedule.timesteps, round(sound_lag * num_steps)
    repeats = 2 if guided else 1
    for number in range(num_steps + lag):
        if cancel is not None and cancel.is_set():
            raise Cancelled
        # A stream that is finished has time step 0; one that has not begun, the first one.
        seen_at = times[number] if number < num_steps else torch.zeros_like(times[0])
        heard_at = times[max(0, number - lag)]
        predicted = denoiser(
            picture.repeat(repeats, 1, 1, 1, 1),
            sound.repeat(repeats, 1, 1, 1),
            seen_at.to(device),
            text,
            heard_at.to(device),
        )
        if number < num_steps:
            picture = schedule.step(_guide(predicted.picture, guided, guidance_scale), seen_at, picture).prev_sample
        if number >= lag:
            sound = schedule.step(_guide(predicted.sound, guided, guidance_scale), heard_at, sound).prev_sample
        if on_step is not None:
            on_step(number + 1, num_steps + lag)
    return picture, sound


def _guide(predicted: torch.Tensor, guided: bool, scale: float) -> torch.Tensor:
    if not guided:
        return predicted
    without, with_text = predicted.chunk(2)
    return without + scale * (with_text - without)
