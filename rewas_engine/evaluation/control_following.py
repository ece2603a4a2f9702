"""How well the sound follows the controls energy and texture, compared with no control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls, measure_textures
from rewas_engine.curves.energy import FloatArray, energy_agreement
from rewas_engine.curves.texture import texture_error
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.curve_agreement import summary
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.figures_with_picture import figure_with_picture
from rewas_engine.evaluation.sound_sources import NO_VOCODER, Sounds

EXAMPLES = 6
_CORRELATION = ("energy_correlation_mean", "Energy correlation of the mel, mean")
_ERROR = ("energy_mae_nats", "Energy error of the mel")
TEXTURE_SHARE = 4
"""Texture is measured on every fourth clip of the bench, because its effect is clear on a few clips."""

_VOCODED = (
    ("vocoded_correlation_mean", "Energy correlation after the vocoder, mean", ""),
    ("vocoded_correlation_worse_tenth", "Energy correlation after the vocoder, 10th percentile", ""),
    ("vocoded_mae_nats", "Energy error after the vocoder", "nats"),
)
"""Key, label and unit of the figures of vocoded sounds."""

EnergyAgreements = tuple[list[float], list[float]]
"""Correlation, and mean absolute difference in nats, of each clip."""


def energy_section(bench: Bench) -> Section:
    """Build the section: requested energy against that of the log-mel, of the sound, and without control."""
    requested = [clip.energy for clip in bench.clips]
    correlations, maes_nats = energy_agreements(requested, bench.plain)
    uncontrolled, _ = energy_agreements(requested, bench.uncontrolled)
    of_mel = summary(correlations)
    figures = [
        Figure(*_CORRELATION, of_mel.mean),
        Figure("energy_correlation_worse_tenth", "Energy correlation of the mel, 10th percentile", of_mel.worse_tenth),
        Figure(*_ERROR, summary(maes_nats).mean, "nats"),
        Figure(
            "uncontrolled_correlation",
            "Correlation without control, magnitude of the mean",
            abs(float(np.mean(uncontrolled))),
            note=f"mean {np.mean(uncontrolled):+.3f}, mean magnitude {np.mean(np.abs(uncontrolled)):.3f}",
        ),
        *figure_with_picture(*_CORRELATION, bench.clips, correlations),
        *figure_with_picture(*_ERROR, bench.clips, maes_nats, "nats"),
    ]
    details = {
        "correlation_by_class": mean_by_class(bench.clips, correlations),
        "mae_nats_by_class": mean_by_class(bench.clips, maes_nats),
    }
    plot_data: dict[str, object] = {
        "correlations": np.array(correlations),
        "uncontrolled_correlations": np.array(uncontrolled),
        "requested": np.stack(requested),
        "produced": bench.plain.mean(axis=-1),
        "examples": [_example(bench, number) for number in example_numbers(bench.clips)],
    }
    if bench.source.has_vocoder:
        vocoded_correlations, vocoded_maes_nats = energy_agreements(requested, bench.plain_vocoded)
        of_sound = summary(vocoded_correlations)
        values = (of_sound.mean, of_sound.worse_tenth, summary(vocoded_maes_nats).mean)
        figures += [Figure(key, label, value, unit) for (key, label, unit), value in zip(_VOCODED, values, strict=True)]
        for (key, label, unit), row in zip(_VOCODED[::2], (vocoded_correlations, vocoded_maes_nats), strict=True):
            figures += figure_with_picture(key, label, bench.clips, row, unit)
        details["vocoded_correlation_by_class"] = mean_by_class(bench.clips, vocoded_correlations)
        plot_data["vocoded_correlations"] = np.array(vocoded_correlations)
    else:
        figures += [unsupported_figure(key, label, NO_VOCODER) for key, label, _ in _VOCODED]
    return Section("energy", "Energy", tuple(figures), details, plot_data)


def texture_section(bench: Bench) -> Section:
    """Build the section: error of the texture with texture control, and with energy alone."""
    label = "Texture error with texture control"
    if "texture" not in bench.model.pack.controls:
        why = "the pack has no texture control"
        return Section("texture", "Texture", (unsupported_figure("texture_error_nats", label, why),))
    places = texture_clip_indices(bench)
    clips = [bench.clips[place] for place in places]
    wanted, produced = clip_textures(clips), generate_with_texture(bench).log_mels
    errors = [
        texture_error(*row) for row in zip(wanted, textures(produced), (clip.energy for clip in clips), strict=True)
    ]
    plain = textures(bench.plain[places])
    without = [texture_error(*row) for row in zip(wanted, plain, (clip.energy for clip in clips), strict=True)]
    correlations, _ = energy_agreements([clip.energy for clip in clips], produced)
    figures = (
        Figure("texture_error_nats", label, float(np.mean(errors)), "nats"),
        Figure("texture_error_without_nats", "Texture error with energy alone", float(np.mean(without)), "nats"),
        Figure(
            "texture_energy_correlation",
            "Energy correlation with texture control, mean",
            float(np.mean(correlations)),
        ),
    )
    details = {
        "error_nats_by_class": mean_by_class(clips, errors),
        "error_without_nats_by_class": mean_by_class(clips, without),
    }
    return Section("texture", "Texture", figures, details)


def texture_clip_indices(bench: Bench) -> list[int]:
    """Indices of the clips that texture is measured on."""
    return list(range(0, len(bench.clips), TEXTURE_SHARE))


def generate_with_texture(bench: Bench) -> Sounds:
    """Generate sounds of the clips of `texture_clip_indices` with their own energies and textures."""
    clips = [bench.clips[place] for place in texture_clip_indices(bench)]
    controls = [
        Controls(energy=clip.energy, texture=texture) for clip, texture in zip(clips, clip_textures(clips), strict=True)
    ]
    prompts, seeds = [clip.plain for clip in clips], [clip.seed for clip in clips]
    return bench.generate("Energy and texture", prompts, controls, seeds=seeds)


def clip_textures(clips: Sequence[BenchClip]) -> NDArray[np.float32]:
    """Textures [N, T, bands] of the clips' own sounds."""
    return textures(np.stack([clip.log_mel for clip in clips]))


def energy_agreements(requested: Sequence[FloatArray], log_mels: NDArray[np.float32]) -> EnergyAgreements:
    """Compare the energy of each log-mel with the requested energy. An undefined correlation counts as 0.

    Args:
        requested: N energies, [T] nats each.
        log_mels: [N, T, bins] nats.
    """
    pairs = [
        energy_agreement(target, produced.mean(axis=-1)) for target, produced in zip(requested, log_mels, strict=True)
    ]
    return [correlation or 0.0 for _, correlation in pairs], [mae_nats for mae_nats, _ in pairs]


def textures(log_mels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Textures [N, T, bands] of log-mels [N, T, bins]."""
    return measure_textures(torch.from_numpy(log_mels)).numpy()


def mean_by_class(clips: Sequence[BenchClip], values: Sequence[float]) -> dict[str, float]:
    """Mean of the clips' values for each class."""
    rows: dict[str, list[float]] = {}
    for clip, value in zip(clips, values, strict=True):
        rows.setdefault(clip.class_name, []).append(value)
    return {name: round(float(np.mean(row)), 4) for name, row in rows.items()}


def example_numbers(clips: Sequence[BenchClip]) -> list[int]:
    """Indices of clips to show, spread over the classes and the same in every evaluation of one size."""
    return [int(place) for place in np.linspace(0, len(clips) - 1, min(EXAMPLES, len(clips)))]


def _example(bench: Bench, number: int) -> dict[str, object]:
    example: dict[str, object] = {
        "prompt": bench.clips[number].plain,
        "log_mel": bench.plain[number],
        "requested": bench.clips[number].energy,
        "produced": bench.plain[number].mean(axis=-1),
    }
    if bench.source.has_vocoder:
        example["vocoded"] = bench.plain_vocoded[number].mean(axis=-1)
    return example
