"""What each control is worth: the same clips steered by nothing, energy, onsets, and energy with texture.

It is measured on the clips that texture is measured on, so that most of its sounds are made for other figures too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.texture import texture_error
from rewas_engine.evaluation.control_following import followed, own_textures, textured, textured_places, textures
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.greatest_hits import compare_sounds, mean_scores
from rewas_engine.evaluation.onset_control import has_counted_strikes, onset_settings, strikes
from rewas_engine.evaluation.prompt_adherence import heard_classes
from rewas_engine.evaluation.test_bench import Bench, BenchClip
from rewas_engine.world import SAMPLE_RATE_HZ

CONDITIONS = ("none", "energy", "onsets", "energy_and_texture")
"""What steers, in the order of the table."""
_NAMES = {"none": "nothing", "energy": "energy", "onsets": "onsets", "energy_and_texture": "energy and texture"}
_LABELS = {
    "energy_mae_nats": "Energy error",
    "number_accuracy": "Onset accuracy",
    "average_precision": "Onset average precision",
    "texture_error_nats": "Texture error",
    "right_class": "Right class",
}


@dataclass(frozen=True)
class AblationRow:
    """One condition, all figures of the sound after the vocoder.

    energy_mae_nats: mean absolute difference to the clip's own energy. number_accuracy, average_precision: of onsets
    against the real sound, as Greatest Hits counts them, on clips whose strikes can be counted; None without such.
    texture_error_nats: mean absolute difference to the clip's own texture where it can be heard. right_class: share of
    clips that the judge takes for what they should be.
    """

    energy_mae_nats: float
    number_accuracy: float | None
    average_precision: float | None
    texture_error_nats: float
    right_class: float


def ablation_section(bench: Bench) -> Section:
    """The table, a row for each condition that the pack can be steered by; the real sound beside them as the bound."""
    clips = [bench.clips[place] for place in textured_places(bench)]
    real = [clip.sound for clip in clips]
    made = {"real": real, **_made(bench, clips)}
    rows = {name: ablation_row(bench, clips, sounds) for name, sounds in made.items()}
    figures = []
    for name in CONDITIONS:
        for key, label in _LABELS.items():
            value = getattr(rows[name], key) if name in rows else None
            note = "" if value is not None else "not measured: no strikes"
            if name not in rows:
                note = f"not supported: the pack cannot be steered by {_NAMES[name]}"
            unit = "nats" if key.endswith("nats") else ""
            figures.append(Figure(f"ablation_{name}_{key}", f"{label}, steered by {_NAMES[name]}", value, unit, note))
    counted = sum(map(has_counted_strikes, clips))
    table = {name: {key: _rounded(value) for key, value in asdict(row).items()} for name, row in rows.items()}
    return Section("ablation", "Ablation", tuple(figures), {"table": table, "clips": len(clips), "counted": counted})


def ablation_row(bench: Bench, clips: Sequence[BenchClip], sounds: Sequence[FloatArray]) -> AblationRow:
    """What sounds [S] each, one for each clip, come to against the clips' own sounds."""
    heard = bench.heard(sounds)
    wanted, made = own_textures(clips), textures(heard)
    errors = [texture_error(*row) for row in zip(wanted, made, (clip.energy for clip in clips), strict=True)]
    hits = [
        compare_sounds(clip.sound, sound, SAMPLE_RATE_HZ)
        for clip, sound in zip(clips, sounds, strict=True)
        if has_counted_strikes(clip)
    ]
    means: Mapping[str, float] = mean_scores(hits) if hits else {}
    right = [clip.class_name == name for clip, name in zip(clips, heard_classes(bench.judge, heard), strict=True)]
    return AblationRow(
        float(np.mean(followed([clip.energy for clip in clips], heard)[1])),
        means.get("number_accuracy"),
        means.get("average_precision"),
        float(np.mean(errors)),
        float(np.mean(right)),
    )


def _made(bench: Bench, clips: Sequence[BenchClip]) -> dict[str, list[FloatArray]]:
    """The sounds [S] of every condition that the pack understands. clips: those of `textured_places`."""
    places, understood = textured_places(bench), bench.model.pack.controls
    made = {
        "none": bench.vocoded(bench.uncontrolled[places], clips),
        "energy": [bench.plain_waveforms[place] for place in places],
    }
    if "onsets" in understood:
        rate_hz = float(bench.model.front_end.config.frame_rate_hz)
        mels = bench.generated(
            "Onsets alone",
            [clip.plain for clip in clips],
            [Controls(onsets=strikes(clip, rate_hz)) for clip in clips],
            seeds=[clip.seed for clip in clips],
            settings=onset_settings(bench),
        )
        made["onsets"] = bench.vocoded(mels, clips)
    if "texture" in understood:
        made["energy_and_texture"] = bench.vocoded(textured(bench), clips)
    return made


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
