"""How well a pack reads energy from pictures, beside what plain motion tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.energy import FloatArray, energy_agreement
from rewas_engine.mel import normalised
from rewas_engine.pipeline import ReWaS
from rewas_engine.training.corpus import brightness
from rewas_engine.training.world import Scene, render_sound
from rewas_engine.training.world.picture import render_picture


@dataclass(frozen=True)
class PictureFigures:
    """Correlation of estimated and true energy at the picture's rate, one a scene; `motion` is frame difference's."""

    correlations: tuple[float, ...]
    motion: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """Means over the scenes."""
        return {
            "mean_picture_correlations": round(float(np.mean(self.correlations)), 4),
            "mean_motion_correlations": round(float(np.mean(self.motion)), 4),
        }


def measure_picture(model: ReWaS, scenes: Sequence[Scene]) -> PictureFigures:
    """Estimate each scene's energy from its picture and hold it against its sound's."""
    rate, width, height = model.picture_format
    rows = []
    for scene in scenes:
        frames = brightness(render_picture(scene, frame_rate=rate, width=width, height=height))
        true = model.front_end.measure(normalised(render_sound(scene))).at(rate, len(frames))
        rows.append(
            (
                energy_agreement(true, model.energy_of_frames(frames))[1] or 0.0,
                energy_agreement(true, frame_difference(frames))[1] or 0.0,
            )
        )
    correlations, motion = zip(*rows, strict=True)
    return PictureFigures(correlations, motion)


def frame_difference(frames: NDArray[np.uint8]) -> FloatArray:
    """Mean absolute change of brightness since the frame before, [T], of frames [T, H, W]."""
    moving = torch.from_numpy(frames).float()
    return torch.cat([torch.zeros(1), (moving[1:] - moving[:-1]).abs().mean(dim=(1, 2))]).numpy()
