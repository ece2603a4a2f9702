"""Whether the frame shows the whole picture of a strip, without Blender."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.framing import Framing

WHOLE = Framing(frame_size=(1920, 1080), picture_size=(1920, 1080))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"picture_size": (3840, 2160), "scale": (0.5, 0.5)}, ""),
        ({"picture_size": (64, 64)}, ""),
        ({"picture_size": (1920, 1088)}, ""),
        ({"picture_size": (0, 0)}, ""),
        ({"rotation": math.tau}, ""),
        ({"picture_size": (3840, 2160)}, "shows only a part of its picture"),
        ({"offset": (400.0, 0.0)}, "shows only a part of its picture"),
        ({"scale": (0.5, 0.5), "origin": (0.0, 0.5)}, ""),
        ({"scale": (0.5, 0.5), "origin": (0.0, 0.5), "offset": (-20.0, 0.0)}, "shows only a part of its picture"),
        ({"rotation": math.pi}, "is rotated"),
        ({"crop": (1, 0, 0, 0)}, "is cropped"),
        ({"flipped": (False, True)}, "is mirrored"),
        ({"scale": (-1.0, 1.0)}, "is mirrored"),
    ],
)
def test_only_a_whole_upright_picture_is_read_from_its_file(changes: dict[str, object], expected: str) -> None:
    assert replace(WHOLE, **changes).change == expected


@given(st.integers(16, 8000), st.integers(16, 8000), st.integers(16, 8000), st.integers(16, 8000))
def test_a_picture_that_is_fitted_into_the_frame_is_whole(
    frame_width: int, frame_height: int, width: int, height: int
) -> None:
    scale = min(frame_width / width, frame_height / height)
    fitted = Framing((frame_width, frame_height), (width, height), scale=(scale, scale))
    assert fitted.change == ""
    assert replace(fitted, scale=(scale * 1.05, scale * 1.05)).change != ""
