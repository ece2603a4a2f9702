"""The clips of a folder, each cut to the part that a table measures; the others are listed with the reason."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.evaluation.real_manifest import MANIFEST_NAME
from rewas_engine.evaluation.tables.presets import Preset
from rewas_engine.media.video import probe_video
from rewas_engine.recordings.captions import MANIFEST_SUFFIXES, LeftOut, clean_caption
from rewas_engine.recordings.files import MANIFEST_STEMS
from rewas_engine.training.dataset_clips import CLIP_S, Dataset, DatasetClip, list_videos
from rewas_engine.training.datasets import Layout, list_clips
from rewas_engine.training.recording_catalog import CaptionSource, list_recordings

SHORTEST_S = Fraction(1, 2)
"""Shorter clips are left out: their onsets and features mean little."""
_UNSAFE = re.compile(r"[^\w.\-]+")
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class TableClip:
    """The measured part of a clip.

    Attributes:
        name: Name of its files, unique in the table.
        video: Video file.
        sound: File of the original sound, often the video file.
        start_s: Start within the files, in seconds from the first frame.
        duration_s: Seconds.
        offset_s: Start within the clip of the data set.
        prompt: Description of the sound; "" if there is none.
        sha256: Hash of the video file, and of the sound file if that is another one.
    """

    name: str
    video: Path
    sound: Path
    start_s: Fraction
    duration_s: Fraction
    offset_s: Fraction
    prompt: str
    sha256: str

    @property
    def key(self) -> str:
        """Everything that decides the measured part, for the cache."""
        return f"{self.sha256}+{self.start_s}+{self.duration_s}"


@dataclass(frozen=True)
class ClipList:
    """The clips of a table, and what was left out with the reasons."""

    clips: tuple[TableClip, ...]
    left_out: tuple[LeftOut, ...]


def read_clips(
    folder: Path,
    preset: Preset,
    *,
    layout: Layout = "folder",
    table: Path | None = None,
    held_out_only: bool = True,
    limit: int | None = None,
    on_clip: Callable[[int, int], object] = lambda done, total: None,
) -> ClipList:
    """List the clips of a folder.

    Args:
        folder: The data set.
        preset: Decides which part of a clip is measured.
        layout: Layout of the data set.
        table: Its table, if that is elsewhere or has another name.
        held_out_only: Leave out the clips that training may use, unless there are no others. A plain folder has no
            such division, and all of its clips are used.
        limit: Use at most this many clips, evenly spaced by name.
        on_clip: Called with finished and total clips.

    Raises:
        SettingsError: The folder or its table cannot be read, or no clip can be measured.
    """
    dataset = _read_folder(folder, table) if layout == "folder" else list_clips(folder, layout, table)
    chosen, left_out = list(dataset.clips), list(dataset.left_out)
    held_out = [clip for clip in chosen if clip.is_held_out]
    if layout != "folder" and held_out_only and held_out:
        chosen = held_out
    if limit is not None and limit < len(chosen):
        chosen = [chosen[place * len(chosen) // limit] for place in range(limit)]
    clips: list[TableClip] = []
    names: set[str] = set()
    for number, clip in enumerate(chosen):
        on_clip(number, len(chosen))
        try:
            clips.append(_cut(clip, preset, names))
        except MediaError as error:
            left_out.append(LeftOut(clip.name, error.what.removesuffix(".")))
    if not clips:
        first = f" First of {len(left_out)} problems: {left_out[0]}." if left_out else ""
        raise SettingsError(
            f"{folder} has no clips that can be measured.{first}",
            f"Give a folder of videos with sound in the layout of {layout}.",
        )
    return ClipList(tuple(clips), tuple(left_out))


def file_sha256(path: Path) -> str:
    """Hash the content of a file. Raises MediaError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check the file.") from error
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Replace everything in a name that is not safe in a file name."""
    return _UNSAFE.sub("_", name).strip("_.") or "clip"


def _read_folder(folder: Path, table: Path | None) -> Dataset:
    """All videos of any folder, with a caption from the table, the file next to it, or the name where there is one."""
    if not folder.is_dir():
        raise SettingsError(f"The folder {folder} does not exist.", "Give a folder of videos with sound.")
    listed = None if table is not None else _read_manifest(folder)
    if listed is not None:
        return listed
    videos = list_videos(folder)
    if not videos:
        raise SettingsError(f"There are no video files in {folder}.", "Give a folder of videos with sound.")
    names = (f"{stem}{suffix}" for stem in MANIFEST_STEMS for suffix in MANIFEST_SUFFIXES)
    has_table = table is not None or any((folder / name).is_file() for name in names)
    try:
        catalog = list_recordings(None, folder, CaptionSource(manifest=table))
    except SettingsError:
        if has_table:
            raise
        return Dataset(tuple(_whole_clip(path.stem, path, "") for path in videos), ())
    captions = {recording.path: recording.captions[0] for recording in catalog.recordings}
    if has_table:
        videos = [path for path in videos if path in captions]
    clips = tuple(_whole_clip(path.stem, path, captions.get(path, "")) for path in videos)
    # Without a table, the only reason is that nothing describes a clip, and such clips are measured too.
    return Dataset(clips, catalog.left_out if has_table else ())


def _read_manifest(folder: Path) -> Dataset | None:
    """The clips of a manifest with the columns `file` and `heard`, as for `rewas eval --real`; None without one."""
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return None
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The manifest {manifest} cannot be read ({error}).", "Save it as CSV in UTF-8.") from error
    if not rows or not {"file", "heard"} <= rows[0].keys():
        return None
    clips: dict[Path, DatasetClip] = {}
    left_out = []
    for number, row in enumerate(rows, start=2):
        name = (row["file"] or "").strip()
        path = folder / name
        if not name or Path(name).name != name or not path.is_file():
            left_out.append(LeftOut(f"{MANIFEST_NAME}, line {number}", f"there is no video {name} next to it"))
        else:
            clips.setdefault(path, _whole_clip(path.stem, path, clean_caption(row["heard"] or "")))
    return Dataset(tuple(clips.values()), tuple(left_out))


def _whole_clip(name: str, path: Path, caption: str) -> DatasetClip:
    return DatasetClip(name, path, path, Fraction(0), CLIP_S, caption, True)


def _cut(clip: DatasetClip, preset: Preset, names: set[str]) -> TableClip:
    """The part of a clip that the preset measures. Raises MediaError if the video cannot be read or is too short."""
    media_s = probe_video(clip.video).duration_s
    start_s = max(Fraction(0), min(clip.start_s, media_s - clip.duration_s))
    available_s = min(clip.duration_s, media_s - start_s)
    duration_s = min(preset.duration_s, available_s)
    if duration_s < SHORTEST_S:
        raise MediaError(
            f"The clip lasts {float(available_s):.2f} s, less than {float(SHORTEST_S):g} s.", "Use longer clips."
        )
    offset_s = min(preset.start_s, available_s - duration_s)
    sha256 = file_sha256(clip.video) + ("" if clip.sound == clip.video else file_sha256(clip.sound))
    return TableClip(
        _file_name(clip.name, names),
        clip.video,
        clip.sound,
        start_s + offset_s,
        duration_s,
        offset_s,
        clip.caption,
        sha256,
    )


def _file_name(name: str, names: set[str]) -> str:
    """A name for files that no other clip has, as similar to the clip's own as possible."""
    safe = safe_name(name)
    unique = safe if safe not in names else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    number = 2
    while unique in names:
        unique, number = f"{safe}-{number}", number + 1
    names.add(unique)
    return unique
