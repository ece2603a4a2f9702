"""Manifests of real clips: which files to measure, and the sound and kind of each."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import SettingsError

MANIFEST_NAME = "manifest.csv"
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
)
IMPACT_KIND = "impact"
"""Kind of the clips whose onsets are compared."""


@dataclass(frozen=True)
class ManifestEntry:
    """One real clip.

    Attributes:
        path: The video file.
        heard: The sound of the clip, usable as a prompt; "" if unknown.
        kind: Kind of sound, such as "impact" or "continuous"; "" if unknown.
        split: "development" for clips that decisions may depend on, "held-out" for all others; "" if unknown.
    """

    path: Path
    heard: str = ""
    kind: str = ""
    split: str = ""


def real_clip_entries(folder: Path) -> list[ManifestEntry]:
    """List the clips of a folder: those of its manifest.csv, or without one all of its video files, by name.

    The manifest needs the column `file`; the columns `heard`, `kind` and `split` are optional.

    Raises:
        SettingsError: There are no video files, or the manifest is invalid.
    """
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        return _read_manifest(manifest)
    found = (
        sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES) if folder.is_dir() else []
    )
    if not found:
        raise SettingsError(f"There are no video files in {folder}.", "Give a folder of video files with sound.")
    return [ManifestEntry(path) for path in found]


def _read_manifest(manifest: Path) -> list[ManifestEntry]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The manifest {manifest} cannot be read ({error}).", "Save it as CSV in UTF-8.") from error
    entries = [_entry(manifest, number, row) for number, row in enumerate(rows, start=2)]
    names = [entry.path.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"The manifest {manifest} lists {twice[0]} twice.", "Keep one of the lines.")
    if not entries:
        raise SettingsError(f"The manifest {manifest} lists no clips.", "Add a line for each clip.")
    return entries


def _entry(manifest: Path, line: int, row: Mapping[str, str | None]) -> ManifestEntry:
    name = (row.get("file") or "").strip()
    if not name:
        raise SettingsError(
            f"Line {line} of {manifest} names no file.", "Write the name of a video file in the column “file”."
        )
    path = manifest.parent / name
    if Path(name).name != name or not path.is_file():
        raise SettingsError(
            f"Line {line} of {manifest} names {name}, which is not in the same folder.", "Correct or remove the line."
        )
    heard, kind, split = ((row.get(column) or "").strip() for column in ("heard", "kind", "split"))
    if split not in ("", "development", "held-out"):
        raise SettingsError(
            f"Line {line} of {manifest} has an unknown split, {split!r}.", "Write development or held-out."
        )
    return ManifestEntry(path, heard, kind, split)
