"""`rewas batch` into each format: the sounds are in their places, and an impossible output is refused at once."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
import soundfile
from rewas_command import Rewas, write_clip

from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.formats import FORMATS
from rewas_server.otio.frame_timeline import placed_items
from rewas_server.otio.media_paths import find_path
from rewas_server.otio.reading import ReadOptions, open_timeline

RATE = Fraction(30000, 1001)
ONE_HOUR_FRAMES = 107892
"""The frame at 01:00:00;00."""
WRITTEN = [suffix for suffix, found in FORMATS.items() if found.writes]


def span(start: float, frames: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(
        otio.opentime.RationalTime(start, float(RATE)), otio.opentime.RationalTime(frames, float(RATE))
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a timeline of two clips and its media. Its sounds are made by the first test that needs them."""
    folder = tmp_path_factory.mktemp("project") / "film"
    folder.mkdir()
    write_clip(folder / "ball.mp4", frames=30, rate=RATE)
    timeline = otio.schema.Timeline("cut", global_start_time=span(ONE_HOUR_FRAMES, 0).start_time)
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for number in range(2):
        track.append(otio.schema.Gap(source_range=span(0, 3)))
        clip = otio.schema.Clip(f"shot {number}", otio.schema.ExternalReference("ball.mp4", span(0, 30)), span(2, 7))
        clip.metadata["rewas"] = {"prompt": "a door", "seed": 3}
        track.append(clip)
    otio.adapters.write_to_file(timeline, str(folder / "cut.otio"))
    return folder


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_sounds_are_in_every_format(rewas: Rewas, project: Path, tmp_path: Path, suffix: str) -> None:
    output = project / f"out{suffix}"
    result = rewas("batch", project / "cut.otio", "-o", output, "--stems", project / "stems", "--steps", 1, "--json")
    assert result.code == 0, result.errors
    if FORMATS[suffix].media_paths[:1] != ("url",):
        project = shutil.copytree(project, tmp_path / "moved")
        output = project / output.name
    opened = open_timeline(output, ReadOptions(rate=RATE, media_folder=tmp_path / "media"))
    timeline = opened.timeline
    found = []
    for track in timeline.tracks:
        for placed in placed_items(track):
            if track.kind == otio.schema.TrackKind.Audio and isinstance(placed.item, otio.schema.Clip):
                path = find_path(placed.item.media_reference.target_url, output.parent)
                assert path is not None
                assert soundfile.info(str(path)).subtype == "PCM_24"
                found.append((timeline_start_s(timeline) + placed.start_s, placed.duration_s))
    expected = [((ONE_HOUR_FRAMES + first) / RATE, 7 / RATE) for first in (3, 13)]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert all(abs(a - b) <= Fraction(1, 48000) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("output", "options", "sentence"),
    [
        ("out.mov", [], "its suffix is not that of a timeline format"),
        ("out.kdenlive", [], "Kdenlive project can only be read"),
        ("cut.otio", [], "which is also an input"),
        ("out.xml", ["--media-paths", "relative"], "does not support relative media paths"),
    ],
)
def test_an_impossible_output_is_refused_before_the_work(
    rewas: Rewas, project: Path, tmp_path: Path, output: str, options: list[str], sentence: str
) -> None:
    stems = tmp_path / "stems"
    result = rewas("batch", project / "cut.otio", "-o", project / output, "--stems", stems, *options)
    assert result.code == 2
    assert sentence in " ".join(result.errors.split())
    assert not stems.exists()
