"""The timeline formats: how each of them is read and written, and what it loses.

The errors about formats and the page of the documentation come from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind

FORMATS_EXTRA = "rewas-nle[otio-formats]"


class MediaPaths(StrEnum):
    """How a timeline refers to its media: by relative path, absolute path or URL, or by containing its sounds."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    URL = "url"
    EMBEDDED = "embedded"


class Placement(StrEnum):
    """How exactly a format places a clip on the timeline."""

    EXACT = "exact"
    SAMPLES = "to the sample"
    FRAMES = "to the frame"


class Feature(StrEnum):
    """What a timeline may contain and a format may lose. The values are the plural names."""

    VIDEO_TRACKS = "further video tracks"
    AUDIO_TRACKS = "audio tracks"
    VIDEO_CLIPS = "video clips"
    AUDIO_CLIPS = "audio clips"
    GENERATORS = "generators"
    STACKS = "nested timelines"
    TRANSITIONS = "transitions"
    RETIMES = "retimed clips"
    VARIABLE_SPEEDS = "variable speeds"
    FREEZES = "freeze frames"
    NESTED_SPEEDS = "speeds of nested timelines"
    EFFECTS = "effects"
    MARKERS = "markers"
    DISABLED = "disabled clips and tracks"
    VERSIONS = "further media references"
    METADATA = "objects with metadata"
    GAP_METADATA = "gaps, stacks and transitions with metadata"
    MEDIA = "links to media"
    START = "start timecodes"
    OTHER = "objects of unknown schemas"


@dataclass(frozen=True)
class TimelineFormat:
    """A timeline format.

    Attributes:
        suffix: With its dot, in lower case.
        title: The name that programs give it.
        adapter: Name of the OpenTimelineIO adapter; empty where this project reads and writes the format itself.
        package: Distribution of the adapter; empty where it is always installed.
        needs: What else must be installed.
        reads, writes: What this project does with the format.
        placement: How exactly it places a clip.
        media_paths: How it can name media. Empty if it contains its media.
        earliest_day, latest_day: The first and the last day of timecode that it supports. Day 0 begins at the timecode
            00:00:00:00. None for no limit.
        loses: What never survives in it.
        notes: Further limits, as sentences.
    """

    suffix: str
    title: str
    adapter: str = ""
    package: str = ""
    needs: str = ""
    reads: bool = True
    writes: bool = False
    placement: Placement = Placement.FRAMES
    media_paths: tuple[MediaPaths, ...] = ()
    earliest_day: int | None = None
    latest_day: int | None = None
    loses: frozenset[Feature] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Whether the adapter is installed."""
        return not self.adapter or self.adapter in otio.adapters.available_adapter_names()


_ANY_PATHS = (MediaPaths.RELATIVE, MediaPaths.ABSOLUTE, MediaPaths.URL)
_FRAMES_NOTE = "All times are whole frames of one rate: a start between two frames moves by up to half a frame."
_VARIABLE_NOTE = "A clip with a variable speed plays at normal speed."
_NESTED_NOTE = "The visible clips of a nested timeline become clips of its track, with its speed."
_FORMATS = (
    TimelineFormat(
        ".otio",
        "OpenTimelineIO",
        adapter="otio_json",
        writes=True,
        placement=Placement.EXACT,
        media_paths=_ANY_PATHS,
        notes=("Keeps everything, including metadata and unknown objects of other programs.",),
    ),
    TimelineFormat(
        ".otioz",
        "OTIO archive",
        adapter="otioz",
        writes=True,
        placement=Placement.EXACT,
        notes=("Contains the media of all media references. Missing media stays a link.",),
    ),
    TimelineFormat(
        ".otiod",
        "OTIO folder",
        adapter="otiod",
        writes=True,
        placement=Placement.EXACT,
        notes=("Contains the media of all media references. Missing media stays a link.",),
    ),
    TimelineFormat(
        ".xml",
        "Final Cut Pro 7 XML (Premiere Pro, DaVinci Resolve)",
        adapter="fcp_xml",
        package="otio-fcp-adapter",
        writes=True,
        media_paths=(MediaPaths.URL,),
        earliest_day=0,
        loses=frozenset(
            {
                Feature.STACKS,
                Feature.VARIABLE_SPEEDS,
                Feature.GAP_METADATA,
                Feature.EFFECTS,
                Feature.VERSIONS,
                Feature.METADATA,
                Feature.OTHER,
            }
        ),
        notes=(
            _FRAMES_NOTE,
            "A start timecode before 00:00:00:00 moves by 24 hours, because timecode cannot be negative.",
            "The media of a retimed clip starts at the nearest frame that the format can express at its speed.",
            _VARIABLE_NOTE,
            _NESTED_NOTE,
        ),
    ),
    TimelineFormat(
        ".aaf",
        "AAF (Media Composer, Pro Tools)",
        adapter="AAF",
        package="otio-aaf-adapter",
        writes=True,
        media_paths=(MediaPaths.URL, MediaPaths.EMBEDDED),
        loses=frozenset(
            {
                Feature.RETIMES,
                Feature.VARIABLE_SPEEDS,
                Feature.FREEZES,
                Feature.NESTED_SPEEDS,
                Feature.GAP_METADATA,
                Feature.EFFECTS,
                Feature.STACKS,
                Feature.GENERATORS,
                Feature.TRANSITIONS,
                Feature.MARKERS,
                Feature.DISABLED,
                Feature.VERSIONS,
                Feature.METADATA,
                Feature.OTHER,
            }
        ),
        notes=(
            _FRAMES_NOTE,
            "Links to the media. With `--media-paths embedded`, it contains the sounds that are 16, 24 or 32-bit PCM.",
            "Disabled clips and tracks are left out, because they would be audible.",
            "The visible clips of a nested timeline become clips of its track.",
        ),
    ),
    TimelineFormat(
        ".edl",
        "Edit decision list (CMX 3600)",
        adapter="cmx_3600",
        package="otio-cmx3600-adapter",
        writes=True,
        media_paths=(MediaPaths.RELATIVE, MediaPaths.ABSOLUTE),
        earliest_day=0,
        latest_day=0,
        loses=frozenset(Feature)
        - {Feature.VIDEO_CLIPS, Feature.AUDIO_CLIPS, Feature.AUDIO_TRACKS, Feature.MEDIA, Feature.RETIMES}
        - {Feature.START, Feature.FREEZES, Feature.NESTED_SPEEDS},
        notes=(
            _FRAMES_NOTE,
            "Timecode starts again at 00:00:00:00 at midnight.",
            "Contains the visible picture as one video track, and four audio tracks. Further audio tracks are written "
            "to additional files next to it.",
            _VARIABLE_NOTE,
            _NESTED_NOTE,
            "Disabled clips and tracks are left out, because they would be audible.",
        ),
    ),
    TimelineFormat(
        ".rpp",
        "REAPER project",
        writes=True,
        placement=Placement.SAMPLES,
        media_paths=(MediaPaths.RELATIVE, MediaPaths.ABSOLUTE),
        loses=frozenset(
            {
                Feature.TRANSITIONS,
                Feature.FREEZES,
                Feature.VARIABLE_SPEEDS,
                Feature.GAP_METADATA,
                Feature.GENERATORS,
                Feature.STACKS,
                Feature.EFFECTS,
                Feature.OTHER,
            }
        ),
        notes=(
            "All times are whole samples of 48 kHz.",
            "Further media references of a clip become its takes.",
            "Video tracks become tracks of video items with the volume turned down.",
            "A freeze frame, or a clip with a variable speed, plays at normal speed.",
            _NESTED_NOTE,
        ),
    ),
    TimelineFormat(".fcpxml", "Final Cut Pro X XML"),
    TimelineFormat(".fcpxmld", "Final Cut Pro X XML bundle"),
    TimelineFormat(".ale", "Avid Log Exchange", adapter="ale", package="otio-ale-adapter"),
    TimelineFormat(".kdenlive", "Kdenlive project", adapter="kdenlive", package="otio-kdenlive-adapter"),
    TimelineFormat(".xges", "GStreamer Editing Services", adapter="xges", package="otio-xges-adapter"),
    TimelineFormat(".blend", "Blender file", adapter="blender", needs="Blender with the ReWaS extension"),
)
FORMATS: dict[str, TimelineFormat] = {one.suffix: one for one in _FORMATS}
"""All formats by suffix."""


def suffixes(*, reads: bool = False, writes: bool = False) -> str:
    """Return the suffixes of the formats that can be read or written, as a list in a sentence."""
    return ", ".join(one.suffix for one in _FORMATS if (one.reads or not reads) and (one.writes or not writes))


def format_for(path: Path, *, writes: bool = False) -> TimelineFormat:
    """Return the format of a file by its suffix.

    Raises ProblemError (TIMELINE) for an unknown one, one that can only be read if `writes`, or a missing adapter.
    """
    found = FORMATS.get(path.suffix.lower())
    verb = "write" if writes else "read"
    if found is None or not (found.writes if writes else found.reads):
        raise ProblemError(
            f"Cannot {verb} {path.name}: "
            + (
                "its suffix is not that of a timeline format."
                if found is None
                else f"{found.title} can only be {'read' if writes else 'written'}."
            ),
            f"Use one of the suffixes {suffixes(reads=not writes, writes=writes)}.",
            ProblemKind.TIMELINE,
        )
    if not found.is_installed:
        raise ProblemError(
            f"Cannot {verb} {path.name}: the adapter for {found.title} is not installed.",
            f'Install it with `pip install "{FORMATS_EXTRA}"`.',
            ProblemKind.TIMELINE,
        )
    return found
