"""Ablation: the same clips without control, with energy, with onsets, and with energy and texture.

It uses the clips of the texture section, so that it shares most of its sounds with other figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.texture import texture_error
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.control_following import (
    clip_textures,
    energy_agreements,
    generate_with_texture,
    texture_clip_indices,
    textures,
)
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.greatest_hits import compare_sounds, mean_scores
from rewas_engine.evaluation.onset_control import has_counted_strikes, onset_settings, strikes
from rewas_engine.evaluation.prompt_adherence import classify_sounds
from rewas_engine.world import SAMPLE_RATE_HZ

CONDITIONS = ("none", "energy", "onsets", "energy_and_texture")
"""Conditions, in the order of the table."""
_NAMES = {"none": "nothing", "energy": "energy", "onsets": "onsets", "energy_and_texture": "energy and texture"}
_LABELS = {
    "energy_mae_nats": "Energy error",
    "number_accuracy": "Onset accuracy",
    "average_precision": "Onset average precision",
    "texture_error_nats": "Texture error",
    "right_class": "Class accuracy",
}


@dataclass(frozen=True)
class AblationRow:
    """Figures of one condition, all measured after the vocoder.

    Attributes:
        energy_mae_nats: Mean absolute difference from the clip's own energy.
        number_accuracy: Onset accuracy by the Greatest Hits protocol, on clips with countable strikes; None without
            such clips.
        average_precision: Onset average precision on the same clips.
        texture_error_nats: Mean absolute difference from the clip's own texture, where the clip is audible.
        right_class: Share of clips that the judge assigns to the requested class.
    """

    energy_mae_nats: float
    number_accuracy: float | None
    average_precision: float | None
    texture_error_nats: float
    right_class: float


def ablation_section(bench: Bench) -> Section:
    """Build the section: one row for each condition that the pack supports, and one for the real sound."""
    clips = [bench.clips[place] for place in texture_clip_indices(bench)]
    real = [clip.sound for clip in clips]
    sounds_of = {"real": real, **_generate_sounds(bench, clips)}
    rows = {name: ablation_row(bench, clips, sounds) for name, sounds in sounds_of.items()}
    figures = []
    for name in CONDITIONS:
        for key, label in _LABELS.items():
            value = getattr(rows[name], key) if name in rows else None
            note = "" if value is not None else "not measured: no strikes"
            if name not in rows:
                note = f"not supported: the pack has no control for {_NAMES[name]}"
            unit = "nats" if key.endswith("nats") else ""
            figures.append(Figure(f"ablation_{name}_{key}", f"{label}, control: {_NAMES[name]}", value, unit, note))
    counted = sum(map(has_counted_strikes, clips))
    table = {name: {key: _rounded(value) for key, value in asdict(row).items()} for name, row in rows.items()}
    return Section("ablation", "Ablation", tuple(figures), {"table": table, "clips": len(clips), "counted": counted})


def ablation_row(bench: Bench, clips: Sequence[BenchClip], sounds: Sequence[FloatArray]) -> AblationRow:
    """Compare sounds with the clips' own sounds. There is one per clip, [S] each."""
    log_mels = bench.log_mels(sounds)
    wanted, produced = clip_textures(clips), textures(log_mels)
    errors = [texture_error(*row) for row in zip(wanted, produced, (clip.energy for clip in clips), strict=True)]
    hits = [
        compare_sounds(clip.sound, sound, SAMPLE_RATE_HZ)
        for clip, sound in zip(clips, sounds, strict=True)
        if has_counted_strikes(clip)
    ]
    means: Mapping[str, float] = mean_scores(hits) if hits else {}
    right = [clip.class_name == name for clip, name in zip(clips, classify_sounds(bench.judge, log_mels), strict=True)]
    return AblationRow(
        float(np.mean(energy_agreements([clip.energy for clip in clips], log_mels)[1])),
        means.get("number_accuracy"),
        means.get("average_precision"),
        float(np.mean(errors)),
        float(np.mean(right)),
    )


def _generate_sounds(bench: Bench, clips: Sequence[BenchClip]) -> dict[str, list[FloatArray]]:
    """Generate the sounds [S] of every condition that the pack supports, for the clips of `texture_clip_indices`."""
    places, supported = texture_clip_indices(bench), bench.model.pack.controls
    sounds_of = {
        "none": bench.uncontrolled_sounds.choose(places).waveforms,
        "energy": [bench.plain_waveforms[place] for place in places],
    }
    if "onsets" in supported:
        rate_hz = float(bench.model.front_end.config.frame_rate_hz)
        sounds_of["onsets"] = bench.generate(
            "Onsets alone",
            [clip.plain for clip in clips],
            [Controls(onsets=strikes(clip, rate_hz)) for clip in clips],
            seeds=[clip.seed for clip in clips],
            settings=onset_settings(bench),
        ).waveforms
    if "texture" in supported:
        sounds_of["energy_and_texture"] = generate_with_texture(bench).waveforms
    return sounds_of


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
