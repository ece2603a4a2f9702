"""Reads REAPER projects (.rpp) as OpenTimelineIO JSON. It is plain Python, so that it also runs inside Blender.

Each track of the project becomes a track. Items that overlap go to further tracks of the same name. A track with only
video items is a video track, unless our own export has stored its kind. Times are in samples of the project's rate,
from the start of the project, whose timecode is the global start time. What OpenTimelineIO has no field for is in
`metadata["reaper"]`:

- of a clip: `volume` (linear, that of the item times that of its take), `pan` (-1 left to 1 right), `fade_in_s`,
  `fade_out_s`, `guid`, `loops` if the item repeats its source, and `envelopes` if its take has envelopes of volume, pan
  or mute that are not bypassed;
- of a track: `volume`, `pan`, `guid`, and `envelopes` as for a clip.

If the timecode of a timeline at 29.97 or 59.94 frames per second is not drop-frame, `metadata["rewas"]["drop_frame"]`
of the timeline is False.

Our own export stores a line `rewas` with JSON in the block EXT of an item or track. It becomes the metadata of the clip
or track.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from rewas_api.clip_settings import METADATA_KEY

METADATA_LINE = "rewas"
"""Name of the line in the block EXT of an item or track that holds the metadata of its clip or track, as JSON."""
KIND_LINE = "rewas_kind"
"""Name of the line in a track's block EXT that holds its kind, because audio tracks may also play video files."""
PROJECT_SECTION = "REWAS"
"""Name of the section in the block EXTSTATE of a project that contains such a line for the timeline."""
REAPER_KEY = "reaper"
"""Key of the metadata with what OpenTimelineIO has no field for."""
_MAX_DEPTH = 64
_MAX_TIME_S = 10**7
_NEAR_SAMPLE = Fraction(1, 1000)
_DEFAULT_RATE_HZ = 48000
_QUOTES = "\"'`"
_PICTURES = frozenset({"VIDEO"})
_ENVELOPES = ("VOLENV", "VOLENV2", "VOLENV3", "PANENV", "PANENV2", "MUTEENV")
_EMPTY = "EMPTY"
_REVERSED_MODES = frozenset({"2", "3"})
_NTSC_DROP_FRAME, _NTSC = "1", "2"
_DROP_FRAME_BASES = ("30", "60")
"""Nominal frame rates at which timecode is drop-frame unless a file says otherwise."""


class ReaperError(ValueError):
    """A REAPER project cannot be read.

    Args:
        what: One sentence on what is wrong.
        remedy: One sentence on what to do about it.
    """

    def __init__(self, what: str, remedy: str = "Save the project again in REAPER.") -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


def read_reaper_project(text: str, name: str = "") -> dict[str, Any]:
    """Return the timeline of a project as the JSON values of an OTIO Timeline.

    Args:
        text: The contents of the .rpp file.
        name: Name for the timeline, such as that of the file.

    Raises ReaperError.
    """
    project = _parse(text)
    rate_hz = _number(project.values("SAMPLERATE"), 0, _DEFAULT_RATE_HZ, "SAMPLERATE")
    if not 1 <= rate_hz <= 10**7:
        raise ReaperError(f"The project has a sample rate of {float(rate_hz):g} Hz.")
    clock = _Clock(rate_hz)
    tracks = [track for block in project.blocks("TRACK") for track in _read_track(block, clock)]
    stack = _item("Stack.1", "tracks", children=tracks, markers=list(_read_markers(project, clock)))
    start_s = _number(project.values("PROJOFFS"), 0, 0, "PROJOFFS")
    return {
        "OTIO_SCHEMA": "Timeline.1",
        "name": name,
        "metadata": _project_metadata(project, has_timecode=bool(start_s)),
        "global_start_time": _timecode(start_s, _frame_rate(project)),
        "tracks": stack,
    }


@dataclass
class _Block:
    """A block of a project: the words of its first line, and its lines and blocks in their order."""

    words: list[str]
    contents: list[_Block | list[str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[0] if self.words else ""

    def blocks(self, name: str) -> Iterator[_Block]:
        """Yield the blocks with a name."""
        for each in self.contents:
            if isinstance(each, _Block) and each.name == name:
                yield each

    def values(self, name: str) -> list[str]:
        """Return the words after a name in the first line that begins with it; empty if there is none."""
        return next((each[1:] for each in self.contents if isinstance(each, list) and each[:1] == [name]), [])


@dataclass
class _Take:
    """One of the takes of an item. lines: as those of the item's block."""

    lines: _Block
    is_selected: bool = False


@dataclass(frozen=True)
class _Clock:
    """Converts seconds to times in samples of the project's rate."""

    rate_hz: Fraction

    def samples(self, seconds: Fraction) -> Fraction:
        """Return a time in samples, as a whole number if it is one except for the rounding in the file."""
        exact = seconds * self.rate_hz
        return Fraction(round(exact)) if abs(exact - round(exact)) <= _NEAR_SAMPLE else exact

    def time(self, samples: Fraction) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "RationalTime.1", "value": float(samples), "rate": float(self.rate_hz)}

    def range(self, start: Fraction, duration: Fraction) -> dict[str, Any]:
        return {"OTIO_SCHEMA": "TimeRange.1", "start_time": self.time(start), "duration": self.time(duration)}


# The text


def _parse(text: str) -> _Block:
    lines = text.splitlines()
    if not lines or not lines[0].lstrip("\ufeff").startswith("<REAPER_PROJECT"):
        raise ReaperError("It is not a REAPER project.", "Choose a file that REAPER has saved as .rpp.")
    project = _Block(_split(lines[0].lstrip("\ufeff")[1:]))
    open_blocks = [project]
    for number, line in enumerate(lines[1:], start=2):
        stripped = line.strip()
        if not open_blocks:
            break
        if stripped == ">":
            open_blocks.pop()
        elif stripped.startswith("<"):
            block = _Block(_split(stripped[1:]))
            open_blocks[-1].contents.append(block)
            open_blocks.append(block)
            if len(open_blocks) > _MAX_DEPTH:
                raise ReaperError(f"Line {number} is nested more than {_MAX_DEPTH} levels deep.")
        elif stripped:
            open_blocks[-1].contents.append(_split(stripped))
    if open_blocks:
        raise ReaperError(f"The block {open_blocks[-1].name} has no end, so part of the project is missing.")
    return project


def _split(line: str) -> list[str]:
    """Return the words of a line. A word with spaces is in one of three kinds of quotes."""
    words = []
    position = 0
    while position < len(line):
        character = line[position]
        if character.isspace():
            position += 1
            continue
        if character in _QUOTES:
            end = line.find(character, position + 1)
            end = len(line) if end < 0 else end
            words.append(line[position + 1 : end])
            position = end + 1
        else:
            end = position
            while end < len(line) and not line[end].isspace():
                end += 1
            words.append(line[position:end])
            position = end
    return words


def _number(values: Sequence[str], position: int, default: int, name: str) -> Fraction:
    """Return a number of a line, or the default if the line is too short."""
    if position >= len(values):
        return Fraction(default)
    try:
        # Fraction also accepts "1/3" and a thousand digits, which REAPER does not write.
        number = Fraction(values[position]) if len(values[position]) < 64 else None
    except (ValueError, ZeroDivisionError):
        number = None
    if number is None or abs(number) > _MAX_TIME_S:
        raise ReaperError(f"The line {name} has {values[position]!r:.40} instead of a number.")
    return number


# The project


def _frame_rate(project: _Block) -> Fraction:
    values = project.values("TIMEMODE")
    base = _number(values, 3, 24, "TIMEMODE")
    is_ntsc = values[4:5] in ([_NTSC], [_NTSC_DROP_FRAME])
    if not 1 <= base <= 1000:
        return Fraction(24)
    return base * Fraction(1000, 1001) if is_ntsc else base


def _timecode(start_s: Fraction, rate: Fraction) -> dict[str, Any] | None:
    if not start_s:
        # The default of REAPER, which says nothing about the start timecode.
        return None
    frames = start_s * rate
    frames = Fraction(round(frames)) if abs(frames - round(frames)) <= _NEAR_SAMPLE else frames
    return {"OTIO_SCHEMA": "RationalTime.1", "value": float(frames), "rate": float(rate)}


def _read_markers(project: _Block, clock: _Clock) -> Iterator[dict[str, Any]]:
    """Yield the markers and regions. The end of a region is a line with the same number."""
    started: dict[str, dict[str, Any]] = {}
    for line in project.contents:
        if not isinstance(line, list) or line[:1] != ["MARKER"] or len(line) < 3:
            continue
        at = clock.samples(_number(line, 2, 0, "MARKER"))
        is_region = line[4:5] == ["1"]
        if is_region and line[1] in started:
            begun = started.pop(line[1])
            start = Fraction(begun["marked_range"]["start_time"]["value"])
            begun["marked_range"] = clock.range(start, max(at - start, Fraction(0)))
            continue
        marker = {
            "OTIO_SCHEMA": "Marker.2",
            "name": line[3] if len(line) > 3 else "",
            "metadata": {},
            "color": "GREEN",
            "comment": "",
            "marked_range": clock.range(at, Fraction(0)),
        }
        if is_region:
            started[line[1]] = marker
        yield marker


# Tracks and items


def _read_track(block: _Block, clock: _Clock) -> list[dict[str, Any]]:
    """Return the tracks for the items of one track of the project: several if items overlap."""
    placed = sorted(
        (_read_item(item, clock) for item in block.blocks("ITEM")),
        key=lambda each: each[0],
    )
    lanes: list[list[tuple[Fraction, Fraction, dict[str, Any]]]] = [[]]
    ends = [Fraction(0)]
    for begin, length, clip in placed:
        number = next((number for number, end in enumerate(ends) if end <= begin), len(ends))
        if number == len(ends):
            lanes.append([])
            ends.append(Fraction(0))
        lanes[number].append((begin, length, clip))
        ends[number] = begin + length
    # An item without a source, such as a title, does not determine the kind of its track.
    sources = {clip["metadata"][REAPER_KEY]["source"] for _, _, clip in placed} - {_EMPTY}
    volume = block.values("VOLPAN")
    described = {
        "volume": float(_number(volume, 0, 1, "VOLPAN")),
        "pan": float(_number(volume, 1, 0, "VOLPAN")),
        "guid": block.words[1] if len(block.words) > 1 else "",
        **_envelopes(block),
    }
    return [
        _item(
            "Track.1",
            " ".join(block.values("NAME")),
            children=list(_with_gaps(lane, clock)),
            kind=_kind(block, is_picture=bool(sources) and sources <= _PICTURES),
            enabled=block.values("MUTESOLO")[:1] != ["1"],
            metadata={**_stored_metadata(block), REAPER_KEY: dict(described)},
        )
        for lane in lanes
    ]


def _with_gaps(lane: Sequence[tuple[Fraction, Fraction, dict[str, Any]]], clock: _Clock) -> Iterator[dict[str, Any]]:
    reached = Fraction(0)
    for begin, length, clip in lane:
        if begin > reached:
            yield _item("Gap.1", "", source_range=clock.range(Fraction(0), begin - reached))
        yield clip
        reached = begin + length


def _read_item(block: _Block, clock: _Clock) -> tuple[Fraction, Fraction, dict[str, Any]]:
    """Return the position and length of an item in samples, and its clip."""
    begin = clock.samples(_number(block.values("POSITION"), 0, 0, "POSITION"))
    length = clock.samples(_number(block.values("LENGTH"), 0, 0, "LENGTH"))
    if length < 0:
        raise ReaperError(f"An item at {float(begin / clock.rate_hz):g} s has a negative length.")
    takes = _takes_of(block)
    chosen = next((number for number, take in enumerate(takes) if take.is_selected), 0)
    lines = takes[chosen].lines
    source = next(lines.blocks("SOURCE"), _Block(["SOURCE", _EMPTY]))
    rate = _number(lines.values("PLAYRATE"), 0, 1, "PLAYRATE")
    offset_s = _number(lines.values("SOFFS"), 0, 0, "SOFFS")
    kind, _, section_s, is_reversed = _read_source(source)
    references = {f"take {number}": _reference(take) for number, take in enumerate(takes, start=1)}
    volume = lines.values("TAKEVOLPAN") if chosen else block.values("VOLPAN")[1:]
    effects = []
    if rate != 1 or is_reversed:
        effects.append(
            {
                "OTIO_SCHEMA": "LinearTimeWarp.1",
                "name": "",
                "metadata": {},
                "effect_name": "LinearTimeWarp",
                "time_scalar": float(-rate if is_reversed else rate),
            }
        )
    described = {
        "volume": float(_number(block.values("VOLPAN"), 0, 1, "VOLPAN") * abs(_number(volume, 1, 1, "VOLPAN"))),
        "pan": float(_number(volume, 0, 0, "VOLPAN")),
        "fade_in_s": float(_number(block.values("FADEIN"), 1, 0, "FADEIN")),
        "fade_out_s": float(_number(block.values("FADEOUT"), 1, 0, "FADEOUT")),
        "guid": "".join(block.values("IGUID")),
        "source": kind,
        **_envelopes(lines),
    }
    if block.values("LOOP")[:1] == ["1"]:
        described["loops"] = True
    clip = _item(
        "Clip.2",
        " ".join(lines.values("NAME")),
        source_range=clock.range(clock.samples(offset_s + section_s), length),
        effects=effects,
        enabled=block.values("MUTE")[:1] != ["1"],
        metadata={**_stored_metadata(block), REAPER_KEY: described},
        media_references=references,
        active_media_reference_key=f"take {chosen + 1}",
    )
    return begin, length, clip


def _envelopes(block: _Block) -> dict[str, bool]:
    """Return what is known about the envelopes of a track or take."""
    found = (each for name in _ENVELOPES for each in block.blocks(name))
    return {"envelopes": True} if any(each.values("ACT")[:1] != ["0"] for each in found) else {}


def _takes_of(block: _Block) -> list[_Take]:
    """Return the takes of an item. The lines of the first take come before those of all others."""
    takes = [_Take(_Block(["TAKE"]))]
    for each in block.contents:
        if isinstance(each, list) and each[0] == "TAKE":
            takes.append(_Take(_Block(["TAKE"]), is_selected=each[1:2] == ["SEL"]))
        else:
            takes[-1].lines.contents.append(each)
    return takes


def _reference(take: _Take) -> dict[str, Any]:
    source = next(take.lines.blocks("SOURCE"), None)
    path = _read_source(source)[1] if source is not None else ""
    schema = "ExternalReference.1" if path else "MissingReference.1"
    reference = {"OTIO_SCHEMA": schema, "name": " ".join(take.lines.values("NAME")), "metadata": {}}
    return {**reference, "available_range": None, **({"target_url": path} if path else {})}


def _read_source(source: _Block) -> tuple[str, str, Fraction, bool]:
    """Return the kind of a source, its file, where its section begins in seconds, and whether it is reversed."""
    begin_s, is_reversed = Fraction(0), False
    while source.words[1:2] == ["SECTION"]:
        begin_s += _number(source.values("STARTPOS"), 0, 0, "STARTPOS")
        is_reversed ^= source.values("MODE")[:1] in ([mode] for mode in _REVERSED_MODES)
        source = next(source.blocks("SOURCE"), _Block(["SOURCE", _EMPTY]))
    kind = source.words[1] if len(source.words) > 1 else _EMPTY
    return kind, " ".join(source.values("FILE")[:1]), begin_s, is_reversed


def _kind(block: _Block, *, is_picture: bool) -> str:
    stored = [extension.values(KIND_LINE)[:1] for extension in block.blocks("EXT")]
    known = next((kind[0] for kind in stored if kind and kind[0] in ("Audio", "Video")), None)
    return known or ("Video" if is_picture else "Audio")


def _project_metadata(project: _Block, *, has_timecode: bool) -> dict[str, Any]:
    sections = (section for state in project.blocks("EXTSTATE") for section in state.blocks(PROJECT_SECTION))
    section = next(sections, None)
    metadata = {} if section is None else _metadata_in(section)
    values = project.values("TIMEMODE")
    if has_timecode and values[3:4] and values[3] in _DROP_FRAME_BASES and values[4:5] == [_NTSC]:
        ours = metadata.get(METADATA_KEY)
        metadata[METADATA_KEY] = {**(ours if isinstance(ours, dict) else {}), "drop_frame": False}
    return metadata


def _stored_metadata(block: _Block) -> dict[str, Any]:
    for extension in block.blocks("EXT"):
        if extension.values(METADATA_LINE):
            return _metadata_in(extension)
    return {}


def _metadata_in(block: _Block) -> dict[str, Any]:
    stored = block.values(METADATA_LINE)
    try:
        values = json.loads(stored[0]) if stored else None
    except (ValueError, RecursionError):
        # Somebody has edited the metadata. The file of the item still identifies it.
        return {}
    return values if isinstance(values, dict) else {}


def _item(schema: str, name: str, **fields: Any) -> dict[str, Any]:
    """Return the JSON values of an OTIO item."""
    empty: dict[str, Any] = {"metadata": {}, "source_range": None, "effects": [], "markers": [], "enabled": True}
    return {"OTIO_SCHEMA": schema, "name": name, **empty, **fields}
