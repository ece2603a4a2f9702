# SPDX-License-Identifier: GPL-3.0-or-later
"""What is exchanged with other programs: the strips, channels and markers of a scene as plain values.

Reading a scene gives these values, and a file is written from them in a thread. Reading a file gives them, too, and the
scene is then built from them. Frames are scene frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from .strips import SelectedClip
from .takes import StoredTake, Take

BLENDER_KEY = "blender"
"""Key of the metadata that describes a strip to Blender."""
REWAS_KEY = "rewas"
"""Key of the metadata that ReWaS reads: settings of a clip, or origin of a stem."""

SOUND_KIND = "SOUND"
FILE_KINDS = frozenset({"MOVIE", "SOUND", "IMAGE", "MOVIECLIP"})
"""Types of the strips that show files."""
TRANSITION_KINDS = frozenset({"CROSS", "GAMMA_CROSS", "WIPE"})

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _no_values() -> Mapping[str, Any]:
    return _EMPTY


@dataclass(frozen=True)
class FilePath:
    """A file that a property names. path: absolute."""

    path: str


@dataclass(frozen=True)
class ExchangeNote:
    """Something that could not be exchanged, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


@dataclass(frozen=True)
class Curve:
    """An animated property of a strip.

    Attributes:
        path: Path of the property in the strip.
        index: Index in an array property.
        keys: Of each key: frames from the strip's first frame, value, interpolation, and the position of both handles
            in the same units, then the types of both handles.
        extrapolation: "CONSTANT" or "LINEAR".
        flags: Which of "mute", "lock" and "hide" are set.
    """

    path: str
    index: int
    keys: tuple[tuple[float, float, str, float, float, float, float, str, str], ...]
    extrapolation: str = "CONSTANT"
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Original:
    """The OpenTimelineIO object that a strip was imported from. What Blender does not know is exported from it.

    Attributes:
        item: Its plain JSON values, without children.
        lead_in_frames, frames: Lead-in and length of the strip when it was imported.
        media: Absolute path of the file that its media reference was resolved to, "" if none was found.
        before, after: Transitions next to it that Blender cannot show, as plain JSON values.
    """

    item: Mapping[str, Any]
    lead_in_frames: int = 0
    frames: int = 0
    media: str = ""
    before: tuple[Mapping[str, Any], ...] = ()
    after: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ExchangedChannel:
    """A channel. number: from 1."""

    number: int
    name: str
    is_muted: bool = False
    is_locked: bool = False


@dataclass(frozen=True)
class ExchangedStrip:
    """A strip.

    Attributes:
        name: Its name.
        kind: Blender's strip type ("MOVIE", "META", …).
        channel: Its channel, from 1.
        start_frame: Frame of its left handle.
        end_frame: Frame after its last one.
        content_start_frame: Frame where its untrimmed content begins.
        content_frames: Length of that content, 0 if unknown.
        files: Absolute paths of its movie, sound or images. "" stands for a file that is unknown.
        file_rate: Frame rate of its movie, or sample rate of its sound, None if unknown.
        file_frames: Frames or samples of that file, 0 if unknown.
        trimmed_frames: Frames of the media that a hard trim cuts off before and after the content.
        is_muted: Whether it is muted.
        is_complete: Whether Blender has exported it, so that properties without a value have their defaults.
        is_frozen: Whether it holds the first frame of its range. Only in files of other programs.
        sound_offset_s: Time by which its sound begins later than its content, in seconds.
        inputs: Names of the strips that it is an effect of.
        datablock: Name of the scene or mask that it shows.
        properties: Properties that differ from their defaults, as JSON values and FilePath.
        modifiers: Of each modifier: its name, its type and its properties.
        curves: Its animated properties.
        native: The range of its file that it shows, if it shows nothing else.
        change: Why it shows something else, as a sentence.
        time_scale: How many times as fast it plays its media if that is constant; negative if backwards.
        settings: What to generate for it, as ReWaS metadata. Of a stem: its origin.
        rewas: The add-on's properties of the strip, like `properties`.
        takes: Versions of its sound.
        stored_takes: The same as the strip stores them. Threads convert them, because that takes milliseconds each.
        active_take: Identifier of the take on the timeline, "" if there is none.
        has_new_takes: Whether `rewas batch` has added takes that are not on the timeline yet.
        original: Set if it was imported from a file of another program.
        channels: Channels of a meta strip.
        strips: Strips of a meta strip.
    """

    name: str
    kind: str
    channel: int
    start_frame: int
    end_frame: int
    content_start_frame: int
    content_frames: int = 0
    files: tuple[str, ...] = ()
    file_rate: Fraction | None = None
    file_frames: int = 0
    trimmed_frames: tuple[int, int] = (0, 0)
    is_muted: bool = False
    is_complete: bool = False
    is_frozen: bool = False
    sound_offset_s: Fraction = Fraction(0)
    inputs: tuple[str, ...] = ()
    datablock: str = ""
    properties: Mapping[str, Any] = field(default_factory=_no_values)
    modifiers: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    curves: tuple[Curve, ...] = ()
    native: SelectedClip | None = None
    change: str = ""
    time_scale: Fraction | None = None
    settings: Mapping[str, Any] = field(default_factory=_no_values)
    rewas: Mapping[str, Any] = field(default_factory=_no_values)
    takes: tuple[Take, ...] = ()
    stored_takes: tuple[StoredTake, ...] = ()
    last_take_number: int = 0
    active_take: str = ""
    has_new_takes: bool = False
    original: Original | None = None
    channels: tuple[ExchangedChannel, ...] = ()
    strips: tuple[ExchangedStrip, ...] = ()

    @property
    def frames(self) -> int:
        """Length between its handles."""
        return self.end_frame - self.start_frame

    @property
    def lead_in_frames(self) -> int:
        """Frames from the start of its content to its left handle."""
        return self.start_frame - self.content_start_frame

    @property
    def uid(self) -> str:
        """Identifier of a strip with sound, or ""."""
        return str(self.rewas.get("uid", ""))

    @property
    def stem(self) -> Mapping[str, Any]:
        """How a generated sound is linked to its strip; empty for other strips."""
        link: Mapping[str, Any] = self.rewas.get("stem", _EMPTY)
        return link if link.get("owner") else _EMPTY


@dataclass(frozen=True)
class ExchangedMarker:
    """A marker of a scene.

    owner: the strip that it was imported with, "" for the timeline. original: its plain OpenTimelineIO values, which
    contain its colour, note and duration; empty if it was made in Blender.
    """

    name: str
    frame: int
    owner: str = ""
    original: Mapping[str, Any] = field(default_factory=_no_values)


@dataclass(frozen=True)
class ExchangedScene:
    """A scene.

    Attributes:
        name: Its name.
        rate: Its exact frame rate.
        start_frame: Its first frame.
        end_frame: Its last frame.
        strips: The strips outside of meta strips.
        channels: The channels.
        markers: The markers.
        properties: Size of the picture and other properties.
        original: Plain values of the timeline that it was imported from, without what is exchanged otherwise.
        timecode_frame: Frame for which the file has the timecode 0, if it differs from frame 0.
    """

    name: str
    rate: Fraction
    start_frame: int
    end_frame: int
    strips: tuple[ExchangedStrip, ...] = ()
    channels: tuple[ExchangedChannel, ...] = ()
    markers: tuple[ExchangedMarker, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=_no_values)
    original: Mapping[str, Any] = field(default_factory=_no_values)
    timecode_frame: int = 0


def all_strips(strips: tuple[ExchangedStrip, ...]) -> Iterator[ExchangedStrip]:
    """Yield strips and the strips inside them."""
    for strip in strips:
        yield strip
        yield from all_strips(strip.strips)
