# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the sequencer: strips as snapshots, and the whole timeline as OpenTimelineIO."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..timeline.clips import NamedTrack, TimelineSound, split_overlaps, timeline_to_otio
from ..timeline.rates import exact_rate
from ..timeline.selection import clip_from_strip
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from . import compat

PROVENANCE_PROPERTY = "rewas_sound"
"""ID property of a generated sound strip that records its prompt, seed, pack and source."""


def scene_rate(scene: Any) -> Fraction:
    """Return the scene's exact frame rate: 24 / 1.001 is 24000/1001."""
    rate = exact_rate(scene.render.fps / scene.render.fps_base)
    assert rate is not None  # Blender keeps both above 0
    return rate


def selected_strips(scene: Any) -> list[StripSnapshot]:
    """Return the selected strips of the open meta strip, or of the whole timeline."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    strips = compat.strips_of(compat.edited_holder(editor))
    return [read_strip(scene, strip) for strip in strips if strip.select]


def read_strip(scene: Any, strip: Any) -> StripSnapshot:
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


def media_path(strip: Any) -> str:
    """Return the absolute path of a movie or sound strip's file. The stored path may be relative to the .blend."""
    stored = strip.filepath if strip.type == "MOVIE" else strip.sound.filepath
    return str(Path(bpy.path.abspath(stored)).absolute())


def _media_frame_count(path: str) -> int:
    # From 4.5 a strip gives the length of its media only in converted frames; a movie clip gives the real count.
    try:
        clip = bpy.data.movieclips.load(path)
    except RuntimeError:
        return 0
    try:
        return int(clip.frame_duration)
    finally:
        bpy.data.movieclips.remove(clip)


def _speed_effect_name(scene: Any, strip: Any) -> str:
    for other in compat.all_strips_of(scene.sequence_editor):
        if other.type == "SPEED" and not other.mute and compat.effect_input(other) == strip:
            return str(other.name)
    return ""


def build_timeline(scene: Any) -> tuple[Any, list[Refusal]]:
    """Return the movie strips and generated sounds as an otio.schema.Timeline, and the reasons for omitted strips.

    Each channel becomes a track of the same name. Raises ImportError if OpenTimelineIO cannot be loaded.
    """
    rate = scene_rate(scene)
    editor = scene.sequence_editor
    movies: dict[int, list[SelectedClip | TimelineSound]] = {}
    sounds: dict[int, list[SelectedClip | TimelineSound]] = {}
    left_out: list[Refusal] = []
    for strip in compat.strips_of(editor) if editor is not None else ():
        if strip.type in ("MOVIE", "META"):
            read = clip_from_strip(read_strip(scene, strip), rate)
            if isinstance(read, Refusal):
                left_out.append(read)
            else:
                movies.setdefault(strip.channel, []).append(read)
        elif strip.type == "SOUND" and strip.get(PROVENANCE_PROPERTY) is not None:
            sounds.setdefault(strip.channel, []).append(_build_timeline_sound(strip))
    starts = [item.start_frame for items in (*movies.values(), *sounds.values()) for item in items]
    timeline = timeline_to_otio(
        scene.name,
        rate=rate,
        start_frame=min([scene.frame_start, *starts]),
        movie_tracks=_tracks(editor, movies),
        sound_tracks=_tracks(editor, sounds),
    )
    return timeline, left_out


def _tracks(editor: Any, by_channel: dict[int, list[SelectedClip | TimelineSound]]) -> list[NamedTrack]:
    return [
        NamedTrack(editor.channels[channel].name, layer)
        for channel, items in sorted(by_channel.items())
        for layer in split_overlaps(items)
    ]


def _build_timeline_sound(strip: Any) -> TimelineSound:
    start_frame = compat.left_handle(strip)
    content_start_frame = compat.content_start(strip)
    metadata = strip[PROVENANCE_PROPERTY].to_dict()
    if "seed" in metadata:
        metadata["seed"] = int(metadata["seed"])
    return TimelineSound(
        name=strip.name,
        path=media_path(strip),
        start_frame=start_frame,
        frames=compat.right_handle(strip) - start_frame,
        lead_in_frames=start_frame - content_start_frame,
        content_frames=compat.content_end(strip) - content_start_frame,
        muted=strip.mute,
        metadata=metadata,
    )
