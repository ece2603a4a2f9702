"""Proof of sync: after a round trip through each format, every flash and every click is where it was computed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
import pytest
from flash_and_click import SAMPLE_RATE_HZ, Reel, click_errors_samples, find_flashes, flash_errors_s, make_reel

from rewas_server.otio.formats import FORMATS, Placement
from rewas_server.otio.reaper import read_project
from rewas_server.otio.writing import check_output, write_timeline

RATES = {
    "24000/1001": (Fraction(24000, 1001), 86400),
    "25": (Fraction(25), 90000),
    "30000/1001 drop-frame": (Fraction(30000, 1001), 107892),
    "60000/1001": (Fraction(60000, 1001), 215784),
}
"""The rate, and the frame at the timecode 01:00:00:00."""
WRITTEN = sorted(suffix for suffix, found in FORMATS.items() if found.writes)
CUTS, LENGTH_S = 40, 40


def read_back(path: Path, rate: Fraction) -> otio.schema.Timeline:
    if path.suffix == ".rpp":
        return read_project(path)
    arguments: dict[str, object] = {"rate": float(rate)} if path.suffix == ".edl" else {}
    if path.suffix == ".otioz":
        arguments["extract_to_directory"] = str(path.parent)
    return otio.adapters.read_from_file(str(path), **arguments)


def write_and_read(reel: Reel, rate: Fraction, suffix: str, folder: Path) -> tuple[otio.schema.Timeline, Path]:
    """Return what was read back, and the folder where its relative media references start."""
    folder.mkdir()
    write_timeline(reel.timeline, folder / f"reel{suffix}")
    return read_back(folder / f"reel{suffix}", rate), folder / "reel.otiod" if suffix == ".otiod" else folder


@pytest.fixture(scope="module", params=RATES)
def reel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Reel, Fraction]:
    rate, start_frames = RATES[request.param]
    folder = tmp_path_factory.mktemp("reel")
    made = make_reel(folder, rate, CUTS, LENGTH_S, start_frames=start_frames)
    assert find_flashes(made.film) == [round(made.flash_s * rate)]
    return made, rate


@pytest.mark.parametrize("suffix", WRITTEN)
def test_every_click_is_within_half_a_sample(reel: tuple[Reel, Fraction], suffix: str, tmp_path: Path) -> None:
    made, rate = reel
    assert not any("exact place" in loss for loss in check_output(tmp_path / f"a{suffix}", timeline=made.timeline))
    found, folder = write_and_read(made, rate, suffix, tmp_path / "out")
    assert max(click_errors_samples(found, folder, made)) <= 0.5
    # Everything in a REAPER project is on whole samples.
    assert max(flash_errors_s(found, made)) <= (1 / SAMPLE_RATE_HZ if suffix == ".rpp" else 1e-9)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_between_two_frames_the_error_is_reported_and_bounded(suffix: str, tmp_path: Path) -> None:
    rate = Fraction(24)
    made = make_reel(tmp_path / "reel", rate, CUTS, LENGTH_S, start_frames=86400, off_frames=True)
    said = [loss for loss in check_output(tmp_path / f"a{suffix}", timeline=made.timeline) if "exact place" in loss]
    found, folder = write_and_read(made, rate, suffix, tmp_path / "out")
    worst = max(click_errors_samples(found, folder, made))
    if FORMATS[suffix].placement is Placement.FRAMES:
        assert len(said) == 1
        # The place of a clip and the start of its file are both rounded to frames.
        assert worst <= SAMPLE_RATE_HZ / rate
    else:
        assert not said
        assert worst <= 0.5
