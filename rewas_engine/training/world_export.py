"""Export clips of the drawn world as video and sound files, for viewing and for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rewas_engine.training.clip_series import ClipSeries, check_rate, check_size, describe_scene
from rewas_engine.world import render_video, sample_scene

_CRF = 20


@dataclass(frozen=True)
class ClipFolder(ClipSeries):
    """A folder of clips of the drawn world.

    Attributes:
        frame_rate: Frames per second, exact.
        width, height: Pixels, even, as H.264 requires.
    """

    frame_rate: Fraction = Fraction(25)
    width: int = 256
    height: int = 144

    def __post_init__(self) -> None:
        """Raise SettingsError for an invalid seed, frame rate or size."""
        super().__post_init__()
        check_rate(self.frame_rate)
        check_size(self.width, self.height)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that determines the clips."""
        return {
            "first_seed": self.first_seed,
            "frame_rate": str(self.frame_rate),
            "width": self.width,
            "height": self.height,
        }

    def write_clip(self, index: int) -> None:
        """Render one clip."""
        scene = sample_scene(self.first_seed + index)
        frames = render_video(scene, frame_rate=self.frame_rate, width=self.width, height=self.height)
        self.write_files(index, scene, frames, self.frame_rate, _CRF, describe_scene(scene))
