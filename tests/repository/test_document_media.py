"""Images and sounds in the documents are small, and every tracked one is shown."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEDIA_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".svg", ".wav", ".flac", ".mp3", ".mp4", ".webm"}
LIMIT_BYTES = 3 * 2**20


def tracked_media() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "docs", "*.md"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.suffix in MEDIA_SUFFIXES and path.is_file()]


def test_tracked_media_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in tracked_media()}
    assert sizes
    assert sum(sizes.values()) <= LIMIT_BYTES, sizes


def test_generated_media_are_not_tracked() -> None:
    assert not [path for path in tracked_media() if path.is_relative_to(ROOT / "docs" / "generated")]


def test_tracked_media_are_shown_on_a_page() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {
        (page.parent / target).resolve()
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    }
    assert not [path for path in tracked_media() if path not in shown]
