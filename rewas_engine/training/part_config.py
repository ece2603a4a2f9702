"""Training settings for φ and the adapter of a pack on a data set; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field

from rewas_engine.training.loop import SteadyLoopConfig


def _paper(steps: int) -> SteadyLoopConfig:
    return SteadyLoopConfig(
        steps=steps, learning_rate=3e-5, warmup_steps=500, ema_decay=0.999, checkpoint_every=500, show_every=2000
    )


@dataclass(frozen=True)
class PhiConfig:
    """Training settings of φ, which learns the energy from the tokens of the video encoder.

    Attributes:
        seed: Seed of weights and batches.
        device: "cpu", "cuda:0" or "auto".
        cut_s: Length of a crop in seconds.
        batch_size: Crops per step, over all processes.
        judged_clips: Number of held-out clips for the figures.
        loop: Optimisation settings.
    """

    seed: int = 1
    device: str = "auto"
    cut_s: float = 5.0
    batch_size: int = 64
    judged_clips: int = 256
    loop: SteadyLoopConfig = field(default_factory=lambda: _paper(50_000))


@dataclass(frozen=True)
class AdapterConfig:
    """Training settings of the adapter, which learns to control the frozen base.

    Attributes:
        seed, device, cut_s, batch_size, judged_clips, loop: As in PhiConfig. Crops shorter than the window of the pack
            are repeated.
        text_dropout: Share of crops without a prompt.
        hint_dropout: Share of crops without energy.
        precision: Type of the forward passes, "bfloat16" or "float32".
        judged_steps: Sampling steps for the figures.
    """

    seed: int = 1
    device: str = "auto"
    cut_s: float = 5.0
    batch_size: int = 16
    text_dropout: float = 0.3
    hint_dropout: float = 0.0
    precision: str = "bfloat16"
    judged_clips: int = 16
    judged_steps: int = 25
    loop: SteadyLoopConfig = field(default_factory=lambda: _paper(100_000))
