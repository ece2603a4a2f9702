"""Video clips with sound in the layouts of VGGSound, Greatest Hits, TAVGBench and FAVDBench, or in any folder."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import LeftOut, clean_caption
from rewas_engine.training.dataset_clips import CLIP_S, Dataset, DatasetClip, list_videos, read_duration_s
from rewas_engine.training.described_clips import read_favdbench, read_tavgbench
from rewas_engine.training.recording_catalog import CaptionSource, list_recordings
from rewas_engine.training.recordings import held_out_names

Layout = Literal["folder", "vggsound", "greatest-hits", "tavgbench", "favdbench"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
HIT_CLIP_S = Fraction(2)
"""Clip length for Greatest Hits (paper, section 4.1)."""
_HITS_VIDEO = re.compile(r"(?P<name>\d{4}(?:-\d{2}){5})_(?P<kind>denoised|mic)(?:_thumb)?")
_VERBS = {"hit": "hitting", "scratch": "scratching"}


def read_dataset(folder: Path, layout: Layout = "folder", table: Path | None = None) -> Dataset:
    """List all clips of a folder, for training.

    Args:
        folder: The data set.
        layout: Its layout.
        table: Table of VGGSound or TAVGBench, captions of FAVDBench, or captions for any folder.

    Raises:
        SettingsError: The folder or table cannot be read, or there are no training clips or no held-out clips.
    """
    dataset = list_clips(folder, layout, table)
    held_out = sum(clip.is_held_out for clip in dataset.clips)
    if not 0 < held_out < len(dataset.clips):
        first = f" First of {len(dataset.left_out)} problems: {dataset.left_out[0]}." if dataset.left_out else ""
        raise SettingsError(
            f"{folder} has {len(dataset.clips) - held_out} clips to train on and {held_out} to hold out.{first}",
            f"Give at least one of each in the layout of {layout}.",
        )
    return dataset


def list_clips(folder: Path, layout: Layout = "folder", table: Path | None = None) -> Dataset:
    """List all clips of a folder, of which some, all or none may be held out. Args: see `read_dataset`.

    Raises:
        SettingsError: The folder or table cannot be read.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"The layout {layout!r} is unknown.", f"Choose one of {', '.join(LAYOUTS)}.")
    if not folder.is_dir():
        raise SettingsError(f"The folder {folder} does not exist.", "Give the folder of the videos.")
    if layout == "greatest-hits":
        if table is not None:
            raise SettingsError(
                "Greatest Hits has no table.", "Leave out the table; the annotations are next to the videos."
            )
        return _greatest_hits(folder)
    read = {"folder": _any_folder, "vggsound": _vggsound, "tavgbench": read_tavgbench, "favdbench": read_favdbench}
    return read[layout](folder, table)


def _any_folder(folder: Path, table: Path | None) -> Dataset:
    catalog = list_recordings(None, folder, CaptionSource(manifest=table))
    left_out = list(catalog.left_out)
    durations_s = {each.name: read_duration_s(each.path, each.name, left_out) for each in catalog.recordings}
    held_out = frozenset(held_out_names({name for name, duration_s in durations_s.items() if duration_s is not None}))
    clips: list[DatasetClip] = []
    for each in catalog.recordings:
        duration_s = durations_s[each.name]
        if duration_s is None:
            continue
        # A remainder of less than half a clip is dropped, because its clip would mostly overlap the previous one.
        for index in range(max(1, round(duration_s / CLIP_S))):
            caption, start_s = each.captions[index % len(each.captions)], index * CLIP_S
            name = f"{each.name}+{start_s}"
            clips.append(DatasetClip(name, each.path, each.path, start_s, CLIP_S, caption, each.name in held_out))
    return Dataset(tuple(clips), tuple(left_out))


def _vggsound(folder: Path, table: Path | None) -> Dataset:
    """Read VGGSound: lines `YouTube id, start in seconds, label, train or test` without a header, and files
    `<id>_<start>.mp4`.

    The start in a file name has six digits, as written by VGGSound's own tools, or is in milliseconds and followed by
    the end.
    """
    table = table or folder / "vggsound.csv"
    try:
        rows = list(csv.reader(io.StringIO(table.read_text("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The table {table} cannot be read ({error}).", "Give VGGSound's own CSV file.") from error
    videos = {path.stem: path for path in list_videos(folder)}
    clips: dict[str, DatasetClip] = {}
    left_out: list[LeftOut] = []
    for number, row in enumerate(rows, start=1):
        line = f"{table.name}, line {number}"
        if not row or (number == 1 and len(row) > 1 and not row[1].strip().isdigit()):
            continue
        values = [value.strip() for value in row]
        caption = clean_caption(values[2]) if len(values) == 4 else ""
        if len(values) != 4 or not values[1].isdigit() or values[3] not in ("train", "test") or not caption:
            left_out.append(LeftOut(line, "it is not of the form id,start,label,train or test"))
            continue
        start = int(values[1])
        names = (f"{values[0]}_{start:06d}", f"{values[0]}_{start * 1000}_{(start + 10) * 1000}")
        path = next((videos[name] for name in names if name in videos), None)
        if path is None:
            left_out.append(LeftOut(line, f"there is no video {names[0]}"))
        else:
            clips[path.stem] = DatasetClip(path.stem, path, path, Fraction(0), CLIP_S, caption, values[3] == "test")
    unnamed = len(videos) - len(clips)
    if unnamed:
        left_out.append(LeftOut(f"{unnamed} videos", f"{table.name} does not list them"))
    return Dataset(tuple(clips[name] for name in sorted(clips)), tuple(left_out))


def _greatest_hits(folder: Path) -> Dataset:
    """Read Greatest Hits: videos `YYYY-MM-DD-hh-mm-ss_denoised.mp4` with `…_times.txt`, cut into two-second clips with
    hits.
    """
    videos: dict[str, Path] = {}
    for path in list_videos(folder):  # sorted by name: "denoised", which the benchmark uses, comes before "mic"
        match = _HITS_VIDEO.fullmatch(path.stem)
        if match:
            videos.setdefault(match["name"], path)
    hits_of: dict[str, list[Hit]] = {}
    left_out: list[LeftOut] = []
    for name, video in sorted(videos.items()):
        times = video.with_name(f"{name}_times.txt")
        try:
            hits = read_hits(times)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            left_out.append(LeftOut(name, f"{times.name} cannot be read ({error})"))
            continue
        if not hits:
            left_out.append(LeftOut(name, f"{times.name} lists no hit"))
        elif read_duration_s(video, name, left_out) is not None:
            hits_of[name] = hits
    tests = _read_names(folder / "test.txt")
    held_out = tests if tests is not None else frozenset(held_out_names(hits_of))
    clips: list[DatasetClip] = []
    for name, hits in hits_of.items():
        video = videos[name]
        sound = next(
            (path for kind in ("denoised", "mic") if (path := video.with_name(f"{name}_{kind}.wav")).is_file()), video
        )
        for index, within in _by_clip(hits).items():
            start_s = index * HIT_CLIP_S
            clips.append(
                DatasetClip(
                    f"{name}+{float(start_s):g}",
                    video,
                    sound,
                    start_s,
                    HIT_CLIP_S,
                    caption_of_hits(within),
                    name in held_out,
                )
            )
    return Dataset(tuple(clips), tuple(left_out))


@dataclass(frozen=True)
class Hit:
    """A line of a `_times.txt`: time, material, "hit" or "scratch", and reaction. "None" means unknown."""

    time_s: float
    material: str
    kind: str
    reaction: str


def read_hits(path: Path) -> list[Hit]:
    """Read the hits of a `_times.txt` file.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line has another format.
    """
    hits = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        try:
            time_s, material, kind, reaction = float(parts[0]), *parts[1:]
        except ValueError as error:
            raise ValueError(f"line {number} is not time, material, kind, reaction") from error
        if not (math.isfinite(time_s) and time_s >= 0):
            raise ValueError(f"line {number} has the time {parts[0]}")
        hits.append(Hit(time_s, material, kind, reaction))
    return hits


def caption_of_hits(hits: Iterable[Hit]) -> str:
    """Describe hits as a caption: a drumstick hitting and scratching materials, each named once, in order."""
    phrases = []
    for hit in hits:
        verb = _VERBS.get(hit.kind.lower(), "touching")
        material = "something" if hit.material == "None" else hit.material.replace("-", " ")
        phrases.append(f"{verb} {material}")
    return f"a drumstick {' and '.join(dict.fromkeys(phrases))}"


def _by_clip(hits: Sequence[Hit]) -> Mapping[int, list[Hit]]:
    clips: dict[int, list[Hit]] = {}
    for hit in sorted(hits, key=lambda hit: hit.time_s):
        clips.setdefault(int(hit.time_s // HIT_CLIP_S), []).append(hit)
    return clips


def _read_names(path: Path) -> frozenset[str] | None:
    """Names in a list, one per line; None without a list."""
    if not path.is_file():
        return None
    return frozenset(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
