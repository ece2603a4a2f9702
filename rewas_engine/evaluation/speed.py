"""Time of one take of 5.12 s, by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.energy_from_video import render_at_pack_rate
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.sound_store import Request
from rewas_engine.world import SAMPLE_RATE_HZ

THREADS = 2
"""Number of threads that the target applies to."""
ROUNDS = 3
_MODEL_STAGES = {
    "sample": "Real-time factor, prompt and energy → mel",
    "vocode": "Real-time factor, mel → sound",
}


def speed_section(bench: Bench) -> Section:
    """Build the section: median seconds of each stage over several rounds, on at most two threads."""
    model, clip, settings = bench.model, bench.clips[0], bench.settings
    threads = torch.get_num_threads()
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    try:
        spent = [_time_round(bench, clip, number) for number in range(ROUNDS + 1)][1:]
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(threads)
    median = {stage: float(np.median([row[stage] for row in spent])) for stage in spent[0]}
    take_s = sum(seconds for stage, seconds in median.items() if stage != "picture")
    length_s = clip.sound.size / SAMPLE_RATE_HZ
    where = f"{used} threads{_load_note()}" if model.device == "cpu" else model.device
    figures = (
        Figure(
            "take_s",
            f"One take of {length_s:.2f} s",
            take_s,
            "s",
            f"{settings.num_inference_steps} steps, {where}" if bench.source.has_vocoder else where,
        ),
        Figure("real_time_factor", "Real-time factor of a take", take_s / length_s),
        *(
            Figure(f"real_time_factor_{stage}", label, median[stage] / length_s)
            if stage in median
            else unsupported_figure(f"real_time_factor_{stage}", label, "a library has no model")
            for stage, label in _MODEL_STAGES.items()
        ),
        Figure("real_time_factor_picture", "Real-time factor, video → energy", median["picture"] / length_s),
    )
    details = {
        "threads": used,
        "cores": os.cpu_count(),
        "device": model.device,
        "seconds": {stage: round(value, 4) for stage, value in median.items()},
    }
    return Section("speed", "Speed", figures, details)


def _load_note() -> str:
    """Format a note for the report if the machine is busy, which makes the times unreliable."""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f", on a busy machine (load {load:.1f} on {cores} cores)" if load > cores + 0.5 else ""


def _time_round(bench: Bench, clip: BenchClip, number: int) -> dict[str, float]:
    """Time each stage. Each round uses different frames, prompts and energies, because the pack caches them."""
    model = bench.model
    bench.watch.report("Timing", number, ROUNDS + 1)
    frames = render_at_pack_rate(clip.scene, Fraction(model.frame_format[0]), model.frame_format)
    frames, energy, prompt = frames.copy(), clip.energy.copy(), f"{clip.plain}, {number + 1}"
    frames[0, 0, 0], energy[0] = number, energy[0] + 0.01 * (number + 1)
    spent: dict[str, float] = {}

    def measure(stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        spent[stage] = time.perf_counter() - started
        return result

    measure("picture", lambda: model.estimate_energy_from_frames(frames))
    request = Request([prompt], [Controls(energy=energy)], [number], bench.settings)
    first, *others = _MODEL_STAGES if bench.source.has_vocoder else ("perform",)
    # The source returns an array on the CPU, so the time includes the work of a GPU.
    made = measure(first, lambda: bench.source.generate(request, bench.watch.check))
    for stage in others:
        measure(stage, lambda: bench.source.waveforms(made, lambda done, total: None))
    return spent
