"""Manifests of real clips, and paired differences with bootstrap intervals."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import SettingsError
from rewas_engine.evaluation.paired_bootstrap import paired_difference
from rewas_engine.evaluation.real_manifest import ManifestEntry, real_clip_entries

HEADER = "file,seconds,heard,kind,split\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mov", "c.mp4"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_manifest_chooses_and_describes_the_clips(folder: Path) -> None:
    (folder / "manifest.csv").write_text(HEADER + 'b.mov,2,"drum kit, even",impact,development\na.mp4,1,,,\n')
    assert real_clip_entries(folder) == [
        ManifestEntry(folder / "b.mov", "drum kit, even", "impact", "development"),
        ManifestEntry(folder / "a.mp4"),
    ]


def test_without_a_manifest_every_video_counts(folder: Path) -> None:
    assert [entry.path.name for entry in real_clip_entries(folder)] == ["a.mp4", "b.mov", "c.mp4"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER, "lists no clips"),
        (HEADER + ",1,rain,,\n", "Line 2"),
        (HEADER + "a.mp4,1,rain,,\nmissing.mp4,1,rain,,\n", "Line 3"),
        (HEADER + "../a.mp4,1,rain,,\n", "Line 2"),
        (HEADER + "a.mp4,1,rain,,\na.mp4,1,rain,,\n", "a.mp4 twice"),
        (HEADER + "a.mp4,1,rain,,secret\n", "'secret'"),
        ("clip\na.mp4\n", "names no file"),
        (b"file\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_an_invalid_manifest_names_its_line(folder: Path, text: str | bytes, reason: str) -> None:
    (folder / "manifest.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=r"manifest\.csv") as error:
        real_clip_entries(folder)
    assert reason in error.value.what


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.floats(-1, 1))
@settings(max_examples=30)
def test_a_constant_lead_has_an_interval_of_no_width(baseline: list[float], lead: float) -> None:
    found = paired_difference([value + lead for value in baseline], baseline)
    assert found.mean == pytest.approx(lead, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((lead, lead), abs=1e-9)


def test_the_interval_covers_the_true_lead_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        own = rng.normal(0.1, 1.0, 40)
        found = paired_difference(own, np.zeros(40))
        covered += found.low <= 0.1 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_lists_of_different_length_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_difference([1.0], [])
