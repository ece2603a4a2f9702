"""From words and energy to a waveform of any length: what a pack's sound components do together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.control import ControlBatch, Controls, control_hint, understood_controls
from rewas_engine.denoising import WINDOWS_AT_ONCE, SteeredDenoiser
from rewas_engine.errors import SettingsError
from rewas_engine.media.audio import within_full_scale
from rewas_engine.mel import AudioFrontEnd
from rewas_engine.sampling import Known, sample
from rewas_engine.windows import blend, circle_starts, cut, join, window_starts

OnWindow = Callable[[int, int], object]
"""Called with finished and total windows."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class SamplingSettings:
    """How a latent is sampled.

    num_steps: at least 1. guidance_scale: 1 is none. control_strength: factor of the adapter, 0 is the base alone.
    eta: 0 is deterministic DDIM, 1 adds the noise of DDPM. unguided_share: last part of the noise schedule, 0 to 1,
    in which there is no guidance (Kynkäänniemi et al. 2024): there it only makes loud frames louder. precision: of the
    networks' inner arithmetic, "float32" or "bfloat16". control_part: from where to where in the sampling the controls
    act, 0 being its noise and 1 its end. negative_prompt: words that guidance leads away from; "" is no words.
    prompt_weight: how much the prompt counts, 0 to 1; what is missing is filled up with no words.
    """

    num_steps: int
    guidance_scale: float
    control_strength: float
    eta: float
    unguided_share: float = 0.0
    precision: str = "float32"
    control_part: tuple[float, float] = (0.0, 1.0)
    negative_prompt: str = ""
    prompt_weight: float = 1.0


@dataclass(frozen=True)
class SoundWindow:
    """How long sounds are made: in windows of `frames` mel frames that overlap by `overlap_frames`.

    patch: mel frames for each latent position; divides both.
    """

    frames: int
    overlap_frames: int
    patch: int

    def starts(self, total_frames: int, circular: bool = False) -> list[int]:
        """First mel frames of the windows over `total_frames`, a multiple of the patch; or round them, as a circle."""
        window, overlap, total = (count // self.patch for count in (self.frames, self.overlap_frames, total_frames))
        spread = circle_starts if circular else window_starts
        return [start * self.patch for start in spread(total, window, overlap)]

    def whole(self, frames: int) -> int:
        """The frames of whole latent positions that hold so many."""
        return -(-frames // self.patch) * self.patch


@dataclass(frozen=True, eq=False)
class Earlier:
    """A sound that is there already and is made again: in part, or to a degree, or both.

    log_mel: [T, bins] nats. kept: [T] bool, frames that stay as they are, to whole latent positions; the new ones grow
    into them. renoised: part of the noise schedule that is gone through again, above 0 and up to 1; see
    `rewas_engine.sampling.Known`.
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


class SoundMaker:
    """Denoiser, adapter, codec, vocoder and text encoder of one pack on one device."""

    def __init__(
        self, components: Mapping[str, Any], front_end: AudioFrontEnd, window: SoundWindow, device: str
    ) -> None:
        self._components, self._front_end, self._window, self._device = components, front_end, window, device

    @torch.inference_mode()
    def log_mel(
        self,
        prompt: str,
        controls: Controls,
        seed: int,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None = None,
        *,
        earlier: Earlier | None = None,
        circular: bool = False,
    ) -> torch.Tensor:
        """Log-mel [T, bins] in nats that covers the controls: T is at least one window.

        on_step: called with the number of finished sampling steps; what it raises ends the work.
        earlier: a sound of the length of the controls or shorter, of which this is to be another version.
        circular: the end goes on with the beginning; T is then no more than whole latent positions.
        Raises SettingsError for controls that the pack does not understand, or shorter than the earlier sound.
        """
        window = self._window
        total = window.whole(controls.frames) if circular else max(window.frames, window.whole(controls.frames))
        starts = window.starts(total, circular)
        padded = controls.padded(total, self._front_end.config.silence_nats)
        hints = self._hints([padded.part(start, window.frames) for start in starts])
        known = None if earlier is None else self._known(earlier, controls.frames, total, starts)
        # Drawn on the CPU: one seed is one noise on every device.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((*self._latent_shape(total),), generator=generator)
        prompts = self._embedded([prompt]).expand(len(starts), -1)
        latents = self._sampled(prompts, hints, starts, noise, generator, settings, on_step, known)
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

        shots: what each follows; T is at least as much, and at least one window. seeds: of each.
        """
        window, silence_nats = self._window, self._front_end.config.silence_nats
        totals = [max(window.frames, window.whole(shot.frames)) for shot in shots]
        padded = [shot.padded(total, silence_nats) for shot, total in zip(shots, totals, strict=True)]
        starts = [window.starts(total) for total in totals]
        hints = self._hints(
            [one.part(start, window.frames) for one, own in zip(padded, starts, strict=True) for start in own]
        )
        drawn = [
            torch.randn(self._latent_shape(total), generator=torch.Generator().manual_seed(seed))
            for total, seed in zip(totals, seeds, strict=True)
        ]
        offsets = [sum(totals[:number]) for number in range(len(totals))]
        # They stand side by side, and no window reaches over from one into the next.
        places = [offset + start for offset, own in zip(offsets, starts, strict=True) for start in own]
        prompts = self._embedded([prompt]).expand(len(places), -1)
        generator = torch.Generator().manual_seed(seeds[0])
        latents = self._sampled(prompts, hints, places, torch.cat(drawn, dim=1), generator, settings, on_step)
        parts = latents.split([total // window.patch for total in totals], dim=1)
        return [self._heard(part, own, total) for part, own, total in zip(parts, starts, totals, strict=True)]

    def _heard(self, latents: torch.Tensor, starts: Sequence[int], total: int) -> torch.Tensor:
        """Log-mel [total, bins] of latents [C, T', F], decoded window by window."""
        patch, width = self._window.patch, self._window.frames // self._window.patch
        parts = (self._decoded(cut(latents, [start // patch], width, dim=1))[0] for start in starts)
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
        """
        window, silence_nats = self._window, self._front_end.config.silence_nats
        hints = self._hints([one.padded(window.frames, silence_nats) for one in controls])
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
        latents = self._sampled(self._embedded(prompts), hints, starts, noise, generator, settings, on_step)
        parts = torch.stack(latents.split(window.frames // window.patch, dim=1))
        return self._decoded(parts).clamp(min=silence_nats)

    def whole(self, frames: int) -> int:
        """The mel frames of whole latent positions that hold so many."""
        return self._window.whole(frames)

    @property
    def window(self) -> SoundWindow:
        """In which windows sounds are made."""
        return self._window

    def _hints(self, windows: Sequence[Controls]) -> torch.Tensor:
        understood = understood_controls(self._components["adapter"])
        unknown = sorted({name for window in windows for name in window.names} - set(understood))
        if unknown:
            raise SettingsError(
                f"This pack does not understand {', '.join(unknown)}.", f"It follows {', '.join(understood)}."
            )
        codec, bins = self._components["codec"], self._front_end.config.bins
        batches = (
            ControlBatch.of(windows[first : first + WINDOWS_AT_ONCE], self._device)
            for first in range(0, len(windows), WINDOWS_AT_ONCE)
        )
        return torch.cat([control_hint(batch, codec, bins, self._components["adapter"]) for batch in batches])

    def _embedded(self, prompts: Sequence[str]) -> torch.Tensor:
        embedded: torch.Tensor = self._components["text_encoder"](list(prompts)).to(self._device)
        if "text_projection" in self._components:
            embedded = self._components["text_projection"](embedded)
        return embedded

    def _latent_shape(self, frames: int) -> tuple[int, int, int]:
        patch = self._window.patch
        channels = int(self._components["denoiser"].config.in_channels)
        return channels, frames // patch, self._front_end.config.bins // patch

    def _sampled(
        self,
        prompts: torch.Tensor,
        hints: torch.Tensor,
        starts: Sequence[int],
        noise: torch.Tensor,
        generator: torch.Generator,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None,
        known: Known | None = None,
    ) -> torch.Tensor:
        noisiest = float(self._components["schedule"].config.num_train_timesteps)
        if settings.prompt_weight < 1:
            prompts = torch.lerp(self._embedded([""]), prompts, settings.prompt_weight)
        denoiser = SteeredDenoiser(
            self._components["denoiser"],
            self._components["adapter"],
            prompts,
            self._embedded([settings.negative_prompt])[0],
            hints,
            [start // self._window.patch for start in starts],
            settings.guidance_scale,
            settings.control_strength,
            settings.unguided_share * noisiest,
            PRECISIONS[settings.precision],
            ((1 - settings.control_part[1]) * noisiest, (1 - settings.control_part[0]) * noisiest),
        )
        return sample(
            denoiser,
            noise.to(self._device),
            self._components["schedule"],
            num_steps=settings.num_steps,
            eta=settings.eta,
            generator=generator,
            on_step=on_step,
            known=known,
        )

    def _known(self, earlier: Earlier, frames: int, total: int, starts: Sequence[int]) -> Known:
        """The latent of an earlier sound, followed by silence that is not kept."""
        if len(earlier.log_mel) > frames:
            raise SettingsError(
                f"The earlier sound has {len(earlier.log_mel)} frames, the controls only {frames}.",
                "Give controls for all of it.",
            )
        window, silence_nats = self._window, self._front_end.config.silence_nats
        missing = total - len(earlier.log_mel)
        whole = nn.functional.pad(earlier.log_mel.to(self._device), (0, 0, 0, missing), value=silence_nats)
        codec = self._components["codec"]
        parts = (
            codec.encode(cut(whole, [start], window.frames, dim=0)[None]).latent_dist.mode()[0]
            * codec.config.scaling_factor
            for start in starts
        )
        latents = blend(parts, [start // window.patch for start in starts], total // window.patch, dim=1)
        kept = np.pad(earlier.kept, (0, missing)).reshape(-1, window.patch).all(axis=1)
        return Known(latents, torch.from_numpy(kept).to(self._device), earlier.renoised)

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-mels [B, T, bins] of latents [B, C, T', F]."""
        codec = self._components["codec"]
        decoded: torch.Tensor = codec.decode(latents / codec.config.scaling_factor).sample[:, 0]
        return decoded

    @torch.inference_mode()
    def loop(self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None) -> NDArray[np.float32]:
        """Waveform [samples] of a circular log-mel [T, bins], whose last sample goes on with its first.

        samples: at most T mel frames' and at least half of them. What is too much is folded over the beginning with
        equal power. on_window: as for `waveform`.
        """
        hop = self._front_end.config.hop_samples
        # A vocoder sees some frames to each side; what lies beyond the ends of a circle is its other end.
        margin = min(self._window.overlap_frames, len(log_mel))
        turned = torch.cat([log_mel[len(log_mel) - margin :], log_mel, log_mel[:margin]])
        whole = self.waveform(turned, len(turned) * hop, on_window)[margin * hop : (margin + len(log_mel)) * hop]
        made, rest = whole[:samples].copy(), whole[samples:]
        angle = (np.arange(rest.size, dtype=np.float32) + 0.5) / max(1, rest.size) * np.pi / 2
        made[: rest.size] = rest * np.cos(angle) + made[: rest.size] * np.sin(angle)
        return within_full_scale(made)

    def waveform(self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None) -> NDArray[np.float32]:
        """Waveform [samples] of a log-mel [T, bins], at the pack's rate, within ±1.

        on_window: called with finished and total windows; what it raises ends the work.
        """
        return within_full_scale(self.unlimited_waveform(log_mel, samples, on_window))

    @torch.inference_mode()
    def unlimited_waveform(
        self, log_mel: torch.Tensor, samples: int, on_window: OnWindow | None = None
    ) -> NDArray[np.float32]:
        """The same, however far it goes beyond ±1."""
        hop, window = self._front_end.config.hop_samples, self._window.frames
        starts = self._window.starts(len(log_mel))
        numbered = enumerate(starts, start=1)
        parts = (self._vocoded(log_mel, start, number, len(starts), on_window) for number, start in numbered)
        return join(parts, [start * hop for start in starts], window * hop, len(log_mel) * hop)[:samples].numpy()

    def _vocoded(
        self, log_mel: torch.Tensor, start: int, number: int, windows: int, on_window: OnWindow | None
    ) -> torch.Tensor:
        """Waveform of one window. A vocoder may add some samples of its own at its end."""
        made: torch.Tensor = self._components["vocoder"](log_mel[None, start : start + self._window.frames])[0]
        if on_window is not None:
            on_window(number, windows)
        return made.float()
