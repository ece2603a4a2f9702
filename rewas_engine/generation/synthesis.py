"""From prompts and controls to log-mels of any length: how the sound components of a pack work together."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.checks import check_strength
from rewas_engine.conditioning.controls import CONTROL_NAMES, ControlBatch, Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow, blend, cut
from rewas_engine.errors import SettingsError
from rewas_engine.generation.denoising import ControlledDenoiser, run_passes
from rewas_engine.generation.sampling import KnownLatents, effective_timesteps, sample
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.shared_batches import SharedBatches
from rewas_engine.generation.vocoding import VOCODING_MEMORY_REMEDY, WindowedVocoder
from rewas_engine.models.schedules import build_schedule
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.cache import ContentCache
from rewas_engine.runtime.compiling import report_compile_errors
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE
from rewas_engine.runtime.memory import run_within_memory
from rewas_engine.runtime.precision import DTYPES

Result = TypeVar("Result")
OnStep = Callable[[int], object]
"""Called with the number of finished sampling steps. An exception from it ends the work."""


@dataclass(frozen=True, eq=False)
class InpaintSource:
    """An existing sound, to be regenerated in part, as a whole at some strength, or both.

    Args:
        log_mel: [T, bins] nats.
        keep_mask: [T] bool, True for frames that stay as they are. Only whole latent positions are kept.
        strength: Share of the noise schedule to run, above 0 and up to 1; see
            `rewas_engine.generation.sampling.KnownLatents`.

    Raises:
        SettingsError: The lengths differ, or the strength is out of its range.
    """

    log_mel: torch.Tensor
    keep_mask: NDArray[np.bool_]
    strength: float = 1.0

    def __post_init__(self) -> None:
        if len(self.log_mel) != len(self.keep_mask):
            raise SettingsError(
                f"The existing sound has {len(self.log_mel)} frames, but the mask has {len(self.keep_mask)}.",
                "Give a mask with one value for each frame.",
            )
        check_strength(self.strength)


@dataclass(frozen=True, eq=False)
class SamplingRun:
    """Sounds that are sampled together, one after another in one latent, without sharing a window.

    Args:
        prompts: One prompt for all sounds; or one per sound, if each sound is one window long.
        controls: Controls of each sound.
        seeds: Seed of the noise of each sound.
        settings: Sampling settings.
        on_step: Called after each step.
        inpaint_source: An existing sound to regenerate. The run then has only one sound.
        is_loop: Whether the end of the only sound of the run joins its beginning.
        continues_noise: Whether the noise added while sampling continues the first sound's initial noise, instead of
            starting again from its seed.
    """

    prompts: Sequence[str]
    controls: Sequence[Controls]
    seeds: Sequence[int]
    settings: SamplingSettings
    on_step: OnStep | None = None
    inpaint_source: InpaintSource | None = None
    is_loop: bool = False
    continues_noise: bool = False

    def frame_counts(self, window: SoundWindow) -> list[int]:
        """Mel frames of each sound, rounded up to whole latent positions, and to one window unless it loops."""
        shortest = 0 if self.is_loop else window.frames
        return [max(shortest, window.whole(controls.frames)) for controls in self.controls]


@dataclass(frozen=True, eq=False)
class _SampledSound:
    """The latent [C, T, F] of a sound, with its number of mel frames and the first mel frame of each window."""

    latents: torch.Tensor
    frames: int
    starts: Sequence[int]


class SoundGenerator:
    """Generate log-mels and waveforms with the backbone of a pack on one device.

    Args:
        backbone: The model.
        front_end: Log-mel front end of the pack.
        window: Length and overlap of the windows.
        device: "cpu" or "cuda:0".
        batch_size: Windows times branches of guidance in one batch. If memory runs out, 1 is tried next.
        shares_batches: Whether threads that sample at the same time share these batches. Empty rows are then filled
            with zeros.
        cache: Keeps the embeddings of prompts and controls, which takes share. None keeps nothing.

    Attributes:
        vocoder: Turns the log-mels into waveforms.

    Raises:
        ValueError: The patches of the windows and of the backbone differ, or the patch does not divide the bins.
    """

    def __init__(
        self,
        backbone: Backbone,
        front_end: AudioFrontEnd,
        window: SoundWindow,
        device: str,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        shares_batches: bool = False,
        cache: ContentCache | None = None,
    ) -> None:
        if window.patch != backbone.patch or front_end.config.bins % window.patch:
            raise ValueError(
                f"a window patch of {window.patch} does not fit a backbone patch of {backbone.patch} and "
                f"{front_end.config.bins} bins"
            )
        self._backbone, self._front_end, self._window, self._device = backbone, front_end, window, device
        self.vocoder = WindowedVocoder(backbone, front_end, window)
        self._batch_size, self._cache = batch_size, cache or ContentCache(0)
        self._shared_batches = (
            SharedBatches(functools.partial(run_passes, backbone), batch_size) if shares_batches else None
        )

    @property
    def window(self) -> SoundWindow:
        """Length and overlap of the windows in which sounds are generated."""
        return self._window

    @torch.inference_mode()
    def generate_log_mel(
        self,
        prompt: str,
        controls: Controls,
        seed: int,
        settings: SamplingSettings,
        on_step: OnStep | None = None,
        *,
        inpaint_source: InpaintSource | None = None,
        is_loop: bool = False,
    ) -> torch.Tensor:
        """Generate one sound.

        Args:
            prompt: What the sound should be.
            controls: Controls of the sound.
            seed: Seed of the noise.
            settings: Sampling settings.
            on_step: Called after each step.
            inpaint_source: An existing sound to regenerate, not longer than the controls.
            is_loop: Whether the end of the sound joins its beginning.

        Returns:
            Log-mel [T, bins] in nats that covers the controls. T is at least one window; for a loop, T is the length of
            the controls, rounded up to whole latent positions.

        Raises:
            SettingsError: The pack lacks one of the controls, or they are shorter than the existing sound.
            InsufficientMemoryError: Not even one window fits into memory.
        """
        run = SamplingRun(
            (prompt,), (controls,), (seed,), settings, on_step, inpaint_source, is_loop, continues_noise=True
        )
        return self._within_memory(lambda batch_size: self._decode_windows(self._sample(run, batch_size)[0]))

    @torch.inference_mode()
    def generate_shots(
        self,
        prompt: str,
        shots: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: OnStep | None = None,
    ) -> list[torch.Tensor]:
        """Generate independent sounds of any lengths together.

        Args:
            prompt: What all sounds should be.
            shots: Controls of each sound.
            seeds: Seed of the noise of each sound.
            settings: Sampling settings.
            on_step: Called after each step.

        Returns:
            Log-mels [T, bins] in nats; T covers the controls and is at least one window.

        Raises:
            SettingsError: The pack lacks one of the controls.
            InsufficientMemoryError: Not even one window fits into memory.
        """
        run = SamplingRun((prompt,), shots, seeds, settings, on_step)
        return self._within_memory(
            lambda batch_size: [self._decode_windows(sound) for sound in self._sample(run, batch_size)]
        )

    @torch.inference_mode()
    def generate_log_mels(
        self,
        prompts: Sequence[str],
        controls: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Generate independent sounds of one window each in one run.

        Each equals the result of `generate_log_mel` for its prompt, controls and seed if the sampler adds no noise.

        Returns:
            Log-mels [B, T, bins] in nats, where T is the length of a window.

        Raises:
            SettingsError: The pack lacks one of the controls.
            InsufficientMemoryError: Not even one window fits into memory.
        """
        run = SamplingRun(prompts, controls, seeds, settings, on_step)

        def run_batch(batch_size: int) -> torch.Tensor:
            latents = torch.stack([sound.latents for sound in self._sample(run, batch_size)])
            return self._backbone.decode(latents).clamp(min=self._front_end.config.silence_nats)

        return self._within_memory(run_batch)

    @torch.inference_mode()
    def denoise_once(self, count: int, precision: str) -> torch.Tensor:
        """Run denoiser and adapter once over `count` windows: the step that takes most of the time in sampling."""
        shape = self._backbone.latent_shape(self._window.frames)
        controls = Controls(energy=np.full(self._window.frames, self._front_end.config.silence_nats, np.float32))
        prompt = self._embed_prompts([""])
        denoiser = ControlledDenoiser(
            backbone=self._backbone,
            prompts=prompt.expand(count, *prompt.shape[1:]),
            empty_prompt=prompt[0],
            hints=self._hints([controls]).expand(count, -1, -1, -1),
            starts=[index * shape[1] for index in range(count)],
            guidance_scale=1.0,
            control_strength=1.0,
            precision=DTYPES[precision],
            batch_size=2 * count,
        )
        latents = torch.zeros(shape[0], count * shape[1], shape[2], device=self._device)
        return denoiser(latents, torch.tensor(500, device=self._device))

    def round_up_frames(self, frames: int) -> int:
        """Mel frames, rounded up to whole latent positions."""
        return self._window.whole(frames)

    def _within_memory(self, run_batch: Callable[[int], Result]) -> Result:
        return run_within_memory(run_batch, self._batch_size, "sampling", VOCODING_MEMORY_REMEDY)

    def _sample(self, run: SamplingRun, batch_size: int) -> list[_SampledSound]:
        """Sample the latents of all sounds of a run."""
        window = self._window
        totals = run.frame_counts(window)
        starts = [window.starts(total, run.is_loop) for total in totals]
        padded = [controls.pad(total) for controls, total in zip(run.controls, totals, strict=True)]
        hints = self._hints(
            [one.window(start, window.frames) for one, own in zip(padded, starts, strict=True) for start in own]
        )
        known = None
        if run.inpaint_source is not None:
            known = self._encode_source(run.inpaint_source, run.controls[0].frames, totals[0], starts[0])
        # Drawn on the CPU, so that a seed gives the same noise on every device.
        generators = [torch.Generator().manual_seed(seed) for seed in run.seeds]
        noise = torch.cat(
            [
                torch.randn(self._backbone.latent_shape(total), generator=generator)
                for total, generator in zip(totals, generators, strict=True)
            ],
            dim=1,
        )
        generator = generators[0] if run.continues_noise else torch.Generator().manual_seed(run.seeds[0])
        offsets = accumulate(totals[:-1], initial=0)
        positions = [
            (offset + start) // window.patch for offset, own in zip(offsets, starts, strict=True) for start in own
        ]
        settings = run.settings
        # After memory has run out, a sound is sampled without the others.
        shared = self._shared_batches if batch_size == self._batch_size else None
        denoiser = self._build_denoiser(
            settings, self._embed_windows(run, len(positions)), hints, positions, batch_size, shared
        )
        schedule = build_schedule(
            settings.sampler, self._backbone.schedule, is_partial=known is not None and known.strength < 1
        )
        _check_control_acts(settings, denoiser, schedule, 1.0 if known is None else known.strength)
        with report_compile_errors(), shared.sampling() if shared is not None else contextlib.nullcontext():
            latents = sample(
                denoiser,
                noise.to(self._device),
                schedule,
                num_inference_steps=settings.num_inference_steps,
                eta=settings.eta,
                generator=generator,
                on_step=run.on_step,
                known_latents=known,
            )
        parts = latents.split([total // window.patch for total in totals], dim=1)
        return [_SampledSound(*each) for each in zip(parts, totals, starts, strict=True)]

    def _build_denoiser(
        self,
        settings: SamplingSettings,
        prompts: torch.Tensor,
        hints: torch.Tensor,
        positions: list[int],
        batch_size: int,
        shared_batches: SharedBatches | None,
    ) -> ControlledDenoiser:
        """The denoiser for windows with these embeddings, hints and first latent positions."""
        weight_dtype, precision = self._backbone.weight_dtype, DTYPES[settings.precision]
        if weight_dtype not in (torch.float32, precision):
            raise SettingsError(
                f"The weights of the pack were loaded as {weight_dtype}, but sampling is set to {precision}.",
                "Load the pack in the precision used for sampling.",
            )
        noisiest = float(self._backbone.schedule.config.num_train_timesteps)
        return ControlledDenoiser(
            backbone=self._backbone,
            prompts=prompts,
            empty_prompt=self._embed_prompts([settings.negative_prompt])[0],
            hints=hints,
            starts=positions,
            guidance_scale=settings.guidance_scale,
            control_strength=settings.control_strength,
            min_guided_timestep=settings.unguided_share * noisiest,
            precision=precision,
            controlled_timesteps=((1 - settings.control_end) * noisiest, (1 - settings.control_start) * noisiest),
            batch_size=batch_size,
            shared_batches=shared_batches,
        )

    def _decode_windows(self, sound: _SampledSound) -> torch.Tensor:
        """Log-mel [T, bins] of a latent, decoded window by window."""
        patch, width = self._window.patch, self._window.frames // self._window.patch
        parts = (self._backbone.decode(cut(sound.latents, [start // patch], width, dim=1))[0] for start in sound.starts)
        return blend(parts, sound.starts, sound.frames, dim=0).clamp(min=self._front_end.config.silence_nats)

    def _hints(self, windows: Sequence[Controls]) -> torch.Tensor:
        """Encoded controls [N, C, W, F] of windows."""
        supported = self._backbone.controls
        unknown = sorted({name for window in windows for name in window.names} - set(supported))
        if unknown:
            raise SettingsError(
                f"This pack does not support the control {', '.join(unknown)}.", f"It supports {', '.join(supported)}."
            )
        content = [[None if (row := getattr(one, name)) is None else row for name in CONTROL_NAMES] for one in windows]
        hints: torch.Tensor = self._cache.get_or_compute("hints", content, lambda: self._encode_controls(windows))
        return hints

    def _encode_controls(self, windows: Sequence[Controls]) -> torch.Tensor:
        # One by one: a codec needs more memory than its output.
        return torch.cat(
            [self._backbone.hints(ControlBatch.from_windows([one], self._device)).float() for one in windows]
        )

    def _embed_windows(self, run: SamplingRun, windows: int) -> torch.Tensor:
        """Embeddings [N, ...] of the prompts, one for each window, with the prompt weight applied."""
        prompts = self._embed_prompts(run.prompts)
        if len(run.prompts) == 1:
            prompts = prompts.expand(windows, *prompts.shape[1:])
        weight = run.settings.prompt_weight
        return prompts if weight >= 1 else torch.lerp(self._embed_prompts([""]).expand_as(prompts), prompts, weight)

    def _embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        embedded: torch.Tensor = self._cache.get_or_compute(
            "prompts", list(prompts), lambda: self._backbone.embed_prompts(prompts)
        )
        return embedded

    def _encode_source(self, source: InpaintSource, frames: int, total: int, starts: Sequence[int]) -> KnownLatents:
        """The latent of an existing sound, followed by silence that is not kept."""
        if len(source.log_mel) > frames:
            raise SettingsError(
                f"The existing sound has {len(source.log_mel)} frames, but the controls have only {frames}.",
                "Give controls for the whole sound.",
            )
        window, silence_nats = self._window, self._front_end.config.silence_nats
        missing = total - len(source.log_mel)
        whole = nn.functional.pad(source.log_mel.to(self._device), (0, 0, 0, missing), value=silence_nats)
        parts = (self._backbone.encode(cut(whole, [start], window.frames, dim=0))[0] for start in starts)
        latents = blend(parts, [start // window.patch for start in starts], total // window.patch, dim=1)
        keep_mask = np.pad(source.keep_mask, (0, missing)).reshape(-1, window.patch).all(axis=1)
        return KnownLatents(latents, torch.from_numpy(keep_mask).to(self._device), source.strength)


def _check_control_acts(
    settings: SamplingSettings, denoiser: ControlledDenoiser, schedule: object, strength: float
) -> None:
    """Raise SettingsError if the controls have a strength above 0 but act at no step of the sampling."""
    if settings.control_strength == 0:
        return
    timesteps = effective_timesteps(copy.deepcopy(schedule), settings.num_inference_steps, strength).tolist()
    if not any(denoiser.is_controlled_at(timestep) for timestep in timesteps):
        raise SettingsError(
            f"The control acts from {settings.control_start:g} to {settings.control_end:g} of the sampling, but none "
            f"of the {len(timesteps)} steps is in that range.",
            "Use more steps or a wider control range, or set the control strength to 0.",
        )
