# SPDX-License-Identifier: GPL-3.0-or-later
"""Places received stems on the timeline as sound strips below their clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..core.generate import ClipRequest
from ..core.messages import Problem, ReceivedTake, StemFile, StemsReceived
from ..timeline.names import sound_strip_name
from ..timeline.placement import NoFreeChannelError, SoundPosition, Span, find_channel, position_under_clip
from . import compat
from .sequencer import PROVENANCE_PROPERTY, media_path, scene_rate

_JOB_MARK = "rewas_job_"


@dataclass(frozen=True)
class PlacementResult:
    """Result of placing a job's stems: one line for the panel, and the problem if there was one."""

    note: str
    problem: Problem | None = None


class PlacementError(Exception):
    """The stems cannot be placed. The files are kept."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def mark_strip(clip_request: ClipRequest) -> None:
    """Mark the strip of a job so that it can be found again after renaming, moving or undo."""
    found = _find_strip(clip_request)
    if found is not None:
        found[1][_JOB_MARK + clip_request.key] = clip_request.clip.name


def unmark_strips(clip_request: ClipRequest) -> None:
    """Remove the mark of a job, also from copies of the strip."""
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            for strip in compat.all_strips_of(scene.sequence_editor):
                if strip.get(_JOB_MARK + clip_request.key) is not None:
                    del strip[_JOB_MARK + clip_request.key]


def place_stems(clip_request: ClipRequest, received: StemsReceived) -> PlacementResult:
    """Place the stems of all takes. The first take is audible; other takes and earlier versions are muted."""
    files = ", ".join(stem.path.name for take in received.takes for stem in take.stems)
    folder = clip_request.stems_folder
    try:
        scene, strip = _require_strip(clip_request)
        place = position_under_clip(
            clip_request.clip,
            start_frame=compat.left_handle(strip),
            end_frame=compat.right_handle(strip),
            content_start_frame=compat.content_start(strip),
        )
        if place is None:
            raise PlacementError(
                f'The strip "{strip.name}" no longer shows the part of the media that the sound was generated for.',
                "Generate again for its current range.",
            )
        return _place_takes(clip_request, received, scene, strip, place)
    except PlacementError as error:
        return PlacementResult(
            "Not placed", Problem(error.what, f"{error.remedy} The sound files are in {folder} ({files}).")
        )
    finally:
        unmark_strips(clip_request)


def _place_takes(
    clip_request: ClipRequest, received: StemsReceived, scene: Any, strip: Any, place: SoundPosition
) -> PlacementResult:
    holder = compat.holder_of(scene.sequence_editor, strip)
    placed: list[Any] = []
    try:
        for take in received.takes:
            for stem in take.stems:
                placed.append(_place_stem(clip_request, received, take, stem, holder, place))
    except PlacementError:
        for sound in placed:
            compat.strips_of(holder).remove(sound)
        raise
    muted = _mute_previous_versions(holder, placed, clip_request, place)
    channels = ", ".join(dict.fromkeys(holder.channels[sound.channel].name for sound in placed))
    note = f"Placed on {channels}"
    if len(received.takes) > 1:
        note += f"; takes 2 to {len(received.takes)} are muted"
    if muted:
        note += "; the previous sound is muted"
    if place.is_trimmed:
        note += "; trimmed to the strip"
    return PlacementResult(note)


def _place_stem(
    clip_request: ClipRequest,
    received: StemsReceived,
    take: ReceivedTake,
    stem: StemFile,
    holder: Any,
    place: SoundPosition,
) -> Any:
    channels = holder.channels
    strips = compat.strips_of(holder)
    try:
        chosen = find_channel(
            stem.role,
            start_frame=place.start_frame,
            end_frame=place.end_frame,
            occupied=[Span(other.channel, compat.left_handle(other), compat.right_handle(other)) for other in strips],
            names=_custom_channel_names(channels),
            locked=[number for number in range(1, len(channels)) if channels[number].lock],
        )
    except NoFreeChannelError:
        raise PlacementError(
            f'No channel is free for the sound of "{clip_request.clip.name}".',
            "Free or unlock a channel, then add the file yourself.",
        ) from None
    name = sound_strip_name(clip_request.clip.name, stem.role, take.number)
    try:
        sound = strips.new_sound(name, _stored_path(stem.path), chosen.channel, place.content_start_frame)
    except RuntimeError as error:
        reason = str(error).strip().removeprefix("Error: ").rstrip(".")
        raise PlacementError(
            f"Blender {bpy.app.version_string} cannot load the sound ({reason}).",
            "Use a Blender build with audio support and add the file there.",
        ) from None
    # Blender rounds a sound's length to frames in its own way; the strip's range decides.
    compat.set_handles(sound, place.start_frame, place.end_frame)
    channels[chosen.channel].name = chosen.name
    compat.show_waveform(sound)
    sound.mute = take.number > 1
    sound[PROVENANCE_PROPERTY] = _provenance(clip_request, received, take, stem)
    return sound


def _stored_path(path: Path) -> str:
    """Return the path as Blender would store it: relative to a saved .blend if the user prefers relative paths."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        try:
            return bpy.path.relpath(str(path))
        except ValueError:  # a different drive on Windows
            pass
    return str(path)


def _custom_channel_names(channels: Any) -> dict[int, str]:
    names = {number: channels[number].name for number in range(1, len(channels))}
    return {number: name for number, name in names.items() if name and name != f"Channel {number}"}


def _provenance(
    clip_request: ClipRequest, received: StemsReceived, take: ReceivedTake, stem: StemFile
) -> dict[str, Any]:
    clip, generation_info = clip_request.clip, received.generation_info
    provenance: dict[str, Any] = {
        "prompt": clip.prompt,
        "role": stem.role,
        "take": take.number,
        # ID properties hold 32-bit integers; a seed can have 63 bits.
        "seed": str(take.seed),
        "pack": generation_info.pack,
        "pack_version": generation_info.pack_version,
        "licence": generation_info.licence,
        "num_inference_steps": generation_info.num_inference_steps,
        "guidance_scale": generation_info.guidance_scale,
        "control_strength": generation_info.control_strength,
        "clip": clip.name,
        "media": Path(clip.path).name,
        "source_start_s": str(clip.source_start_s),
        "source_duration_s": str(clip.source_duration_s),
        "samples": str(stem.samples),
        "sample_rate_hz": stem.sample_rate_hz,
        "energy_mae_nats": take.energy_mae_nats,
        "job": received.job_id,
    }
    if take.energy_correlation is not None:
        provenance["energy_correlation"] = take.energy_correlation
    return provenance


def _mute_previous_versions(holder: Any, placed: list[Any], clip_request: ClipRequest, place: SoundPosition) -> int:
    """Mute what earlier jobs placed for the same role and media range. Returns the number of muted strips."""
    count = 0
    jobs = {sound[PROVENANCE_PROPERTY]["job"] for sound in placed}
    roles = {sound[PROVENANCE_PROPERTY]["role"] for sound in placed}
    for sound in compat.strips_of(holder):
        provenance = sound.get(PROVENANCE_PROPERTY) if sound.type == "SOUND" else None
        if provenance is None or sound.mute or provenance.get("job") in jobs:
            continue
        span = Span(sound.channel, compat.left_handle(sound), compat.right_handle(sound))
        same_media = provenance.get("media") == Path(clip_request.clip.path).name and provenance.get("role") in roles
        if same_media and span.overlaps(place.start_frame, place.end_frame):
            sound.mute = True
            count += 1
    return count


def _require_strip(clip_request: ClipRequest) -> tuple[Any, Any]:
    found = _find_strip(clip_request)
    if found is None:
        raise PlacementError(
            f'The strip "{clip_request.clip.name}" was deleted or got other media while its sound was being generated.',
            "Add the sound file yourself if you want it.",
        )
    scene, strip = found
    if scene_rate(scene) != clip_request.clip.rate:
        raise PlacementError(
            f'The frame rate of the scene "{scene.name}" changed while sound for "{clip_request.clip.name}" was being '
            "generated.",
            "Restore the frame rate and add the sound file yourself, or generate again.",
        )
    return scene, strip


def _find_strip(clip_request: ClipRequest) -> tuple[Any, Any] | None:
    """Find the scene and strip of a request by its mark. Among marked copies, the original name comes first."""
    home = bpy.data.scenes.get(clip_request.scene_name)
    scenes = [home] if home is not None else []
    scenes += [scene for scene in bpy.data.scenes if scene != home]
    movies = [
        (scene, strip)
        for scene in scenes
        if scene.sequence_editor is not None
        for strip in compat.all_strips_of(scene.sequence_editor)
        if strip.type == "MOVIE" and media_path(strip) == clip_request.clip.path
    ]
    marked = [found for found in movies if found[1].get(_JOB_MARK + clip_request.key) is not None]
    # Undo may have removed the mark but not the strip.
    candidates = marked or [found for found in movies if found[1].name == clip_request.clip.name]
    candidates.sort(key=lambda found: found[1].name != clip_request.clip.name)
    return candidates[0] if candidates else None
