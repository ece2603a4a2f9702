# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the sounds of a scene with those of a timeline file that another program has changed.

Sounds are matched by their media file or, if the media has moved, by its name. If several have the same media file, the
most similar one is chosen. A sound that is another take of a strip is not new.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor, log10
from pathlib import PurePath
from typing import Any

from .exchanged import SOUND_KIND, ExchangedScene, ExchangedStrip, ExchangeNote
from .fades import Fades, Level, is_same_volume, level_of
from .follow import Position
from .otio_export import sound_offset_s
from .otio_mix import pan_of
from .otio_sounds import FoundSound, FoundSounds

_WHOLE_FRAME = Fraction(1, 1000)
"""Times closer to a whole frame than this count as whole."""
_COPY_NUMBER = re.compile(r"\.\d{3,}$")
_SILENT_DB = -120.0


class UnrelatedError(ValueError):
    """The file contains none of the sounds of the scene."""


@dataclass(frozen=True)
class SoundChange:
    """The changes to a sound of the scene. None and "" mean no change.

    Attributes:
        name: Name of its strip.
        new_name: Its new name.
        position: Its new position.
        offset_s: Additional offset of the sound from its strip's content, in seconds.
        is_muted: Whether it is muted now.
        volume: Its new volume, linear, between its fades.
        fades: Its new fades, which also get keyframes at the new volume and position.
        pan: Its new pan, from -1 (left) to 1 (right).
        owner: Identifier of the strip that it was generated for.
        take: Identifier of the take that it plays now.
    """

    name: str
    new_name: str = ""
    position: Position | None = None
    offset_s: Fraction = Fraction(0)
    is_muted: bool | None = None
    volume: float | None = None
    fades: Fades | None = None
    pan: float | None = None
    owner: str = ""
    take: str = ""
    descriptions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the change as a sentence."""
        return f'The sound "{self.name}" {_listed(self.descriptions)}.'


@dataclass(frozen=True)
class AddedSound:
    """A sound that only the file contains.

    Attributes:
        found: The sound in the file.
        position: Its place in the scene.
        offset_s: By how many seconds it begins after its content.
        level: Its volume and fades.
    """

    found: FoundSound
    position: Position
    offset_s: Fraction = Fraction(0)
    level: Level = field(default_factory=Level)


@dataclass(frozen=True)
class SoundChanges:
    """How the sounds of a file differ from those of a scene.

    changed: sounds of the scene that differ. added: sounds that only the file contains. missing: names of the strips
    that the file no longer contains. notes: what was not read as it is in the file.
    """

    changed: tuple[SoundChange, ...]
    added: tuple[AddedSound, ...]
    missing: tuple[str, ...]
    notes: tuple[ExchangeNote, ...]


def compare_sounds(scene: ExchangedScene, found: FoundSounds) -> SoundChanges:
    """Return how the sounds of a file differ from those of a scene. Raises UnrelatedError."""
    current = list(_sounds_of(scene))
    clock, (pairs, left), notes = _align(scene, current, found)
    if not pairs:
        raise UnrelatedError("The file contains none of the sounds of the scene.")
    comparison = _Comparison(clock)
    changes = [comparison.compare(sound, other) for sound, other in pairs]
    matched = {sound.name for sound, _ in pairs}
    added, other_takes = _choose_new(left, current, pairs)
    retimed = [sound for sound in added if sound.is_retimed]
    return SoundChanges(
        changed=tuple(change for change in changes if change.descriptions),
        added=tuple(comparison.place(sound) for sound in added if not sound.is_retimed),
        missing=tuple(sound.name for sound in current if sound.name not in matched),
        notes=(
            *found.notes,
            *notes,
            *comparison.notes(),
            *map(_retimed_note, retimed),
            *map(_second_take_note, other_takes),
        ),
    )


@dataclass(frozen=True)
class _Sound:
    """A sound of the scene.

    level: its volume and fades, None if its volume is animated in another way. offset_frames: by how many frames it
    begins after its content. takes: identifiers of all takes of its strip, by their files for its role.
    """

    name: str
    path: str
    position: Position
    is_muted: bool
    level: Level | None
    pan: float
    owner: str = ""
    role: str = ""
    take: str = ""
    takes: Mapping[str, str] = field(default_factory=dict)
    offset_frames: Fraction = Fraction(0)

    @property
    def begins_at(self) -> Fraction:
        """Frame of its first sample, which may be trimmed off."""
        return self.position.content_start_frame + self.offset_frames


@dataclass(frozen=True)
class _Clock:
    """Converts times of a file to frames of the scene. zero_frame: frame at which the file starts."""

    rate: Fraction
    zero_frame: Fraction

    def frame(self, at_s: Fraction) -> Fraction:
        """Return the frame at a time, with a fraction if the time is between two frames."""
        return self.zero_frame + at_s * self.rate


def _sounds_of(scene: ExchangedScene) -> Iterator[_Sound]:
    takes: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for picture in _pictures(scene.strips):
        for take in picture.stored_takes:
            for stem in take.stems:
                takes[picture.uid][stem.role][str(stem.path)] = take.id
    muted = {channel.number for channel in scene.channels if channel.is_muted}
    for strip, is_muted in _sound_strips(scene.strips, muted, False):
        link = strip.stem
        owner, role = str(link.get("owner", "")), str(link.get("role", ""))
        yield _Sound(
            name=strip.name,
            path=strip.files[0] if strip.files else "",
            position=Position(strip.content_start_frame, strip.start_frame, strip.end_frame),
            is_muted=is_muted,
            level=level_of(strip),
            pan=pan_of(strip),
            owner=owner,
            role=role,
            take=str(link.get("take", "")),
            takes=takes[owner][role] if owner else {},
            offset_frames=sound_offset_s(strip) * scene.rate,
        )


def _pictures(strips: Sequence[ExchangedStrip]) -> Iterator[ExchangedStrip]:
    for strip in strips:
        if strip.uid and not strip.stem:
            yield strip
        yield from _pictures(strip.strips)


def _sound_strips(
    strips: Sequence[ExchangedStrip], muted: set[int], is_muted: bool
) -> Iterator[tuple[ExchangedStrip, bool]]:
    """Yield the sounds, each with whether it, or something that contains it, is muted."""
    for strip in strips:
        is_silent = is_muted or strip.is_muted or strip.channel in muted
        if strip.kind == SOUND_KIND:
            yield strip, is_silent
        inner = {channel.number for channel in strip.channels if channel.is_muted}
        yield from _sound_strips(strip.strips, inner, is_silent)


# Which sound is which


_Match = tuple[list[tuple[_Sound, FoundSound]], list[FoundSound]]
"""Pairs of a sound of the scene and one of the file, in the order of the scene, and those that only the file has."""


@dataclass(frozen=True)
class _Traits:
    """The traits by which sounds are compared. content, begin: start of the file and of the sound, in frames."""

    owner: str
    role: str
    is_muted: bool
    file_name: str
    name: str
    content: float
    begin: float

    def distance(self, other: _Traits) -> tuple[bool, bool, bool, bool, float, float]:
        """Return how different two sounds are, the most important difference first."""
        is_linked = bool(self.owner) and (self.owner, self.role) == (other.owner, other.role)
        return (
            not is_linked,
            self.is_muted != other.is_muted,
            self.file_name != other.file_name,
            self.name != other.name,
            abs(self.content - other.content),
            abs(self.begin - other.begin),
        )

    @property
    def exactly(self) -> _Traits:
        """The traits that are equal if nothing has changed, without owner and role, which only the add-on writes."""
        return replace(self, owner="", role="", content=round(self.content, 2), begin=round(self.begin, 2))


def _match(current: Sequence[_Sound], found: Sequence[FoundSound], clock: _Clock) -> _Match:
    """Return which sounds of a scene and of a file are the same."""
    ours = [
        _Traits(
            *(sound.owner, sound.role, sound.is_muted, _file_name(sound.path), _plain_name(sound.name)),
            content=float(sound.begins_at),
            begin=float(max(sound.begins_at, Fraction(sound.position.start_frame))),
        )
        for sound in current
    ]
    theirs = [
        _Traits(
            *(other.owner, other.role, other.is_muted, _file_name(other.path), _plain_name(other.name)),
            content=float(clock.frame(other.media_begin_s)),
            begin=float(clock.frame(other.begin_s)),
        )
        for other in found
    ]
    chosen = _match_unchanged(ours, theirs)
    taken = set(chosen.values())
    by_path: dict[str, list[int]] = defaultdict(list)
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, sound in enumerate(current):
        for path in {sound.path, *sound.takes} - {""} if number not in chosen else ():
            by_path[path].append(number)
            by_name[_file_name(path)].append(number)
    possible = []
    for position, other in enumerate(found):
        if position not in taken:
            numbers = by_path.get(other.path) or by_name.get(_file_name(other.path), [])
            possible += [(ours[number].distance(theirs[position]), number, position) for number in numbers]
    for _, number, position in sorted(possible):
        if number not in chosen and position not in taken:
            chosen[number] = position
            taken.add(position)
    pairs = [(current[number], found[position]) for number, position in sorted(chosen.items())]
    return pairs, [other for position, other in enumerate(found) if position not in taken]


def _match_unchanged(ours: Sequence[_Traits], theirs: Sequence[_Traits]) -> dict[int, int]:
    """Return the sounds that match because nothing about them has changed, so that only the others are compared."""
    waiting: dict[_Traits, list[int]] = defaultdict(list)
    for position, traits in reversed(list(enumerate(theirs))):
        waiting[traits.exactly].append(position)
    chosen: dict[int, int] = {}
    for number, traits in enumerate(ours):
        positions = waiting.get(traits.exactly)
        if positions and theirs[positions[-1]].owner in ("", traits.owner):
            chosen[number] = positions.pop()
    return chosen


def _choose_new(
    left: Sequence[FoundSound], current: Sequence[_Sound], pairs: Sequence[tuple[_Sound, FoundSound]]
) -> tuple[list[FoundSound], list[FoundSound]]:
    """Return the new ones among the sounds that only the file contains, and those that are further audible takes."""
    takes = {_file_name(path) for sound in current for path in sound.takes}
    playing = {_file_name(found.path) for _, found in pairs}
    new, further = [], []
    for each in left:
        name = _file_name(each.path)
        if name not in takes or (name in playing and not each.is_muted):
            # A second strip of the same file is the other half of a sound that was split, or a copy.
            new.append(each)
        elif not each.is_muted:
            further.append(each)
    return new, further


def _second_take_note(found: FoundSound) -> ExchangeNote:
    return ExchangeNote(
        f'The file plays two takes of a strip at the same time, and the sound "{found.name}" is one of them.',
        f"Blender plays only one take of a strip. To hear both, add this file yourself: {found.path}",
    )


def _retimed_note(found: FoundSound) -> ExchangeNote:
    return ExchangeNote(
        f'The new sound "{found.name}" is played at another speed in the file, so it was not added.',
        "Render it to a new file there, because an add-on cannot change the speed of a sound.",
    )


def _file_name(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name.casefold()


def _plain_name(name: str) -> str:
    """Return a name without the number that Blender adds to a name that is taken."""
    return _COPY_NUMBER.sub("", name)


def _align(
    scene: ExchangedScene, current: Sequence[_Sound], found: FoundSounds
) -> tuple[_Clock, _Match, list[ExchangeNote]]:
    """Return the clock of a file, the match of its sounds, and a note if its start was guessed.

    The file starts at the frame of its timecode, or at the first frame of the scene if fewer sounds have moved then.
    """
    first = _Clock(scene.rate, Fraction(min([scene.start_frame, *(strip.start_frame for strip in scene.strips)])))
    by_first = _match(current, found.sounds, first)
    if found.start_s is None:
        return first, by_first, []
    timecode = _Clock(scene.rate, found.start_s * scene.rate + scene.timecode_frame)
    by_timecode = _match(current, found.sounds, timecode)
    is_same = abs(timecode.zero_frame - first.zero_frame) <= _WHOLE_FRAME
    if is_same or _count_unmoved(by_first, first) <= _count_unmoved(by_timecode, timecode):
        return timecode, by_timecode, []
    note = ExchangeNote(
        "The start timecode of the file differs from that of the scene.",
        "The file was aligned with the first frame of the scene. Check that the sounds are in sync.",
    )
    return first, by_first, [note]


def _count_unmoved(match: _Match, clock: _Clock) -> int:
    return sum(abs(clock.frame(found.media_begin_s) - sound.begins_at) <= _WHOLE_FRAME for sound, found in match[0])


# What has changed


class _Comparison:
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._rate = clock.rate
        self._rounded: list[str] = []
        self._retimed: list[str] = []
        self._animated: list[str] = []
        self._kept: list[str] = []

    def compare(self, sound: _Sound, found: FoundSound) -> SoundChange:
        """Return the changes to a sound."""
        change = SoundChange(sound.name, owner=sound.owner)
        texts: list[str] = []
        if found.is_retimed:
            self._retimed.append(sound.name)
            return change
        take = self._other_take(sound, found)
        if take:
            change = replace(change, take=take)
            texts.append("plays another take")
        position, offset_s = self._position(sound, found)
        if position != sound.position or offset_s:
            change = replace(change, position=position, offset_s=offset_s)
            texts += self._describe_position(sound.position, position, offset_s)
        # In REAPER, an item has the name of its current take.
        name = "" if take else _new_name(sound, found)
        if name:
            change = replace(change, new_name=name)
            texts.append(f'is now named "{name}"')
        if found.is_muted != sound.is_muted:
            change = replace(change, is_muted=found.is_muted)
            texts.append("is muted" if found.is_muted else "is no longer muted")
        level = self._level(sound, found, position)
        if level is not None and sound.level is not None:
            change = replace(change, volume=level.volume, fades=level.fades)
            texts += _describe_level(sound.level, level)
        pan = found.mix.new_pan(sound.pan)
        if pan is not None:
            change = replace(change, pan=pan)
            texts.append(f"has a pan of {pan:.2f}")
        if found.mix.has_envelopes:
            self._animated.append(sound.name)
        return replace(change, descriptions=tuple(texts))

    def _level(self, sound: _Sound, found: FoundSound, position: Position) -> Level | None:
        """Return the volume and fades of a sound if they change, or if its fades must move with its handles."""
        frames = position.end_frame - position.start_frame
        if sound.level is None:
            # Without keyframes, the file has what the export has written.
            if not found.mix.applied_to(Level(), frames, self._rate).is_same(Level()):
                self._kept.append(sound.name)
            return None
        level = found.mix.applied_to(sound.level, frames, self._rate)
        has_moved = position != sound.position and level.fades != Fades()
        return level if has_moved or not level.is_same(sound.level) else None

    def place(self, found: FoundSound) -> AddedSound:
        """Return a sound that only the file contains, at its place in the scene."""
        if found.mix.has_envelopes:
            self._animated.append(found.name)
        content = self._clock.frame(found.media_begin_s)
        whole, rest = _split_frame(content)
        start = _nearest_frame(self._clock.frame(found.begin_s))
        end = max(_nearest_frame(self._clock.frame(found.end_s)), start + 1)
        if found.begin_s == found.media_begin_s:
            # The first sample must not be cut off.
            start = min(start, whole)
        level = found.mix.applied_to(Level(), end - start, self._rate)
        return AddedSound(found, Position(whole, start, end), rest / self._rate, level)

    def notes(self) -> Iterator[ExchangeNote]:
        """Yield what Blender cannot do."""
        if self._rounded:
            yield ExchangeNote(
                f"{_named(self._rounded)} trimmed between two frames in the file.",
                "Blender trims at whole frames, so the nearest ones were used.",
            )
        if self._retimed:
            yield ExchangeNote(
                f"{_named(self._retimed)} unchanged in Blender, because the file sets another speed.",
                "Render to a new file there, because an add-on cannot change the speed of a sound.",
            )
        if self._kept:
            yield ExchangeNote(
                f"{_named(self._kept)} at another level in the file, but keyframes control the volume in Blender.",
                "Delete the keyframes and import again to use the level of the file.",
            )
        if self._animated:
            yield ExchangeNote(
                f"{_named(self._animated)} changed by envelopes in the file.",
                "Envelopes are not imported. Animate the volume and pan of the strip instead.",
            )

    def _position(self, sound: _Sound, found: FoundSound) -> tuple[Position, Fraction]:
        """Return the new position of a sound, and by how many seconds it begins after its strip's content."""
        old = sound.position
        moved = self._clock.frame(found.media_begin_s) - sound.begins_at
        whole, rest = _split_frame(moved)

        def handle(at_s: Fraction, shown: Fraction, frame: int) -> int:
            """Return the frame of a handle. One that has only moved with the sound stays where it is in the sound."""
            is_kept = abs(self._clock.frame(at_s) - shown - moved) <= _WHOLE_FRAME
            return frame + whole if is_kept else self._frame(at_s, sound.name)

        start = handle(found.begin_s, max(Fraction(old.start_frame), sound.begins_at), old.start_frame)
        end = handle(found.end_s, Fraction(old.end_frame), old.end_frame)
        return Position(old.content_start_frame + whole, start, max(end, start + 1)), rest / self._rate

    def _frame(self, at_s: Fraction, name: str) -> int:
        exact = self._clock.frame(at_s)
        nearest = _nearest_frame(exact)
        if abs(exact - nearest) > _WHOLE_FRAME and name not in self._rounded:
            self._rounded.append(name)
        return nearest

    def _other_take(self, sound: _Sound, found: FoundSound) -> str:
        """Return the take that the file plays, "" if it is the one on the timeline."""
        by_name = {_file_name(path): take for path, take in sound.takes.items()}
        take = sound.takes.get(found.path) or by_name.get(_file_name(found.path), "")
        return take if take != sound.take else ""

    def _describe_position(self, old: Position, new: Position, offset_s: Fraction) -> Iterator[str]:
        moved = new.content_start_frame - old.content_start_frame + offset_s * self._rate
        if moved:
            amount = f"{abs(float(moved)):.3f}".rstrip("0").rstrip(".")
            frames = "frame" if amount == "1" else "frames"
            yield f"is {amount} {frames} {'later' if moved > 0 else 'earlier'}"
        if new.lead_in_frames != old.lead_in_frames or new.lead_out_frames != old.lead_out_frames:
            yield f"plays frames {new.lead_in_frames} to {new.lead_out_frames - 1} of its file"


def _split_frame(frames: Fraction) -> tuple[int, Fraction]:
    """Return the whole frames of a time, and the rest: 0 if the time counts as whole."""
    nearest = _nearest_frame(frames)
    if abs(frames - nearest) <= _WHOLE_FRAME:
        return nearest, Fraction(0)
    return floor(frames), frames - floor(frames)


def _nearest_frame(frames: Fraction) -> int:
    return floor(frames + Fraction(1, 2))


def _new_name(sound: _Sound, found: FoundSound) -> str:
    """Return the new name of a sound, "" if it has not changed.

    Programs name a sound after its file, and `rewas batch` has its own names. Only other names are new.
    """
    if found.is_generated and not found.is_from_blender:
        return ""
    name = found.name.strip()
    path = PurePath(found.path.replace("\\", "/"))
    known = {_plain_name(sound.name), path.name, path.stem, ""}
    return "" if name in known or _plain_name(name) in known else name


def _describe_level(old: Level, new: Level) -> Iterator[str]:
    if not is_same_volume(old.volume, new.volume):
        yield f"has a volume of {_decibels(new.volume)}"
    for before, after, direction in (
        (old.fades.in_frames, new.fades.in_frames, "in"),
        (old.fades.out_frames, new.fades.out_frames, "out"),
    ):
        if before != after:
            frames = "1 frame" if after == 1 else f"{after} frames"
            yield f"fades {direction} over {frames}" if after else f"no longer fades {direction}"


def _decibels(volume: float) -> str:
    level = 20 * log10(volume) if volume > 0 else _SILENT_DB
    return "silence" if level <= _SILENT_DB else f"{level:+.1f} dB"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _named(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f'The sound "{names[0]}" is'
    return f'The sound "{names[0]}" and {len(names) - 1} more are'


def as_settings(found: FoundSound) -> dict[str, Any]:
    """Return the settings with which a sound was generated, as values that a strip can store."""
    plain = {name: value for name, value in found.settings.items() if isinstance(value, bool | int | float | str)}
    # ID properties hold 32-bit integers; a seed can have 63 bits.
    return {name: str(value) if name == "seed" else value for name, value in plain.items()}
