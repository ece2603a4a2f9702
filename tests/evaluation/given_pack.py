"""What the tests of an evaluation share: a tiny pack, a judge that knows nothing, and benches with given sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rewas_engine import ReWaS
from rewas_engine.conditioning.controls import hint_channels
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.test_bench import Bench, Watch, bench_clips
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.recipes.starter import SENTENCE_ENCODER, StarterTraining
from rewas_engine.recipes.untrained_starter import write_untrained_pack
from rewas_engine.training.pack_writer import write_pack
from rewas_engine.world import CLASS_NAMES

TWO_CLASSES = ("drum_hit", "rain")


def tiny_model(folder: Path) -> ReWaS:
    return ReWaS.from_pretrained(write_untrained_pack(folder / "tiny"), device="cpu")


def able_model(folder: Path) -> ReWaS:
    """A tiny pack that understands onsets and texture beside energy."""
    components = {
        role: module for role, module in tiny_model(folder)._components.items() if isinstance(module, torch.nn.Module)
    }
    del components["text_encoder"]
    denoiser = components["denoiser"]
    components["adapter"] = EnergyAdapter.from_denoiser(denoiser, 16, hint_channels(denoiser.config.in_channels, 4))
    path = write_pack(
        components,
        folder / "able",
        schedule=StarterTraining.schedule(),
        sentence_encoder=SENTENCE_ENCODER,
        audio=MelConfig(),
        version="0.0.1",
        summary="Untrained.",
    )
    return ReWaS.from_pretrained(path, device="cpu")


def ignorant_judge() -> Judge:
    """A judge of random weights: of the real class, and right only by chance."""
    torch.manual_seed(0)
    return Judge(JudgeNetwork(classes=CLASS_NAMES), {"accuracy": 0.0})


def perfect_bench(model: ReWaS, classes: Sequence[str] = TWO_CLASSES, clips_per_class: int = 2) -> Bench:
    """A bench on which every sound was made exactly as it was asked for, and comes out of the vocoder unharmed."""
    clips = bench_clips(DEVELOPMENT, classes, clips_per_class, model.front_end, Watch())
    bench = Bench(model, ignorant_judge(), clips, model.sampling_settings(1, 1.0), Watch())
    real = np.stack([clip.log_mel for clip in clips])
    noise = np.random.default_rng(0).normal(-6, 1, real.shape).astype(np.float32)
    given = {
        "plain": real,
        "paraphrased": real,
        "plain_heard": real,
        "plain_waveforms": [clip.sound for clip in clips],
        "uncontrolled": noise,
        "swapped": real,
    }
    # What is once known of a bench is not generated again.
    vars(bench).update(given)
    return bench
