"""Sound stays with the frames that it was generated for, whatever edits are made and in whatever order."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sequencer_model import Model, ModelStrip, ModelTake

from rewas_nle.timeline.follow import Position, place_sound
from rewas_nle.timeline.identity import Place
from rewas_nle.timeline.linking import Linker

FRAMES = st.integers(-60, 60)
SCENES = ("One", "Two")


class Editing(RuleBasedStateMachine):
    """Random edits. Each is followed by a scan, as in Blender, and after each scan everything must be correct."""

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        self.model = Model()
        self.linker = Linker(self.model)
        self.take_numbers = itertools.count(1)
        for number in range(count):
            start = 1 + number * 80
            strip = ModelStrip("One", self.model.free_name("One", "clip"), "media", Position(start, start, start + 100))
            strip.uid = f"{number:032}"
            strip.known = (strip.scene, strip.name)
            strip.takes = [ModelTake(f"take {next(self.take_numbers)}", 0, 100, ("primary", "ambience"))]
            self.model.strips.append(strip)
        self.scan()
        for strip in self.model.pictures():
            strip.active = 0
        self.scan()
        self.uids: list[dict[Place, str]] = []
        self.edited()

    def scan(self) -> None:
        for _ in self.linker.scan():
            pass

    def edited(self) -> None:
        self.model.push()
        self.scan()
        self.remember()

    def remember(self) -> None:
        del self.uids[self.model.at :]
        self.uids.append(self.uids_now())

    def uids_now(self) -> dict[Place, str]:
        return {picture.place: picture.uid for picture in self.model.pictures()}

    def choose(self, number: int) -> ModelStrip | None:
        pictures = self.model.pictures()
        return pictures[number % len(pictures)] if pictures else None

    def sounds_of(self, picture: ModelStrip) -> list[ModelStrip]:
        return [sound for sound in self.model.sounds() if picture.uid and sound.owner == picture.uid]

    def selection(self, picture: ModelStrip, with_sound: bool) -> list[ModelStrip]:
        return [picture, *(self.sounds_of(picture) if with_sound else [])]

    @rule(number=st.integers(0, 9), roles=st.sampled_from([("primary",), ("primary", "ambience")]))
    def generate(self, number: int, roles: tuple[str, ...]) -> None:
        picture = self.choose(number)
        if picture is not None:
            position = picture.position
            take = ModelTake(f"take {next(self.take_numbers)}", position.lead_in_frames, position.frames, roles)
            picture.takes.append(take)
            picture.active = len(picture.takes) - 1
            picture.removed.clear()
            picture.deleted.clear()
            self.scan()
            self.model.push()
            self.remember()

    @rule(number=st.integers(0, 9), take=st.integers(0, 9))
    def choose_take(self, number: int, take: int) -> None:
        picture = self.choose(number)
        if picture is not None and picture.takes:
            picture.active = take % len(picture.takes)
            self.edited()

    @rule(number=st.integers(0, 9), frame=st.integers(1, 99), with_sound=st.booleans())
    def split(self, number: int, frame: int, with_sound: bool) -> None:
        picture = self.choose(number)
        if picture is not None:
            at = picture.position.start_frame + frame
            for strip in self.selection(picture, with_sound):
                self.model.split(strip, at)
            self.edited()

    @rule(number=st.integers(0, 9), moved=FRAMES, with_sound=st.booleans(), scene=st.sampled_from(SCENES))
    def duplicate(self, number: int, moved: int, with_sound: bool, scene: str) -> None:
        picture = self.choose(number)
        if picture is not None and len(self.model.pictures()) < 12:
            for strip in self.selection(picture, with_sound):
                self.model.copy_strip(strip, scene, moved)
            self.edited()

    @rule(number=st.integers(0, 9), moved=FRAMES)
    def duplicate_and_move_the_original(self, number: int, moved: int) -> None:
        picture = self.choose(number)
        if picture is not None and len(self.model.pictures()) < 12:
            self.model.copy_strip(picture, picture.scene, 0)
            picture.position = picture.position.moved(moved)
            self.edited()

    @rule(number=st.integers(0, 9), moved=FRAMES, with_sound=st.booleans())
    def move(self, number: int, moved: int, with_sound: bool) -> None:
        picture = self.choose(number)
        if picture is not None:
            for strip in self.selection(picture, with_sound):
                strip.position = strip.position.moved(moved)
            self.edited()

    @rule(number=st.integers(0, 9), head=FRAMES, tail=FRAMES)
    def trim(self, number: int, head: int, tail: int) -> None:
        picture = self.choose(number)
        if picture is not None:
            position = picture.position
            start = max(position.content_start_frame, position.start_frame + head)
            end = max(start + 1, min(position.content_start_frame + 100, position.end_frame + tail))
            picture.position = replace(position, start_frame=min(start, end - 1), end_frame=end)
            self.edited()

    @rule(number=st.integers(0, 9), slipped=FRAMES, with_sound=st.booleans())
    def slip(self, number: int, slipped: int, with_sound: bool) -> None:
        picture = self.choose(number)
        if picture is not None:
            for strip in self.selection(picture, with_sound):
                start = strip.position.content_start_frame + slipped
                strip.position = replace(strip.position, content_start_frame=start)
            self.edited()

    @rule(number=st.integers(0, 9))
    def rename(self, number: int) -> None:
        picture = self.choose(number)
        if picture is not None:
            picture.name = self.model.free_name(picture.scene, f"renamed{number}")
            self.edited()

    @rule(number=st.integers(0, 9), with_sound=st.booleans())
    def delete(self, number: int, with_sound: bool) -> None:
        picture = self.choose(number)
        if picture is not None:
            for strip in self.selection(picture, with_sound):
                self.model.strips.remove(strip)
            self.edited()

    @rule(number=st.integers(0, 9))
    def delete_sound(self, number: int) -> None:
        picture = self.choose(number)
        for sound in self.sounds_of(picture)[:1] if picture is not None else []:
            self.model.strips.remove(sound)
            picture.deleted.add(sound.role)
            self.edited()

    @rule(number=st.integers(0, 9))
    def duplicate_sound(self, number: int) -> None:
        picture = self.choose(number)
        for sound in self.sounds_of(picture)[:1] if picture is not None else []:
            copied = self.model.copy_strip(sound, sound.scene, 7)
            self.edited()
            assert copied.owner == ""

    @rule()
    def undo(self) -> None:
        self.model.go(-1)
        self.linker.look_again()
        self.scan()
        assert self.uids_now() == self.uids[self.model.at]

    @rule()
    def redo(self) -> None:
        self.model.go(1)
        self.linker.look_again()
        self.scan()
        assert self.uids_now() == self.uids[self.model.at]

    @invariant()
    def every_picture_has_its_own_identifier(self) -> None:
        uids = [picture.uid for picture in self.model.pictures()]
        assert len(set(uids)) == len(uids)

    @invariant()
    def every_picture_has_the_sound_of_its_frames(self) -> None:
        for picture in self.model.pictures():
            take = picture.takes[picture.active] if picture.active >= 0 else None
            roles = set(take.roles) - picture.deleted if take is not None else set()
            sounds = {sound.role: sound for sound in self.sounds_of(picture)}
            assert len(sounds) == len(self.sounds_of(picture))
            assert set(sounds) == roles
            for sound in sounds.values():
                assert (sound.scene, sound.content) == (picture.scene, take.id)
                expected = place_sound(picture.position, take.lead_in_frames, take.frames)
                assert sound.position == expected.position
                assert sound.is_hidden == expected.is_hidden

    @invariant()
    def every_linked_sound_has_a_picture(self) -> None:
        uids = {picture.uid for picture in self.model.pictures()}
        assert all(sound.owner in uids for sound in self.model.sounds())

    @invariant()
    def another_scan_changes_nothing(self) -> None:
        before = [replace(strip) for strip in self.model.strips]
        self.scan()
        assert self.model.strips == before


TestEditing = Editing.TestCase
TestEditing.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
