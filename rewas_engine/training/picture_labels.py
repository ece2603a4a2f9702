"""Auxiliary labels for training the video encoder on videos of the world.

Energy is a weak training signal: the tail of a bell and a strike are one number each. A scene also has a class, strikes
and strengths. An auxiliary head that predicts these from the encoder's tokens makes the tokens contain them. Real
videos have no labels and are trained on their energy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rewas_engine.world import CLASS_NAMES, Scene

NOTHING_SOUNDS = len(CLASS_NAMES)
"""Class number of scenes without sound."""
NEXT_TO_STRIKE = 0.4
"""Label of a strike in the neighbouring frames, because its time is known to half a frame."""
STRIKE_WEIGHT = 4.0
"""Weight of frames with a strike relative to others, because they are rarer."""


@dataclass(frozen=True)
class PictureLabels:
    """Labels of N clips with T frames.

    Attributes:
        classes: [N] indices into CLASS_NAMES, or NOTHING_SOUNDS.
        strikes: [N, T] strengths, 0..1, of strikes in or next to a frame.
        courses: [N, T] intensities, 0..1, of the sound.
    """

    classes: torch.Tensor
    strikes: torch.Tensor
    courses: torch.Tensor

    def select(self, rows: torch.Tensor, places: torch.Tensor) -> PictureLabels:
        """Select the labels of crops.

        Args:
            rows: Clips [B, 1].
            places: Their frames [B, frames].
        """
        return PictureLabels(self.classes[rows[:, 0]], self.strikes[rows, places], self.courses[rows, places])

    def where(self, kept: torch.Tensor) -> PictureLabels:
        """Select the labels of some clips [N] bool."""
        return PictureLabels(self.classes[kept], self.strikes[kept], self.courses[kept])


def label_scenes(scenes: Sequence[Scene], frames: int, frame_rate_hz: float) -> PictureLabels:
    """Label scenes with this many frames each."""
    strikes = np.zeros((len(scenes), frames + 2), np.float32)
    courses = np.zeros((len(scenes), frames), np.float32)
    middles_s = (np.arange(frames) + 0.5) / frame_rate_hz
    for row, scene in enumerate(scenes):
        courses[row] = scene.intensity_at(middles_s)
        for time_s, strength in zip(scene.event_times_s, scene.event_strengths, strict=True):
            frame = min(int(time_s * frame_rate_hz), frames - 1) + 1
            around = strikes[row, frame - 1 : frame + 2]
            np.maximum(around, strength * np.array([NEXT_TO_STRIKE, 1.0, NEXT_TO_STRIKE]), out=around)
    classes = [NOTHING_SOUNDS if scene.is_silent else CLASS_NAMES.index(scene.class_name) for scene in scenes]
    return PictureLabels(torch.tensor(classes), torch.from_numpy(strikes[:, 1:-1].copy()), torch.from_numpy(courses))


class LabelReader(nn.Module):
    """Auxiliary head that predicts the labels from tokens [B, T, features]. It is not part of any pack."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.classes = nn.Linear(features, NOTHING_SOUNDS + 1)
        self.strikes_and_courses = nn.Linear(features, 2)

    def loss(self, tokens: torch.Tensor, labels: PictureLabels) -> torch.Tensor:
        """Loss of the predicted labels: cross entropy of class and strikes, and error of the intensity."""
        normed = self.norm(tokens.float())
        of_class = nn.functional.cross_entropy(
            self.classes(normed).mean(dim=1), labels.classes.to(tokens.device), label_smoothing=0.05
        )
        strikes, courses = self.strikes_and_courses(normed).unbind(dim=-1)
        of_strikes = strikes_loss(strikes, labels.strikes)
        of_courses = nn.functional.smooth_l1_loss(courses, labels.courses.to(tokens.device), beta=0.2)
        return 0.2 * of_class + of_strikes + of_courses


def strikes_loss(logits: torch.Tensor, strikes: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the logits of strikes [B, T] with their labels [B, T]."""
    wanted = strikes.to(logits.device)
    weights = 1 + (STRIKE_WEIGHT - 1) * (wanted > 0)
    return nn.functional.binary_cross_entropy_with_logits(logits, wanted, weight=weights)
