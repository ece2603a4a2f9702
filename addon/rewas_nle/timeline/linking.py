# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps every sound with its picture: scans the timeline after changes and corrects what no longer matches."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from .follow import Position, SoundPosition, follow_picture, place_sound
from .identity import Group, Picture, Sound, renamed, resolve_group


class ChangedError(Exception):
    """A strip has changed since it was read. The next scan reads it again."""


class Timeline(Protocol):
    """The timelines of all scenes. Its methods raise ChangedError if a strip has changed since it was read."""

    def read(self) -> Generator[None, None, tuple[list[Picture], list[Sound]]]:
        """Return the strips with identifiers and the sounds with links, with pauses in between."""
        ...

    def check(self, item: Picture | Sound) -> None:
        """Check that a strip has not changed since it was read."""
        ...

    def set_uid(self, picture: Picture) -> None:
        """Store an identifier in a picture, which becomes its holder."""
        ...

    def give(self, sound: Sound, picture: Picture) -> None:
        """Store that a sound belongs to a picture."""
        ...

    def move(self, sound: Sound, place: SoundPosition) -> None:
        """Move and trim a sound."""
        ...

    def settle(self, sound: Sound, picture: Picture) -> None:
        """Store where a sound and its picture are."""
        ...

    def free(self, sound: Sound) -> None:
        """Make a sound independent."""
        ...

    def remove(self, sound: Sound) -> None:
        """Remove a sound strip. Its file stays."""
        ...

    def copy_sound(self, picture: Picture, role: str, template: Sound | None, place: SoundPosition | None) -> None:
        """Create the sound of a role for a picture, like an existing one, or from the picture's active take."""
        ...

    def take_roles(self, picture: Picture) -> tuple[str, ...]:
        """Return the roles of a picture's active take, without those that the user has removed."""
        ...

    def show_take(self, picture: Picture) -> bool:
        """Put a picture's active take on the timeline. Returns whether that was possible."""
        ...

    def remember_removal(self, picture: Picture, role: str) -> None:
        """Store that the user has removed the sound of a role."""
        ...

    def find_channel(self, sound: Sound) -> None:
        """Put a sound that was moved back on its channel, or on another one of its role if that is not free."""
        ...

    def connect(self, picture: Picture) -> None:
        """Connect a picture and its sounds, so that a click selects all of them."""
        ...


@dataclass(frozen=True)
class _Held:
    """The active take of a picture and the roles of its sounds, after the last scan."""

    take: str
    roles: frozenset[str]


class Linker:
    """Scans timelines. It remembers what it has seen, to distinguish a deleted sound from one that never existed."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._held: dict[str, _Held] | None = None
        self._linked: set[tuple[str, str, str]] = set()
        self._removed: set[tuple[str, str, str]] = set()
        self._failed: dict[str, str] = {}
        self._settled: dict[str, tuple[Picture | Sound, ...]] = {}

    def forget(self) -> None:
        """Forget everything, because another file was opened."""
        self._held = None
        self._linked.clear()
        self._removed.clear()
        self._failed.clear()
        self._settled.clear()

    def look_again(self) -> None:
        """Look at all strips in the next scan, because undo may have changed more than their positions."""
        self._settled.clear()

    def scan(self) -> Iterator[None]:
        """Inspect all strips and correct what no longer matches. Pauses often; strips may change during a pause."""
        pictures, sounds = yield from self._timeline.read()
        taken = {picture.uid for picture in pictures}
        pictures_by_uid: dict[str, list[Picture]] = {uid: [] for uid in [*taken, *(sound.owner for sound in sounds)]}
        sounds_by_owner: dict[str, list[Sound]] = {uid: [] for uid in pictures_by_uid}
        for picture in pictures:
            pictures_by_uid[picture.uid].append(picture)
        for sound in sounds:
            sounds_by_owner[sound.owner].append(sound)
        is_first = self._held is None
        held = self._held or {}
        now: dict[str, _Held] = {}
        moved: list[Sound] = []
        settled, self._settled = self._settled, {}
        for uid, group_pictures in pictures_by_uid.items():
            yield
            strips: tuple[Picture | Sound, ...] = (*group_pictures, *sounds_by_owner[uid])
            if uid in held and settled.get(uid) == strips:
                self._settled[uid] = strips
                now[uid] = held[uid]
                continue
            group = resolve_group(group_pictures, sounds_by_owner[uid], taken=taken, was_linked=self._was_linked)
            taken |= set(group.pictures)
            try:
                self._update_group(group, held, now, moved, is_first=is_first)
                if self._is_settled(group) and now.get(uid) == held.get(uid):
                    self._settled[uid] = strips
            except ChangedError:
                now |= {uid: held[uid] for uid in group.pictures if uid in held}
        self._held = now
        for sound in moved:
            yield
            try:
                self._timeline.find_channel(sound)
            except ChangedError:
                continue

    def _was_linked(self, sound: Sound) -> bool:
        return (sound.place.scene, sound.place.name, sound.owner) in self._linked

    def _update_group(
        self, group: Group, held: dict[str, _Held], now: dict[str, _Held], moved: list[Sound], *, is_first: bool
    ) -> None:
        timeline = self._timeline
        if not self._is_settled(group):
            items: list[Picture | Sound] = [*group.pictures.values(), *group.sounds.values()]
            for item in (*items, *group.free, *group.orphans):
                timeline.check(item)
        for sound in group.free:
            timeline.free(sound)
        for sound in group.orphans:
            timeline.remove(sound)
        for uid, picture in group.pictures.items():
            if picture.uid != uid or not picture.is_known:
                timeline.set_uid(renamed(picture, uid))
        linked = {uid: renamed(picture, uid) for uid, picture in group.pictures.items()}
        for uid, picture in linked.items():
            self._follow_picture(picture, group.sounds_of(uid), moved)
        for uid, picture in linked.items():
            sounds = group.sounds_of(uid)
            has_appeared = uid != group.original or (not is_first and uid not in held)
            created = self._update_take(picture, sounds, group, held.get(uid), has_appeared=has_appeared)
            if created or not all(sound.is_connected for sound in sounds.values()):
                timeline.connect(picture)
            now[uid] = _Held(picture.take, frozenset((*sounds, *created)))
            self._linked.update((sound.place.scene, sound.place.name, uid) for sound in sounds.values())

    def _is_settled(self, group: Group) -> bool:
        if len(group.pictures) != 1 or group.free or group.orphans:
            return False
        ((uid, picture),) = group.pictures.items()
        return picture.is_known and all(
            sound.owner == uid
            and sound.take == picture.take
            and sound.position == sound.old_position
            and sound.old_picture == picture.position_for(sound)
            and sound.is_connected
            for sound in group.sounds.values()
        )

    def _follow_picture(self, picture: Picture, sounds: dict[str, Sound], moved: list[Sound]) -> None:
        for sound in sounds.values():
            if sound.owner != picture.uid:
                self._timeline.give(sound, picture)
            position = picture.position_for(sound)
            if sound.old_picture == position and sound.old_position == sound.position:
                continue
            place = _follow(sound, position, sound.position)
            if place != SoundPosition(sound.position, sound.is_hidden):
                self._timeline.move(sound, place)
                moved.append(sound)
            self._timeline.settle(sound, picture)

    def _update_take(
        self, picture: Picture, sounds: dict[str, Sound], group: Group, held: _Held | None, *, has_appeared: bool
    ) -> list[str]:
        """Bring the sounds up to date with the active take. Returns the roles that were created."""
        if not picture.take:
            return []
        if self._failed.get(picture.uid, picture.take) != picture.take:
            del self._failed[picture.uid]
        if any(sound.take != picture.take for sound in sounds.values()):
            self._show_take(picture)
            return []
        # The sound of an original may have gone to a copy that fits it better.
        shared = {role for _, role in group.sounds if role not in sounds}
        self._remember_removals(picture, group.original, set(sounds), held if not shared else None)
        if not (has_appeared or shared):
            if held is not None and held.take != picture.take:
                self._show_take(picture)
            return []
        missing = [
            role
            for role in self._timeline.take_roles(picture)
            if role not in sounds and (has_appeared or role in shared)
        ]
        for role in missing:
            template = group.template(role)
            place = _follow(template, picture.position, template.old_position) if template is not None else None
            self._timeline.copy_sound(picture, role, template, place)
        return missing

    def _show_take(self, picture: Picture) -> None:
        # A take that cannot be shown is tried again only after another one was chosen.
        if self._failed.get(picture.uid) != picture.take and not self._timeline.show_take(picture):
            self._failed[picture.uid] = picture.take

    def _remember_removals(self, picture: Picture, original: str, roles: set[str], held: _Held | None) -> None:
        """Store which sounds the user has removed: those that the picture had, and those that were removed before.

        Undo may bring back a state in which this was not stored yet, and copies of it.
        """
        uid, take = picture.uid, picture.take
        self._removed -= {(uid, take, role) for role in roles}
        gone = {role for role in self._known_removals(take, (uid, original)) if role not in roles}
        if held is not None and held.take == take:
            gone |= held.roles - roles
        for role in gone.intersection(self._timeline.take_roles(picture)) if gone else ():
            self._timeline.remember_removal(picture, role)
            self._removed.add((uid, take, role))

    def _known_removals(self, take: str, uids: tuple[str, ...]) -> set[str]:
        return {role for uid, of_take, role in self._removed if of_take == take and uid in uids}


def _follow(sound: Sound, picture: Position, position: Position) -> SoundPosition:
    if sound.is_hidden:
        return place_sound(picture, sound.alignment_frames, sound.sound_frames)
    return follow_picture(sound.old_picture, sound.old_position, picture, position, sound.sound_frames)
