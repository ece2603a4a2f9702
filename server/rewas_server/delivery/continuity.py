"""Find clips that continue the sound of the clip before them, as after a cut that removes nothing (a through edit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewas_server.delivery.layout import LaidOutStem
from rewas_server.delivery.stems import GeneratedStem


@dataclass(frozen=True)
class Run:
    """The run of stems that a stem belongs to: each but the first continues the sound of the one before.

    Attributes:
        first: The first stem of the run.
        following: The stem that continues this one; None if this is the last.
        duration_s: Duration of the whole run on the timeline.
        group: Number of the group. All stems of a take, and all that continue them, are in one group.
    """

    first: GeneratedStem
    following: GeneratedStem | None
    duration_s: Fraction
    group: int

    def continues(self, stem: GeneratedStem) -> bool:
        """Whether a stem of this run continues another one."""
        return stem is not self.first

    @classmethod
    def of_one(cls, stem: GeneratedStem) -> Run:
        """Return the run of a stem that neither continues another one nor is continued."""
        return cls(stem, None, stem.duration_s, 0)


def find_runs(stems: Sequence[LaidOutStem]) -> list[Run]:
    """Return the run of each stem, in their order.

    A stem continues another one if it begins on the timeline where the other one ends, on the same track, and shows the
    same sound from there on. No stem continues two others, or is continued by two.
    """
    ends: dict[tuple[object, ...], list[int]] = {}
    for number, each in enumerate(stems):
        stem = each.stem
        end_s = stem.head_handle_s + stem.duration_s
        ends.setdefault((stem.position_s + stem.duration_s, end_s, *_sound(each)), []).append(number)
    before: dict[int, int] = {}
    for number, each in enumerate(stems):
        found = ends.get((each.stem.position_s, each.stem.head_handle_s, *_sound(each)))
        if found and found[0] != number:
            before[number] = found.pop(0)
    after = {earlier: later for later, earlier in before.items()}
    groups = _group(stems, before)
    runs: list[Run | None] = [None] * len(stems)
    for first in range(len(stems)):
        if first in before:
            continue
        members = [first]
        while members[-1] in after:
            members.append(after[members[-1]])
        duration_s = sum((stems[number].stem.duration_s for number in members), Fraction(0))
        for number, following in zip(members, [*members[1:], None], strict=True):
            next_stem = None if following is None else stems[following].stem
            runs[number] = Run(stems[first].stem, next_stem, duration_s, groups[number])
    return [run for run in runs if run is not None]


def _sound(laid_out: LaidOutStem) -> tuple[object, ...]:
    stem = laid_out.stem
    return stem.sha256, stem.role, stem.take_number, laid_out.track, laid_out.is_audible


def _group(stems: Sequence[LaidOutStem], before: dict[int, int]) -> list[int]:
    """Return the number of each stem's group: that of its first stem."""
    parents = list(range(len(stems)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    takes: dict[tuple[int, int], int] = {}
    for number, each in enumerate(stems):
        member = takes.setdefault((each.stem.clip_number, each.stem.take_number), number)
        for other in (member, before.get(number, number)):
            one, two = sorted((root(number), root(other)))
            parents[two] = one
    return [root(number) for number in range(len(stems))]
