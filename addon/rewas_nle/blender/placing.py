# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing the video timeline: stems that have arrived become sound strips under their picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..core.generate import Order
from ..core.messages import ArrivedTake, StemFile, StemsArrived, Trouble
from ..timeline.names import sound_strip_name
from ..timeline.placement import NoFreeChannel, SoundPlace, Span, find_channel, place_under
from . import compat
from .sequencer import PROVENANCE, media_path, scene_rate

_JOB_MARK = "rewas_job_"


@dataclass(frozen=True)
class Placed:
    """What became of a job's stems: one line for people, and the trouble where there was any."""

    note: str
    trouble: Trouble | None = None


class PlacementError(Exception):
    """The stems cannot be placed; the files stay."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def mark_strip(order: Order) -> None:
    """Mark the strip of a job, so that it is found again under another name, at another place, after undo."""
    found = _find_strip(order)
    if found is not None:
        found[1][_JOB_MARK + order.key] = order.clip.name


def unmark_strips(order: Order) -> None:
    """Take the mark of a job off again, from copies of the strip too."""
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            for strip in compat.all_strips_of(scene.sequence_editor):
                if strip.get(_JOB_MARK + order.key) is not None:
                    del strip[_JOB_MARK + order.key]


def place_stems(order: Order, arrived: StemsArrived) -> Placed:
    """Place every stem of every take: the first take is heard, further takes and older versions are muted."""
    files = ", ".join(stem.path.name for take in arrived.takes for stem in take.stems)
    folder = order.stems_folder
    try:
        scene, strip = _require_strip(order)
        place = place_under(
            order.clip,
            start_frame=compat.left_handle(strip),
            end_frame=compat.right_handle(strip),
            content_start_frame=compat.content_start(strip),
        )
        if place is None:
            raise PlacementError(
                f'The strip "{strip.name}" no longer shows the picture that the sound was made for.',
                "Generate again for what it shows now.",
            )
        return _place_takes(order, arrived, scene, strip, place)
    except PlacementError as error:
        return Placed("Not placed", Trouble(error.what, f"{error.remedy} The sound is kept in {folder} ({files})."))
    finally:
        unmark_strips(order)


def _place_takes(order: Order, arrived: StemsArrived, scene: Any, strip: Any, place: SoundPlace) -> Placed:
    holder = compat.holder_of(scene.sequence_editor, strip)
    placed: list[Any] = []
    try:
        for take in arrived.takes:
            for stem in take.stems:
                placed.append(_place_stem(order, arrived, take, stem, holder, place))
    except PlacementError:
        for sound in placed:
            compat.strips_of(holder).remove(sound)
        raise
    muted = _mute_previous_versions(holder, placed, order, place)
    channels = ", ".join(dict.fromkeys(holder.channels[sound.channel].name for sound in placed))
    note = f"Placed on {channels}"
    if len(arrived.takes) > 1:
        note += f"; takes 2 to {len(arrived.takes)} are muted"
    if muted:
        note += "; the earlier sound is muted"
    if place.is_trimmed:
        note += "; trimmed like its picture"
    return Placed(note)


def _place_stem(
    order: Order, arrived: StemsArrived, take: ArrivedTake, stem: StemFile, holder: Any, place: SoundPlace
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
    except NoFreeChannel:
        raise PlacementError(
            f'No channel is free for the sound of "{order.clip.name}".', "Clear or unlock a channel, then add the file."
        ) from None
    name = sound_strip_name(order.clip.name, stem.role, take.number)
    try:
        sound = strips.new_sound(name, _stored_path(stem.path), chosen.channel, place.content_start_frame)
    except RuntimeError as error:
        reason = str(error).strip().removeprefix("Error: ").rstrip(".")
        raise PlacementError(
            f"Blender {bpy.app.version_string} could not load the sound ({reason}).",
            "Use a Blender that is built with audio, and add the file there.",
        ) from None
    # Blender rounds a sound's length to frames in its own way; the picture decides.
    compat.set_handles(sound, place.start_frame, place.end_frame)
    channels[chosen.channel].name = chosen.name
    compat.show_waveform(sound)
    sound.mute = take.number > 1
    sound[PROVENANCE] = _provenance(order, arrived, take, stem)
    return sound


def _stored_path(path: Path) -> str:
    """The path as Blender would store it: relative to the .blend where that is saved and the user wants it so."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        try:
            return bpy.path.relpath(str(path))
        except ValueError:  # another drive of Windows
            pass
    return str(path)


def _custom_channel_names(channels: Any) -> dict[int, str]:
    names = {number: channels[number].name for number in range(1, len(channels))}
    return {number: name for number, name in names.items() if name and name != f"Channel {number}"}


def _provenance(order: Order, arrived: StemsArrived, take: ArrivedTake, stem: StemFile) -> dict[str, Any]:
    clip, made_with = order.clip, arrived.made_with
    provenance: dict[str, Any] = {
        "prompt": clip.prompt,
        "role": stem.role,
        "take": take.number,
        # ID properties hold 32-bit numbers; a seed may have 63 bits.
        "seed": str(take.seed),
        "pack": made_with.pack,
        "pack_version": made_with.pack_version,
        "licence": made_with.licence,
        "num_steps": made_with.num_steps,
        "guidance_scale": made_with.guidance_scale,
        "control_strength": made_with.control_strength,
        "clip": clip.name,
        "media": Path(clip.path).name,
        "source_start_s": str(clip.source_start_s),
        "source_duration_s": str(clip.source_duration_s),
        "samples": str(stem.samples),
        "sample_rate_hz": stem.sample_rate_hz,
        "energy_mae_nats": take.energy_mae_nats,
        "job": arrived.job_id,
    }
    if take.energy_correlation is not None:
        provenance["energy_correlation"] = take.energy_correlation
    return provenance


def _mute_previous_versions(holder: Any, placed: list[Any], order: Order, place: SoundPlace) -> int:
    """Two versions of one sound are never wanted at once: mute what an earlier job placed under the same picture."""
    count = 0
    jobs = {sound[PROVENANCE]["job"] for sound in placed}
    roles = {sound[PROVENANCE]["role"] for sound in placed}
    for sound in compat.strips_of(holder):
        made = sound.get(PROVENANCE) if sound.type == "SOUND" else None
        if made is None or sound.mute or made.get("job") in jobs:
            continue
        span = Span(sound.channel, compat.left_handle(sound), compat.right_handle(sound))
        same_picture = made.get("media") == Path(order.clip.path).name and made.get("role") in roles
        if same_picture and span.meets(place.start_frame, place.end_frame):
            sound.mute = True
            count += 1
    return count


def _require_strip(order: Order) -> tuple[Any, Any]:
    found = _find_strip(order)
    if found is None:
        raise PlacementError(
            f'The strip "{order.clip.name}" was deleted or given other media while its sound was made.',
            "Add the sound by hand if it is wanted.",
        )
    scene, strip = found
    if scene_rate(scene) != order.clip.rate:
        raise PlacementError(
            f'The frame rate of the scene "{scene.name}" was changed while sound was made for "{order.clip.name}".',
            "Set the rate back and add the sound by hand, or generate again.",
        )
    return scene, strip


def _find_strip(order: Order) -> tuple[Any, Any] | None:
    """The scene and strip of an order: by its mark, the strip's own name first where copies carry the mark too."""
    home = bpy.data.scenes.get(order.scene_name)
    scenes = [home] if home is not None else []
    scenes += [scene for scene in bpy.data.scenes if scene != home]
    movies = [
        (scene, strip)
        for scene in scenes
        if scene.sequence_editor is not None
        for strip in compat.all_strips_of(scene.sequence_editor)
        if strip.type == "MOVIE" and media_path(strip) == order.clip.path
    ]
    marked = [found for found in movies if found[1].get(_JOB_MARK + order.key) is not None]
    # Undo may have taken the mark away, though not the strip.
    candidates = marked or [found for found in movies if found[1].name == order.clip.name]
    candidates.sort(key=lambda found: found[1].name != order.clip.name)
    return candidates[0] if candidates else None
