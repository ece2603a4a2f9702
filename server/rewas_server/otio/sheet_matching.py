"""Finds the clips of a timeline for the rows of a spotting sheet, even after the timeline was edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from rewas_api.errors import ProblemError, SettingsProblem
from rewas_server.otio.names import shorten_name
from rewas_server.otio.overlaps import PictureIndex
from rewas_server.otio.pictures import Picture
from rewas_server.otio.spotting_sheet import TRACK, SheetRow, SpottingSheet
from rewas_server.timecode import format_timecode, parse_timecode, uses_drop_frame

Frames = tuple[int | None, int | None]
"""Where a row begins and ends, in frames since timecode 0."""


@dataclass(frozen=True)
class MatchedRow:
    """A row with its picture. problem: of its cells, or because another row is for the same sound."""

    row: SheetRow
    origin: str
    problem: ProblemError | None

    @property
    def values(self) -> Mapping[str, Any]:
        """The settings of the row."""
        return self.row.values


@dataclass
class SheetMatches:
    """Which rows are for which picture, by the index of the picture.

    Attributes:
        whole: Rows for the whole picture.
        ranged: Rows for part of it, with begin and end on the timeline, in seconds from its first frame.
        unmatched: Rows that are for no picture.
        problems: A problem for each of them that requests something.
        notes: Rows whose clip has moved, as sentences.
    """

    whole: dict[int, list[MatchedRow]] = field(default_factory=dict)
    ranged: dict[int, list[tuple[MatchedRow, Fraction, Fraction]]] = field(default_factory=dict)
    unmatched: list[SheetRow] = field(default_factory=list)
    problems: list[ProblemError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def match_sheet(
    sheet: SpottingSheet, pictures: Sequence[Picture], index: PictureIndex, frame_rate: Fraction, start_s: Fraction
) -> SheetMatches:
    """Find the picture of each row.

    Args:
        sheet: The sheet.
        pictures: Of the timeline.
        index: Index of all pictures.
        frame_rate: Of its timecode, in frames per second.
        start_s: Timecode of its first frame, in seconds.
    """
    return _Matcher(sheet, pictures, index, frame_rate, start_s).match()


def shown_frames(picture: Picture, frame_rate: Fraction, start_s: Fraction) -> tuple[int, int]:
    """Return where a picture begins and ends, in whole frames since timecode 0; at least one frame apart.

    Args:
        picture: With a position.
        frame_rate: Of the timecode, in frames per second.
        start_s: Timecode of the timeline's first frame, in seconds.
    """
    assert picture.position_s is not None
    return span_frames(picture.position_s, picture.position_s + picture.duration_s, frame_rate, start_s)


def span_frames(begin_s: Fraction, end_s: Fraction, frame_rate: Fraction, start_s: Fraction) -> tuple[int, int]:
    """Return what `shown_frames` does for a range of the timeline, in seconds from its first frame."""
    begin = _nearest_frame(begin_s, frame_rate, start_s)
    return begin, max(begin + 1, _nearest_frame(end_s, frame_rate, start_s))


def _nearest_frame(time_s: Fraction, frame_rate: Fraction, start_s: Fraction) -> int:
    """Return round((start_s + time_s) * frame_rate), computed with integers in a fifth of the time."""
    sum_s = start_s.numerator * time_s.denominator + time_s.numerator * start_s.denominator
    divisor = start_s.denominator * time_s.denominator * frame_rate.denominator
    frame, rest = divmod(sum_s * frame_rate.numerator, divisor)
    # Like `round`, this rounds a time halfway between two frames to the even one.
    return frame + (2 * rest > divisor or (2 * rest == divisor and frame % 2))


class _Matcher:
    def __init__(
        self,
        sheet: SpottingSheet,
        pictures: Sequence[Picture],
        by_time: PictureIndex,
        frame_rate: Fraction,
        start_s: Fraction,
    ) -> None:
        self._sheet = sheet
        self._pictures = pictures
        self._rate = frame_rate
        self._start_s = start_s
        self._drop = sheet.is_drop_frame if uses_drop_frame(frame_rate) else None
        self._result = SheetMatches()
        self._spans: dict[int, tuple[int, int]] = {}
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        self._rows_of: defaultdict[int, list[SheetRow]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            if picture.position_s is None or picture.duration_s <= 0 or picture.hidden:
                continue
            self._spans[index] = shown_frames(picture, frame_rate, start_s)
            self._by_name[_same_name(picture.name)].append(index)
        self._by_time = by_time

    def match(self) -> SheetMatches:
        """Match all rows."""
        times = {}
        for row in self._sheet.rows:
            try:
                times[row.number] = self._times(row)
            except ProblemError as problem:
                self._miss(row, f"{self._label(row)}: {problem.what}", problem.remedy)
        named: defaultdict[str, list[SheetRow]] = defaultdict(list)
        for row in self._sheet.rows:
            if row.number in times:
                if row.clip:
                    named[_same_name(row.clip)].append(row)
                else:
                    self._match_range(row, *times[row.number])
        for name, rows in named.items():
            self._match_named(name, rows, times)
        for index, rows in self._rows_of.items():
            self._result.whole[index] = self._without_conflicts(index, rows)
        return self._result

    def _times(self, row: SheetRow) -> Frames:
        """Return the frames at which a row begins and ends, counted from timecode 0."""
        frames: list[int | None] = []
        for text in (row.begin, row.end):
            frames.append(round(parse_timecode(text, self._rate, self._drop) * self._rate) if text else None)
        begin, end = frames
        if begin is not None and end is not None and end <= begin:
            raise SettingsProblem(f"it ends at {row.end}, but begins at {row.begin}.", "Correct its timecodes.")
        return begin, end

    def _match_named(self, name: str, rows: Sequence[SheetRow], times: Mapping[int, Frames]) -> None:
        """Match the rows of one name: by their timecodes, then in order or by what overlaps most."""
        own = self._by_name.get(name, [])
        free = dict.fromkeys(own)
        rest = []
        by_span: defaultdict[Frames, list[int]] = defaultdict(list)
        for index in own:
            by_span[self._spans[index]].append(index)
        for row in rows:
            exact = self._topmost(by_span.get(times[row.number], []), row)
            if exact is None:
                rest.append(row)
            else:
                free.pop(exact, None)
                self._rows_of[exact].append(row)
        timeless = [row for row in rest if times[row.number][0] is None]
        moved = [row for row in rest if times[row.number][0] is not None]
        if moved and len(moved) != len(free):
            moved = self._match_overlapping(moved, own, free, times)
        if moved and len(moved) == len(free):
            for row, index in zip(moved, sorted(free, key=lambda index: self._spans[index]), strict=True):
                self._use_moved(row, index)
            moved, free = [], {}
        # An additional row for a clip: somebody has copied the row and changed its times.
        if moved:
            by_time = PictureIndex(self._pictures, own)
            moved = [row for row in moved if not self._use_range(row, *times[row.number], by_time)]
        for row in timeless:
            for index in free or own:
                self._rows_of[index].append(row)
        for row in [*moved, *([] if own else timeless)]:
            at = f" at {row.begin}" if row.begin else ""
            self._miss(
                row,
                f"{self._label(row)} is for the clip “{shorten_name(row.clip)}”{at}, which is not on the timeline.",
                "Correct or delete the row; `rewas timeline sheet --sheet` updates the sheet for an edited timeline.",
            )

    def _match_overlapping(
        self,
        rows: Sequence[SheetRow],
        own: Sequence[int],
        free: dict[int, None],
        times: Mapping[int, Frames],
    ) -> list[SheetRow]:
        """Give each row the picture of its name that it overlaps most, among those that are free. Return the rest."""
        rest = []
        by_time = PictureIndex(self._pictures, own)
        for row in rows:
            begin, end = times[row.number]
            assert begin is not None
            last = begin + 1 if end is None else end
            shared = {
                index: min(last, self._spans[index][1]) - max(begin, self._spans[index][0])
                for index in by_time.overlapping(self._position_s(begin), self._position_s(last))
                if index in free
            }
            if not shared:
                rest.append(row)
                continue
            best = max(shared, key=lambda index: shared[index])
            free.pop(best)
            self._use_moved(row, best)
        return rest

    def _use_moved(self, row: SheetRow, index: int) -> None:
        self._rows_of[index].append(row)
        begin, end = (self._timecode(frame) for frame in self._spans[index])
        self._result.notes.append(
            f"{self._label(row)} is for the clip “{self._pictures[index].name}”, which now runs from {begin} to {end}."
        )

    def _match_range(self, row: SheetRow, begin: int | None, end: int | None) -> None:
        """Match a row without a name to the pictures in its range."""
        if begin is None:
            self._miss(
                row,
                f"{self._label(row)} has neither a timecode nor the name of a clip.",
                "Add one of them, or delete the row.",
            )
            return
        if not self._use_range(row, begin, end, self._by_time):
            self._miss(
                row,
                f"{self._label(row)} is for {row.begin}, where the timeline shows no picture.",
                "Correct its timecodes, or delete the row.",
            )

    def _use_range(self, row: SheetRow, begin: int | None, end: int | None, by_time: PictureIndex) -> bool:
        """Use a row for the pictures in its range. Return whether there are any."""
        assert begin is not None
        last = begin + 1 if end is None else end
        used = False
        for index in by_time.overlapping(self._position_s(begin), self._position_s(last)):
            picture = self._pictures[index]
            shown = self._spans[index]
            # An overlap of less than a frame is only rounding.
            if row.picture_track not in ("", picture.track_name) or min(last, shown[1]) <= max(begin, shown[0]):
                continue
            used = True
            if end is None or (begin <= shown[0] and shown[1] <= end):
                self._rows_of[index].append(row)
                continue
            assert picture.position_s is not None
            begin_s = max(self._position_s(begin), picture.position_s)
            end_s = min(self._position_s(end), picture.position_s + picture.duration_s)
            self._result.ranged.setdefault(index, []).append((self._matched(row), begin_s, end_s))
        return used

    def _topmost(self, indexes: Sequence[int], row: SheetRow) -> int | None:
        fitting = [index for index in indexes if row.picture_track in ("", self._pictures[index].track_name)]
        return max(fitting, key=lambda index: self._pictures[index].track_number, default=None)

    def _position_s(self, frame: int) -> Fraction:
        return frame / self._rate - self._start_s

    def _without_conflicts(self, index: int, rows: Sequence[SheetRow]) -> list[MatchedRow]:
        """Return the rows of a picture. Two that request a sound on the same track are a problem."""
        rows = sorted(rows, key=lambda row: row.number)
        asking = [row for row in rows if row.values or row.problem] or rows[:1]
        by_track: defaultdict[str, list[SheetRow]] = defaultdict(list)
        for row in asking:
            by_track[str(row.values.get(TRACK) or "").casefold()].append(row)
        matched = []
        for same in by_track.values():
            first, *more = same
            problem = None
            if more:
                numbers = ", ".join(str(row.number) for row in same[:-1]) + f" and {same[-1].number}"
                picture = self._pictures[index]
                problem = SettingsProblem(
                    f"Rows {numbers} of {self._sheet.name} are for the same sound of the clip “{picture.name}” at "
                    f"{self._timecode(self._spans[index][0])}.",
                    "Delete all but one, give them different tracks, or remove the clip's name from a row that is for "
                    "part of it.",
                )
            matched.append(self._matched(first, problem))
        return matched

    def _matched(self, row: SheetRow, problem: ProblemError | None = None) -> MatchedRow:
        return MatchedRow(row, f"row {row.number} of {self._sheet.name}", row.problem or problem)

    def _label(self, row: SheetRow) -> str:
        return f"Row {row.number} of {self._sheet.name}"

    def _miss(self, row: SheetRow, what: str, remedy: str) -> None:
        self._result.unmatched.append(row)
        if row.values or row.problem:
            self._result.problems.append(SettingsProblem(what, remedy))

    def _timecode(self, frame: int) -> str:
        return format_timecode(frame / self._rate, self._rate, self._drop)


def _same_name(name: str) -> str:
    return " ".join(name.split()).casefold()
