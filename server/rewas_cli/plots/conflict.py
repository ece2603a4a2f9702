"""Plots of the conflict check's figures. Needs matplotlib, which comes with the extra `plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rewas_cli.plots.curves import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rewas_engine.evaluation.conflict import HalvedClip
    from rewas_engine.evaluation.figures import Section

_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d95f0e", "#9aa5ad"


def draw_conflict(section: Section) -> Figure:
    """Reliability of the score, scores of right and wrong prompts, and a clip whose second half shows another class."""
    figure, (reliability, scores, course) = new_figure(1, 3, width=14.5, row_height=4.4)
    _draw_reliability(reliability, section)
    edges = np.linspace(0, 1, 21).tolist()
    for key, colour, label in (("wrong", _ORANGE, "another class's prompt"), ("right", _BLUE, "its own prompt")):
        values = section.plot_data[key]
        weights = np.full(values.size, 1 / values.size)
        scores.hist(values, bins=edges, weights=weights, color=colour, alpha=0.65, label=label)
    scores.set(title="Scores of right and wrong prompts", xlabel="score", ylabel="share of prompts")
    scores.legend(frameon=False)
    if section.plot_data["halved"] is not None:
        _draw_over_time(course, section.plot_data["halved"])
    for axis in (reliability, scores, course):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_reliability(axis: Axes, section: Section) -> None:
    tenths = section.details["calibration"]
    error = next(figure.value for figure in section.figures if figure.key == "conflict_ece")
    pairs = sum(tenth["pairs"] for tenth in tenths)
    axis.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="a perfect score")
    scores, shares = ([tenth[key] for tenth in tenths] for key in ("probability", "share"))
    axis.plot(scores, shares, color=_BLUE, marker="o", label=f"{pairs} prompts, ECE {error:.3f}")
    axis.set(title="Reliability of the score", xlabel="score", ylabel="share of prompts that match")
    axis.set_aspect("equal")
    axis.legend(frameon=False, loc="upper left")


def _draw_over_time(axis: Axes, halved: HalvedClip) -> None:
    spans = halved.evidence.spans
    borders = [float(spans[0].start_s), *(float(span.end_s) for span in spans)]
    for span in halved.report.spans:
        axis.axvspan(float(span.start_s), float(span.end_s), color=_ORANGE, alpha=0.15, linewidth=0)
    axis.stairs([span.probability for span in spans], borders, color=_BLUE, linewidth=2, label=f"“{halved.prompt}”")
    best = [span.rival_probability for span in spans]
    axis.stairs(best, borders, color=_ORANGE, linewidth=2, label="the best other prompt")
    axis.axvline(float(halved.border_s), color=_GREY, linestyle=":")
    axis.set(title="A clip that changes halfway", xlabel="seconds", ylabel="probability", ylim=(0, 1.25))
    axis.legend(frameon=False, loc="upper left", fontsize=8)
