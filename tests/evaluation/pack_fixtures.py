"""Fixtures for evaluation tests: a tiny pack, an untrained judge, and benches with given sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rewas_engine import ReWaS, Sampling
from rewas_engine.conditioning.controls import hint_channels
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.sentence_encoder import SENTENCE_ENCODER
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.recipes.untrained_starter import write_untrained_pack
from rewas_engine.training.pack_writer import write_pack
from rewas_engine.world import CLASS_NAMES

TWO_CLASSES = ("drum_hit", "rain")


def tiny_model(folder: Path) -> ReWaS:
    return ReWaS.from_pretrained(write_untrained_pack(folder / "tiny"), device="cpu")


def full_model(folder: Path) -> ReWaS:
    """A tiny pack with onset and texture control in addition to energy."""
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


def untrained_judge() -> Judge:
    """A judge with random weights: the real class, but correct only by chance."""
    torch.manual_seed(0)
    return Judge(JudgeNetwork(classes=CLASS_NAMES), {"accuracy": 0.0})


def perfect_bench(model: ReWaS, classes: Sequence[str] = TWO_CLASSES, clips_per_class: int = 2) -> Bench:
    """A bench on which every generated sound is exactly the requested one, and the vocoder is lossless."""
    clips = bench_clips(DEVELOPMENT, classes, clips_per_class, model.front_end, Watch())
    bench = Bench(
        model,
        untrained_judge(),
        clips,
        model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0)),
        Watch(),
    )
    real = np.stack([clip.log_mel for clip in clips])
    noise = np.random.default_rng(0).normal(-6, 1, real.shape).astype(np.float32)
    results = {
        "plain": real,
        "paraphrased": real,
        "plain_vocoded": real,
        "plain_waveforms": [clip.sound for clip in clips],
        "uncontrolled": noise,
        "swapped": real,
    }
    # Cached properties that are set are not generated again.
    vars(bench).update(results)
    return bench
