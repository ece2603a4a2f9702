"""The model card of a pack that was trained on somebody's own recordings."""

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
from rewas_engine.packs.description import PackInfo
from rewas_engine.pipeline import ReWaS
from rewas_engine.recipes.model_card import FIGURES_FILE, MEASURING
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.recordings import HeldOutClips, Recordings
from rewas_engine.training.starting_point import NOTHING

if TYPE_CHECKING:
    from rewas_engine.recipes.pack_terms import PackTerms

LISTED_CAPTIONS = 30
SHORTEST_JUDGED_S = 0.5
CONSTANT_NATS = 1e-3
"""Energies that vary by less have no course that could be followed."""


def measure_on_held_out(
    model: ReWaS,
    clips: HeldOutClips,
    on_clip: Callable[[int, int], object] | None = None,
    cancel: CancelSignal | None = None,
) -> dict[str, float]:
    """How well a pack follows the energy of recordings that it was not trained on, and reads it from their pictures.

    The silence that fills up a short recording is generated but not judged: it would flatter. Correlations are 0 where
    what was made is constant. Clips that are silent or constant throughout, or shorter than half a second, are passed
    over; figures that no clip gives are left out. on_clip: called with finished and total clips.

    Raises TrainingStopped where asked to stop.
    """
    front_end, with_control = model.front_end, model.sampling_settings()
    without = model.sampling_settings(control_strength=0.0)
    found: dict[str, list[float | None]] = {}

    def add(name: str, value: float | None) -> None:
        found.setdefault(name, []).append(value)

    for seed, (caption, sound, frames) in enumerate(zip(clips.captions, clips.sounds, clips.pictures, strict=True)):
        if cancel is not None and cancel.is_set():
            raise TrainingStopped(MEASURING, seed)
        requested = front_end.measure(sound)
        heard_s = (int(np.flatnonzero(sound).max(initial=-1)) + 1) / front_end.config.sample_rate_hz
        judged = requested.values[: round(heard_s * float(front_end.config.frame_rate_hz))]
        if heard_s >= SHORTEST_JUDGED_S and judged.std() > CONSTANT_NATS:
            controls = Controls.following(requested)
            log_mel = model.sound.log_mel(caption, controls, seed, with_control)
            uncontrolled = model.sound.log_mel(caption, controls, seed, without)
            waveform = model.sound.vocoding.waveform(log_mel, sound.size)
            of_mel, of_sound, of_chance = (
                energy_agreement(judged, np.asarray(produced, np.float32)[: judged.size])
                for produced in (
                    log_mel.mean(dim=-1).cpu().numpy(),
                    front_end.measure(waveform).values,
                    uncontrolled.mean(dim=-1).cpu().numpy(),
                )
            )
            add("mel_correlation", of_mel[1])
            add("mel_mae_nats", of_mel[0])
            add("sound_correlation", of_sound[1])
            add("sound_mae_nats", of_sound[0])
            add("uncontrolled_mel_correlation", of_chance[1])
            if frames is not None:
                rate = model.picture_format[0]
                count = int(heard_s * float(rate))
                true = requested.at(rate, len(frames))[:count]
                estimated = agreement(true, model.energy_of_frames(frames)[:count], rate)
                moving = agreement(true, frame_difference(frames)[:count], rate)
                add("picture_correlation", estimated.correlation)
                add("picture_correlation_best_lag", estimated.best_correlation)
                add("motion_correlation", moving.correlation)
                add("motion_correlation_best_lag", moving.best_correlation)
        if on_clip is not None:
            on_clip(seed + 1, len(clips.captions))
    summaries = {name: summary(values, errors="mae" in name, undefined_as=0.0) for name, values in found.items()}
    return _told(summaries)


def _told(summaries: Mapping[str, Summary]) -> dict[str, float]:
    told: dict[str, float] = {}
    for name, figures in summaries.items():
        if figures.mean is not None and figures.worse_tenth is not None:
            told[f"mean_{name}"] = round(figures.mean, 4)
            told[f"worse_tenth_{name}"] = round(figures.worse_tenth, 4)
    if "mel_correlation" in summaries:
        told["clips"] = summaries["mel_correlation"].count
    if "picture_correlation" in summaries:
        told["clips_with_picture"] = summaries["picture_correlation"].count
    return told


def write_own_card(
    path: Path,
    terms: PackTerms,
    config: StarterConfig,
    recordings: Recordings,
    began: Mapping[str, str],
    continued: PackInfo | None,
    records: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, float],
) -> None:
    """Write figures.json and README.md beside pack.toml, README.md last.

    began: role -> what it began with. continued: the pack that the training started from. records: stage -> seconds
    and losses. figures: of `measure_on_held_out`.
    """
    facts = recordings.facts()
    document = {"figures": dict(figures), "data": facts, "began": dict(began), "config": asdict(config)}
    write_text_atomic(path / FIGURES_FILE, json.dumps(document, indent=1) + "\n")
    trained = facts["recordings"] - facts["held_out_recordings"]
    minutes = facts["training_duration_s"] / 60
    text = f"""# {terms.name}

A small sound model that follows words and energy, trained by `rewas train pack` on recordings of its maker's own.
Its prompts are read by all-MiniLM-L6-v2 (Apache-2.0), which is installed beside it and is not part of the pack.

Licence: {terms.licence}. {terms.permits}
{_origin(began, continued)}
## Training data

{trained} recordings, of {minutes:.1f} minutes together, cut into {facts["training_clips"]} clips of
{facts["clip_duration_s"]:g} s; {facts["training_clips_with_picture"]} of these have a picture.
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

{_measured(figures)}

## Limits

- It knows what its recordings hold; other prompts land on the nearest of these, or between them.
- The rate is 16 kHz, so there is nothing above 8 kHz.
- Few recordings are learnt by heart: what it makes may come close to one of them.
"""
    write_text_atomic(path / "README.md", text)


def _origin(began: Mapping[str, str], continued: PackInfo | None) -> str:
    if continued is None:
        return "\nIt was trained from nothing.\n"
    anew = sorted(role for role, beginning in began.items() if beginning == NOTHING)
    but = f" Trained anew: {', '.join(anew)}." if anew else ""
    return (
        f"\nIt continues the pack {continued.name} {continued.version}, whose own terms hold for it too: "
        f"{continued.licence}. {continued.permits}{but}\n"
    )


def _captions(recordings: Recordings) -> str:
    counted = Counter(recordings.captions()).most_common()
    listed = ", ".join(f"{caption} ({count})" for caption, count in counted[:LISTED_CAPTIONS])
    more = f", and {len(counted) - LISTED_CAPTIONS} others" if len(counted) > LISTED_CAPTIONS else ""
    return f"Captions, with their clips: {listed}{more}."


def _rows(records: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {stage} | {len(record['losses'])} | {record['seconds'] / 60:.1f} | {np.mean(record['losses'][:20]):.3f} | "
        f"{np.mean(record['losses'][-50:]):.3f} |"
        for stage, record in records.items()
    )


def _measured(figures: Mapping[str, float]) -> str:
    if not figures:
        return "There were too few recordings to hold any out: nothing was measured."
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value:g} |" for name, value in figures.items())
    return f"""On clips of recordings that no stage has seen, each with its own caption and energy. Correlations are
Pearson's between requested and produced energy (mean log-mel, 100 values a second); "uncontrolled" is the same noise
and prompt with the adapter switched off. Of pictures: between the energy read from the picture and the sound's, at
the picture's rate, and as good as within 0.2 s; "motion" is plain difference of frames.

| figure | value |
|---|---|
{rows}"""
