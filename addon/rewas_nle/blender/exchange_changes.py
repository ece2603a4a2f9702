# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the changes of another program to the sounds of a scene, one strip per slice."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import Problem
from ..timeline.exchanged import ExchangeNote
from ..timeline.fades import Level
from ..timeline.follow import Position
from ..timeline.placement import NoFreeChannelError, Span
from ..timeline.sound_changes import AddedSound, SoundChange, SoundChanges, as_settings
from . import compat, links
from .exchange_building import BuildError, create_sound, set_level
from .placement import choose_take
from .stem_strips import PROVENANCE_PROPERTY, PlacementError, choose_channel, find_free_channel, picture_of
from .strip_reading import scene_rate
from .take_list import stored_path

_NEW_CHANNEL = "sound"
"""Name of the channel for new sounds whose track has no name."""


@dataclass(frozen=True)
class Applied:
    """The result. details: a sentence for each change. notes: what could not be applied."""

    details: tuple[str, ...]
    notes: tuple[ExchangeNote, ...]


def apply_changes(changes: SoundChanges, scene_name: str, *, removes: bool) -> Generator[None, None, Applied]:
    """Change the sounds of a scene.

    removes: whether to remove the strips that the file no longer contains. Raises BuildError if the scene was removed.
    """
    applier = _Applier(scene_name)
    links.hold()
    try:
        yield from applier.run(changes, removes=removes)
    finally:
        links.release()
    return Applied(tuple(applier.details), (*changes.notes, *applier.notes))


class _Applier:
    def __init__(self, scene_name: str) -> None:
        self._scene_name = scene_name
        self.details: list[str] = []
        self.notes: list[ExchangeNote] = []

    @property
    def _scene(self) -> Any:
        scene = bpy.data.scenes.get(self._scene_name)
        if scene is None or scene.sequence_editor is None:
            what = f'The scene "{self._scene_name}" was removed while changes were being imported.'
            raise BuildError(Problem(what, "Undo, and import the changes again."))
        return scene

    def run(self, changes: SoundChanges, *, removes: bool) -> Generator[None, None, None]:
        refused = yield from self._find_locked(changes, removes=removes)
        allowed = [change for change in changes.changed if change.name not in refused]
        yield from self._choose_takes(allowed)
        channels: dict[str, int] = {}
        for change in allowed:
            yield
            strip = self._find(change.name)
            if strip is not None and change.position is not None:
                channels[change.name] = strip.channel
                self._move(strip, change, change.position)
        # If a strip moved to a place that was still occupied, Blender has put it on another channel.
        for name, channel in channels.items():
            yield
            strip = self._find(name)
            if strip is not None:
                find_free_channel(compat.holder_of(self._scene.sequence_editor, strip), strip, channel)
        for change in allowed:
            yield
            strip = self._find(change.name)
            if strip is None:
                continue
            self._accept(strip)
            self._set(strip, change)
            self.details.append(str(change))
        for added in changes.added:
            yield
            self._add(added)
        yield from self._remove([name for name in changes.missing if name not in refused], removes=removes)

    def _find(self, name: str) -> Any:
        return compat.all_strips_of(self._scene.sequence_editor).get(name)

    def _find_locked(self, changes: SoundChanges, *, removes: bool) -> Generator[None, None, set[str]]:
        """Return the names of the strips that must not be changed, because they or their channels are locked."""
        refused: set[str] = set()
        for name in (*(change.name for change in changes.changed), *(changes.missing if removes else ())):
            yield
            strip = self._find(name)
            if strip is None:
                refused.add(name)
                continue
            holder = compat.holder_of(self._scene.sequence_editor, strip)
            channel = holder.channels[strip.channel]
            # Blender also calls a strip locked if only its channel is.
            if channel.lock:
                refused.add(name)
                what = f'The channel "{channel.name}" of the strip "{name}" is locked, so the strip was not changed.'
                self._note(what, "Unlock the channel, and import again.")
            elif strip.lock:
                refused.add(name)
                self._note(f'The strip "{name}" is locked, so it was not changed.', "Unlock it, and import again.")
        return refused

    def _choose_takes(self, changes: Iterable[SoundChange]) -> Generator[None, None, None]:
        """Put other takes on the timeline. All sounds of a strip are of one take."""
        chosen: dict[str, str] = {}
        for change in changes:
            yield
            if not change.take or chosen.setdefault(change.owner, change.take) != change.take:
                continue
            strip = self._find(change.name)
            picture = picture_of(self._scene, strip) if strip is not None else None
            if picture is None:
                continue
            try:
                choose_take(self._scene, picture, change.take)
            except PlacementError as error:
                self._note(error.what, error.remedy)
            except KeyError:
                self._note(f'A take of the strip "{picture.name}" has been deleted.', "Choose another take.")

    def _move(self, strip: Any, change: SoundChange, position: Position) -> None:
        content_start = position.content_start_frame
        if change.offset_s:
            if hasattr(strip, "sound_offset"):
                strip.sound_offset += float(change.offset_s)
            else:
                # Up to 4.4, a sound begins at a whole frame.
                content_start += round(change.offset_s * scene_rate(self._scene))
        if compat.content_start(strip) != content_start:
            compat.set_content_start(strip, content_start)
        compat.set_handles(strip, position.start_frame, position.end_frame)

    def _accept(self, strip: Any) -> None:
        picture = picture_of(self._scene, strip)
        if picture is not None and picture != strip:
            links.accept_position(self._scene, picture, strip)

    def _set(self, strip: Any, change: SoundChange) -> None:
        if change.is_muted is not None:
            strip.mute = change.is_muted
            holder = compat.holder_of(self._scene.sequence_editor, strip)
            if not change.is_muted and holder.channels[strip.channel].mute:
                self._note(
                    f'The sound "{strip.name}" is no longer muted, but its channel is.',
                    f'Unmute the channel "{holder.channels[strip.channel].name}".',
                )
        if change.volume is not None and change.fades is not None:
            set_level(self._scene, strip, Level(change.volume, change.fades))
        if change.pan is not None:
            strip.pan = change.pan
        if change.new_name:
            strip.name = change.new_name

    def _add(self, added: AddedSound) -> None:
        scene, position, found = self._scene, added.position, added.found
        editor = scene.sequence_editor
        strips = compat.strips_of(editor)
        spans = [Span(*values) for values in compat.read_spans(strips)]
        name = found.name or Path(found.path).name
        try:
            channel = choose_channel(editor, found.track_name or _NEW_CHANNEL, position, spans)
            strip, _ = create_sound(strips, name, stored_path(Path(found.path)), channel, position.content_start_frame)
        except NoFreeChannelError:
            self._note(f'No channel is free for the new sound "{name}".', "Free or unlock a channel, and import again.")
            return
        except RuntimeError as error:
            reason = str(error).strip().removeprefix("Error: ").splitlines()[0].rstrip(".")
            self._note(f'Blender cannot load the new sound "{name}" ({reason}).', f"Check the file {found.path}.")
            return
        strip.select = False
        compat.show_waveform(strip)
        if added.offset_s and hasattr(strip, "sound_offset"):
            strip.sound_offset = float(added.offset_s)
        compat.set_handles(strip, position.start_frame, position.end_frame)
        if strip.channel != channel:
            # Before it was trimmed, it may have overlapped another strip.
            strip.channel = channel
        strip.mute = found.is_muted
        set_level(scene, strip, added.level)
        if found.mix.pan is not None:
            strip.pan = found.mix.pan
        if found.is_generated:
            strip[PROVENANCE_PROPERTY] = as_settings(found)
        channel_name = editor.channels[strip.channel].name
        self.details.append(f'The sound "{strip.name}" is new, on the channel "{channel_name}".')

    def _remove(self, missing: list[str], *, removes: bool) -> Generator[None, None, None]:
        if missing and not removes:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            self._note(
                f'The file no longer contains the sound "{missing[0]}"{others}.',
                "Delete the strip, or import again with Remove Missing Sounds turned on.",
            )
            return
        for name in missing:
            yield
            strip = self._find(name)
            if strip is not None:
                compat.strips_of(compat.holder_of(self._scene.sequence_editor, strip)).remove(strip)
                self.details.append(f'The sound "{name}" was removed.')

    def _note(self, what: str, remedy: str) -> None:
        self.notes.append(ExchangeNote(what, remedy))
