"""Finds the pictures of a timeline that are visible at a given time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate

from rewas_server.otio.exact_times import time_order
from rewas_server.otio.pictures import Picture


class PictureIndex:
    """Finds visible pictures by time, quickly even among many.

    Args:
        pictures: Of a timeline.
        indexes: Which of them count; None for all.
    """

    def __init__(self, pictures: Sequence[Picture], indexes: Iterable[int] | None = None) -> None:
        self._pictures = pictures
        shown = (
            (picture.position_s, picture.position_s + picture.duration_s, index)
            for index in (range(len(pictures)) if indexes is None else indexes)
            if (picture := pictures[index]).position_s is not None
            and picture.duration_s.numerator > 0
            and not picture.hidden
        )
        self._shown = sorted(shown, key=lambda each: (time_order(each[0]), each))
        self._begins = [begin for begin, _, _ in self._shown]
        self._latest_ends = list(accumulate((end for _, end, _ in self._shown), max))
        self._indexes = {index for _, _, index in self._shown}

    def __contains__(self, index: int) -> bool:
        return index in self._indexes

    @property
    def end_s(self) -> Fraction:
        """End of the last picture on the timeline; 0 without any."""
        return self._latest_ends[-1] if self._latest_ends else Fraction(0)

    def overlapping(self, begin_s: Fraction, end_s: Fraction) -> Iterator[int]:
        """Yield the pictures in a range of the timeline, or at a time if begin and end are the same, in order.

        A picture that another one on a higher track covers completely is left out.
        """
        is_moment = end_s <= begin_s
        place = bisect_right(self._begins, begin_s if is_moment else end_s) - 1
        found = []
        while place >= 0 and self._latest_ends[place] > begin_s:
            first_s, last_s, index = self._shown[place]
            if last_s > begin_s and (is_moment or first_s < end_s):
                found.append((first_s, last_s, index))
            place -= 1
        for first_s, last_s, index in reversed(found):
            number = self._pictures[index].track_number
            if not any(
                begin <= first_s and last_s <= end and self._pictures[other].track_number > number
                for begin, end, other in found
            ):
                yield index
