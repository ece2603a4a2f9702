"""From words and energy to a waveform of any length: what a pack's sound components do together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.conditioning.controls import CONTROL_NAMES, ControlBatch, Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow, blend, cut
from rewas_engine.errors import SettingsError
from rewas_engine.generation.denoising import ControlledDenoiser
from rewas_engine.generation.sampling import Known, effective_timesteps, sample
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.vocoding import VOCODING_MEMORY_REMEDY, WindowedVocoder
from rewas_engine.models.schedules import build_schedule
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.cache import ContentCache
from rewas_engine.runtime.compiling import report_compile_errors
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE
from rewas_engine.runtime.memory import run_within_memory
from rewas_engine.runtime.precision import DTYPES


@dataclass(frozen=True, eq=False)
class InpaintSource:
    """A sound that is there already and is made again: in part, or to a degree, or both.

    log_mel: [T, bins] nats. kept: [T] bool, frames that stay as they are, to whole latent positions; the new ones grow
    into them. renoised: part of the noise schedule that is gone through again, above 0 and up to 1; see
    `rewas_engine.generation.sampling.Known`.
    Raises SettingsError where they do not fit each other.
    """

    log_mel: torch.Tensor
    kept: NDArray[np.bool_]
    renoised: float = 1.0

    def __post_init__(self) -> None:
        if len(self.log_mel) != len(self.kept):
            raise SettingsError(
                f"The earlier sound has {len(self.log_mel)} frames, but {len(self.kept)} are said to be kept or not.",
                "Say it of every frame.",
            )
        if not 0 < self.renoised <= 1:
            raise SettingsError(f"{self.renoised:g} of the noise is to be gone through again.", "Give 0 to 1, not 0.")


class SoundGenerator:
    """Makes sound with one pack's backbone on one device, in windows of one length.

    batch_size: windows times guidance branches in one batch; where memory runs out, it is tried again with one.
    cache: keeps what words and controls come to, which takes have in common; None keeps nothing.
    vocoding: makes waveforms of the log-mels.
    Raises ValueError where the windows' patch is not the backbone's, or does not divide the bins.
    """

    def __init__(
        self,
        backbone: Backbone,
        front_end: AudioFrontEnd,
        window: SoundWindow,
        device: str,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        cache: ContentCache | None = None,
    ) -> None:
        if window.patch != backbone.patch or front_end.config.bins % window.patch:
            raise ValueError(f"a patch is {window.patch} frames, of {front_end.config.bins} bins, to {backbone.patch}")
        self._backbone, self._front_end, self._window, self._device = backbone, front_end, window, device
        self.vocoding = WindowedVocoder(backbone, front_end, window)
        self._passes_at_once, self._cache = batch_size, cache or ContentCache(0)

    @torch.inference_mode()
    def log_mel(
        self,
        prompt: str,
        controls: Controls,
        seed: int,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None = None,
        *,
        earlier: InpaintSource | None = None,
        circular: bool = False,
    ) -> torch.Tensor:
        """Log-mel [T, bins] in nats that covers the controls: T is at least one window.

        on_step: called with the number of finished sampling steps; what it raises ends the work.
        earlier: a sound of the length of the controls or shorter, of which this is to be another version.
        circular: the end goes on with the beginning; T is then no more than whole latent positions.
        Raises SettingsError for controls that the pack does not understand, or shorter than the earlier sound,
        InsufficientMemoryError.
        """

        def made(batch_size: int) -> torch.Tensor:
            return self._log_mel(prompt, controls, seed, settings, on_step, earlier, circular, batch_size)

        return run_within_memory(made, self._passes_at_once, "sampling", VOCODING_MEMORY_REMEDY)

    def _log_mel(
        self,
        prompt: str,
        controls: Controls,
        seed: int,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None,
        earlier: InpaintSource | None,
        circular: bool,
        batch_size: int,
    ) -> torch.Tensor:
        window = self._window
        total = window.whole(controls.frames) if circular else max(window.frames, window.whole(controls.frames))
        starts = window.starts(total, circular)
        padded = controls.pad(total)
        hints = self._hints([padded.window(start, window.frames) for start in starts])
        known = None if earlier is None else self._known(earlier, controls.frames, total, starts)
        # Drawn on the CPU: one seed is one noise on every device.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((*self._latent_shape(total),), generator=generator)
        prompts = self._prompts_for_windows(prompt, len(starts))
        latents = self._sampled(prompts, hints, starts, noise, generator, settings, on_step, batch_size, known)
        return self._heard(latents, starts, total)

    @torch.inference_mode()
    def apart(
        self,
        prompt: str,
        shots: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None = None,
    ) -> list[torch.Tensor]:
        """Log-mels [T, bins] of sounds of any lengths that have nothing to do with each other, made together.

        shots: what each follows; T is at least as much, and at least one window. seeds: of each. Raises
        InsufficientMemoryError.
        """

        def made(batch_size: int) -> list[torch.Tensor]:
            return self._generate_shots(prompt, shots, seeds, settings, on_step, batch_size)

        return run_within_memory(made, self._passes_at_once, "sampling", VOCODING_MEMORY_REMEDY)

    def _generate_shots(
        self,
        prompt: str,
        shots: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None,
        batch_size: int,
    ) -> list[torch.Tensor]:
        window = self._window
        totals = [max(window.frames, window.whole(shot.frames)) for shot in shots]
        padded = [shot.pad(total) for shot, total in zip(shots, totals, strict=True)]
        starts = [window.starts(total) for total in totals]
        hints = self._hints(
            [one.window(start, window.frames) for one, own in zip(padded, starts, strict=True) for start in own]
        )
        drawn = [
            torch.randn(self._latent_shape(total), generator=torch.Generator().manual_seed(seed))
            for total, seed in zip(totals, seeds, strict=True)
        ]
        offsets = [sum(totals[:number]) for number in range(len(totals))]
        # They stand side by side, and no window reaches over from one into the next.
        places = [offset + start for offset, own in zip(offsets, starts, strict=True) for start in own]
        prompts = self._prompts_for_windows(prompt, len(places))
        generator = torch.Generator().manual_seed(seeds[0])
        noise = torch.cat(drawn, dim=1)
        latents = self._sampled(prompts, hints, places, noise, generator, settings, on_step, batch_size)
        parts = latents.split([total // window.patch for total in totals], dim=1)
        return [self._heard(part, own, total) for part, own, total in zip(parts, starts, totals, strict=True)]

    def _heard(self, latents: torch.Tensor, starts: Sequence[int], total: int) -> torch.Tensor:
        """Log-mel [total, bins] of latents [C, T', F], decoded window by window."""
        patch, width = self._window.patch, self._window.frames // self._window.patch
        parts = (self._backbone.decode(cut(latents, [start // patch], width, dim=1))[0] for start in starts)
        return blend(parts, starts, total, dim=0).clamp(min=self._front_end.config.silence_nats)

    @torch.inference_mode()
    def log_mels(
        self,
        prompts: Sequence[str],
        controls: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None = None,
    ) -> torch.Tensor:
        """Log-mels [B, T, bins] of sounds of one window each, made together: T is the window's length.

        Each is what `log_mel` makes of its prompt, controls and seed, as long as no noise is added while sampling.
        Raises InsufficientMemoryError.
        """

        def made(batch_size: int) -> torch.Tensor:
            return self._log_mels(prompts, controls, seeds, settings, on_step, batch_size)

        return run_within_memory(made, self._passes_at_once, "sampling", VOCODING_MEMORY_REMEDY)

    def _log_mels(
        self,
        prompts: Sequence[str],
        controls: Sequence[Controls],
        seeds: Sequence[int],
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None,
        batch_size: int,
    ) -> torch.Tensor:
        window, silence_nats = self._window, self._front_end.config.silence_nats
        hints = self._hints([one.pad(window.frames) for one in controls])
        noise = torch.cat(
            [
                torch.randn(self._latent_shape(window.frames), generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ],
            dim=1,
        )
        # Windows that stand side by side without an overlap have nothing to do with each other.
        starts = [index * window.frames for index in range(len(controls))]
        generator = torch.Generator().manual_seed(seeds[0])
        embedded = self._embed_prompts(prompts)
        latents = self._sampled(embedded, hints, starts, noise, generator, settings, on_step, batch_size)
        parts = torch.stack(latents.split(window.frames // window.patch, dim=1))
        return self._backbone.decode(parts).clamp(min=silence_nats)

    @property
    def window(self) -> SoundWindow:
        """How long the windows are that sounds are made in."""
        return self._window

    @torch.inference_mode()
    def denoise_once(self, count: int, precision: str) -> torch.Tensor:
        """One pass of denoiser and adapter over so many windows of noise: what most of the time goes into."""
        shape = self._latent_shape(self._window.frames)
        controls = Controls(energy=np.full(self._window.frames, self._front_end.config.silence_nats, np.float32))
        hints = self._hints([controls]).expand(count, -1, -1, -1)
        prompt = self._embed_prompts([""])
        denoiser = ControlledDenoiser(
            self._backbone,
            prompt.expand(count, *prompt.shape[1:]),
            prompt[0],
            hints,
            [index * shape[1] for index in range(count)],
            1.0,
            1.0,
            precision=DTYPES[precision],
            batch_size=2 * count,
        )
        latents = torch.zeros(shape[0], count * shape[1], shape[2], device=self._device)
        return denoiser(latents, torch.tensor(500, device=self._device))

    def whole(self, frames: int) -> int:
        """The mel frames of whole latent positions that hold so many."""
        return self._window.whole(frames)

    def _hints(self, windows: Sequence[Controls]) -> torch.Tensor:
        understood = self._backbone.controls
        unknown = sorted({name for window in windows for name in window.names} - set(understood))
        if unknown:
            raise SettingsError(
                f"This pack does not understand {', '.join(unknown)}.", f"It follows {', '.join(understood)}."
            )
        content = [[None if (row := getattr(one, name)) is None else row for name in CONTROL_NAMES] for one in windows]
        hints: torch.Tensor = self._cache.get_or_compute("hints", content, lambda: self._encode_controls(windows))
        return hints

    def _encode_controls(self, windows: Sequence[Controls]) -> torch.Tensor:
        # One by one: a codec takes more memory than what it makes.
        return torch.cat(
            [self._backbone.hints(ControlBatch.from_windows([one], self._device)).float() for one in windows]
        )

    def _prompts_for_windows(self, prompt: str, count: int) -> torch.Tensor:
        embedded = self._embed_prompts([prompt])
        return embedded.expand(count, *embedded.shape[1:])

    def _embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        embedded: torch.Tensor = self._cache.get_or_compute(
            "words", list(prompts), lambda: self._backbone.embed_prompts(prompts)
        )
        return embedded

    def _latent_shape(self, frames: int) -> tuple[int, int, int]:
        return self._backbone.latent_shape(frames)

    def _sampled(
        self,
        prompts: torch.Tensor,
        hints: torch.Tensor,
        starts: Sequence[int],
        noise: torch.Tensor,
        generator: torch.Generator,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None,
        batch_size: int,
        known: Known | None = None,
    ) -> torch.Tensor:
        noisiest = float(self._backbone.schedule.config.num_train_timesteps)
        empty_prompt = self._embed_prompts([settings.negative_prompt])[0]
        if settings.prompt_weight < 1:
            prompts = torch.lerp(self._embed_prompts([""]).expand_as(prompts), prompts, settings.prompt_weight)
        held, asked = self._backbone.weight_dtype, DTYPES[settings.precision]
        if held not in (torch.float32, asked):
            raise SettingsError(
                f"The pack was loaded in {held}, and is to sample in {asked}.", "Load it in the precision asked for."
            )
        denoiser = ControlledDenoiser(
            self._backbone,
            prompts,
            empty_prompt,
            hints,
            [start // self._window.patch for start in starts],
            settings.guidance_scale,
            settings.control_strength,
            settings.unguided_share * noisiest,
            asked,
            ((1 - settings.control_part[1]) * noisiest, (1 - settings.control_part[0]) * noisiest),
            batch_size,
        )
        is_partial = known is not None and known.renoised < 1
        schedule = build_schedule(settings.sampler, self._backbone.schedule, is_partial=is_partial)
        if settings.control_strength > 0:
            run = effective_timesteps(copy.deepcopy(schedule), settings.num_steps, known.renoised if known else 1.0)
            if not any(denoiser.is_controlled_at(timestep) for timestep in run.tolist()):
                begin, end = settings.control_part
                raise SettingsError(
                    f"None of the {len(run)} sampling steps lies between {begin:g} and {end:g} of the sampling, where "
                    "the controls are to act.",
                    "Take more steps or a larger part, or a strength of 0 where nothing is to steer.",
                )
        with report_compile_errors():
            return sample(
                denoiser,
                noise.to(self._device),
                schedule,
                num_steps=settings.num_steps,
                eta=settings.eta,
                generator=generator,
                on_step=on_step,
                known=known,
            )

    def _known(self, earlier: InpaintSource, frames: int, total: int, starts: Sequence[int]) -> Known:
        """The latent of an earlier sound, followed by silence that is not kept."""
        if len(earlier.log_mel) > frames:
            raise SettingsError(
                f"The earlier sound has {len(earlier.log_mel)} frames, the controls only {frames}.",
                "Give controls for all of it.",
            )
        window, silence_nats = self._window, self._front_end.config.silence_nats
        missing = total - len(earlier.log_mel)
        whole = nn.functional.pad(earlier.log_mel.to(self._device), (0, 0, 0, missing), value=silence_nats)
        parts = (self._backbone.encode(cut(whole, [start], window.frames, dim=0))[0] for start in starts)
        latents = blend(parts, [start // window.patch for start in starts], total // window.patch, dim=1)
        kept = np.pad(earlier.kept, (0, missing)).reshape(-1, window.patch).all(axis=1)
        return Known(latents, torch.from_numpy(kept).to(self._device), earlier.renoised)
