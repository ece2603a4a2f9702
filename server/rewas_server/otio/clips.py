"""Reads the clips of OpenTimelineIO: the exact media range of each, with its time effects.

Files from real tools are often wrong, so everything is checked: a ProblemError names the clip and the reason.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import opentimelineio as otio

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError, TimelineProblem
from rewas_engine.media.image_sequence import ImageSequence
from rewas_server.otio.exact_times import DEFAULT_RATE, exact_rate, exact_seconds, rational_time
from rewas_server.otio.image_sequences import read_sequence, sequence_url
from rewas_server.otio.names import shorten_name
from rewas_server.otio.schemas import parse_any
from rewas_server.timecode import format_timecode

MAX_SPEED = 10_000
"""Faster clips are treated as mistakes."""
_MAX_SPEED_DENOMINATOR = 1_000_000
_NORMAL_SPEED = Fraction(1)
_MAX_FRAME_RATE_HZ = 1000
"""Higher rates are those of samples."""
_ITEM_LABELS = {otio.schema.Gap: "gap", otio.schema.Track: "track", otio.schema.Stack: "stack"}


@dataclass(frozen=True)
class ClipSource:
    """The media range of an OTIO clip.

    The picture at the time t of the clip is that of the media at `start_s + t * speed`. Backwards, the first frame is
    the one that ends at `start_s`.

    Attributes:
        name: Of the clip, or of its media file; shortened if it is long.
        target_url: Location of the media, as in the clip.
        start_s: From the first frame of the media.
        duration_s: As the clip is shown, whatever its speed; None means up to the end of the media.
        frame_rate: Of the clip; None if the clip does not specify it.
        timecode_s: Start of the source range in the timecode of the media, in seconds since midnight.
        speed: 1 normally, 0 for a freeze frame, below 0 backwards.
        media_length_s: Duration of the media; None if the clip does not specify it.
        sequence: The image sequence that the clip shows, in the folder of target_url; None if it shows a file.
    """

    name: str
    target_url: str
    start_s: Fraction
    duration_s: Fraction | None
    frame_rate: Fraction | None
    timecode_s: Fraction
    speed: Fraction = Fraction(1)
    media_length_s: Fraction | None = None
    sequence: ImageSequence | None = None

    @property
    def covered_s(self) -> tuple[Fraction, Fraction]:
        """Start and end of the range of the media that is shown, in seconds from its first frame.

        A freeze frame covers one frame. Raises ValueError if the duration is not known.
        """
        if self.duration_s is None:
            raise ValueError("The duration is not known.")
        if self.speed == 0:
            return self.start_s, self.start_s + 1 / (self.frame_rate or DEFAULT_RATE)
        if self.speed == 1:
            return self.start_s, self.start_s + self.duration_s
        other_s = self.start_s + self.duration_s * self.speed
        return (self.start_s, other_s) if self.speed > 0 else (other_s, self.start_s)

    def part(self, begin_s: Fraction, duration_s: Fraction) -> ClipSource:
        """Return a part of the clip. begin_s: from the start of the clip, as shown."""
        moved_s = begin_s * self.speed
        start_s = self.start_s + moved_s
        # The timecode is that of the first frame of the media that the part shows, even backwards.
        begin_media_s = moved_s if self.speed >= 0 else -self.speed * ((self.duration_s or 0) - begin_s - duration_s)
        return replace(self, start_s=start_s, duration_s=duration_s, timecode_s=self.timecode_s + begin_media_s)


@dataclass(frozen=True)
class PromptedClip:
    """A visible part of a clip of a timeline that gets a sound.

    Attributes:
        source: The visible media range, with the time effects of the clip and its parents.
        position_s: Start on the timeline, from its first frame.
        duration_s: Visible duration.
        frame_rate: Of the clip.
        path: Indexes of the clip and its parents, from the tracks of the timeline down.
        part: Number of the visible part of the clip, from 1. A clip that is covered in its middle has several.
        track_name: Of the video track.
        prompt_origin: Where the prompt is from, as a list shows it.
        track: The audio track that was requested for its sound.
    """

    source: ClipSource
    settings: ClipSettings
    position_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    path: tuple[int, ...] = ()
    part: int = 1
    track_name: str = ""
    prompt_origin: str = ""
    track: str | None = None


def parse_clip(text: str) -> otio.schema.Clip:
    """Parse a clip in OTIO JSON. Raises ProblemError (TIMELINE)."""
    return _parse(text, otio.schema.Clip, "clip")


def parse_timeline(text: str) -> otio.schema.Timeline:
    """Parse a timeline in OTIO JSON. Raises ProblemError (TIMELINE)."""
    timeline: otio.schema.Timeline = _parse(text, otio.schema.Timeline, "timeline")
    move_track_offsets(timeline)
    return timeline


def timelines_in(found: Any) -> Iterator[otio.schema.Timeline]:
    """Yield the timelines in anything that an adapter returns."""
    if isinstance(found, otio.schema.Timeline):
        yield found
    elif isinstance(found, otio.schema.SerializableCollection):
        for item in found:
            yield from timelines_in(item)


def read_clip_source(clip: otio.schema.Clip) -> ClipSource:
    """Return the media range of a clip with its own time effects.

    Raises ProblemError (TIMELINE) for a clip without a media file, with a variable speed, or with an invalid range.
    """
    owner = clip_label(clip)
    return fit_into_media(read_written_source(clip, owner), owner)


def read_written_source(clip: otio.schema.Clip, owner: str) -> ClipSource:
    """Return the media range of a clip as it is written, which may reach beyond its media.

    owner: from `clip_label`, for errors. Raises ProblemError (TIMELINE).
    """
    speed = read_speed(clip, owner)
    url = _target_url(clip, owner)
    reference = clip.media_reference
    available = reference.available_range
    is_sequence = isinstance(reference, otio.schema.ImageSequenceReference)
    sequence = read_sequence(reference, owner) if is_sequence else None
    chosen = clip.source_range or available
    name = _name(clip, url)
    if chosen is None:
        if speed != 1:
            raise TimelineProblem(f"{owner} is retimed, but it has no source range.", "Give it a source range.")
        return ClipSource(name, url, Fraction(0), None, None, Fraction(0))
    timecode_s = exact_seconds(chosen.start_time, owner, "start")
    duration_s = exact_seconds(chosen.duration, owner, "duration")
    if duration_s <= 0:
        raise TimelineProblem(f"{owner} has a duration of {float(duration_s):g} s.", "Give it at least one frame.")
    rate = exact_rate(chosen.duration.rate, owner, "duration")
    start_s, media_length_s = timecode_s, None
    if available is not None:
        start_s -= exact_seconds(available.start_time, owner, "media start")
        media_length_s = exact_seconds(available.duration, owner, "media duration")
    if speed < 0:
        # The source range is the visible range of the media. Backwards, it is seen from its end.
        start_s -= duration_s * speed
    return ClipSource(name, url, start_s, duration_s, rate, timecode_s, speed, media_length_s, sequence)


def read_speed(item: otio.core.Item, owner: str) -> Fraction:
    """Return how fast an item plays: 1 normally, 0 for a freeze frame, below 0 backwards.

    owner: from `clip_label`, for errors. Raises ProblemError (TIMELINE) for a variable or impossible speed.
    """
    effects = item.effects
    # OTIO takes long to iterate, even over no effects.
    if not len(effects):
        return _NORMAL_SPEED
    speed = _NORMAL_SPEED
    for effect in effects:
        if not isinstance(effect, otio.schema.TimeEffect):
            continue
        if not isinstance(effect, otio.schema.LinearTimeWarp):
            name = shorten_name(effect.effect_name or effect.name or effect.schema_name())
            raise TimelineProblem(
                f"{owner} changes its speed as it plays ({name}), and only constant speeds can be read.",
                "Render the retimed video to a file and relink the clip, or give it a constant speed.",
            )
        scalar = 0.0 if isinstance(effect, otio.schema.FreezeFrame) else effect.time_scalar
        if not math.isfinite(scalar) or abs(scalar) > MAX_SPEED:
            raise TimelineProblem(
                f"{owner} plays at {scalar:g} times its speed.", f"Use a speed up to {MAX_SPEED} times the normal one."
            )
        speed *= Fraction(scalar).limit_denominator(_MAX_SPEED_DENOMINATOR)
    return speed


def constant_speed(item: otio.core.Item) -> Fraction | None:
    """Return how fast an item plays, as `read_speed` does; None for a variable or impossible speed."""
    try:
        return read_speed(item, "")
    except ProblemError:
        return None


def fit_into_media(source: ClipSource, owner: str) -> ClipSource:
    """Return a range shifted into its media if it reaches beyond that by up to a frame. Its duration stays.

    owner: from `clip_label`. Raises ProblemError (TIMELINE) for a range that reaches further.
    """
    if source.duration_s is None:
        return source
    begin_s, end_s = source.covered_s
    length_s = source.media_length_s
    if begin_s >= 0 and (length_s is None or end_s <= length_s):
        return source
    frame_s = 1 / (source.frame_rate or DEFAULT_RATE)
    if begin_s < -frame_s or (length_s is not None and end_s > length_s + frame_s):
        raise _outside_media(source, owner)
    late_s = Fraction(0) if length_s is None else max(Fraction(0), end_s - length_s)
    return replace(source, start_s=source.start_s + max(-late_s, -begin_s))


def _outside_media(source: ClipSource, owner: str) -> ProblemError:
    rate = source.frame_rate or DEFAULT_RATE
    begin_s, end_s = source.covered_s
    # Editors know the range by the timecode of the media.
    media_begin_s = source.timecode_s - begin_s
    shown = _timecodes(source.timecode_s, source.timecode_s + end_s - begin_s, rate)
    if source.media_length_s is None:
        return TimelineProblem(f"{owner} starts {float(-begin_s):g} s before its media.", "Trim the clip to its media.")
    return TimelineProblem(
        f"{owner} shows {shown} of its media, which spans "
        f"{_timecodes(media_begin_s, media_begin_s + source.media_length_s, rate)}.",
        "Trim the clip to its media, or correct the available range of the media.",
    )


def move_track_offsets(timeline: otio.schema.Timeline) -> None:
    """Move the record times that OTIO's EDL adapter leaves as negative track starts to where all tools read them.

    The first one becomes the start timecode of the timeline. A track that starts later begins with a gap.
    """
    offsets: dict[int, Fraction] = {}
    for index, track in enumerate(timeline.tracks):
        if not isinstance(track, otio.schema.Track):
            return
        starts_s = Fraction(0)
        if track.source_range is not None:
            with contextlib.suppress(ProblemError):
                starts_s = -exact_seconds(track.source_range.start_time, clip_label(track), "start")
        if starts_s < 0:
            return
        offsets[index] = starts_s
    if not any(offsets.values()):
        return
    first_s = min(offsets.values())
    for index, offset_s in offsets.items():
        track = timeline.tracks[index]
        rate = DEFAULT_RATE
        if track.source_range is not None:
            rate = exact_rate(track.source_range.start_time.rate, clip_label(track), "start")
        track.source_range = None
        if offset_s > first_s:
            track.insert(0, otio.schema.Gap(duration=rational_time(offset_s - first_s, rate)))
        if timeline.global_start_time is None and offset_s == first_s:
            timeline.global_start_time = rational_time(first_s, rate)


def timeline_start_s(timeline: otio.schema.Timeline) -> Fraction:
    """Return the timecode of a timeline's first frame, in seconds. Raises ProblemError for an invalid one."""
    start = timeline.global_start_time
    return (
        Fraction(0)
        if start is None
        else exact_seconds(start, f'The timeline "{shorten_name(timeline.name)}"', "start timecode")
    )


def timeline_frame_rate(timeline: otio.schema.Timeline) -> Fraction:
    """Return the frame rate of a timeline: that of its start, else the one that most items of its video tracks have.

    Items with invalid rates do not count. Without any rate, it is 24.
    """
    start = timeline.global_start_time
    if start is not None and _is_frame_rate(start.rate):
        return exact_rate(start.rate, "The timeline", "start timecode")
    rates = Counter(
        exact_rate(item.source_range.duration.rate, "An item", "duration")
        for track in timeline.tracks
        if isinstance(track, otio.schema.Track) and track.kind == otio.schema.TrackKind.Video
        for item in track
        if isinstance(item, otio.core.Item)
        and item.source_range is not None
        and _is_frame_rate(item.source_range.duration.rate)
    )
    return rates.most_common(1)[0][0] if rates else DEFAULT_RATE


def _is_frame_rate(rate: float) -> bool:
    return 1 < rate <= _MAX_FRAME_RATE_HZ


def clip_label(item: otio.core.SerializableObjectWithMetadata) -> str:
    """Return how error messages refer to a clip, or to another item of a timeline."""
    kind = _ITEM_LABELS.get(type(item), "clip")
    name = item.name
    return f'The {kind} "{shorten_name(name)}"' if name else f"A {kind} without a name"


def _parse(text: str, schema: type, kind: str) -> Any:
    item, _ = parse_any(text, f"The {kind}")
    if not isinstance(item, schema):
        raise TimelineProblem(
            f"An OpenTimelineIO {kind} was expected, but this is a {type(item).__name__}.",
            f"Send the JSON of one otio.schema.{schema.__name__}.",
        )
    return item


def _target_url(clip: otio.schema.Clip, owner: str) -> str:
    reference = clip.media_reference
    if isinstance(reference, otio.schema.ExternalReference) and reference.target_url:
        return str(reference.target_url)
    if isinstance(reference, otio.schema.ImageSequenceReference):
        return sequence_url(reference)
    if isinstance(reference, otio.schema.GeneratorReference):
        reason = f"shows a generator ({shorten_name(reference.generator_kind or 'of unknown kind')}), not a media file"
        remedy = "Render it to a movie file, or remove its prompt."
    else:
        reason, remedy = "has no media file", "Relink the clip."
    for key, other in clip.media_references().items():
        if isinstance(other, otio.schema.ExternalReference) and other.target_url:
            file_name = shorten_name(_last_part(str(other.target_url)))
            remedy = f'Make its media reference "{shorten_name(key)}" ({file_name}) the active one.'
            break
    raise TimelineProblem(f"{owner} {reason}.", remedy)


def _timecodes(begin_s: Fraction, end_s: Fraction, rate: Fraction) -> str:
    if rate > _MAX_FRAME_RATE_HZ:
        return f"{float(begin_s):g} s to {float(end_s):g} s"
    return f"{format_timecode(begin_s, rate)} to {format_timecode(end_s, rate)}"


def _name(clip: otio.schema.Clip, url: str) -> str:
    return shorten_name(clip.name or _last_part(url))


def _last_part(url: str) -> str:
    return Path(urlsplit(url).path or url).name or "clip"
