"""Export clips of the rendered world as video and sound files. Training reads them like those of the drawn world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import SettingsError
from rewas_engine.training.clip_series import ClipSeries, check_rate, check_size, describe_scene
from rewas_engine.training.stage_renderer import RendererCommand, StageRenderer
from rewas_engine.world.scene import FOOTAGE_STREAM
from rewas_engine.world.stage.description import FORMAT, describe_stage
from rewas_engine.world.stage.rigid_bodies import GROUND
from rewas_engine.world.stage.staged_scene import StagedScene, sample_staged_scene

SAMPLES = 2
"""Rays per pixel. With the denoiser, more rays look hardly any better at this size."""

_renderers: dict[tuple[str, ...], StageRenderer] = {}
"""The renderers of a worker process, each kept for all of its clips."""


@dataclass(frozen=True)
class RenderedClips(ClipSeries):
    """A folder of clips of the rendered world.

    Attributes:
        frame_rate: Frames per second, exact; None draws one for each clip.
        size: Width and height in pixels, even; None draws them for each clip.
        renderer: How to start Blender. It is not among the settings of the folder: contacts and sound do not depend on
            it, and pixels hardly do.
    """

    frame_rate: Fraction | None = None
    size: tuple[int, int] | None = None
    renderer: RendererCommand = field(default=RendererCommand((), {}), compare=False)

    def __post_init__(self) -> None:
        """Raise SettingsError for an invalid seed, frame rate, size or renderer."""
        super().__post_init__()
        if self.frame_rate is not None:
            check_rate(self.frame_rate)
        if self.size is not None:
            check_size(*self.size)
        if not self.renderer.arguments:
            raise SettingsError("No renderer is given.", "Give the command that starts Blender.")

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that determines the clips."""
        return {
            "look": "rendered",
            "format": FORMAT,
            "first_seed": self.first_seed,
            "frame_rate": None if self.frame_rate is None else str(self.frame_rate),
            "size": self.size,
        }

    def write_clip(self, index: int) -> None:
        """Render one clip."""
        staged = sample_staged_scene(self.first_seed + index, frame_rate=self.frame_rate, size=self.size)
        renderer = _renderers.setdefault(self.renderer.arguments, StageRenderer(self.renderer))
        frames = render_staged(staged, renderer, f"clip {index}")
        self.write_files(
            index, staged.scene, frames, staged.frame_rate, staged.footage.crf, describe_staged_scene(staged)
        )


def render_staged(
    staged: StagedScene, renderer: StageRenderer, name: str, frame_times_s: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.uint8]:
    """Render the finished frames of a staged scene: [T, height, width, 3].

    Args:
        staged: The scene.
        renderer: Renders it.
        name: Name of the scene, for errors.
        frame_times_s: [T] times of the frames to render, ascending; None renders all frames.

    Raises:
        RendererError: Blender cannot render it.
    """
    times_s = staged.frame_times_s if frame_times_s is None else frame_times_s
    exposed = renderer.render(describe_stage(staged, SAMPLES, times_s), name)
    shape = (times_s.size, staged.exposures, *exposed.shape[1:])
    frames = exposed if staged.exposures == 1 else np.round(exposed.reshape(shape).mean(axis=1)).astype(np.uint8)
    return staged.footage.finish(frames, times_s, staged.shots.numbers(times_s), staged.scene.random(FOOTAGE_STREAM))


def describe_staged_scene(staged: StagedScene) -> dict[str, Any]:
    """Describe a clip for its JSON file: the entries of the drawn world, and what only a rendered clip has."""
    return {
        **describe_scene(staged.scene),
        "look": "rendered",
        "frame_rate": str(staged.frame_rate),
        "width": staged.width,
        "height": staged.height,
        "motionless": staged.motionless,
        "cuts_s": [round(shot.start_s, 5) for shot in staged.shots.shots[1:]],
        "motion_blur": staged.exposures > 1,
        "letterbox_rows": staged.footage.bars,
        "subtitled": bool(staged.footage.subtitles),
        "crf": staged.footage.crf,
        "contacts": [
            {
                "time_s": round(contact.time_s, 5),
                "body": contact.body,
                "other": None if contact.other == GROUND else contact.other,
                "impulse_n_s": float(f"{contact.impulse_n_s:.4g}"),
                "speed_m_s": round(contact.speed_m_s, 4),
            }
            for contact in staged.contacts
        ],
    }
