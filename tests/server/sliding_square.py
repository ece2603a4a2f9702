"""A silent clip of two seconds in which a bright square slides down."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAME_RATE = Fraction(24000, 1001)
FRAMES = 48


def write_video(path: Path) -> None:
    """Write FRAMES frames of 64 x 64 pixels at FRAME_RATE."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FRAME_RATE)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(FRAMES):
            image = np.full((64, 64, 3), 30, np.uint8)
            image[index % 48 : index % 48 + 16, 20:40] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
