"""Auxiliary labels of the world's videos beyond the energy, used only while the encoder is trained.

Energy alone is a slow teacher: a bell's tail and a strike are one number each. A scene also knows its class, its
strikes and their strengths. An auxiliary head that must read these from the encoder's tokens makes the tokens contain
them. Filmed clips have no such labels and are trained on their energy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rewas_engine.world import CLASS_NAMES, Scene

NOTHING_SOUNDS = len(CLASS_NAMES)
"""Class number of scenes without sound, whether or not something moves."""
NEXT_TO_STRIKE = 0.4
"""Label of a strike in the frames next to its own, whose time is known to half a frame."""
STRIKE_WEIGHT = 4.0
"""Weight of a frame with a strike relative to one without, because they are rarer."""


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
        """The labels of crops.

        Args:
            rows: Clips [B, 1].
            places: Their frames [B, frames].
        """
        return PictureLabels(self.classes[rows[:, 0]], self.strikes[rows, places], self.courses[rows, places])


def label_scenes(scenes: Sequence[Scene], frames: int, frame_rate_hz: float) -> PictureLabels:
    """The labels of scenes with this many frames each."""
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
    """Predicts the labels from the video encoder's tokens [B, T, features]; it is not part of any pack."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.classes = nn.Linear(features, NOTHING_SOUNDS + 1)
        self.strikes_and_courses = nn.Linear(features, 2)

    def loss(self, tokens: torch.Tensor, labels: PictureLabels) -> torch.Tensor:
        """Cross entropy of the class and of the strikes, and the error of the intensity: a scalar."""
        normed = self.norm(tokens.float())
        of_class = nn.functional.cross_entropy(
            self.classes(normed).mean(dim=1), labels.classes.to(tokens.device), label_smoothing=0.05
        )
        strikes, courses = self.strikes_and_courses(normed).unbind(dim=-1)
        wanted = labels.strikes.to(tokens.device)
        of_strikes = nn.functional.binary_cross_entropy_with_logits(
            strikes, wanted, weight=1 + (STRIKE_WEIGHT - 1) * (wanted > 0)
        )
        of_courses = nn.functional.smooth_l1_loss(courses, labels.courses.to(tokens.device), beta=0.2)
        return 0.2 * of_class + of_strikes + of_courses
