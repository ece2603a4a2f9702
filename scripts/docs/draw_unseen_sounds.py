"""Draw log-mels of the classes of the synthetic world that have no picture: a strike or a few, or gusts.

Usage: python scripts/docs/draw_unseen_sounds.py [docs/images/unseen-sounds.png] [--seed 501]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image

from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.training.corpus import world_front_end
from rewas_engine.world import ALL_CLASSES, has_picture, is_struck, render_sound, sample_scene

COLUMNS = 5
LOUDEST_NATS = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/unseen-sounds.png"))
    parser.add_argument("--seed", type=int, default=501, help="seed of all scenes")
    choices = parser.parse_args()
    matplotlib.use("Agg")
    front_end = world_front_end()
    names = [name for name in ALL_CLASSES if not has_picture(name)]
    rows = -(-len(names) // COLUMNS)
    figure, places = pyplot.subplots(rows, COLUMNS, dpi=72, figsize=(15, 1.7 * rows))
    for place in places.flat:
        place.axis("off")
    for name, place in zip(names, places.flat, strict=False):
        sound = render_sound(sample_scene(choices.seed, name, pattern="few" if is_struck(name) else "gusts"))
        log_mel = front_end.log_mel(torch.from_numpy(sound)[None])[0].numpy()
        place.imshow(log_mel.T, origin="lower", aspect="auto", vmin=SILENCE_NATS, vmax=LOUDEST_NATS, cmap="magma")
        place.set_title(name, fontsize=9, pad=2)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.975, bottom=0.005, wspace=0.03, hspace=0.2)
    choices.path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    sheet.quantize(64, method=Image.Quantize.MAXCOVERAGE).save(choices.path, optimize=True)
    print(f"{choices.path}: {choices.path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
