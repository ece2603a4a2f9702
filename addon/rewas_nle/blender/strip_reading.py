# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads strips as snapshots."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import bpy

from ..core.proxies import locate_proxy, proxy_folder
from ..core.slices import run_all
from ..timeline.framing import Framing
from ..timeline.rates import exact_rate
from ..timeline.selection import PICTURE_KINDS, proxy_reason
from ..timeline.strips import StripSnapshot
from . import compat
from .media_files import identify_file, is_length_known, is_rate_known, movie_length, movie_rate
from .picture_keys import describe_picture

_TIME_OR_FRAMING_EFFECTS = frozenset({"SPEED", "TRANSFORM"})
"""Types of single-input effects that show a strip's frames at other times or places."""
_STRIPS_IN_A_SLICE = 100
_FRAMING_PROPERTIES = ("transform.", "crop.")


@dataclass(frozen=True)
class Surroundings:
    """Facts about the other strips of a scene, needed to read each strip.

    Attributes:
        effects: Names of the unmuted effects of one strip, by the name of that strip.
        moving: Names of the strips whose place in the frame is animated.
        owners: Name of each strip that has an identifier, by that identifier.
        movies: Names of the movie strips that show each file, by its path.
    """

    effects: dict[str, list[str]] = field(default_factory=dict)
    moving: frozenset[str] = frozenset()
    owners: dict[str, str] = field(default_factory=dict)
    movies: dict[str, list[str]] = field(default_factory=dict)


def scene_rate(scene: Any) -> Fraction:
    """Return the scene's exact frame rate: 24 / 1.001 is 24000/1001."""
    rate = exact_rate(scene.render.fps / scene.render.fps_base)
    assert rate is not None  # Blender keeps both above 0
    return rate


def survey_strips(scene: Any) -> Surroundings:
    """Inspect all strips once, so that each can be read in microseconds."""
    return run_all(survey_in_slices(scene.name))


def survey_in_slices(scene_name: str) -> Generator[None, None, Surroundings]:
    """Inspect all strips of a scene once, some of them in each slice."""
    effects: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    movies: dict[str, list[str]] = {}
    position = 0
    while strips := _some_strips(scene_name, position):
        for strip in strips:
            kind = strip.type
            if kind in PICTURE_KINDS:
                uid = strip.rewas.uid
                if uid:
                    owners[uid] = strip.name
                if kind == "MOVIE":
                    movies.setdefault(bpy.path.abspath(strip.filepath), []).append(strip.name)
            elif kind in _TIME_OR_FRAMING_EFFECTS and not strip.mute:
                effect_input = compat.effect_input(strip)
                if effect_input is not None:
                    effects.setdefault(effect_input.name, []).append(strip.name)
        position += len(strips)
        # Blender may free them in a pause.
        del strips, strip
        yield
    moving = set()
    scene = bpy.data.scenes.get(scene_name)
    curves: list[Any] = compat.animation_curves(scene) if scene is not None else []
    for curve in curves:
        animated = compat.animated_strip(curve.data_path)
        if animated is not None and animated[1].startswith(_FRAMING_PROPERTIES):
            moving.add(animated[0])
    return Surroundings(effects, frozenset(moving), owners, movies)


def _some_strips(scene_name: str, position: int) -> list[Any]:
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or scene.sequence_editor is None:
        return []
    return list(islice(compat.all_strips_of(scene.sequence_editor), position, position + _STRIPS_IN_A_SLICE))


def selected_strips(scene: Any) -> list[StripSnapshot]:
    """Return snapshots of the selected strips of the open meta strip, or of the whole timeline.

    For scripts and tests: it opens all files before it returns.
    """
    editor = scene.sequence_editor
    if editor is None:
        return []
    surroundings = survey_strips(scene)
    strips = [strip for strip in compat.strips_of(compat.edited_holder(editor)) if strip.select]
    return [run_all(locate_proxy(read_strip(scene, strip, surroundings), proxy_folder())) for strip in strips]


def read_in_slices(
    find: Callable[[], tuple[Any, Any] | None], surroundings: Surroundings
) -> Generator[None, None, StripSnapshot | None]:
    """Return a snapshot of the strip that `find` returns with its scene, and the path of its proxy.

    `find` is called again in each slice that needs the strip, because references become invalid with undo. Returns None
    if it returns None.
    """
    found = find()
    while found is not None and found[1].type == "MOVIE" and open_next_file(*found):
        # Blender has opened the file for a few milliseconds, so the rest comes later.
        yield
        found = find()
    if found is None:
        return None
    snapshot = read_strip(*found, surroundings)
    return (yield from locate_proxy(snapshot, proxy_folder()))


def open_next_file(scene: Any, strip: Any) -> bool:
    """Let Blender open a movie strip's file if that is still necessary. Returns whether it has opened it."""
    file = identify_file(media_path(strip))
    if file is None:
        return False
    if not is_rate_known(file, strip.stream_index):
        movie_rate(strip, file)
        return True
    rate = movie_rate(strip, file)
    if rate is None or rate == scene_rate(scene) or is_length_known(file):
        return False
    movie_length(file)
    return True


def read_strip(scene: Any, strip: Any, surroundings: Surroundings | None = None) -> StripSnapshot:
    """Return a snapshot of one strip. Its proxy, if it needs one, is not located yet.

    surroundings: what `survey_strips` returns, if many strips are read.
    """
    snapshot = _read_media(scene, strip)
    if snapshot.kind not in PICTURE_KINDS or snapshot.missing_file:
        return snapshot
    if surroundings is None:
        surroundings = survey_strips(scene)
    effects = applied_effects(scene, strip, surroundings)
    snapshot = replace(snapshot, changes=tuple(_changes(scene, strip, effects, surroundings)))
    unreadable = snapshot.kind == "MOVIE" and (snapshot.media_rate is None or snapshot.media_frames < 1)
    if unreadable or not proxy_reason(snapshot, scene_rate(scene)):
        return snapshot
    key, files = describe_picture(scene, [strip, *effects])
    return replace(snapshot, picture_key=key, picture_files=files)


def applied_effects(scene: Any, strip: Any, surroundings: Surroundings) -> list[Any]:
    """Return the effects that show the frames of a strip at other times or places, in the order of their use."""
    all_strips = compat.all_strips_of(scene.sequence_editor)
    effects: list[Any] = []
    names = surroundings.effects.get(strip.name)
    while names and len(effects) < len(surroundings.effects):
        # Of several effects of one strip, the topmost is seen.
        found = [effect for effect in map(all_strips.get, names) if effect is not None]
        if not found:
            break
        effects.append(max(found, key=lambda effect: effect.channel))
        names = surroundings.effects.get(effects[-1].name)
    return effects


def shows_whole_picture(scene: Any, strip: Any, surroundings: Surroundings) -> bool:
    """Return whether the scene's frame shows the whole picture of a strip, and always the same way."""
    return (
        strip.type in ("MOVIE", "IMAGE")
        and not _framing(scene, strip).change
        and strip.name not in surroundings.moving
        and not any(effect.type == "TRANSFORM" for effect in applied_effects(scene, strip, surroundings))
    )


def picture_start(scene: Any, strip: Any) -> float:
    """Return the scene frame where a strip's media begins, or would begin if Blender's hard trim did not cut it off."""
    start_frame = compat.content_start(strip)
    head_frames, tail_frames = compat.trimmed_media_frames(strip)
    if not head_frames or strip.type != "MOVIE":
        return start_frame - head_frames
    file = identify_file(media_path(strip))
    if file is None or movie_rate(strip, file) in (None, scene_rate(scene)):
        return start_frame - head_frames
    # Blender may convert between the two rates.
    content_frames = compat.content_end(strip) - start_frame
    playable_frames = max(movie_length(file) - head_frames - tail_frames, 1)
    return start_frame - head_frames * content_frames / playable_frames


def media_path(strip: Any) -> str:
    """Return the absolute path of a movie or sound strip's file. The stored path may be relative to the .blend."""
    stored = strip.filepath if strip.type == "MOVIE" else strip.sound.filepath
    return str(Path(bpy.path.abspath(stored)).absolute())


def picture_strip(scene: Any, strip: Any, surroundings: Surroundings | None = None) -> Any:
    """Return the strip whose sound a strip stands for, or None.

    That is a picture itself, the input of an effect of one strip, the owner of a generated sound, and the movie whose
    own sound lies beside it. surroundings: what `survey_strips` returns, if many strips are looked up.
    """
    all_strips = compat.all_strips_of(scene.sequence_editor)
    seen: set[str] = set()
    while strip is not None and strip.name not in seen:
        seen.add(strip.name)
        if strip.type in PICTURE_KINDS:
            return strip
        if strip.type == "SOUND":
            name = _picture_of_sound(strip, all_strips, surroundings or survey_strips(scene))
            return None if name is None else all_strips.get(name)
        strip = compat.effect_input(strip) if compat.has_one_input(strip) else None
    return None


def _picture_of_sound(sound: Any, all_strips: Any, surroundings: Surroundings) -> str | None:
    owner = sound.rewas.stem.owner
    if owner:
        return surroundings.owners.get(owner)
    if sound.sound is None:
        return None
    content_start = compat.content_start(sound)
    start, end = compat.left_handle(sound), compat.right_handle(sound)
    best, most_frames = None, 0
    for name in surroundings.movies.get(bpy.path.abspath(sound.sound.filepath), ()):
        strip = all_strips.get(name)
        # Its own sound begins with it. The sound of another part of the film begins elsewhere.
        if strip is None or abs(compat.content_start(strip) - content_start) > 1:
            continue
        frames = min(compat.right_handle(strip), end) - max(compat.left_handle(strip), start)
        if frames > most_frames:
            best, most_frames = name, frames
    return best


def _read_media(scene: Any, strip: Any) -> StripSnapshot:
    if strip.type != "MOVIE":
        return _build_snapshot(strip)
    path = media_path(strip)
    file = identify_file(path)
    if file is None:
        return _build_snapshot(strip, path=path, missing_file=path, missing_files=1)
    media_rate = movie_rate(strip, file)
    head_frames, tail_frames = compat.trimmed_media_frames(strip)
    playable_frames = compat.content_end(strip) - compat.content_start(strip)
    if media_rate is not None and media_rate != scene_rate(scene):
        playable_frames = movie_length(file) - head_frames - tail_frames
    return _build_snapshot(
        strip,
        path=path,
        media_rate=media_rate,
        skipped_frames=head_frames,
        playable_frames=playable_frames,
        media_frames=head_frames + playable_frames + tail_frames,
    )


def _build_snapshot(strip: Any, **known: Any) -> StripSnapshot:
    start_frame = compat.left_handle(strip)
    content_start_frame = compat.content_start(strip)
    return StripSnapshot(
        **{
            "path": "",
            "media_rate": None,
            "media_frames": 0,
            "skipped_frames": 0,
            "playable_frames": 0,
            **known,
        },
        name=strip.name,
        kind=strip.type,
        channel=strip.channel,
        start_frame=start_frame,
        frames=compat.right_handle(strip) - start_frame,
        content_start_frame=content_start_frame,
        content_frames=compat.content_end(strip) - content_start_frame,
        prompt=strip.rewas.prompt,
        muted=strip.mute,
    )


def _changes(scene: Any, strip: Any, effects: Sequence[Any], surroundings: Surroundings) -> list[str]:
    """Return what a strip does to its picture, each as the end of 'The strip "x" …'."""
    changes = []
    if strip.type != "MOVIE":
        changes.append(_kind_change(strip))
    if len(getattr(strip, "retiming_keys", ())):
        changes.append("is retimed")
    if strip.use_reverse_frames:
        changes.append("plays backwards")
    for effect in effects:
        kind = "speed" if effect.type == "SPEED" else "transform"
        changes.append(f'is used by the {kind} effect "{effect.name}"')
    if strip.strobe > 1:
        changes.append(f"shows only one of {strip.strobe:g} frames (Strobe)")
    if strip.type == "MOVIE":
        if strip.stream_index:
            changes.append(f"shows stream {strip.stream_index + 1} of its file")
        change = _framing(scene, strip).change
        if change:
            changes.append(change)
        if strip.name in surroundings.moving:
            changes.append("moves within the frame")
        if any(modifier.type == "MASK" and not modifier.mute for modifier in strip.modifiers):
            changes.append("is masked")
    return changes


def _kind_change(strip: Any) -> str:
    if strip.type == "IMAGE":
        return "is a still image" if len(strip.elements) == 1 else "is an image sequence"
    return {"SCENE": "shows a scene", "META": "is a meta strip", "MOVIECLIP": "shows a movie clip"}[strip.type]


def _framing(scene: Any, strip: Any) -> Framing:
    transform, crop, render = strip.transform, strip.crop, scene.render
    element = strip.elements[0] if len(strip.elements) else None
    return Framing(
        frame_size=(render.resolution_x, render.resolution_y),
        picture_size=(0, 0) if element is None else (element.orig_width, element.orig_height),
        scale=(transform.scale_x, transform.scale_y),
        offset=(transform.offset_x, transform.offset_y),
        rotation=transform.rotation,
        origin=tuple(transform.origin),
        crop=(crop.min_x, crop.max_x, crop.max_y, crop.min_y),
        flipped=(strip.use_flip_x, strip.use_flip_y),
    )
