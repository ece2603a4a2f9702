"""`rewas eval --tavd`: measure a model for audible video."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from rewas_cli.commands.evaluate_table import Outcome

if TYPE_CHECKING:
    from rewas_engine.evaluation.audible_video import ClipFigures
    from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

_ROWS = {
    "sound_class": "Class of the sound",
    "picture_class": "Class of the picture",
    "both_classes": "Both classes",
    "avh_auc": "AVHScore, other classes (AUC)",
    "avh_any_auc": "AVHScore, any other clip (AUC)",
    "struck_agreement": "Motion and energy, struck",
    "sustained_agreement": "Motion and energy, sustained",
}


def measure_audible_video_model(
    folder: Path,
    clips_per_class: int | None,
    num_steps: int | None,
    guidance_scale: float | None,
    show_progress: Callable[[str], AbstractContextManager[ProgressCallback]],
    cancel: CancelSignal,
) -> Outcome:
    """Measure a model for audible video. None stands for the defaults.

    Raises:
        EngineError: The model or its pack cannot be used, or the work was cancelled.
    """
    from rewas_engine.audible_video.model import AudibleVideo
    from rewas_engine.evaluation.audible_video import CLIPS_PER_CLASS, TARGETS, measure_audible_video

    model = AudibleVideo(folder)
    given = {"num_steps": num_steps, "guidance_scale": guidance_scale}
    with show_progress(folder.name) as on_progress:
        figures, _ = measure_audible_video(
            model,
            clips_per_class=CLIPS_PER_CLASS if clips_per_class is None else clips_per_class,
            report=on_progress,
            cancel=cancel,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )
    table = Table(
        "figure",
        "generated",
        "target",
        "drawn",
        "shuffled",
        title=escape(f"{folder}: {figures.generated.sound_class.clips} clips"),
        title_justify="left",
    )
    for key, label in _ROWS.items():
        target = f"{TARGETS[key]:.2f}" if key in TARGETS else ""
        shown = [_format(of_clips, key) for of_clips in (figures.generated, figures.drawn, figures.shuffled)]
        table.add_row(label, shown[0], target, *shown[1:])
    lines = [
        f"{name}: sound {sound:.2f}, picture {picture:.2f}"
        for name, (sound, picture) in figures.generated.classes.items()
    ]
    return Outcome(table, figures.report(), lines)


def _format(figures: ClipFigures, key: str) -> str:
    """A mean with its interval; empty if there are no such clips."""
    found = getattr(figures, key)
    return "" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
