"""Where a clip begins in its media: editors count by the timecode of the media, files count from their first frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rewas_api.errors import ProblemError
from rewas_engine.media.facts import MediaTimecode, read_media_facts
from rewas_server.otio.clips import ClipSource
from rewas_server.otio.exact_times import DEFAULT_RATE
from rewas_server.timecode import format_timecode, parse_timecode

_DAY = "24:00:00"


@dataclass(frozen=True)
class MediaSpan:
    """The range of a media file.

    Attributes:
        timecode_s: Timecode of the first frame in seconds since midnight; None if the file has none.
        length_s: Duration.
        day_s: Seconds after which the timecode starts again, a little more or less than a day at some rates.
        label: The timecode of the first frame, for messages.
        label_frames: The timecode of the first frame in frames, and the rate of the timecode; None without labels.
    """

    timecode_s: Fraction | None
    length_s: Fraction
    day_s: Fraction = Fraction(24 * 3600)
    label: str = ""
    label_frames: tuple[Fraction, Fraction] | None = None

    @classmethod
    def of(cls, timecode: MediaTimecode | None, length_s: Fraction) -> MediaSpan:
        """Return the span of a file. An impossible timecode counts as none."""
        if timecode is None:
            return cls(None, length_s)
        if not timecode.label:
            time_s = timecode.samples / timecode.rate
            return cls(time_s, length_s, label=format_timecode(time_s, Fraction(100), drop_frame=False))
        try:
            time_s = parse_timecode(timecode.label, timecode.rate)
            day_s = parse_timecode(f"{_DAY}{timecode.label[8]}00", timecode.rate)
        except ProblemError:
            return cls(None, length_s)
        return cls(time_s, length_s, day_s, timecode.label, (time_s * timecode.rate, timecode.rate))

    def timecode_starts(self, clip_rate: Fraction) -> list[Fraction]:
        """Return the times at which the first frame may lie in a timeline that counts by timecode.

        Those are the timecode itself, and the same label at the rate of the clip, since timelines at 24 frames per
        second show media at 24000/1001. For media recorded past midnight, both are also returned a day earlier.

        Args:
            clip_rate: Frames per second of the clip.
        """
        if not self.timecode_s:
            return []
        starts = [self.timecode_s]
        if self.label_frames is not None and self.label_frames[1] != clip_rate:
            starts.append(self.label_frames[0] / clip_rate)
        if self.timecode_s + self.length_s > self.day_s:
            starts += [start - self.day_s for start in starts]
        return starts


@dataclass(frozen=True)
class ClipRange:
    """The range that a clip shows, in seconds as the timeline counts the time of its media.

    Attributes:
        begin_s: Start.
        end_s: End.
        rate: Frames per second of the clip.
    """

    begin_s: Fraction
    end_s: Fraction
    rate: Fraction

    @property
    def frame_s(self) -> Fraction:
        """Duration of a frame of the clip. Smaller errors of a range count as rounding."""
        return 1 / self.rate

    def fits(self, start_s: Fraction, length_s: Fraction) -> bool:
        """Whether the range lies in media that begins at start_s, with a tolerance of one frame."""
        return self.begins_after(start_s) and self.end_s <= start_s + length_s + self.frame_s

    def begins_after(self, start_s: Fraction) -> bool:
        """Whether the range begins at start_s or later, with a tolerance of half a frame."""
        return start_s <= self.begin_s + self.frame_s / 2


def media_start(span: MediaSpan, stated_s: Fraction | None, shown: ClipRange | None) -> tuple[Fraction, str]:
    """Return the time, as a clip counts it, at which its media begins, and a sentence about what was decided, or "".

    Args:
        span: The media.
        stated_s: Start of the available range in the timeline; None if it has none.
        shown: What the clip shows; None if it shows all of its media.
    """
    if shown is None:
        starts = span.timecode_starts(DEFAULT_RATE)
        return stated_s if stated_s is not None else next(iter(starts), Fraction(0)), ""
    starts = span.timecode_starts(shown.rate)
    by_timecode = next((start for start in starts if shown.fits(start, span.length_s)), None)
    if stated_s is not None:
        return _stated_start(span, stated_s, shown, by_timecode)
    timecode = f"the timecode of the media, which begins at {span.label}"
    if by_timecode is not None:
        note = ""
        if shown.fits(Fraction(0), span.length_s):
            note = f"Its source range was read by {timecode}. It would also fit as time in the file."
        elif span.label_frames is not None and by_timecode == span.label_frames[0] / shown.rate != span.timecode_s:
            note = (
                f"It counts {float(shown.rate):.6g} frames per second, but its media {float(span.label_frames[1]):.6g}."
            )
        return by_timecode, note
    if not starts:
        return Fraction(0), ""
    if shown.begins_after(starts[0]):
        return starts[0], ""  # Outside the media: the error should count by the timecode.
    return Fraction(0), f"Its source range begins before {timecode}, and was read as time in the file."


def _stated_start(
    span: MediaSpan, stated_s: Fraction, shown: ClipRange, by_timecode: Fraction | None
) -> tuple[Fraction, str]:
    timecode = f"the timecode of the media, which begins at {span.label}"
    if shown.fits(stated_s, span.length_s):
        if span.timecode_s is None or abs(span.timecode_s - stated_s) <= shown.frame_s or by_timecode == stated_s:
            return stated_s, ""
        stated = format_timecode(stated_s, shown.rate)
        return stated_s, f"It was read by its available range, which begins at {stated}, and not by {timecode}."
    if by_timecode is not None:
        return by_timecode, f"Its source range lies outside its available range, and was read by {timecode}."
    if shown.fits(Fraction(0), span.length_s):
        return Fraction(0), "Its source range lies outside its available range, and was read as time in the file."
    return stated_s, ""


def read_as_timecode(source: ClipSource, path: Path) -> ClipSource:
    """Return a clip whose media states no range, with its start counted from the first frame of its file.

    A start at or after the timecode of the file is a timecode; an earlier one is a time in the file.

    Args:
        source: A clip.
        path: Its media file.

    Raises:
        MediaError: The file cannot be read.
    """
    if source.media_length_s is not None or source.duration_s is None or source.sequence is not None:
        return source
    begin_s, end_s = source.covered_s
    if begin_s <= 0:
        return source
    facts = read_media_facts(path)
    if facts.is_still or facts.timecode is None or facts.duration_s is None:
        return source
    rate = source.frame_rate or facts.frame_rate or DEFAULT_RATE
    start_s, _ = media_start(MediaSpan.of(facts.timecode, facts.duration_s), None, ClipRange(begin_s, end_s, rate))
    return replace(source, start_s=max(source.start_s - start_s, Fraction(0)))
