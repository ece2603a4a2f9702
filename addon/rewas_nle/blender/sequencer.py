# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the video timeline: strips as the timeline logic knows them, and the whole of it for OpenTimelineIO."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..timeline.clips import NamedTrack, SoundOnTimeline, split_overlaps, timeline_to_otio
from ..timeline.rates import exact_rate
from ..timeline.selection import choose_clip
from ..timeline.strips import ChosenClip, PictureStrip, Refusal
from . import compat

PROVENANCE = "rewas_sound"
"""ID property of a generated sound strip: what it was made from and with."""


def scene_rate(scene: Any) -> Fraction:
    """The scene's frames per second, exact: 24 / 1.001 is 24000/1001."""
    rate = exact_rate(scene.render.fps / scene.render.fps_base)
    assert rate is not None  # Blender keeps both above 0
    return rate


def selected_strips(scene: Any) -> list[PictureStrip]:
    """The selected strips of what the user edits: the open meta strip, else the whole timeline."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    strips = compat.strips_of(compat.edited_holder(editor))
    return [read_strip(scene, strip) for strip in strips if strip.select]


def read_strip(scene: Any, strip: Any) -> PictureStrip:
    """A snapshot of one strip."""
    if strip.type != "MOVIE":
        return _build_snapshot(strip)
    path = media_path(strip)
    if not Path(path).is_file():
        return _build_snapshot(strip, path=path, media_found=False)
    media_rate = exact_rate(strip.fps)
    head_frames, tail_frames = compat.trimmed_media_frames(strip)
    playable_frames = compat.content_end(strip) - compat.content_start(strip)
    if media_rate is not None and media_rate != scene_rate(scene):
        playable_frames = _media_frame_count(path) - head_frames - tail_frames
    return _build_snapshot(
        strip,
        path=path,
        media_rate=media_rate,
        skipped_frames=head_frames,
        playable_frames=playable_frames,
        media_frames=head_frames + playable_frames + tail_frames,
        retimed=len(strip.retiming_keys) > 0,
        reversed=strip.use_reverse_frames,
        speed_effect=_speed_effect_name(scene, strip),
    )


def _build_snapshot(strip: Any, **known: Any) -> PictureStrip:
    start_frame = compat.left_handle(strip)
    content_start_frame = compat.content_start(strip)
    return PictureStrip(
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


def media_path(strip: Any) -> str:
    """The absolute path of a movie or sound strip's file; saving a .blend makes the stored one relative."""
    stored = strip.filepath if strip.type == "MOVIE" else strip.sound.filepath
    return str(Path(bpy.path.abspath(stored)).absolute())


def _media_frame_count(path: str) -> int:
    # From 4.5 a strip tells the length of its media only in converted frames. A movie clip tells it as it is.
    try:
        clip = bpy.data.movieclips.load(path)
    except RuntimeError:
        return 0
    try:
        return clip.frame_duration
    finally:
        bpy.data.movieclips.remove(clip)


def _speed_effect_name(scene: Any, strip: Any) -> str:
    for other in compat.all_strips_of(scene.sequence_editor):
        if other.type == "SPEED" and not other.mute and compat.effect_input(other) == strip:
            return other.name
    return ""


def build_timeline(scene: Any) -> tuple[Any, list[Refusal]]:
    """The scene's movie strips and generated sounds as an otio.schema.Timeline, and why strips were left out of it.

    Each channel becomes a track by its name. Raises ImportError where OpenTimelineIO cannot be loaded.
    """
    rate = scene_rate(scene)
    editor = scene.sequence_editor
    picture: dict[int, list[ChosenClip | SoundOnTimeline]] = {}
    sound: dict[int, list[ChosenClip | SoundOnTimeline]] = {}
    left_out: list[Refusal] = []
    for strip in compat.strips_of(editor) if editor is not None else ():
        if strip.type in ("MOVIE", "META"):
            read = choose_clip(read_strip(scene, strip), rate)
            if isinstance(read, Refusal):
                left_out.append(read)
            else:
                picture.setdefault(strip.channel, []).append(read)
        elif strip.type == "SOUND" and strip.get(PROVENANCE) is not None:
            sound.setdefault(strip.channel, []).append(_build_timeline_sound(strip))
    starts = [item.start_frame for items in (*picture.values(), *sound.values()) for item in items]
    timeline = timeline_to_otio(
        scene.name,
        rate=rate,
        start_frame=min([scene.frame_start, *starts]),
        picture=_tracks(editor, picture),
        sound=_tracks(editor, sound),
    )
    return timeline, left_out


def _tracks(editor: Any, by_channel: dict[int, list[ChosenClip | SoundOnTimeline]]) -> list[NamedTrack]:
    return [
        NamedTrack(editor.channels[channel].name, layer)
        for channel, items in sorted(by_channel.items())
        for layer in split_overlaps(items)
    ]


def _build_timeline_sound(strip: Any) -> SoundOnTimeline:
    start_frame = compat.left_handle(strip)
    content_start_frame = compat.content_start(strip)
    metadata = strip[PROVENANCE].to_dict()
    if "seed" in metadata:
        metadata["seed"] = int(metadata["seed"])
    return SoundOnTimeline(
        name=strip.name,
        path=media_path(strip),
        start_frame=start_frame,
        frames=compat.right_handle(strip) - start_frame,
        lead_in_frames=start_frame - content_start_frame,
        content_frames=compat.content_end(strip) - content_start_frame,
        muted=strip.mute,
        metadata=metadata,
    )
