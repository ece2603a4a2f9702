"""The model card of a pack trained on the user's recordings."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import energy_agreement
from rewas_engine.evaluation.curve_agreement import Summary, agreement, summary
from rewas_engine.evaluation.motion_baselines import frame_difference
from rewas_engine.generation.options import Control
from rewas_engine.packs.description import PackInfo
from rewas_engine.pipeline import ReWaS
from rewas_engine.recipes.model_card import FIGURES_FILE, MEASURING_STAGE
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.recordings import HeldOutClips, Recordings
from rewas_engine.training.starting_point import NOTHING

if TYPE_CHECKING:
    from rewas_engine.recipes.pack_terms import PackTerms

LISTED_CAPTIONS = 30
SHORTEST_MEASURED_S = 0.5
CONSTANT_NATS = 1e-3
"""Standard deviation below which an energy counts as constant."""


def measure_held_out(
    model: ReWaS,
    clips: HeldOutClips,
    on_clip: Callable[[int, int], object] | None = None,
    cancel: CancelSignal | None = None,
) -> dict[str, float]:
    """Measure how well a pack follows the energy of held-out recordings and estimates it from their video.

    The silence that pads a short recording is not measured, because it would improve the figures. The correlation of a
    constant result is 0. Clips that are silent, constant or shorter than half a second are skipped, and figures without
    clips are left out.

    Args:
        model: The pack.
        clips: Held-out clips.
        on_clip: Called with finished and total clips.
        cancel: Stops the work when it is set.

    Raises:
        TrainingStopped: The work was cancelled.
    """
    front_end, with_control = model.front_end, model.sampling_settings()
    without = model.sampling_settings(control=Control(strength=0.0))
    found: dict[str, list[float | None]] = {}

    def add(name: str, value: float | None) -> None:
        found.setdefault(name, []).append(value)

    for seed, (caption, sound, frames) in enumerate(zip(clips.captions, clips.sounds, clips.pictures, strict=True)):
        if cancel is not None and cancel.is_set():
            raise TrainingStopped(MEASURING_STAGE, seed)
        requested = front_end.measure_energy(sound)
        sounding_s = (int(np.flatnonzero(sound).max(initial=-1)) + 1) / front_end.config.sample_rate_hz
        target = requested.values[: round(sounding_s * float(front_end.config.frame_rate_hz))]
        if sounding_s >= SHORTEST_MEASURED_S and target.std() > CONSTANT_NATS:
            controls = Controls.from_energy(requested)
            log_mel = model.sound_generator.generate_log_mel(caption, controls, seed, with_control)
            uncontrolled = model.sound_generator.generate_log_mel(caption, controls, seed, without)
            waveform = model.sound_generator.vocoder.vocode(log_mel, sound.size)
            of_mel, of_sound, of_chance = (
                energy_agreement(target, np.asarray(produced, np.float32)[: target.size])
                for produced in (
                    log_mel.mean(dim=-1).cpu().numpy(),
                    front_end.measure_energy(waveform).values,
                    uncontrolled.mean(dim=-1).cpu().numpy(),
                )
            )
            add("mel_correlation", of_mel[1])
            add("mel_mae_nats", of_mel[0])
            add("sound_correlation", of_sound[1])
            add("sound_mae_nats", of_sound[0])
            add("uncontrolled_mel_correlation", of_chance[1])
            if frames is not None:
                rate = model.frame_format[0]
                count = int(sounding_s * float(rate))
                true = requested.resample(rate, len(frames))[:count]
                estimate = model.estimate_energy_from_frames(frames, prompt=caption)
                estimated = agreement(true, estimate[:count], rate)
                moving = agreement(true, frame_difference(frames)[:count], rate)
                add("picture_correlation", estimated.correlation)
                add("picture_correlation_best_lag", estimated.best_correlation)
                add("motion_correlation", moving.correlation)
                add("motion_correlation_best_lag", moving.best_correlation)
        if on_clip is not None:
            on_clip(seed + 1, len(clips.captions))
    summaries = {name: summary(values, errors="mae" in name, undefined_as=0.0) for name, values in found.items()}
    return _flatten(summaries)


def _flatten(summaries: Mapping[str, Summary]) -> dict[str, float]:
    figures_by_name: dict[str, float] = {}
    for name, figures in summaries.items():
        if figures.mean is not None and figures.worse_tenth is not None:
            figures_by_name[f"mean_{name}"] = round(figures.mean, 4)
            figures_by_name[f"worse_tenth_{name}"] = round(figures.worse_tenth, 4)
    if "mel_correlation" in summaries:
        figures_by_name["clips"] = summaries["mel_correlation"].count
    if "picture_correlation" in summaries:
        figures_by_name["clips_with_picture"] = summaries["picture_correlation"].count
    return figures_by_name


def write_own_model_card(
    path: Path,
    terms: PackTerms,
    config: StarterConfig,
    recordings: Recordings,
    began: Mapping[str, str],
    continued: PackInfo | None,
    records: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, float],
) -> None:
    """Write figures.json and README.md next to pack.toml, README.md last.

    Args:
        path: The pack's folder.
        terms: Name and terms of the pack.
        config: Settings of the training.
        recordings: Training data.
        began: Role -> the pack that initialised it, or NOTHING.
        continued: The pack that the training started from, or None.
        records: Stage -> seconds and losses.
        figures: Result of `measure_held_out`.
    """
    facts = recordings.facts()
    document = {"figures": dict(figures), "data": facts, "began": dict(began), "config": asdict(config)}
    write_text_atomic(path / FIGURES_FILE, json.dumps(document, indent=1) + "\n")
    trained = facts["recordings"] - facts["held_out_recordings"]
    minutes = facts["training_duration_s"] / 60
    text = f"""# {terms.name}

A small sound model with prompt and energy control, trained by `rewas train pack` on its author's recordings.
Its text encoder is all-MiniLM-L6-v2 (Apache-2.0), which is installed separately and is not part of the pack.

Licence: {terms.licence}. {terms.permits}
{_origin(began, continued)}
## Training data

{trained} recordings with a total of {minutes:.1f} minutes, cut into {facts["training_clips"]} clips of
{facts["clip_duration_s"]:g} s; {facts["training_clips_with_picture"]} of these have video.
{facts["held_out_recordings"]} more recordings were held out for the figures below, and {facts["left_out"]} files or
lines could not be used. The recordings themselves are not part of the pack.

{_captions(recordings)}

## Training

Seed {config.seed}, on {platform.machine()} (device {config.device}, {torch.get_num_threads()} threads, PyTorch
{torch.__version__}).

| stage | steps | minutes | first loss | last loss |
|---|---|---|---|---|
{_rows(records)}

## Figures

{_figures_section(figures)}

## Limits

- It knows the sounds of its recordings; other prompts give the closest of these, or a mixture.
- The sample rate is 16 kHz, so there is nothing above 8 kHz.
- With few recordings the model memorises them: its output can be close to one of them.
"""
    write_text_atomic(path / "README.md", text)


def _origin(began: Mapping[str, str], continued: PackInfo | None) -> str:
    if continued is None:
        return "\nIt was trained from scratch.\n"
    new_roles = sorted(role for role, beginning in began.items() if beginning == NOTHING)
    from_scratch = f" Trained from scratch: {', '.join(new_roles)}." if new_roles else ""
    return (
        f"\nIt continues the pack {continued.name} {continued.version}, whose terms also apply: "
        f"{continued.licence}. {continued.permits}{from_scratch}\n"
    )


def _captions(recordings: Recordings) -> str:
    counted = Counter(recordings.captions()).most_common()
    listed = ", ".join(f"{caption} ({count})" for caption, count in counted[:LISTED_CAPTIONS])
    more = f", and {len(counted) - LISTED_CAPTIONS} others" if len(counted) > LISTED_CAPTIONS else ""
    return f"Captions with their number of clips: {listed}{more}."


def _rows(records: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {stage} | {len(record['losses'])} | {record['seconds'] / 60:.1f} | {np.mean(record['losses'][:20]):.3f} | "
        f"{np.mean(record['losses'][-50:]):.3f} |"
        for stage, record in records.items()
    )


def _figures_section(figures: Mapping[str, float]) -> str:
    if not figures:
        return "There were too few recordings to hold any out, so nothing was measured."
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value:g} |" for name, value in figures.items())
    return f"""On clips of held-out recordings, each with its own caption and energy. Correlations are Pearson's between
requested and produced energy (mean log-mel, 100 values per second); "uncontrolled" is the same noise and prompt with
the adapter switched off. "picture" compares the energy estimated from the video with that of the sound, at the frame
rate; "best lag" is the highest correlation within ±0.2 s, and "motion" is the plain difference of frames.

| figure | value |
|---|---|
{rows}"""
