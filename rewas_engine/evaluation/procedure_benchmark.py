"""Benchmark of our default settings against those of the released ReWaS, with the same weights, clip and machine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.sources import flat_curve
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.peak_memory import peak_gb, reset_peak
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.generation.options import Control, Sampling
from rewas_engine.media.clip import VideoClip
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.devices import resolve_device
from rewas_engine.runtime.execution import RELEASED_EXECUTION, Execution
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.world import render_brightness

PROMPT = "a drum being hit"
CLIP_S = Fraction(128, 25)
RELEASED_STEPS = 200
RELEASED_GUIDANCE = 3.0
"""Guidance scale of the release, with which both branches of guidance run, whatever the default of the pack is."""


@dataclass(frozen=True)
class Procedure:
    """Settings for generating the sound of one clip; see SamplingSettings. None means the default of the pack."""

    name: str
    execution: Execution
    sampler: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None


@dataclass(frozen=True)
class Timing:
    """Time of one procedure for one take, including the video.

    Attributes:
        name: Name of the procedure.
        sampler: Sampler.
        num_inference_steps: Sampling steps of the procedure.
        measured_steps: Number of sampling steps that were run. If it is below num_inference_steps, the time of the
            others is extrapolated, and so is total_s.
        guidance_scale: Guidance scale.
        precision: Floating-point type of the forward passes.
        seconds: Seconds by stage.
        load_s: Seconds for loading the pack, which is done once before the stages.
        again_s: Seconds for another take with a different seed, which reuses everything that does not depend on it.
        processor_s: CPU time of all cores for total_s, extrapolated in the same way. It is more reliable than total_s
            on a busy machine, and meaningless on a GPU.
        peak_gb: See `peak_gb`.
    """

    name: str
    sampler: str
    num_inference_steps: int
    measured_steps: int
    guidance_scale: float
    precision: str
    seconds: Mapping[str, float]
    load_s: float
    again_s: float | None
    processor_s: float
    peak_gb: float | None

    @property
    def total_s(self) -> float:
        """Seconds from the video file to the waveform."""
        return sum(self.seconds.values())

    @property
    def is_extrapolated(self) -> bool:
        """Whether fewer than all steps were run."""
        return self.measured_steps < self.num_inference_steps

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return {
            "name": self.name,
            "sampler": self.sampler,
            "num_steps": self.num_inference_steps,
            "measured_steps": self.measured_steps,
            "extrapolated": self.is_extrapolated,
            "guidance_scale": self.guidance_scale,
            "precision": self.precision,
            "seconds": {stage: round(spent, 4) for stage, spent in self.seconds.items()},
            "total_s": round(self.total_s, 4),
            "load_s": round(self.load_s, 4),
            "again_s": None if self.again_s is None else round(self.again_s, 4),
            "processor_s": round(self.processor_s, 4),
            "peak_gb": None if self.peak_gb is None else round(self.peak_gb, 3),
        }


@dataclass(frozen=True)
class Comparison:
    """Times of both procedures, and the machine they were measured on."""

    ours: Timing
    released: Timing
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times faster our default is, from the video file to the waveform."""
        return self.released.total_s / self.ours.total_s

    @property
    def processor_ratio(self) -> float:
        """The same ratio in CPU time of all cores."""
        return self.released.processor_s / self.ours.processor_s

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return {
            "ours": self.ours.report(),
            "released": self.released.report(),
            "ratio": round(self.ratio, 2),
            "processor_ratio": round(self.processor_ratio, 2),
            "ratio_is_extrapolated": self.released.is_extrapolated,
            "machine": dict(self.machine),
        }


def compare_procedures(
    pack: str | Path,
    clip: Path,
    *,
    device: str = "auto",
    execution: Execution | None = None,
    measured_steps: int = RELEASED_STEPS,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> Comparison:
    """Time both procedures on one clip.

    Args:
        pack: Folder or name of the pack.
        clip: Video file.
        device: Device to run on.
        execution: Execution of our procedure; None for the default.
        measured_steps: Number of steps of the release to run, out of 200.
        on_progress: Called with the progress.
        cancel: Stops the work when it is set.

    Raises:
        PackError: The pack cannot be used.
        MediaError: The clip cannot be read.
        SettingsError: The settings are invalid.
        InsufficientMemoryError: Out of memory.
        Cancelled: The work was cancelled.
    """
    watch = Watch(on_progress, cancel)
    watch.section = "procedures"
    released = Procedure("released", RELEASED_EXECUTION, "ddim", RELEASED_STEPS, RELEASED_GUIDANCE)
    ours = Procedure("default", execution or Execution())
    timings = [
        _time_procedure(pack, clip, procedure, device, watch, cancel, min(steps, RELEASED_STEPS))
        for procedure, steps in ((ours, RELEASED_STEPS), (released, measured_steps))
    ]
    return Comparison(timings[0][0], timings[1][0], machine(timings[0][1]))


def machine(device: str) -> dict[str, Any]:
    """Describe the machine: device, threads, cores and load."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }


def write_bench_clip(folder: Path) -> Path:
    """Write a scene of the world as a clip of 5.12 s at 25 frames per second."""
    scene = DEVELOPMENT.audible("drum_hit", 1)[0]
    frames = render_brightness(scene, frame_rate=Fraction(25), width=320, height=240)
    return _write_clip(folder / "bench.mkv", np.repeat(frames[: round(25 * CLIP_S), ..., None], 3, axis=-1))


def flat_controls(model: ReWaS) -> Controls:
    """Constant energy over one window."""
    frames = int(model.sound_generator.window.frames)
    return Controls.from_energy(EnergyCurve(np.full(frames, -5.0, np.float32), model.front_end.config.frame_rate_hz))


def _time_procedure(
    pack: str | Path,
    clip: Path,
    procedure: Procedure,
    device: str,
    watch: Watch,
    cancel: CancelSignal | None,
    measured_steps: int,
) -> tuple[Timing, str]:
    watch.report(f"Loading the pack, {procedure.name}", 0, 1)
    reset_peak(resolve_device(device))
    started = time.perf_counter()
    model = ReWaS.from_pretrained(pack, device=device, execution=procedure.execution)
    load_s = time.perf_counter() - started
    settings = model.sampling_settings(
        Sampling(
            num_inference_steps=procedure.num_inference_steps,
            guidance_scale=procedure.guidance_scale,
            sampler=procedure.sampler,
        )
    )
    run_steps = min(measured_steps, settings.num_inference_steps)
    takes = _TakeTimer(model, clip, procedure, watch, cancel)
    energy = flat_curve(duration=model.read_clip(VideoClip(clip)).duration_s)
    takes.time_take(1, 0, energy)  # the first run is slower
    model.clear_cache()
    take = takes.time_take(run_steps, 0)
    missing = settings.num_inference_steps - run_steps
    seconds = {**take.seconds, "sample": take.seconds["sample"] + missing * take.step_s}
    again_s = None
    if not missing and procedure.execution.caching:
        again_s = sum(takes.time_take(run_steps, 1).seconds.values())
    timing = Timing(
        procedure.name,
        settings.sampler,
        settings.num_inference_steps,
        run_steps,
        settings.guidance_scale,
        settings.precision,
        seconds,
        load_s,
        again_s,
        take.processor_s + missing * take.step_processor_s,
        peak_gb(model.device),
    )
    return timing, model.device


@dataclass(frozen=True)
class _TakeTime:
    """Seconds of one take by stage, and of one step, with the CPU time of both over all cores."""

    seconds: Mapping[str, float]
    step_s: float
    processor_s: float
    step_processor_s: float


@dataclass(frozen=True)
class _TakeTimer:
    model: ReWaS
    clip: Path
    procedure: Procedure
    watch: Watch
    cancel: CancelSignal | None

    def time_take(self, num_inference_steps: int, seed: int, energy: EnergyCurve | None = None) -> _TakeTime:
        """Time one take. If `energy` is None, it is estimated from the video."""
        step_times: list[tuple[float, float]] = []

        def on_progress(progress: Progress) -> None:
            if progress.stage != "sample":
                return
            if progress.step:
                if torch.device(self.model.device).type == "cuda":
                    torch.cuda.synchronize(self.model.device)
                step_times.append((time.perf_counter(), time.process_time()))
            self.watch.report(f"Sampling, {self.procedure.name}", progress.step, progress.total_steps)

        started = time.process_time()
        result = self.model.generate(
            VideoClip(self.clip),
            prompt=PROMPT,
            seed=seed,
            on_progress=on_progress,
            cancel=self.cancel,
            control=Control(energy=energy),
            sampling=Sampling(
                num_inference_steps=num_inference_steps,
                sampler=self.procedure.sampler,
                guidance_scale=self.procedure.guidance_scale,
            ),
        )
        processor_s = time.process_time() - started
        # A take with faults is generated twice; the reported time is that of one attempt.
        tries = max(1, round(len(step_times) / num_inference_steps))
        seconds = {
            stage: spent / (tries if stage in ("sample", "vocode") else 1) for stage, spent in result.timings_s.items()
        }
        apart = np.diff(np.array(step_times[:num_inference_steps]), axis=0)
        step_s, step_processor_s = np.median(apart, axis=0) if len(apart) else (0.0, 0.0)
        sounding_s = seconds["sample"] + seconds["vocode"]
        others = sum(seconds.values()) - sounding_s
        share = (others + sounding_s) / max(others + tries * sounding_s, 1e-9)
        return _TakeTime(seconds, float(step_s), processor_s * share, float(step_processor_s))


def _write_clip(path: Path, frames: NDArray[np.uint8]) -> Path:
    """Write frames [T, H, W, 3] losslessly at 25 frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
