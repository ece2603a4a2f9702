"""Data sets that describe video and sound together: TAVGBench and FAVDBench."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import LeftOut, clean_caption
from rewas_engine.training.dataset_clips import CLIP_S, Dataset, DatasetClip, list_videos
from rewas_engine.training.recordings import held_out_names

ID_COLUMNS = ("youtube_id", "ytid", "video_id", "youtube id", "id", "video", "name")
START_COLUMNS = ("start", "start_seconds", "start_time", "start_s", "start_second")
TEXT_COLUMNS = ("text", "caption", "description", "prompt")
"""Usual names of the columns of TAVGBench. Without a header, the order is id, start, text."""
COCO_SUFFIX = ".caption_coco_format.json"
"""End of the names of FAVDBench's captions: train, val and test."""
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{0,9})?")


def read_tavgbench(folder: Path, table: Path | None) -> Dataset:
    """Read TAVGBench: a CSV file of YouTube id, start in seconds and text, and one video for each line.

    A video is named `<id>_<start>`, with the start in seconds (1, 000001 or 1.000) or in milliseconds, alone or
    followed by the end, or just `<id>`. Names that begin with Y, as AudioSet's tools write them, are found too. A
    column `split` decides which clips training must not use: all but "train"; without it, a tenth are held out.

    Raises:
        SettingsError: The table cannot be read.
    """
    table = table or _find_table(folder)
    videos = {path.stem: path for path in list_videos(folder)}
    left_out: list[LeftOut] = []
    found: dict[str, tuple[_Line, Path]] = {}
    for line in _read_lines(table, left_out):
        path = next((videos[name] for name in line.names() if name in videos), None)
        if path is None:
            left_out.append(LeftOut(f"{table.name}, line {line.number}", f"there is no video {next(line.names())}"))
        elif path.stem in found:
            left_out.append(LeftOut(f"{table.name}, line {line.number}", f"an earlier line describes {path.name}"))
        else:
            found[path.stem] = (line, path)
    unnamed = len(videos) - len(found)
    if unnamed:
        left_out.append(LeftOut(f"{unnamed} videos", f"{table.name} does not list them"))
    drawn = held_out_names(found)
    clips = (
        DatasetClip(
            name,
            path,
            path,
            Fraction(0),
            CLIP_S,
            line.text,
            name in drawn if line.split is None else line.split != "train",
        )
        for name, (line, path) in sorted(found.items())
    )
    return Dataset(tuple(clips), tuple(left_out))


def read_favdbench(folder: Path, table: Path | None) -> Dataset:
    """Read FAVDBench: videos anywhere below the folder, and `train`, `val` and `test.caption_coco_format.json`.

    Args:
        folder: The data set.
        table: One of these files, to read only it.

    Raises:
        SettingsError: There are no such files, or one cannot be read.
    """
    tables = sorted(folder.rglob(f"*{COCO_SUFFIX}")) if table is None else [table]
    if not tables:
        raise SettingsError(f"{folder} has no captions *{COCO_SUFFIX}.", "Unpack the metadata of FAVDBench there.")
    videos = {path.stem: path for path in list_videos(folder)}
    left_out: list[LeftOut] = []
    clips: dict[str, DatasetClip] = {}
    for each in tables:
        for name, caption in _read_coco(each, left_out):
            path = videos.get(Path(name).stem) or videos.get(name)
            if path is None:
                left_out.append(LeftOut(each.name, f"there is no video {name}"))
            elif path.stem not in clips:
                is_held_out = each.name != f"train{COCO_SUFFIX}"
                clips[path.stem] = DatasetClip(path.stem, path, path, Fraction(0), CLIP_S, caption, is_held_out)
    return Dataset(tuple(clips[name] for name in sorted(clips)), tuple(left_out))


@dataclass(frozen=True)
class _Line:
    """A line of TAVGBench's table. split: None if the table has no such column."""

    number: int
    video_id: str
    start_s: Fraction
    text: str
    split: str | None

    def names(self) -> Iterator[str]:
        """Names that the video of the line may have, the usual one first."""
        starts = [f"{float(self.start_s):.3f}", f"{float(self.start_s):g}"]
        if self.start_s.denominator == 1:
            starts = [f"{int(self.start_s):06d}", *starts]
        ms, end_ms = round(self.start_s * 1000), round((self.start_s + CLIP_S) * 1000)
        starts += [f"{ms}_{end_ms}", f"{ms}", f"{ms / 1000:g}_{end_ms / 1000:g}"]
        for prefix in ("", "Y"):
            yield from (f"{prefix}{self.video_id}_{start}" for start in starts)
            yield f"{prefix}{self.video_id}"


def _find_table(folder: Path) -> Path:
    """The only CSV file at the top of a folder."""
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        raise SettingsError(
            f"There {'is no table' if not tables else f'are {len(tables)} tables'} in {folder}.",
            "Name TAVGBench's CSV file of YouTube id, start and text.",
        )
    return tables[0]


def _read_lines(table: Path, left_out: list[LeftOut]) -> Iterator[_Line]:
    try:
        rows = list(csv.reader(io.StringIO(table.read_text("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The table {table} cannot be read ({error}).", "Give TAVGBench's own CSV file.") from error
    heads = [name.strip().lower() for name in rows[0]] if rows else []
    has_head = len(heads) > 1 and _seconds(heads[1]) is None
    columns = _columns(heads, table) if has_head else {"id": 0, "start": 1, "text": 2}
    for number, row in enumerate(rows, start=1):
        if not row or (has_head and number == 1):
            continue
        values = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
        start_s, text = _seconds(values["start"]), clean_caption(values["text"])
        if not values["id"] or start_s is None or not text:
            left_out.append(LeftOut(f"{table.name}, line {number}", "it is not of the form id,start,text"))
        else:
            yield _Line(number, values["id"], start_s, text, values.get("split"))


def _columns(heads: Sequence[str], table: Path) -> Mapping[str, int]:
    places = {}
    for name, usual in (("id", ID_COLUMNS), ("start", START_COLUMNS), ("text", TEXT_COLUMNS), ("split", ("split",))):
        place = next((heads.index(head) for head in usual if head in heads), None)
        if place is not None:
            places[name] = place
        elif name != "split":
            raise SettingsError(
                f"The table {table} has no column for the {name}.", f"Name the column {' or '.join(usual[:2])}."
            )
    return places


def _seconds(text: str) -> Fraction | None:
    """A time in seconds, 0 or more and below 1000000, as decimal digits; None for anything else."""
    # Not any number: Fraction needs minutes and gigabytes for 1e99999999.
    return Fraction(text) if _SECONDS.fullmatch(text) else None


def _read_coco(path: Path, left_out: list[LeftOut]) -> list[tuple[str, str]]:
    """Names of videos with their captions, in the order of the file. Captions of one video are joined."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        annotations, images = content["annotations"], content.get("images", [])
        names = {str(image["id"]): str(image.get("file_name") or image["id"]) for image in images}
        pairs = [(names.get(str(each["image_id"]), str(each["image_id"])), each["caption"]) for each in annotations]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"The captions in {path} cannot be read ({type(error).__name__}: {error}).",
            "Give the captions of FAVDBench in COCO format.",
        ) from error
    captions: dict[str, list[str]] = {}
    for name, caption in pairs:
        cleaned = clean_caption(caption) if isinstance(caption, str) else ""
        if cleaned:
            captions.setdefault(name, []).append(cleaned)
        else:
            left_out.append(LeftOut(path.name, f"{name} has no caption"))
    return [(name, clean_caption(" ".join(dict.fromkeys(texts)))) for name, texts in captions.items()]
