"""Crop the pictures of `make gui-test` in build/gui for the user guide, and write them to docs/images.

Usage: python scripts/docs/crop_window_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TAKEN = ROOT / "build" / "gui"
IMAGES = ROOT / "docs" / "images"
SIDEBAR_PX = 375
"""Width of the sidebar in the windows of the tests, with its tabs."""
BELOW_SIDEBAR_PX = 50
"""Height of the timeline's footer and the status bar."""
COLOURS = 160
SIDEBARS = ("first-run", "prompt", "jobs", "failed", "takes", "sound-too-short", "check", "sound-changes")
"""Pictures of which only the sidebar is shown."""
WINDOWS = {"first-sound": "gui-first-sound", "stems": "gui-stems", "jobs": "panel"}
"""Pictures that are shown with the timeline, and the names of their files."""
STRIPS = {"stems": "gui-energy"}
"""Pictures of which only the strips at the bottom of the timeline are shown, and the names of their files."""


def bottom_of(pixels: np.ndarray) -> int:
    """Return the row below the contents of a sidebar. pixels: [rows, columns], down to the end of the window."""
    end = len(pixels) - BELOW_SIDEBAR_PX
    last = int(np.flatnonzero(np.ptp(pixels[60:end, 10:-60].astype(int), axis=1) > 8).max()) + 60
    return min(last + 14, end)


def crop_sidebar(picture: Image.Image) -> Image.Image:
    sidebar = picture.crop((picture.width - SIDEBAR_PX, 50, picture.width, picture.height))
    return sidebar.crop((0, 0, SIDEBAR_PX, bottom_of(np.asarray(sidebar.convert("L")))))


def crop_window(picture: Image.Image) -> Image.Image:
    """Leave out the menus of the window and its status bar."""
    return picture.crop((0, 26, picture.width, picture.height - 24))


def crop_strips(picture: Image.Image) -> Image.Image:
    """Keep only the lowest channels."""
    return picture.crop((225, round(picture.height * 0.54), picture.width - SIDEBAR_PX, picture.height - 62))


def write(picture: Image.Image, name: str) -> None:
    path = IMAGES / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path} ({path.stat().st_size / 1000:.0f} kB, {picture.width} x {picture.height})")


def main() -> None:
    for name in SIDEBARS:
        write(crop_sidebar(Image.open(TAKEN / f"{name}.png").convert("RGB")), f"gui-{name}")
    for name, target in WINDOWS.items():
        write(crop_window(Image.open(TAKEN / f"{name}.png").convert("RGB")), target)
    for name, target in STRIPS.items():
        write(crop_strips(Image.open(TAKEN / f"{name}.png").convert("RGB")), target)


if __name__ == "__main__":
    main()
