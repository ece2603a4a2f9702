"""The material of the chosen recordings: events to strike, stretches to sustain, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewas_engine.errors import MediaError
from rewas_engine.recordings.choosing import PART_WORDS, Choice
from rewas_engine.recordings.index import LibraryIndex, SoundEvent, Stretch

Manner = Literal["struck", "sustained", "layered"]
"""Whether a performance consists of events, of stretches, or of events over stretches."""
LOUDER_NATS = 1.0
"""Events of a mainly steady recording are struck if they are this much louder than its stretches, and the prompt names
two sounds, such as “rain with thunder”."""
FEWEST_EVENTS = 3
"""With fewer such events, the same one would sound again and again."""
SHORTEST_BED_S = 2.0
"""Stretches between the events of a recording are a bed if they are at least this long together."""


@dataclass(frozen=True)
class Material:
    """Sounds of the chosen recordings.

    Attributes:
        manner: How they are performed.
        events: Indices of the events; none for a sustained performance.
        stretches: Indices of the stretches; none for a struck performance.
    """

    manner: Manner
    events: tuple[int, ...]
    stretches: tuple[int, ...]


def find_material(index: LibraryIndex, choice: Choice) -> Material:
    """Decide how the chosen recordings are performed. Raises MediaError if they have no sounds."""
    events = _numbers(index.events, choice.recordings)
    stretches = _numbers(index.stretches, choice.recordings)
    steady = [one for one in choice.recordings if index.is_mainly_steady(one) and stretches[one]]
    struck = [one for one in choice.recordings if one not in steady and events[one]]
    if not struck and not steady:
        raise MediaError("The chosen recordings have no sounds.", "Choose others, or make the library again.")
    laid = [stretch for one in steady for stretch in stretches[one]]
    if not struck:
        named = steady if PART_WORDS.search(choice.prompt) else []
        loud = _louder(index, [event for one in named for event in events[one]], laid)
        return Material("layered" if loud else "sustained", tuple(loud), tuple(laid))
    hits = [event for one in struck for event in _variations(index, events[one])]
    if not laid:
        laid = [stretch for one in struck for stretch in _between_events(index, events[one], stretches[one])]
        if sum(_seconds(index, stretch) for stretch in laid) < SHORTEST_BED_S:
            laid = []
    return Material("layered" if laid else "struck", tuple(hits), tuple(laid))


def _numbers(rows: Sequence[SoundEvent | Stretch], recordings: Sequence[int]) -> dict[int, list[int]]:
    """Numbers of the rows of each recording."""
    found: dict[int, list[int]] = {one: [] for one in recordings}
    for number, row in enumerate(rows):
        if row.recording in found:
            found[row.recording].append(number)
    return found


def _seconds(index: LibraryIndex, stretch: int) -> float:
    row = index.stretches[stretch]
    return (row.end_sample - row.start_sample) / index.recordings[row.recording].sample_rate_hz


def _louder(index: LibraryIndex, events: Sequence[int], stretches: Sequence[int]) -> list[int]:
    """The events that stand out from stretches, such as thunder in rain."""
    loudest_nats = max(index.stretches[one].level_nats for one in stretches)
    found = [one for one in events if index.events[one].level_nats >= loudest_nats + LOUDER_NATS]
    return found if len(found) >= FEWEST_EVENTS else []


def _between_events(index: LibraryIndex, events: Sequence[int], stretches: Sequence[int]) -> list[int]:
    """The stretches in which no event sounds."""
    sounding = [(index.events[one].onset_sample, index.events[one].end_sample) for one in events]
    rows = [(one, index.stretches[one]) for one in stretches]
    return [
        one
        for one, row in rows
        if not any(row.start_sample < end and begin < row.end_sample for begin, end in sounding)
    ]


def _variations(index: LibraryIndex, events: Sequence[int]) -> list[int]:
    """The events of one recording that are variations of one sound: the sound with the most events."""
    rounds = [index.events[number].round for number in events]
    commonest = max(dict.fromkeys(rounds), key=rounds.count)
    return [number for number in events if index.events[number].round == commonest]
