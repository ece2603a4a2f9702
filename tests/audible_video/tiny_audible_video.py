"""A model for audible video that trains in seconds, for tests."""

from __future__ import annotations

from pathlib import Path

from rewas_engine.recipes.audible_video import AudibleVideoTraining
from rewas_engine.recipes.audible_video_config import AudibleVideoConfig
from rewas_engine.training.loop import LoopConfig

TINY = AudibleVideoConfig(
    classes=("hammer", "rain"),
    clips_per_class=3,
    frames=4,
    picture_widths=(16, 16),
    sound_widths=(16, 16),
    batch=2,
    loop=LoopConfig(steps=4, learning_rate=1e-3, checkpoint_every=1),
)


def train_tiny_model(folder: Path) -> Path:
    """Train it in a folder, and return the folder of the model."""
    training = AudibleVideoTraining(TINY, folder)
    training.run()
    return training.model_folder
