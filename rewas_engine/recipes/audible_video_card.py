"""The model card of a model for audible video."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rewas_engine.audible_video.model import AudibleVideoDescription
from rewas_engine.evaluation.audible_video import TARGETS, AudibleVideoFigures, Mean
from rewas_engine.recipes.audible_video_config import AudibleVideoConfig
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.precision import training_precision

CARD_FILE, FIGURES_FILE = "README.md", "figures.json"
_LABELS = {
    "sound_class": "class of the sound",
    "picture_class": "class of the picture",
    "both_classes": "both classes",
    "avh_auc": "AVHScore against sounds of other classes (AUC)",
    "avh_any_auc": "AVHScore against sounds of any other clip (AUC)",
    "struck_agreement": "motion and energy, struck classes (correlation)",
    "sustained_agreement": "motion and energy, sustained classes (correlation)",
}


def write_model_card(
    folder: Path, config: AudibleVideoConfig, figures: AudibleVideoFigures, training: dict[str, Any]
) -> None:
    """Write the card and the figures into the folder of a model.

    Args:
        folder: Folder of the model.
        config: Settings of its training.
        figures: Its figures.
        training: The record of the training: "seconds" and "losses".
    """
    about = AudibleVideoDescription.read(folder)
    parameters = sum(tensor.numel() for tensor in config.new_denoiser().parameters())
    classes = ", ".join(name.replace("_", " ") for name in about.classes)
    sampling = figures.sampling
    table = "\n".join(_row(figures, key, label) for key, label in _LABELS.items())
    by_class = "\n".join(
        f"| {name.replace('_', ' ')} | {sound:.2f} | {picture:.2f} |"
        for name, (sound, picture) in figures.generated.classes.items()
    )
    losses = training["losses"]
    text = f"""# Audible video

A tiny model that generates picture and sound from one sentence, with the method of TAVDiffusion (Mao et al. 2024).
It was trained by `rewas train tavd` on clips that the same program synthesises. It uses the text encoder, the
sound codec and the vocoder of the pack {about.lender}.

Licence: {about.licence}.

A clip has {about.frames} frames of {about.width} x {about.height} pixels at {float(config.frame_rate):g} per second,
without colour, and {float(about.frames / config.frame_rate):g} s of sound. The denoiser has {parameters:,} parameters.

## Training

{config.clips_per_class} clips of each class, seed {config.seed}; {config.loop.steps} steps of {config.batch} clips in
{training["seconds"] / 60:.0f} minutes on {platform.machine()} ({torch.get_num_threads()} threads,
{training_precision("cpu")} forward passes, PyTorch {torch.__version__}). The loss fell from {losses[0]:.2f} to
{sum(losses[-50:]) / len(losses[-50:]):.2f}, the mean of the last 50 steps.
Streams that attend to each other: {"yes" if config.interacts else "no"}. Weight of the alignment loss:
{config.alignment_weight:g}.

## Figures

{figures.generated.sound_class.clips} clips from sentences that training has not used, {sampling["num_steps"]:g} steps,
guidance scale {sampling["guidance_scale"]:g}. Means with their 95 % intervals. *Drawn* are clips of unseen scenes, the
limit of each measurement; *shuffled* are the generated pictures with the sounds of other clips of their class.

| Figure | Generated | Target | Drawn | Shuffled |
|---|---|---|---|---|
{table}

| Class | Sound right | Picture right |
|---|---|---|
{by_class}

## Limits

- It knows {len(about.classes)} classes: {classes}. Any other sentence gives one of these, or a mixture.
- Everything is synthetic: drawn objects in one shot, one sound, no ambience, no speech, no music.
- The judge and the joint space that measured it were trained on the same synthetic world.
"""
    write_text_atomic(folder / CARD_FILE, text)
    document = {"figures": figures.report(), "config": asdict(config), "seconds": training["seconds"]}
    write_text_atomic(folder / FIGURES_FILE, json.dumps(document, indent=1) + "\n")


def _row(figures: AudibleVideoFigures, key: str, label: str) -> str:
    of_clips = (figures.generated, figures.drawn, figures.shuffled)
    generated, drawn, shuffled = (_format(getattr(found, key)) for found in of_clips)
    return f"| {label} | {generated} | {f'{TARGETS[key]:.2f}' if key in TARGETS else ''} | {drawn} | {shuffled} |"


def _format(found: Mean | None) -> str:
    return "" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
