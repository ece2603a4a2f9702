# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells which strip is which after splits, copies and pastes, and which sound belongs to which strip.

Blender copies a strip's properties with the strip, so copies have the same identifiers as their originals. This
module does not compare names of media.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .follow import Position


@dataclass(frozen=True)
class Place:
    """Where a strip is found: its scene and its name, which is unique there. holder: its meta strip, or ""."""

    scene: str
    name: str
    holder: str = ""


@dataclass(frozen=True)
class Picture:
    """A strip with an identifier.

    known_scene, known_name: the strip that held the identifier when it was last looked at. visible: its position,
    without what the meta strips around it hide. take: identifier of its active take, or "".
    """

    place: Place
    uid: str
    known_scene: str
    known_name: str
    position: Position
    visible: Position
    take: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is the strip that held its identifier when it was last looked at."""
        return (self.place.scene, self.place.name) == (self.known_scene, self.known_name)

    def position_for(self, sound: Sound) -> Position:
        """Return the range that its sound should cover. Their common meta strip trims both anyway."""
        return self.position if sound.place.holder == self.place.holder else self.visible


@dataclass(frozen=True)
class Sound:
    """A sound strip with the link to its picture.

    owner: identifier of its picture. old_picture, old_position: where both were when they were last looked at.
    sound_frames: length of the take.
    """

    place: Place
    owner: str
    role: str
    take: str
    position: Position
    old_position: Position
    old_picture: Position
    sound_frames: int
    is_hidden: bool = False
    is_connected: bool = True
    channel: int = 0

    @property
    def alignment_frames(self) -> int:
        """Frames from the start of its picture's content to the start of its content, when they were last looked at."""
        return self.old_position.content_start_frame - self.old_picture.content_start_frame


@dataclass(frozen=True)
class Group:
    """The pictures and sounds that have the same identifier, with their new ones.

    pictures: by their new identifiers; copies: those of them that are copies of the original. original: the new
    identifier of the one that the others were copied from, "" if there is no picture. sounds: by identifier and role.
    free: sounds that belong to no picture here. orphans: sounds whose picture was deleted.
    """

    original: str
    pictures: dict[str, Picture]
    sounds: dict[tuple[str, str], Sound]
    free: tuple[Sound, ...] = ()
    orphans: tuple[Sound, ...] = ()

    @property
    def copies(self) -> tuple[str, ...]:
        """Identifiers of the pictures that are copies."""
        return tuple(uid for uid in self.pictures if uid != self.original)

    def template(self, role: str) -> Sound | None:
        """Return the sound to imitate for another picture: that of the original, or else of a copy."""
        sounds = {uid: sound for (uid, of_role), sound in self.sounds.items() if of_role == role}
        return sounds.get(self.original) or next(iter(sounds.values()), None)

    def sounds_of(self, uid: str) -> dict[str, Sound]:
        """Return the sounds of a picture by role."""
        return {role: sound for (owner, role), sound in self.sounds.items() if owner == uid}


def resolve_group(
    pictures: Sequence[Picture],
    sounds: Sequence[Sound],
    *,
    taken: Collection[str],
    was_linked: Callable[[Sound], bool],
) -> Group:
    """Tell originals from copies, and give each sound to the picture that it fits.

    pictures, sounds: all with the same identifier. taken: every identifier in the file. was_linked: whether a sound
    strip has been seen under its picture. Only then can its picture have been deleted; otherwise the sound was pasted
    by itself, and the user wants to keep it.
    """
    if not pictures:
        orphans = tuple(sound for sound in sounds if was_linked(sound))
        return Group("", {}, {}, free=tuple(sound for sound in sounds if sound not in orphans), orphans=orphans)
    original = min(
        pictures,
        key=lambda picture: (
            not picture.is_known,
            picture.place.name != picture.known_name,
            picture.place.scene != picture.known_scene,
        ),
    )
    named = {original.uid: original}
    for picture in pictures:
        if picture is not original:
            named[_new_uid(picture, {*taken, *named})] = picture
    assigned = _assign(named, sounds, original.uid)
    kept = {sound.place for sound in assigned.values()}
    return Group(original.uid, named, assigned, free=tuple(sound for sound in sounds if sound.place not in kept))


def _new_uid(picture: Picture, taken: Collection[str]) -> str:
    """Return an identifier for a copy. Undo and redo bring copies back, which must then get the same one again."""
    position = picture.position
    origin = (
        f"{picture.uid}\0{picture.place.scene}\0{picture.place.name}\0{position.content_start_frame}"
        f"\0{position.start_frame}\0{position.end_frame}"
    )
    number = 0
    while True:
        uid = hashlib.blake2b(f"{origin}\0{number}".encode(), digest_size=16).hexdigest()
        if uid not in taken:
            return uid
        number += 1


def _assign(pictures: dict[str, Picture], sounds: Iterable[Sound], original: str) -> dict[tuple[str, str], Sound]:
    """Give each sound to a picture in its scene: with the same alignment and common frames, the original first."""
    pairs = [
        (_fit(picture, sound, is_original=uid == original), uid, sound)
        for uid, picture in pictures.items()
        for sound in sounds
        if sound.place.scene == picture.place.scene
    ]
    pairs.sort(key=lambda pair: pair[0], reverse=True)
    assigned: dict[tuple[str, str], Sound] = {}
    placed: set[Place] = set()
    for _, uid, sound in pairs:
        if sound.place not in placed and (uid, sound.role) not in assigned:
            assigned[uid, sound.role] = sound
            placed.add(sound.place)
    return assigned


def _fit(picture: Picture, sound: Sound, *, is_original: bool) -> tuple[int, ...]:
    alignment = sound.position.content_start_frame - picture.position.content_start_frame
    return (
        alignment == sound.alignment_frames,
        picture.position.overlap_frames(sound.position) > 0,
        is_original,
        picture.position.overlap_frames(sound.position),
        picture.place.holder == sound.place.holder,
        # Of two copies of one sound, the one that has not moved is the original.
        sound.position == sound.old_position,
        -len(sound.place.name),
    )


def renamed(picture: Picture, uid: str) -> Picture:
    """Return the picture as the holder of an identifier."""
    return replace(picture, uid=uid, known_scene=picture.place.scene, known_name=picture.place.name)
