# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the timeline of a scene from what was read from a file, one strip per slice.

If anything fails, or the user cancels, everything that was built is removed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import Problem
from ..timeline.exchange_values import as_mapping
from ..timeline.exchanged import (
    SOUND_KIND,
    Curve,
    ExchangedChannel,
    ExchangedScene,
    ExchangedStrip,
    ExchangeNote,
    all_strips,
)
from ..timeline.fades import VOLUME_PATH, Level, fade_curve
from ..timeline.placement import MAX_CHANNEL
from . import compat, links
from .exchange_reading import CURVE_FLAGS, ORIGINAL_PROPERTY, read_original_scene
from .media_files import identify_file, movie_rate
from .placement import choose_take
from .sound_properties import write_metadata
from .stem_strips import PROVENANCE_PROPERTY, PlacementError, set_role_removed, stems_of
from .strip_properties import write_group, write_properties
from .strip_reading import scene_rate
from .take_list import restore_takes, stored_path

_HANDLE_TYPES = frozenset({"FREE", "VECTOR", "ALIGNED", "AUTO", "AUTO_CLAMPED"})
_PLACEHOLDER_KIND = "COLOR"


class BuildError(Exception):
    """The timeline cannot be built."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.what = problem.what
        self.remedy = problem.remedy


@dataclass
class Target:
    """Where a timeline is built.

    scene_name: the scene. is_new: whether it was created for the import. first_channel: how many channels are already
    in use below the imported ones. previous: what the frame rate and size of the scene were.
    """

    scene_name: str
    is_new: bool
    first_channel: int = 0
    previous: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Built:
    """What has been built: the names of strips by their names in the file, and what to restore on failure."""

    names: dict[str, str] = field(default_factory=dict)
    stems: list[str] = field(default_factory=list)
    channels: dict[int, tuple[str, bool, bool]] = field(default_factory=dict)
    sounds: set[str] = field(default_factory=set)


def prepare_target(read: ExchangedScene, *, into_new: bool, current: Any) -> Target:
    """Return the scene to build in. A new or empty scene gets the frame rate and size of the timeline."""
    if not into_new:
        editor = current.sequence_editor or current.sequence_editor_create()
        strips = compat.strips_of(editor)
        if len(strips):
            return Target(current.name, False, max(strip.channel for strip in strips))
        previous = {name: getattr(owner, name) for owner, name in _scene_settings(current)}
        _set_up_scene(current, read)
        return Target(current.name, False, previous=previous)
    scene = bpy.data.scenes.new(read.name or "Timeline")
    scene.sequence_editor_create()
    _set_up_scene(scene, read)
    return Target(scene.name, True)


def build_scene(read: ExchangedScene, target: Target) -> Generator[None, None, tuple[ExchangeNote, ...]]:
    """Build the strips, channels and markers. Returns notes on what could not be built as it is. Raises BuildError."""
    builder = _Builder(read, target)
    links.hold()
    try:
        yield from builder.run()
    except GeneratorExit:
        builder.undo()
        raise
    except BuildError:
        builder.undo()
        raise
    except Exception as error:
        builder.undo()
        what = f'The timeline "{read.name}" cannot be built ({type(error).__name__}: {error}).'
        raise BuildError(Problem(what, "Nothing was imported. Report this error and attach the file.")) from error
    finally:
        links.release()
    return tuple(builder.notes)


def _scene_settings(scene: Any) -> list[tuple[Any, str]]:
    """Return the settings that a timeline determines, with their owners, in an order in which they can be restored."""
    names = ("fps", "fps_base", "resolution_x", "resolution_y", "resolution_percentage")
    return [*((scene.render, name) for name in names), (scene, "frame_end"), (scene, "frame_start")]


def _set_up_scene(scene: Any, read: ExchangedScene) -> None:
    base = 1.001 if read.rate.denominator == 1001 else 1.0
    scene.render.fps = max(1, round(read.rate * Fraction(base).limit_denominator(1000)))
    scene.render.fps_base = base
    if scene_rate(scene) != read.rate:
        scene.render.fps_base = scene.render.fps / float(read.rate)
    for name in ("resolution_x", "resolution_y", "resolution_percentage"):
        value = read.properties.get(name)
        if isinstance(value, int) and value > 0:
            setattr(scene.render, name, value)
    scene.frame_end = max(read.end_frame, read.start_frame, 0)
    scene.frame_start = max(read.start_frame, 0)
    scene.frame_end = max(read.end_frame, read.start_frame, 0)


class _Builder:
    def __init__(self, read: ExchangedScene, target: Target) -> None:
        self._read = read
        self._target = target
        self._built = _Built()
        self._uids: dict[str, str] = {}
        self.notes: list[ExchangeNote] = []

    @property
    def _scene(self) -> Any:
        scene = bpy.data.scenes.get(self._target.scene_name)
        if scene is None or scene.sequence_editor is None:
            what = f'The scene "{self._target.scene_name}" was removed while the timeline was being imported.'
            raise BuildError(Problem(what, "Import the timeline again."))
        return scene

    def run(self) -> Generator[None, None, None]:
        read = self._read
        self._renew_uids()
        yield from self._build_strips(read.strips, "")
        self._name_channels(self._scene.sequence_editor, read.channels, self._target.first_channel)
        for strip in all_strips(read.strips):
            yield
            if (found := self._find(strip.name)) is not None:
                self._finish_strip(found, strip)
        # Sounds are linked last, while no scan can begin: it would see only some of them.
        pictures = {strip.uid: strip.name for strip in all_strips(read.strips) if strip.uid and not strip.stem}
        for strip in all_strips(read.strips):
            yield
            found, picture = self._find(strip.name), self._find(pictures.get(str(strip.stem.get("owner", "")), ""))
            if found is not None and picture is not None:
                links.accept_position(self._scene, picture, found)
        for strip in all_strips(read.strips):
            yield
            self._show_active_take(strip)
        self._add_markers()
        self._store_original()

    def undo(self) -> None:
        """Remove everything that was built."""
        scene = bpy.data.scenes.get(self._target.scene_name)
        if scene is None:
            return
        if self._target.is_new:
            bpy.data.scenes.remove(scene)
        else:
            self._undo_in(scene)
        for name in self._built.sounds:
            sound = bpy.data.sounds.get(name)
            if sound is not None and not sound.users:
                bpy.data.sounds.remove(sound)

    def _undo_in(self, scene: Any) -> None:
        if scene.sequence_editor is not None:
            for name in [*self._built.stems, *reversed(self._built.names.values())]:
                strip = compat.all_strips_of(scene.sequence_editor).get(name)
                if strip is not None:
                    compat.strips_of(compat.holder_of(scene.sequence_editor, strip)).remove(strip)
            for number, (name, mute, lock) in reversed(self._built.channels.items()):
                channel = scene.sequence_editor.channels[number]
                channel.name, channel.mute, channel.lock = name, mute, lock
        for owner, name in _scene_settings(scene) if self._target.previous else ():
            setattr(owner, name, self._target.previous[name])

    def _note(self, what: str, remedy: str) -> None:
        self.notes.append(ExchangeNote(what, remedy))

    def _find(self, name: str) -> Any:
        built = self._built.names.get(name)
        return None if built is None else compat.all_strips_of(self._scene.sequence_editor).get(built)

    def _renew_uids(self) -> None:
        """Choose new identifiers for strips whose identifiers are already in the file."""
        taken = {
            strip.rewas.uid
            for scene in bpy.data.scenes
            if scene.sequence_editor is not None
            for strip in compat.all_strips_of(scene.sequence_editor)
        }
        for strip in all_strips(self._read.strips):
            if strip.uid and not strip.stem and strip.uid not in self._uids:
                self._uids[strip.uid] = uuid.uuid4().hex if strip.uid in taken else strip.uid

    # Strips

    def _build_strips(self, strips: Iterable[ExchangedStrip], holder: str) -> Generator[None, None, None]:
        """Build the strips of the timeline or of a meta strip: effects last, after the strips that they use."""
        waiting = list(strips)
        while waiting:
            ready = [strip for strip in waiting if all(name in self._built.names for name in strip.inputs)]
            if not ready:
                for strip in waiting:
                    self._note(
                        f'The effect "{strip.name}" uses strips that are not in the file.',
                        "Add the effect again in Blender.",
                    )
                return
            for strip in ready:
                yield
                self._build_strip(strip, holder)
                if strip.strips:
                    yield from self._build_strips(strip.strips, strip.name)
                    self._place_meta(strip)
            done = {strip.name for strip in ready}
            waiting = [strip for strip in waiting if strip.name not in done]

    def _build_strip(self, strip: ExchangedStrip, holder_name: str) -> None:
        scene = self._scene
        holder = self._find(holder_name) if holder_name else scene.sequence_editor
        strips = compat.strips_of(holder)
        built = self._create(scene, strips, strip)
        if built is None:
            return
        self._built.names[strip.name] = built.name
        built.name = strip.name
        self._built.names[strip.name] = built.name
        built.select = False
        if not strip.is_complete and strip.kind == SOUND_KIND:
            compat.show_waveform(built)
        if strip.kind != "META":
            self._place(built, strip, 0 if holder_name else self._target.first_channel)

    def _create(self, scene: Any, strips: Any, strip: ExchangedStrip) -> Any:
        """Create a strip on a channel where nothing is in its way. Returns None if this Blender cannot."""
        channel = _free_channel(strips)
        start_frame = strip.content_start_frame
        path = stored_path(Path(strip.files[0])) if strip.files and strip.files[0] else ""
        fit = {} if strip.is_complete else {"fit_method": "FIT"}
        try:
            match strip.kind:
                case "MOVIE":
                    return strips.new_movie(strip.name, path, channel, start_frame, **fit)
                case "SOUND":
                    return self._create_sound(strips, strip, path, channel)
                case "IMAGE":
                    return _create_image(strips, strip, path, channel, fit)
                case "META":
                    return strips.new_meta(strip.name, channel, start_frame)
                case "SCENE" | "MASK" | "MOVIECLIP":
                    return self._create_from_datablock(scene, strips, strip, channel)
            inputs = [self._find(name) for name in strip.inputs]
            return compat.new_effect(
                strips, strip.name, strip.kind, channel, strip.start_frame, strip.end_frame, inputs
            )
        except (TypeError, RuntimeError, ValueError) as error:
            reason = str(error).strip().removeprefix("Error: ").splitlines()[0].rstrip(".") if str(error) else "error"
            self._note(
                f'Blender {bpy.app.version_string} cannot add the strip "{strip.name}" ({reason}).',
                "Add the strip yourself, or import the file in another version of Blender.",
            )
            return None

    def _create_sound(self, strips: Any, strip: ExchangedStrip, path: str, channel: int) -> Any:
        built, is_new = create_sound(strips, strip.name, path, channel, strip.content_start_frame)
        if is_new:
            self._built.sounds.add(built.sound.name)
        return built

    def _create_from_datablock(self, scene: Any, strips: Any, strip: ExchangedStrip, channel: int) -> Any:
        start_frame = strip.content_start_frame
        if strip.kind == "MOVIECLIP":
            if strip.files and Path(strip.files[0]).is_file():
                clip = bpy.data.movieclips.load(strip.files[0], check_existing=True)
                return strips.new_clip(strip.name, clip, channel, start_frame)
        elif strip.kind == "MASK":
            mask = bpy.data.masks.get(strip.datablock)
            if mask is not None:
                return strips.new_mask(strip.name, mask, channel, start_frame)
        else:
            shown = bpy.data.scenes.get(strip.datablock)
            if shown is not None and shown != scene:
                return strips.new_scene(strip.name, shown, channel, start_frame)
        kind = {"MOVIECLIP": "movie clip", "MASK": "mask", "SCENE": "scene"}[strip.kind]
        self._note(
            f'The strip "{strip.name}" shows the {kind} "{strip.datablock or Path((strip.files or ("",))[0]).name}", '
            "which is not in this .blend file.",
            f"Append the {kind} and import again. Until then, the strip is black.",
        )
        return compat.new_effect(strips, strip.name, _PLACEHOLDER_KIND, channel, strip.start_frame, strip.end_frame, ())

    def _place(self, built: Any, strip: ExchangedStrip, first_channel: int) -> None:
        """Trim and move a strip. It goes to its channel last, so that nothing is in its way before."""
        head_frames, tail_frames = strip.trimmed_frames
        start_frame = strip.content_start_frame
        if strip.is_frozen:
            frames = compat.content_end(built) - compat.content_start(built)
            head_frames = min(max(strip.lead_in_frames, 0), max(frames - 1, 0))
            tail_frames, start_frame = max(frames - head_frames - 1, 0), strip.start_frame
        if head_frames or tail_frames:
            compat.trim_media(built, head_frames, tail_frames)
        if not strip.inputs:
            if strip.sound_offset_s:
                start_frame += self._offset_sound(built, strip.sound_offset_s)
            if compat.content_start(built) != start_frame:
                compat.set_content_start(built, start_frame)
            compat.set_handles(built, strip.start_frame, strip.end_frame)
        if strip.kind == "MOVIE":
            self._check_rate(built, strip)
        _move_to_channel(built, strip.channel + first_channel)
        if built.channel != strip.channel + first_channel:
            self._note(
                f'The strip "{strip.name}" overlaps another one on channel {strip.channel}.',
                f"It was moved to channel {built.channel}.",
            )

    def _check_rate(self, built: Any, strip: ExchangedStrip) -> None:
        """Note a movie whose playback rate must be adjusted, because an add-on cannot do that."""
        file = identify_file(strip.files[0])
        if file is None or strip.properties.get("retiming"):
            return
        if strip.is_complete:
            is_wrong = strip.content_frames not in (0, compat.content_end(built) - compat.content_start(built))
        else:
            is_wrong = movie_rate(built, file) not in (None, scene_rate(self._scene))
        if is_wrong:
            self._note(
                f'The movie of the strip "{strip.name}" and the scene have different frame rates, so it plays frame by '
                "frame.",
                "Add the movie again with Adjust Playback Rate, or give the scene the frame rate of the movie.",
            )

    def _offset_sound(self, built: Any, offset_s: Fraction) -> int:
        """Let a sound begin a fraction of a frame later. Returns the frames by which it must move instead."""
        if hasattr(built, "sound_offset"):
            built.sound_offset = float(offset_s)
            return 0
        return round(offset_s * scene_rate(self._scene))

    def _place_meta(self, strip: ExchangedStrip) -> None:
        built = self._find(strip.name)
        if built is None:
            return
        is_inside = built.parent_meta() is not None
        compat.set_handles(built, strip.start_frame, strip.end_frame)
        _move_to_channel(built, strip.channel + (0 if is_inside else self._target.first_channel))
        self._name_channels(built, strip.channels, 0)

    # Everything else about a strip

    def _finish_strip(self, built: Any, strip: ExchangedStrip) -> None:
        built.mute = strip.is_muted
        lock = bool(strip.properties.get("lock"))
        write_properties(built, strip.properties, is_complete=strip.is_complete)
        built.lock = lock
        for name, value in as_mapping(strip.properties.get("custom")).items():
            built[name] = value
        for name, kind, properties in strip.modifiers:
            self._add_modifier(built, strip, name, kind, properties)
        if strip.original is not None:
            built[ORIGINAL_PROPERTY] = json.dumps(asdict(strip.original))
        elif ORIGINAL_PROPERTY in built:
            del built[ORIGINAL_PROPERTY]
        self._finish_sound(built, strip)
        for curve in strip.curves:
            self._add_curve(built, strip, curve)
        if len(strip.properties.get("retiming", ())):
            self._note(
                f'The strip "{strip.name}" has retiming keys, which an add-on cannot create.',
                "It plays at normal speed. Retime the strip again.",
            )

    def _finish_sound(self, built: Any, strip: ExchangedStrip) -> None:
        """Restore what the add-on knows of a strip: settings, takes and the link of a stem."""
        if strip.rewas:
            write_group(built.rewas, self._own_values(built, strip))
        elif strip.settings and not strip.stem and strip.kind != SOUND_KIND:
            write_metadata(built, strip.settings)
        prompt = strip.settings.get("prompt")
        if strip.kind != SOUND_KIND and isinstance(prompt, str) and prompt != built.rewas.prompt.strip():
            built.rewas.prompt = prompt
        if strip.kind == SOUND_KIND and strip.settings:
            built[PROVENANCE_PROPERTY] = {
                name: str(value) if name == "seed" else value
                for name, value in strip.settings.items()
                if isinstance(value, bool | int | float | str)
            }
        if strip.stored_takes:
            restore_takes(built, strip.stored_takes, strip.last_take_number, strip.active_take)
            if not built.rewas.uid:
                built.rewas.uid = uuid.uuid4().hex
                built.rewas.uid_scene, built.rewas.uid_name = self._scene.name, built.name

    def _own_values(self, built: Any, strip: ExchangedStrip) -> Mapping[str, Any]:
        """Return the add-on's properties with identifiers that are valid in this file."""
        values = dict(strip.rewas)
        if strip.stem:
            owner = str(strip.stem["owner"])
            values["stem"] = {**strip.stem, "owner": self._uids.get(owner, ""), "is_connected": False}
            if owner not in self._uids:
                del values["stem"]
        if values.get("uid"):
            values["uid"] = self._uids.get(str(values["uid"]), str(values["uid"]))
            values |= {"uid_scene": self._scene.name, "uid_name": built.name}
        return values

    def _add_modifier(self, built: Any, strip: ExchangedStrip, name: str, kind: str, values: Mapping[str, Any]) -> None:
        try:
            modifier = compat.new_modifier(self._scene, built, name, kind)
        except (TypeError, RuntimeError, AttributeError):
            modifier = None
        if modifier is None:
            self._note(
                f'Blender {bpy.app.version_string} has no modifier of the type {kind} for the strip "{strip.name}".',
                "Open the timeline in a version of Blender that has it.",
            )
            return
        write_properties(modifier, values, is_complete=True)

    def _add_curve(self, built: Any, strip: ExchangedStrip, curve: Curve) -> None:
        try:
            built.path_resolve(curve.path)
            fcurve = compat.ensure_curve(self._scene, f"{built.path_from_id()}.{curve.path}", curve.index)
        except (ValueError, RuntimeError, TypeError):
            self._note(
                f'The strip "{strip.name}" has no property "{curve.path}" in this version of Blender.',
                "Its animation was left out.",
            )
            return
        _write_curve(fcurve, curve, strip.start_frame)

    def _show_active_take(self, strip: ExchangedStrip) -> None:
        """Put a take on the timeline that `rewas batch` has generated."""
        built = self._find(strip.name) if strip.has_new_takes else None
        if built is None:
            return
        scene = self._scene
        for role in next(take for take in strip.stored_takes if take.id == strip.active_take).roles:
            set_role_removed(built, role, is_removed=False)
        try:
            choose_take(scene, built, strip.active_take)
        except PlacementError as error:
            self._note(error.what, error.remedy)
        self._built.stems += [stem.name for stem in stems_of(scene, built.rewas.uid).values()]

    # The scene

    def _name_channels(self, holder: Any, channels: Iterable[ExchangedChannel], first_channel: int) -> None:
        """Name, mute and lock channels. In a scene with other strips, a channel that has a name stays as it is."""
        for channel in channels:
            number = channel.number + first_channel
            if number > MAX_CHANNEL:
                continue
            found = holder.channels[number]
            if first_channel and found.name != f"Channel {number}":
                continue
            if holder == self._scene.sequence_editor:
                self._built.channels.setdefault(number, (found.name, found.mute, found.lock))
            if not first_channel or channel.name != f"Channel {channel.number}":
                found.name = channel.name
            found.mute, found.lock = channel.is_muted, channel.is_locked

    def _add_markers(self) -> None:
        scene = self._scene
        for marker in self._read.markers:
            scene.timeline_markers.new(marker.name, frame=marker.frame)

    def _store_original(self) -> None:
        read, scene = self._read, self._scene
        markers = [
            {"name": marker.name, "frame": marker.frame, "owner": marker.owner, "original": dict(marker.original)}
            for marker in read.markers
            if marker.original or marker.owner
        ]
        if self._target.first_channel:
            # The scene has a timeline already; only markers have come from the file.
            if markers:
                stored = read_original_scene(scene)
                scene[ORIGINAL_PROPERTY] = json.dumps(
                    {
                        "timeline": dict(stored.timeline),
                        "markers": [*stored.markers, *markers],
                        "timecode_frame": stored.timecode_frame,
                    }
                )
        elif markers or read.original or read.timecode_frame:
            values = {"timeline": dict(read.original), "markers": markers, "timecode_frame": read.timecode_frame}
            scene[ORIGINAL_PROPERTY] = json.dumps(values)


def create_sound(strips: Any, name: str, path: str, channel: int, start_frame: int) -> tuple[Any, bool]:
    """Add a sound strip. Returns it, and whether Blender had to load its file.

    path: as Blender stores it; "" for an unknown file. Raises RuntimeError if Blender cannot load it.
    """
    known = {sound.filepath: sound.name for sound in bpy.data.sounds} if path else {}
    # Blender refuses a sound without a path; one that does not exist is silent.
    built = strips.new_sound(name, path or "//missing.wav", channel, start_frame)
    sound = built.sound
    if path in known and sound is not None and sound.name != known[path]:
        # Strips of one file share its sound, as they do when Blender splits a strip.
        built.sound = bpy.data.sounds[known[path]]
        bpy.data.sounds.remove(sound)
        return built, False
    return built, sound is not None


def set_level(scene: Any, strip: Any, level: Level) -> None:
    """Set the volume of a sound strip, and replace the keyframes of its volume with those of its fades."""
    path = f"{strip.path_from_id()}.{VOLUME_PATH}"
    old = compat.find_curve(scene, path)
    if old is not None:
        compat.remove_curve(scene, old)
    strip.volume = level.volume
    start_frame = compat.left_handle(strip)
    curve = fade_curve(level, compat.right_handle(strip) - start_frame)
    if curve is not None:
        _write_curve(compat.ensure_curve(scene, path), curve, start_frame)


def _write_curve(fcurve: Any, curve: Curve, start_frame: int) -> None:
    """Replace the keys and settings of an F-curve. start_frame: first frame of its strip."""
    points = fcurve.keyframe_points
    points.clear()
    points.add(len(curve.keys))
    for point, key in zip(points, curve.keys, strict=True):
        frame, value, interpolation, left_frame, left, right_frame, right, left_type, right_type = key
        point.co = frame + start_frame, value
        if interpolation in point.bl_rna.properties["interpolation"].enum_items:
            point.interpolation = interpolation
        point.handle_left_type = left_type if left_type in _HANDLE_TYPES else "AUTO"
        point.handle_right_type = right_type if right_type in _HANDLE_TYPES else "AUTO"
        point.handle_left = left_frame + start_frame, left
        point.handle_right = right_frame + start_frame, right
    if curve.extrapolation in ("CONSTANT", "LINEAR"):
        fcurve.extrapolation = curve.extrapolation
    for flag in CURVE_FLAGS:
        setattr(fcurve, flag, flag in curve.flags)
    fcurve.update()


def _create_image(strips: Any, strip: ExchangedStrip, path: str, channel: int, fit: dict[str, str]) -> Any:
    built = strips.new_image(strip.name, path, channel, strip.content_start_frame, **fit)
    for other in strip.files[1:]:
        built.elements.append(Path(other).name)
    return built


def _free_channel(strips: Any) -> int:
    """Return the highest channel without strips. If all have some, return the last, where others may be in the way."""
    used = {channel for channel, _, _ in compat.read_spans(strips)}
    return next((number for number in range(MAX_CHANNEL, 0, -1) if number not in used), MAX_CHANNEL)


def _move_to_channel(built: Any, channel: int) -> None:
    channel = min(channel, MAX_CHANNEL)
    if built.channel != channel:
        built.channel = channel
