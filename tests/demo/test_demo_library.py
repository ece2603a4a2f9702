"""The demo also performs the library foley if it is installed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from make_demo_clips import DEMO_CLIPS, make_clip
from perform_library import LIBRARY, LibraryFailed, has_library, perform

from rewas_engine.models.text import SentenceEncoder
from rewas_engine.recordings.library_pack import LibraryTerms, make_library

RATE_HZ = 44_100


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library foley with one hit of each kind that the demo shows."""
    sounds, packs = tmp_path / "sounds", tmp_path / "packs"
    sounds.mkdir()
    rng = np.random.default_rng(0)
    for name in ("ball bounce", "knock on wood"):
        hit = rng.normal(0, 0.3, RATE_HZ // 4) * np.exp(-np.arange(RATE_HZ // 4) / 2000)
        soundfile.write(sounds / f"{name}.flac", hit, RATE_HZ)
    encoder = SentenceEncoder.default()
    make_library([sounds], packs / LIBRARY, LibraryTerms("CC0-1.0"), lambda words: encoder(list(words)).numpy())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REWAS_PACKS", str(packs))
    return sounds


@pytest.mark.slow
def test_the_library_performs_a_clip_of_the_demo(library: Path, tmp_path: Path) -> None:
    assert has_library()
    clip = DEMO_CLIPS[0]
    path = make_clip(clip, tmp_path)
    (entry,) = perform([clip], [path], 7, tmp_path / LIBRARY)
    assert entry["clip"] == clip.file_name
    assert entry["samples"] == entry["expected_samples"]
    assert entry["energy_correlation"] > 0.8
    assert (tmp_path / entry["stem"]).is_file()
    (library / "ball bounce.flac").unlink()
    with pytest.raises(LibraryFailed, match=r"did not perform ball\.mp4"):
        perform([clip], [path], 7, tmp_path / "again")


def test_without_the_library_the_demo_does_not_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path))
    assert not has_library()
