# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenTimelineIO's JSON format in plain Python: reads and writes .otio texts without the compiled library.

The library has no wheel for every Python that Blender runs on. The add-on needs the format and exact times, none of
the library's algorithms. Objects have the names and fields of OpenTimelineIO's schemas. What this module does not
know is kept and written back: fields in `other`, whole objects as OtherObject, such as effects and newer schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, ClassVar

from .rates import written_rate

_SCHEMA_KEY = "OTIO_SCHEMA"
DEFAULT_MEDIA_KEY = "DEFAULT_MEDIA"


class OtioError(ValueError):
    """A text is not valid OpenTimelineIO, or cannot be imported. The message explains why, `remedy` what helps."""

    def __init__(self, what: str, remedy: str = "Export it again in the program that wrote it.") -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(kw_only=True)
class OtioObject:
    """Base of all schemas. other: fields that this module does not know, by name."""

    schema: ClassVar[str]
    version: ClassVar[int] = 1

    other: dict[str, Any] = field(default_factory=dict)

    def to_json_string(self, indent: int | None = None) -> str:
        """Return the object as OpenTimelineIO JSON, on one line unless `indent` is given."""
        separators = (",", ":") if indent is None else (",", ": ")
        return json.dumps(_encode(self), ensure_ascii=False, indent=indent, separators=separators)


@dataclass
class RationalTime(OtioObject):
    """A time: `value` frames at `rate` frames per second."""

    schema = "RationalTime"

    value: float = 0.0
    rate: float = 24.0

    def to_seconds(self) -> Fraction:
        """Return the exact time in seconds; a rate of 23.976… or 23.98 stands for 24000/1001. Raises OtioError."""
        rate = written_rate(self.rate)
        if rate is None or not abs(self.value) < float("inf"):
            raise OtioError(f"{self.value:g} frames at {self.rate:g} frames per second is not a time.")
        return Fraction(self.value) / rate


@dataclass
class TimeRange(OtioObject):
    """A range of time."""

    schema = "TimeRange"

    start_time: RationalTime = field(default_factory=RationalTime)
    duration: RationalTime = field(default_factory=RationalTime)


@dataclass(kw_only=True)
class NamedObject(OtioObject):
    """An object with a name and free metadata."""

    metadata: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(kw_only=True)
class MediaReference(NamedObject):
    """Base of the references to media. available_range: what the media contains."""

    available_range: TimeRange | None = None
    available_image_bounds: Any = None


@dataclass(kw_only=True)
class ExternalReference(MediaReference):
    """Media in a file. target_url: its URL or path."""

    schema = "ExternalReference"

    target_url: str = ""


@dataclass(kw_only=True)
class MissingReference(MediaReference):
    """Unknown media."""

    schema = "MissingReference"


@dataclass(kw_only=True)
class ImageSequenceReference(MediaReference):
    """Media in one file for each frame."""

    schema = "ImageSequenceReference"

    target_url_base: str = ""
    name_prefix: str = ""
    name_suffix: str = ""
    start_frame: int = 1
    frame_step: int = 1
    rate: float = 1.0
    frame_zero_padding: int = 0
    missing_frame_policy: str = "error"


@dataclass(kw_only=True)
class GeneratorReference(MediaReference):
    """A picture that a program generates, such as a colour or a title."""

    schema = "GeneratorReference"

    generator_kind: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class LinearTimeWarp(NamedObject):
    """An effect that plays an item `time_scalar` times as fast, or backwards if that is negative."""

    schema = "LinearTimeWarp"

    effect_name: str = "LinearTimeWarp"
    enabled: bool = True
    time_scalar: float = 1.0


@dataclass(kw_only=True)
class FreezeFrame(LinearTimeWarp):
    """An effect that holds the first frame of an item."""

    schema = "FreezeFrame"

    effect_name: str = "FreezeFrame"
    time_scalar: float = 0.0


@dataclass(kw_only=True)
class Marker(NamedObject):
    """A mark on an item, in the item's own time."""

    schema = "Marker"
    version = 2

    color: str = "GREEN"
    marked_range: TimeRange = field(default_factory=TimeRange)
    comment: str = ""


@dataclass(kw_only=True)
class Item(NamedObject):
    """Something with a duration. source_range: the part that is shown; None means all of it."""

    source_range: TimeRange | None = None
    effects: list[Any] = field(default_factory=list)
    markers: list[Any] = field(default_factory=list)
    enabled: bool = True
    color: Any = None


@dataclass(kw_only=True)
class Gap(Item):
    """An empty range."""

    schema = "Gap"


@dataclass(kw_only=True)
class Clip(Item):
    """A range of a medium, which may exist in several versions (`media_references`)."""

    schema = "Clip"
    version = 2

    media_references: dict[str, Any] = field(default_factory=lambda: {DEFAULT_MEDIA_KEY: MissingReference()})
    active_media_reference_key: str = DEFAULT_MEDIA_KEY

    @property
    def media_reference(self) -> Any:
        """The active media reference, or None."""
        return self.media_references.get(self.active_media_reference_key)


@dataclass(kw_only=True)
class Transition(NamedObject):
    """A transition between two neighbours on a track. It does not count towards the duration of the track."""

    schema = "Transition"

    in_offset: RationalTime = field(default_factory=RationalTime)
    out_offset: RationalTime = field(default_factory=RationalTime)
    transition_type: str = ""


@dataclass(kw_only=True)
class Composition(Item):
    """Base of the objects that contain items."""

    children: list[Any] = field(default_factory=list)

    def append(self, child: OtioObject) -> None:
        """Add a child at the end."""
        self.children.append(child)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.children)

    def __len__(self) -> int:
        return len(self.children)


@dataclass(kw_only=True)
class Track(Composition):
    """Items one after another. kind: "Video" or "Audio"."""

    schema = "Track"

    kind: str = "Video"


@dataclass(kw_only=True)
class Stack(Composition):
    """Items on top of each other, the lowest first."""

    schema = "Stack"


@dataclass(kw_only=True)
class Timeline(NamedObject):
    """A timeline. global_start_time: the timecode of its first frame."""

    schema = "Timeline"

    global_start_time: RationalTime | None = None
    tracks: Stack = field(default_factory=lambda: Stack(name="tracks"))


@dataclass(kw_only=True)
class SerializableCollection(NamedObject):
    """Several objects in one file, such as timelines."""

    schema = "SerializableCollection"

    children: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class OtherObject(OtioObject):
    """An object whose schema this module does not know. schema_label: as in "Effect.1"; its fields: `other`."""

    schema = ""

    schema_label: str


_CLASSES: dict[str, type[OtioObject]] = {
    each.schema: each
    for each in (
        RationalTime,
        TimeRange,
        ExternalReference,
        MissingReference,
        ImageSequenceReference,
        GeneratorReference,
        LinearTimeWarp,
        FreezeFrame,
        Marker,
        Gap,
        Clip,
        Transition,
        Track,
        Stack,
        Timeline,
        SerializableCollection,
    )
}


def to_plain(value: Any) -> Any:
    """Return an object, or values that contain objects, as plain JSON values."""
    return _encode(value)


def from_plain(value: Any) -> Any:
    """Return the object that plain JSON values stand for. Raises OtioError if a field has the wrong type."""
    return _decode(value)


def read_otio(text: str) -> Any:
    """Read OpenTimelineIO JSON and return its object, usually a Timeline or a Clip.

    Raises:
        OtioError: The text is not JSON, is nested too deeply, or a field has the wrong type.
    """
    try:
        return _decode(json.loads(text))
    except RecursionError:
        raise OtioError("It is nested too deeply.", "Export it again with fewer levels.") from None
    except json.JSONDecodeError as error:
        raise OtioError(f"It is not JSON (line {error.lineno}: {error.msg}).") from None


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    label = value.get(_SCHEMA_KEY)
    decoded = {name: _decode(each) for name, each in value.items() if name != _SCHEMA_KEY}
    if label is None:
        return decoded
    name, _, version = str(label).rpartition(".")
    name, version, decoded = _upgrade(name, version, decoded)
    found = _CLASSES.get(name)
    if found is None or not version.isdigit() or int(version) > found.version:
        return OtherObject(schema_label=str(label), other=decoded)
    known = {each.name for each in fields(found)} - {"other"}
    # OpenTimelineIO reads null as an empty value, and some programs write it.
    given = {key: each for key, each in decoded.items() if key in known and each is not None}
    result = found(**given, other={key: each for key, each in decoded.items() if key not in known})
    _check_types(result)
    return result


def _upgrade(name: str, version: str, decoded: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Convert objects that older versions of OpenTimelineIO wrote."""
    if name == "Sequence":
        return "Track", version, decoded
    if (name, version) == ("Clip", "1"):
        reference = decoded.pop("media_reference", None) or MissingReference()
        return name, "2", decoded | {"media_references": {DEFAULT_MEDIA_KEY: reference}}
    if (name, version) == ("Marker", "1") and "range" in decoded:
        return name, "2", decoded | {"marked_range": decoded.pop("range")}
    return name, version, decoded


_TYPES: dict[str, tuple[type, ...]] = {
    "value": (int, float),
    "rate": (int, float),
    "start_time": (RationalTime,),
    "duration": (RationalTime,),
    "name": (str,),
    "metadata": (dict,),
    "available_range": (TimeRange, type(None)),
    "target_url": (str,),
    "target_url_base": (str,),
    "name_prefix": (str,),
    "name_suffix": (str,),
    "start_frame": (int,),
    "frame_step": (int,),
    "frame_zero_padding": (int,),
    "marked_range": (TimeRange,),
    "source_range": (TimeRange, type(None)),
    "effects": (list,),
    "markers": (list,),
    "enabled": (bool,),
    "media_references": (dict,),
    "active_media_reference_key": (str,),
    "generator_kind": (str,),
    "parameters": (dict,),
    "time_scalar": (int, float),
    "in_offset": (RationalTime,),
    "out_offset": (RationalTime,),
    "children": (list,),
    "kind": (str,),
    "global_start_time": (RationalTime, type(None)),
    "tracks": (Stack,),
}


def _check_types(read: OtioObject) -> None:
    for each in fields(read):
        value = getattr(read, each.name)
        expected = _TYPES.get(each.name, (object,))
        if not isinstance(value, expected) or (isinstance(value, bool) and int in expected):
            raise OtioError(f'The field "{each.name}" of a {read.schema} is {_describe(value)}.')


def _describe(value: Any) -> str:
    if isinstance(value, OtioObject):
        return f"a {getattr(value, 'schema_label', '') or value.schema}"
    return "null" if value is None else f"{json.dumps(value, default=str):.40}"


def _encode(value: Any) -> Any:
    if isinstance(value, OtherObject):
        return {_SCHEMA_KEY: value.schema_label} | {name: _encode(each) for name, each in value.other.items()}
    if isinstance(value, RationalTime):
        return {_SCHEMA_KEY: "RationalTime.1", "rate": float(value.rate), "value": float(value.value)}
    if isinstance(value, OtioObject):
        held = {each.name: _encode(getattr(value, each.name)) for each in fields(value) if each.name != "other"}
        other = {name: _encode(each) for name, each in value.other.items()}
        return {_SCHEMA_KEY: f"{value.schema}.{value.version}"} | held | other
    if isinstance(value, dict):
        return {str(name): _encode(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(each) for each in value]
    return value
