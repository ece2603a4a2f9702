"""Plots of an evaluation. Needs matplotlib, which comes with the extra `plots`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewas_cli.plots.conflict import draw_conflict
from rewas_cli.plots.curves import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rewas_engine.evaluation.figures import Evaluation, Section, Trained
    from rewas_engine.evaluation.real_clips import RealClip

_BLUE, _ORANGE, _GREEN, _GREY, _INK = "#1f6fb4", "#d95f0e", "#3a8a4d", "#9aa5ad", "#333d47"
_GRID = "#e4e8eb"
_MEL_RANGE_NATS = (-11.5, 0.5)
_MEL_RATE_HZ = 100
_MAX_SCATTER_POINTS = 40_000

_REAL_CLIPS_PER_PAGE = 6

Drawing = tuple[str, str, "Figure"]
"""File name, caption, figure."""


def draw_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Write the plots of every section into a folder, each atomically.

    Returns section -> file name and caption of each plot. Raises OSError.
    """
    written: dict[str, list[tuple[str, str]]] = {}
    for section in evaluation.sections:
        draw = _SECTION_PLOTS.get(section.name)
        if draw is None or not (section.plot_data or section.details):
            continue
        for name, caption, figure in draw(section, evaluation.trained):
            save_figure(figure, folder / name)
            written.setdefault(section.name, []).append((name, caption))
    return written


def _draw_energy(section: Section, trained: Trained) -> list[Drawing]:
    return [
        (
            "energy.png",
            "Requested and generated energy, and the correlation of each clip",
            _energy_overview(section.plot_data),
        ),
        (
            "energy-examples.png",
            "Examples: log-mel, requested energy and generated energy",
            _energy_examples(section.plot_data),
        ),
    ]


def _energy_overview(drawn: Mapping[str, Any]) -> Figure:
    figure, (scatter, histogram) = new_figure(1, 2, row_height=4.6)
    requested, produced = drawn["requested"].ravel(), drawn["produced"].ravel()
    step = max(1, requested.size // _MAX_SCATTER_POINTS)
    # Silence that was requested and generated would dominate the plot.
    audible = np.maximum(requested, produced)[::step] > _MEL_RANGE_NATS[0] + 0.1
    low, high = -11.7, float(max(requested.max(), produced.max())) + 0.3
    scatter.hexbin(
        requested[::step][audible],
        produced[::step][audible],
        gridsize=70,
        extent=(low, high, low, high),
        bins="log",
        cmap="Blues",
        mincnt=1,
    )
    scatter.plot([low, high], [low, high], color=_ORANGE, linewidth=1.2)
    scatter.set_aspect("equal")
    _label(scatter, "Every audible frame", "requested energy (nats)", "generated energy (nats)")
    edges = [float(edge) for edge in np.linspace(-1, 1, 81)]
    for key, colour, label in (
        ("uncontrolled_correlations", _GREY, "without control"),
        ("vocoded_correlations", _ORANGE, "after the vocoder"),
        ("correlations", _BLUE, "mel"),
    ):
        if key not in drawn:  # A library has no vocoder.
            continue
        values = drawn[key]
        histogram.hist(values, bins=edges, color=colour, alpha=0.65, label=f"{label}: mean {values.mean():.3f}")
    _label(histogram, "Correlation with the requested energy", "correlation", "clips")
    histogram.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _energy_examples(drawn: Mapping[str, Any]) -> Figure:
    examples = drawn["examples"]
    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    figure, axes = new_figure(2 * rows, columns, width=4.6 * columns, row_height=2.1)
    for axis in axes:
        axis.set_visible(False)
    for number, example in enumerate(examples):
        row, column = divmod(number, columns)
        mel, curves = axes[2 * row * columns + column], axes[(2 * row + 1) * columns + column]
        mel.set_visible(True)
        curves.set_visible(True)
        _draw_mel(mel, example["log_mel"], example["prompt"])
        for key, colour, label in (
            ("requested", _GREY, "requested"),
            ("produced", _BLUE, "mel"),
            ("vocoded", _ORANGE, "sound"),
        ):
            if key not in example:
                continue
            times_s = (np.arange(example[key].size) + 0.5) / _MEL_RATE_HZ
            width = 3.0 if key == "requested" else 1.2
            curves.plot(times_s, example[key], color=colour, linewidth=width, label=label)
        _label(curves, "", "time (s)", "energy (nats)")
        curves.set_xlim(0, example["requested"].size / _MEL_RATE_HZ)
    figure.legend(*axes[columns].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_words(section: Section, trained: Trained) -> list[Drawing]:
    details = section.details
    return [
        ("classes.png", "Class accuracy by class and condition", _draw_classes(details["by_class"])),
        (
            "confusion.png",
            "Requested class (row) and the judge's answer (column), plain prompts",
            _draw_confusion(np.array(details["confusion"]["plain"]), details["classes"]),
        ),
    ]


def _draw_classes(by_class: Mapping[str, Mapping[str, float]]) -> Figure:
    names = sorted(by_class["plain"], key=lambda name: (by_class["plain"][name], name))
    figure, (axis,) = new_figure(1, row_height=1.2 + 0.26 * len(names))
    looks = {
        "plain": (_BLUE, "o", "plain prompts", 110),
        "real": (_GREY, "s", "real clips", 20),
        "swapped": (_ORANGE, "v", "another class's energy", 34),
        "paraphrased": (_GREEN, "^", "unseen paraphrases", 34),
        "vocoded": ("#7b4fa3", "D", "after the vocoder", 14),
    }
    looks = {condition: look for condition, look in looks.items() if condition in by_class}
    for place, name in enumerate(names):
        row = [by_class[condition][name] for condition in looks]
        axis.plot([min(row), max(row)], [place, place], color=_GRID, linewidth=3, zorder=1)
    for condition, (colour, marker, label, size) in looks.items():
        shares = [by_class[condition][name] for name in names]
        axis.scatter(shares, range(len(names)), color=colour, marker=marker, s=size, label=label, zorder=3, alpha=0.9)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set_xlim(-0.03, 1.03)
    axis.set_ylim(-0.7, len(names) - 0.3)
    _label(axis, "", "share of clips that the judge assigns to the right class", "")
    axis.legend(frameon=False, fontsize=9, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _draw_confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    shown = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    counts, classes = counts[np.ix_(shown, shown)], [name for name, is_in in zip(classes, shown, strict=True) if is_in]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3.0 + 0.3 * len(classes)
    figure, (axis,) = new_figure(1, width=side + 0.8, row_height=side)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.55 else _INK
        axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
    names = [name.replace("_", " ") for name in classes]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("answer of the judge")
    axis.set_ylabel("requested")
    axis.set_title("Clips, and their share of the row", loc="left", fontsize=11, color=_INK, fontweight="bold")
    figure.colorbar(image, ax=axis, shrink=0.6)
    return figure


def _draw_vocoder(section: Section, trained: Trained) -> list[Drawing]:
    from rewas_engine.evaluation.figures import TARGETS

    losses, reference = section.details["l1_by_class"], section.details["griffin_lim_l1_by_class"]
    names = sorted(losses, key=lambda name: losses[name])
    figure, (axis,) = new_figure(1, row_height=1.2 + 0.26 * len(names))
    axis.barh(range(len(names)), [losses[name] for name in names], color=_BLUE, height=0.65, label="vocoder")
    tried = [name for name in names if name in reference]
    axis.scatter(
        [reference[name] for name in tried],
        [names.index(name) for name in tried],
        color=_ORANGE,
        zorder=3,
        label="Griffin-Lim (few clips)",
    )
    for key, style in (("vocoder_l1", "--"), ("vocoder_l1_worst", ":")):
        label = "target of the mean" if key == "vocoder_l1" else "target of the worst class"
        axis.axvline(TARGETS[key].value(trained), color=_INK, linestyle=style, linewidth=1, label=label)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    _label(axis, "Real clips through the vocoder", "mel L1 (nats)", "")
    axis.legend(frameon=False, fontsize=9, loc="lower right")
    return [("vocoder.png", "Mel L1 of the vocoder by class", figure)]


def _draw_onsets(section: Section, trained: Trained) -> list[Drawing]:
    if not section.plot_data:
        return []
    by_class = section.details["f1_by_class"]
    names = sorted(by_class["real"])
    looks = {
        "real": (_GREY, "real sound"),
        "energy": (_BLUE, "requested energy"),
        "onsets": (_ORANGE, "requested onsets"),
    }
    shown = [name for name in looks if name in by_class]
    figure, (axis,) = new_figure(1, row_height=1.2 + 0.42 * len(names))
    for number, condition in enumerate(shown):
        colour, label = looks[condition]
        places = np.arange(len(names)) + (number - (len(shown) - 1) / 2) * 0.26
        axis.barh(places, [by_class[condition][name] for name in names], height=0.24, color=colour, label=label)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set_xlim(0, 1)
    _label(axis, "Onsets within ±50 ms", "F1, mean over clips", "")
    axis.legend(frameon=False, fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    examples = section.plot_data["examples"]
    rows, axes = new_figure(len(examples), row_height=1.7)
    for axis, example in zip(axes, examples, strict=True):
        _draw_onset_example(axis, example)
    axes[-1].set_xlabel("time (s)")
    what = f"Examples controlled by {section.plot_data['control']}: events (lines) and detected onsets (triangles)"
    return [("onsets.png", "Onset F1 by class", figure), ("onset-examples.png", what, rows)]


def _draw_onset_example(axis: Axes, example: Mapping[str, Any]) -> None:
    sound = example["sound"]
    stretch = max(1, sound.size // 3000)
    whole = sound[: sound.size - sound.size % stretch].reshape(-1, stretch)
    times_s = (np.arange(len(whole)) + 0.5) * stretch / example["rate_hz"]
    axis.fill_between(times_s, whole.min(axis=1), whole.max(axis=1), color=_BLUE, linewidth=0)
    reach = 1.15 * max(float(np.abs(sound).max()), 1e-3)
    axis.vlines(example["events_s"], -reach, reach, color=_ORANGE, linewidth=1.2)
    axis.scatter(
        example["detected_s"], np.full(len(example["detected_s"]), reach), marker="v", color=_INK, s=24, zorder=3
    )
    axis.set_ylim(-reach, 1.2 * reach)
    axis.set_xlim(0, sound.size / example["rate_hz"])
    _label(axis, example["prompt"], "", "")


def _draw_texture(section: Section, trained: Trained) -> list[Drawing]:
    if not section.details:
        return []
    requested, without = section.details["error_nats_by_class"], section.details["error_without_nats_by_class"]
    names = sorted(requested, key=lambda name: without[name])
    figure, (axis,) = new_figure(1, row_height=1.2 + 0.3 * len(names))
    places = np.arange(len(names))
    axis.barh(places + 0.19, [without[name] for name in names], height=0.36, color=_GREY, label="energy alone")
    axis.barh(places - 0.19, [requested[name] for name in names], height=0.36, color=_BLUE, label="requested texture")
    axis.set_yticks(places, [name.replace("_", " ") for name in names])
    _label(axis, "Distance between generated and requested texture", "mean absolute difference (nats)", "")
    axis.legend(frameon=False, fontsize=9, loc="lower right")
    return [("texture.png", "Texture error by class", figure)]


def _draw_picture(section: Section, trained: Trained) -> list[Drawing]:
    drawn = section.plot_data
    figure, axes = new_figure(1 + len(drawn["examples"]), row_height=2.0)
    rows = (
        ("visible sources", drawn["visible"], _BLUE),
        ("frame difference, same clips", drawn["frame_difference"], _GREY),
        ("sources off screen", drawn["off_screen"], _GREEN),
        ("motion without sound", drawn["silent_motion"], _ORANGE),
    )
    jitter = np.random.default_rng(0)
    for place, (_, values, colour) in enumerate(rows):
        heights = place + jitter.uniform(-0.28, 0.28, len(values))
        axes[0].scatter(values, heights, s=9, color=colour, alpha=0.6, linewidths=0)
        if len(values):
            axes[0].vlines(np.mean(values), place - 0.4, place + 0.4, color=_INK, linewidth=2)
    axes[0].set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    axes[0].set_xlim(-1, 1)
    _label(axes[0], "Correlation of each clip; lines are means", "", "")
    for axis, example in zip(axes[1:], drawn["examples"], strict=True):
        times_s = (np.arange(example["true"].size) + 0.5) / drawn["rate_hz"]
        axis.plot(times_s, example["true"], color=_GREY, linewidth=2.6, label="energy of the sound")
        axis.plot(times_s, example["estimated"], color=_BLUE, linewidth=1.4, label="estimated from the video")
        match = example["correlation"]
        _label(axis, example["title"] + ("" if match is None else f": correlation {match:.2f}"), "", "nats")
        axis.set_xlim(0, times_s[-1])
    if drawn["examples"]:
        axes[1].legend(frameon=False, fontsize=8, ncols=2, loc="upper right", bbox_to_anchor=(1.0, 1.2))
        axes[-1].set_xlabel("time (s)")
    return [("picture.png", "Energy estimated from videos of the synthetic world", figure)]


def _draw_real(section: Section, trained: Trained) -> list[Drawing]:
    clips = section.plot_data.get("clips", [])
    pages = [clips[first : first + _REAL_CLIPS_PER_PAGE] for first in range(0, len(clips), _REAL_CLIPS_PER_PAGE)]
    return [
        (
            f"real-clips-{number}.png",
            f"Real clips, page {number} of {len(pages)}: frames, energy of their sound, the pack's estimate",
            _real_page(page),
        )
        for number, page in enumerate(pages, start=1)
    ]


def _real_page(clips: Sequence[RealClip]) -> Figure:
    figure, axes = new_figure(2 * len(clips), row_height=1.6)
    for place, clip in enumerate(clips):
        strip, axis = axes[2 * place], axes[2 * place + 1]
        strip.imshow(np.concatenate(list(clip.thumbnails), axis=1), cmap="gray", vmin=0, vmax=255, aspect="auto")
        strip.set_axis_off()
        strip.set_title(f"{clip.entry.heard or clip.name}", loc="left", fontsize=10, color=_INK, fontweight="bold")
        found, motion = clip.agreements["picture"], clip.agreements["log_difference"]
        note = "near silent; " if clip.is_near_silent else ""
        strip.set_title(
            f"{note}pack {found.correlation or 0.0:.2f}, best lag {found.best_correlation or 0.0:.2f}; "
            f"motion {motion.correlation or 0.0:.2f}; error {clip.error_nats(clip.standard):.2f} nats",
            loc="right",
            fontsize=9,
            color=_INK,
        )
        times_s = (np.arange(clip.true.size) + 0.5) / clip.rate_hz
        axis.plot(times_s, clip.true, color=_GREY, linewidth=2.6, label="energy of the clip's sound")
        axis.plot(times_s, clip.curves["picture"], color=_ORANGE, linewidth=1, label="the pack's estimate")
        axis.plot(times_s, clip.standard, color=_BLUE, linewidth=1.5, label="at the level of the prompt")
        _label(axis, "", "", "nats")
        axis.set_xlim(0, times_s[-1])
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    axes[-1].set_xlabel("time (s)")
    return figure


def _draw_conflict(section: Section, trained: Trained) -> list[Drawing]:
    return [("conflict.png", "Scores, their reliability, and scores over time", draw_conflict(section))]


_SECTION_PLOTS: dict[str, Callable[[Section, Trained], list[Drawing]]] = {
    "energy": _draw_energy,
    "words": _draw_words,
    "vocoder": _draw_vocoder,
    "onsets": _draw_onsets,
    "texture": _draw_texture,
    "picture": _draw_picture,
    "conflict": _draw_conflict,
    "real": _draw_real,
}


def _draw_mel(axis: Axes, log_mel: NDArray[np.float32], prompt: str) -> None:
    low, high = _MEL_RANGE_NATS
    axis.imshow(
        log_mel.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=low,
        vmax=high,
        extent=(0, len(log_mel) / _MEL_RATE_HZ, 0, log_mel.shape[1]),
        interpolation="nearest",
    )
    axis.set_title(prompt, loc="left", fontsize=9, color=_INK, fontweight="bold")
    axis.set_ylabel("mel bin", fontsize=8)
    axis.tick_params(labelsize=8, labelbottom=False)


def _label(axis: Axes, title: str, across: str, up: str) -> None:
    axis.set_title(title, loc="left", fontsize=10, color=_INK, fontweight="bold")
    axis.set_xlabel(across, fontsize=9)
    axis.set_ylabel(up, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(True, color=_GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
