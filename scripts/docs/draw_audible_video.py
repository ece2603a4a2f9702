"""Draw clips that a model for audible video generates: frames, log-mel, motion and energy of one clip of each class.

Usage: python scripts/docs/draw_audible_video.py MODEL [docs/images/audible-video.png] [--seed 1] [--steps 25]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from PIL import Image

from rewas_engine.audible_video.model import AudibleVideo
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.world import held_out_captions

SENTENCE = 1
LOUDEST_NATS = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/audible-video.png"))
    parser.add_argument("--seed", type=int, default=1, help="seed of the noise")
    parser.add_argument("--steps", type=int, default=25, help="steps of DDIM")
    choices = parser.parse_args()
    matplotlib.use("Agg")
    model = AudibleVideo(choices.model)
    classes = model.description.classes
    sentences = [held_out_captions(name)[SENTENCE] for name in classes]
    videos, log_mels = model.sample(sentences, seed=choices.seed, num_steps=choices.steps)
    figure, places = pyplot.subplots(
        len(classes), 2, dpi=72, figsize=(13, 1.45 * len(classes)), width_ratios=(10, 4), squeeze=False
    )
    for sentence, video, log_mel, (left, right) in zip(sentences, videos, log_mels.numpy(), places, strict=True):
        strip = np.hstack(list(np.pad(video, ((0, 0), (0, 0), (0, 1)), constant_values=255)))
        left.imshow(strip, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="nearest")
        left.set_title(sentence, fontsize=10, loc="left", pad=3)
        left.axis("off")
        right.imshow(log_mel.T, origin="lower", aspect="auto", vmin=SILENCE_NATS, vmax=LOUDEST_NATS, cmap="magma")
        right.axis("off")
        _draw_course(right, video, log_mel)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.97, bottom=0.005, wspace=0.015, hspace=0.22)
    choices.path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    sheet.quantize(256, method=Image.Quantize.MEDIANCUT).save(choices.path, optimize=True)
    print(f"{choices.path}: {choices.path.stat().st_size / 1000:.0f} kB")


def _draw_course(place: Axes, video: np.ndarray, log_mel: np.ndarray) -> None:
    """Draw the motion (cyan) and the energy (white) of each frame over the log-mel, each scaled to its own range."""
    motion = np.abs(np.diff(video.astype(float), axis=0)).mean(axis=(1, 2))
    energy = log_mel.reshape(len(video), -1).mean(axis=1)
    length = len(log_mel) / len(video)
    for values, first, colour in ((energy, 0, "white"), (motion, 1, "cyan")):
        middles = (np.arange(first, len(video)) + 0.5) * length
        heights = (values - values.min()) / max(float(np.ptp(values)), 1e-9) * 0.9 * log_mel.shape[1]
        place.plot(middles, heights, color=colour, linewidth=1.5)


if __name__ == "__main__":
    main()
