"""A small model of Blender's sequencer: strips with properties that are copied with them, edits, undo and redo."""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from rewas_nle.timeline.follow import Position, SoundPosition, place_sound
from rewas_nle.timeline.identity import Picture, Place, Sound
from rewas_nle.timeline.linking import ChangedError

NOWHERE = Position(0, 0, 0)


@dataclass
class ModelTake:
    """A take: its sound belongs to the frames from `lead_in_frames` on."""

    id: str
    lead_in_frames: int
    frames: int
    roles: tuple[str, ...]


@dataclass
class ModelStrip:
    """A picture, if it has no `role`, or a sound. `content`: what it shows or plays.

    `removed`: roles that a scan considers deleted; `deleted`: those that the user has really deleted.
    """

    scene: str
    name: str
    content: str
    position: Position
    uid: str = ""
    known: tuple[str, str] = ("", "")
    takes: list[ModelTake] = field(default_factory=list)
    active: int = -1
    removed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    owner: str = ""
    role: str = ""
    take: str = ""
    old_position: Position = NOWHERE
    old_picture: Position = NOWHERE
    sound_frames: int = 0
    is_hidden: bool = False
    volume: float = 1.0

    @property
    def place(self) -> Place:
        return Place(self.scene, self.name)


@dataclass
class Model:
    """The strips of all scenes, and the undo steps: each is the state at its end, before anything looks at it."""

    strips: list[ModelStrip] = field(default_factory=list)
    steps: list[list[ModelStrip]] = field(default_factory=list)
    at: int = -1

    def pictures(self) -> list[ModelStrip]:
        return [strip for strip in self.strips if not strip.role]

    def sounds(self) -> list[ModelStrip]:
        return [strip for strip in self.strips if strip.owner]

    def find(self, place: Place) -> ModelStrip:
        for strip in self.strips:
            if strip.place == place:
                return strip
        raise ChangedError

    # Edits by the user.

    def push(self) -> None:
        del self.steps[self.at + 1 :]
        self.steps.append(copy.deepcopy(self.strips))
        self.at += 1

    def go(self, steps: int) -> None:
        self.at = min(max(self.at + steps, 0), len(self.steps) - 1)
        self.strips = copy.deepcopy(self.steps[self.at])

    def copy_strip(self, strip: ModelStrip, scene: str, moved_frames: int) -> ModelStrip:
        copied = copy.deepcopy(strip)
        copied.scene = scene
        copied.position = strip.position.moved(moved_frames)
        copied.name = self.free_name(scene, strip.name)
        self.strips.append(copied)
        return copied

    def free_name(self, scene: str, name: str) -> str:
        taken = {strip.name for strip in self.strips if strip.scene == scene}
        base = name.split(".")[0]
        names = (name, *(f"{base}.{number:03}" for number in range(1, 1000)))
        return next(candidate for candidate in names if candidate not in taken)

    def split(self, strip: ModelStrip, frame: int) -> None:
        position = strip.position
        if position.start_frame < frame < position.end_frame:
            right = self.copy_strip(strip, strip.scene, 0)
            right.position = replace(position, start_frame=frame)
            strip.position = replace(position, end_frame=frame)

    # Changes by a scan.

    def read(self) -> Generator[None, None, tuple[list[Picture], list[Sound]]]:
        yield
        pictures = [self._picture(strip) for strip in self.pictures() if strip.uid]
        return pictures, [self._sound(strip) for strip in self.sounds()]

    def _picture(self, strip: ModelStrip) -> Picture:
        take = strip.takes[strip.active].id if strip.active >= 0 else ""
        return Picture(strip.place, strip.uid, *strip.known, strip.position, strip.position, take)

    def _sound(self, strip: ModelStrip) -> Sound:
        return Sound(
            strip.place,
            strip.owner,
            strip.role,
            strip.take,
            strip.position,
            strip.old_position,
            strip.old_picture,
            strip.sound_frames,
            strip.is_hidden,
        )

    def check(self, item: Picture | Sound) -> None:
        strip = self.find(item.place)
        if item != (self._picture(strip) if isinstance(item, Picture) else self._sound(strip)):
            raise ChangedError

    def set_uid(self, picture: Picture) -> None:
        strip = self.find(picture.place)
        strip.uid, strip.known = picture.uid, (picture.known_scene, picture.known_name)

    def give(self, sound: Sound, picture: Picture) -> None:
        self.find(sound.place).owner = picture.uid

    def move(self, sound: Sound, place: SoundPosition) -> None:
        strip = self.find(sound.place)
        strip.position, strip.is_hidden = place.position, place.is_hidden

    def settle(self, sound: Sound, picture: Picture) -> None:
        strip = self.find(sound.place)
        strip.old_position, strip.old_picture = strip.position, self.find(picture.place).position

    def free(self, sound: Sound) -> None:
        self.find(sound.place).owner = ""

    def remove(self, sound: Sound) -> None:
        self.strips.remove(self.find(sound.place))

    def take_roles(self, picture: Picture) -> tuple[str, ...]:
        strip = self.find(picture.place)
        return tuple(role for role in strip.takes[strip.active].roles if role not in strip.removed)

    def copy_sound(self, picture: Picture, role: str, template: Sound | None, place: SoundPosition | None) -> None:
        strip = self.find(picture.place)
        take = strip.takes[strip.active]
        place = place or place_sound(strip.position, take.lead_in_frames, take.frames)
        name = self.free_name(strip.scene, f"{strip.name} {role}")
        sound = ModelStrip(strip.scene, name, take.id, place.position, owner=strip.uid, role=role, take=take.id)
        sound.sound_frames, sound.is_hidden = take.frames, place.is_hidden
        sound.old_position, sound.old_picture = sound.position, strip.position
        if template is not None:
            sound.volume = self.find(template.place).volume
        self.strips.append(sound)

    def show_take(self, picture: Picture) -> bool:
        strip = self.find(picture.place)
        self.strips = [sound for sound in self.strips if sound.owner != strip.uid]
        for role in self.take_roles(picture):
            self.copy_sound(picture, role, None, None)
        return True

    def remember_removal(self, picture: Picture, role: str) -> None:
        self.find(picture.place).removed.add(role)

    def find_channel(self, sound: Sound) -> None:
        self.find(sound.place)

    def connect(self, picture: Picture) -> None:
        self.find(picture.place)
