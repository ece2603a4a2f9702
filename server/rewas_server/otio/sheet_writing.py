"""Lists the clips of a timeline as the lines of a spotting sheet, with the contents of an earlier sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import timeline_frame_rate, timeline_start_s
from rewas_server.otio.overlaps import PictureIndex
from rewas_server.otio.pictures import Picture
from rewas_server.otio.planning import ClipList, ClipState, ListedClip
from rewas_server.otio.prompts import ChosenPrompt
from rewas_server.otio.sheet_matching import SheetMatches, match_sheet, shown_frames, span_frames
from rewas_server.otio.spotting_sheet import SheetLine, SheetRow, SpottingSheet, settings_values
from rewas_server.timecode import format_timecode


def sheet_lines(
    timeline: otio.schema.Timeline,
    clips: ClipList,
    earlier: SpottingSheet | None = None,
    drop_frame: bool | None = None,
) -> list[SheetLine]:
    """Return a line for each visible clip of a timeline, and for each sound for part of a clip.

    Rows of an earlier sheet keep their contents, with the new times of their clips. Rows without a clip come last.

    Args:
        timeline: The timeline.
        clips: Its clips, found with the earlier sheet.
        earlier: The earlier sheet.
        drop_frame: Whether timecodes count drop-frame; None for what is usual at the rate of the timeline. With an
            earlier sheet, its counting is kept.

    Raises ProblemError (SETTINGS) if a cell of the earlier sheet is wrong, because it would be lost, or if the earlier
    sheet is drop-frame although `drop_frame` is False.
    """
    if earlier is not None and (problem := next((row.problem for row in earlier.rows if row.problem), None)):
        raise problem
    if earlier is not None and earlier.rows:
        if drop_frame is False and earlier.is_drop_frame:
            raise ProblemError(
                f"{earlier.name} has drop-frame timecode, which does not change when the sheet is updated.",
                "Leave out --non-drop, or leave out --sheet to write a new sheet.",
                ProblemKind.SETTINGS,
            )
        drop_frame = earlier.is_drop_frame
    return _Lines(timeline, clips, earlier, drop_frame).lines()


class _Lines:
    def __init__(
        self,
        timeline: otio.schema.Timeline,
        clips: ClipList,
        earlier: SpottingSheet | None,
        drop_frame: bool | None,
    ) -> None:
        self._rate = timeline_frame_rate(timeline)
        self._start_s = timeline_start_s(timeline)
        self._drop = drop_frame
        self._sounds: defaultdict[int, list[ListedClip]] = defaultdict(list)
        self._pictures: list[Picture] = []
        places: dict[int, int] = {}
        for each in clips.clips:
            if each.state is ClipState.HIDDEN or each.picture.position_s is None or each.picture.duration_s <= 0:
                continue
            if id(each.picture) not in places:
                places[id(each.picture)] = len(self._pictures)
                self._pictures.append(each.picture)
            self._sounds[places[id(each.picture)]].append(each)
        self._matches = SheetMatches()
        if earlier is not None:
            index = PictureIndex(self._pictures)
            self._matches = match_sheet(earlier, self._pictures, index, self._rate, self._start_s)

    def lines(self) -> list[SheetLine]:
        """Return the lines by time, then those of rows without a clip."""
        timed = [each for index in range(len(self._pictures)) for each in self._picture_lines(index)]
        timed.sort(key=lambda each: each[0])
        return [*(line for _, line in timed), *(_row_line(row) for row in self._matches.unmatched)]

    def _picture_lines(self, index: int) -> Iterator[tuple[tuple[int, int], SheetLine]]:
        """Yield the lines of a picture with their first and last frames."""
        picture = self._pictures[index]
        span = shown_frames(picture, self._rate, self._start_s)
        base = self._line(span, picture)
        # A clip without its media keeps its prompt here for when the media is found again.
        sounds = [each.sound for each in self._sounds[index] if each.sound is not None and each.sound.problem is None]
        whole = [each for each in sounds if self._frames(each) == span]
        rows = [matched.row for matched in self._matches.whole.get(index, ())]
        for row in rows:
            filled = _values(whole[0]) if len(rows) == 1 and whole else {}
            values = {name: filled[name] for name in ("prompt",) if name in filled} | dict(row.values)
            yield span, replace(base, values=values, own=row.own)
        if not rows:
            yield span, replace(base, values=_values(whole[0]) if whole else {})
        written = set()
        for matched, begin_s, end_s in self._matches.ranged.get(index, ()):
            frames = self._to_frames(begin_s, end_s)
            written.add(frames)
            yield frames, self._line(frames, None, matched.row.values, matched.row.own)
        for each in sounds:
            frames = self._frames(each)
            if frames != span and frames not in written:
                yield frames, self._line(frames, None, _values(each))

    def _line(
        self,
        frames: tuple[int, int],
        picture: Picture | None,
        values: Mapping[str, Any] | None = None,
        own: Mapping[str, str] | None = None,
    ) -> SheetLine:
        begin, end = (format_timecode(frame / self._rate, self._rate, self._drop) for frame in frames)
        name, track = ("", "") if picture is None else (picture.name, picture.track_name)
        return SheetLine(begin, end, name, track, values or {}, own or {})

    def _frames(self, sound: ChosenPrompt) -> tuple[int, int]:
        return self._to_frames(sound.position_s, sound.position_s + sound.duration_s)

    def _to_frames(self, begin_s: Fraction, end_s: Fraction) -> tuple[int, int]:
        return span_frames(begin_s, end_s, self._rate, self._start_s)


def _values(sound: ChosenPrompt) -> dict[str, Any]:
    track = {"track": sound.track} if sound.track else {}
    return settings_values(sound.settings) | track


def _row_line(row: SheetRow) -> SheetLine:
    return SheetLine(row.begin, row.end, row.clip, row.picture_track, row.values, row.own)


def count_prompts(lines: Sequence[SheetLine]) -> int:
    """Return how many lines have a prompt."""
    return sum(bool(line.values.get("prompt")) for line in lines)
