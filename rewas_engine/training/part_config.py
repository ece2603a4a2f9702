"""How φ and the adapter of a pack are trained on a data set; the defaults are the paper's recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from rewas_engine.training.loop import SteadyLoopConfig


def _paper(steps: int) -> SteadyLoopConfig:
    return SteadyLoopConfig(
        steps=steps, learning_rate=3e-5, warmup_steps=500, ema_decay=0.999, checkpoint_every=500, show_every=2000
    )


@dataclass(frozen=True)
class PhiConfig:
    """How φ learns the energy from the video encoder's tokens.

    seed: of weights and batches. device: "cpu", "cuda:0" or "auto". cut_s: length of the cuts, drawn from each clip
    anew in every step. batch_size: cuts in a step, over all processes. judged_clips: held-out clips that it is measured
    on. loop: steps and optimiser.
    """

    seed: int = 1
    device: str = "auto"
    cut_s: float = 5.0
    batch_size: int = 64
    judged_clips: int = 256
    loop: SteadyLoopConfig = field(default_factory=lambda: _paper(50_000))


@dataclass(frozen=True)
class AdapterConfig:
    """How the adapter learns to steer the frozen base.

    seed, device, cut_s, batch_size, judged_clips, loop: as in PhiConfig. Cuts shorter than the pack's window are
    repeated to its length. text_dropout: share of cuts whose words are taken away. hint_dropout: share of cuts
    whose energy is taken away. precision: of the networks' inner arithmetic, "bfloat16" or "float32". judged_steps:
    sampling steps of the sounds that the control is measured on.
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
