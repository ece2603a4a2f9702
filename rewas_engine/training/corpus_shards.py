"""Rendering the shards of a corpus. It does not import torch, which would take most of the time of a small shard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rewas_engine.conditioning.levels import normalise
from rewas_engine.runtime.atomic_files import save_array_atomic, write_text_atomic
from rewas_engine.training.grain_recordings import GrainRecording, read_grains
from rewas_engine.world import FRAME_RATE, FRAME_SIZE, Scene, render_sound, sample_scene
from rewas_engine.world.video import render_brightness

FULL_SCALE = 32767


def shard_path(folder: Path, index: int, kind: str) -> Path:
    """Path of one file of a shard."""
    return folder / f"{index:05d}.{kind}"


def write_shard(
    folder: Path,
    pictures: int,
    first_seed: int,
    classes: Sequence[str],
    recordings: tuple[GrainRecording, ...],
    index: int,
    clips: range,
) -> None:
    """Render clips and write them atomically as one shard.

    Args:
        folder: Folder of the corpus.
        pictures: Number of clips of the corpus with video; these are the first ones.
        first_seed: Scene seed of the first clip of the corpus.
        classes: Classes of the corpus.
        recordings: Recordings that the sounds can use; empty for synthesis only.
        index: Number of the shard.
        clips: Numbers of its clips.
    """
    grains = read_grains(recordings) if recordings else None
    sounds, frames, captions, onsets = [], [], [], []
    for clip in clips:
        scene = sample_scene(first_seed + clip, classes=classes)
        sound = render_sound(scene, grains)
        sounds.append(np.round(normalise(sound) * FULL_SCALE).astype(np.int16))
        captions.append(scene.full_caption)
        onsets.append(_onset_pairs(scene))
        if clip < pictures:
            frames.append(render_brightness(scene, frame_rate=FRAME_RATE, width=FRAME_SIZE, height=FRAME_SIZE))
    save_array_atomic(shard_path(folder, index, "sound.npy"), np.stack(sounds))
    if frames:
        save_array_atomic(shard_path(folder, index, "picture.npy"), np.stack(frames))
    _save_json(shard_path(folder, index, "onsets.json"), onsets)
    # Written last, because its presence marks the shard as complete.
    _save_json(shard_path(folder, index, "json"), captions)


def _onset_pairs(scene: Scene) -> list[list[float]] | None:
    if scene.is_silent:
        return []
    if not scene.event_times_s.size:
        return None
    pairs = zip(scene.event_times_s.tolist(), scene.event_strengths.tolist(), strict=True)
    return [[round(time_s, 4), round(strength, 3)] for time_s, strength in pairs]


def _save_json(path: Path, document: object) -> None:
    write_text_atomic(path, json.dumps(document))
