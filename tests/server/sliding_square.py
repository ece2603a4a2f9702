"""A clip of two seconds in which a bright square slides down: something to see, nothing to hear."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAME_RATE = Fraction(24000, 1001)
FRAMES = 48


def write_video(path: Path) -> None:
    """Write it: FRAMES frames of 64 by 64 pixels at FRAME_RATE."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FRAME_RATE)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(FRAMES):
            picture = np.full((64, 64, 3), 30, np.uint8)
            picture[index % 48 : index % 48 + 16, 20:40] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
