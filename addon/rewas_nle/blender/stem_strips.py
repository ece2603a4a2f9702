# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound strips of a strip's active take: one for each role, on the channel of that role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..timeline.follow import Position, SoundPosition, change_take, place_sound
from ..timeline.names import sound_strip_name
from ..timeline.placement import NoFreeChannelError, Span, find_channel
from ..timeline.takes import Stem, Take
from . import compat
from .strip_reading import scene_rate
from .take_list import stored_path

PROVENANCE_PROPERTY = "rewas_sound"
"""ID property of a generated sound strip that records its prompt, seed, pack and source."""


class PlacementError(Exception):
    """A sound cannot be placed. Its files are kept, and so is its take if the strip was found."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def position_of(strip: Any) -> Position:
    """Return where a strip is."""
    return Position(compat.content_start(strip), compat.left_handle(strip), compat.right_handle(strip))


def stems_of(scene: Any, uid: str) -> dict[str, Any]:
    """Return the sound strips of the strip with this identifier by their roles."""
    strips = compat.all_strips_of(scene.sequence_editor) if uid else ()
    # The type is quick to read; the properties of an add-on are not.
    sounds = (strip for strip in strips if strip.type == "SOUND")
    return {strip.rewas.stem.role: strip for strip in sounds if strip.rewas.stem.owner == uid}


def shown_roles(picture: Any, item: Any) -> tuple[str, ...]:
    """Return the roles of a stored take that the user has not removed."""
    roles = picture.rewas.roles
    names = [stem.name for stem in item.stems] if item is not None else []
    return tuple(name for name in names if name not in roles or not roles[name].is_removed)


def show_take(scene: Any, picture: Any, take: Take) -> dict[str, Any]:
    """Put a take's stems under its picture, replace those of another take, and return the strips by their roles.

    The sound of a role keeps its channel, volume, pan, mute, and the handles that the user has set. Raises
    PlacementError if a stem cannot be placed; the strips then stay unchanged.
    """
    if scene_rate(scene) != take.scene_rate:
        raise PlacementError(
            f'The frame rate of the scene "{scene.name}" changed after sound for "{picture.name}" was generated.',
            "Restore the frame rate, or generate again.",
        )
    holder = compat.holder_of(scene.sequence_editor, picture)
    stems = stems_of(scene, picture.rewas.uid)
    removed = {role.name for role in picture.rewas.roles if role.is_removed}
    created: list[Any] = []
    sounds: dict[str, Any] = {}
    try:
        for stem in take.stems:
            if stem.role in stems:
                sounds[stem.role] = _load_sound(take, stem)
            elif stem.role not in removed:
                created.append(_create_stem(holder, picture, take, stem))
    except PlacementError:
        for strip in created:
            compat.strips_of(holder).remove(strip)
        raise
    for role, strip in stems.items():
        if role not in sounds:
            _remove_stem(scene, picture, strip)
        elif strip.rewas.stem.take != take.id:
            _change_sound(strip, picture, take, sounds[role])
    kept = {role: strip for role, strip in stems.items() if role in sounds}
    return kept | {strip.rewas.stem.role: strip for strip in created}


def remove_stems(scene: Any, picture: Any) -> None:
    """Remove the sound of a strip from the timeline. The next take gets its volume, pan and mute."""
    for strip in stems_of(scene, picture.rewas.uid).values():
        _remove_stem(scene, picture, strip)


def _remove_stem(scene: Any, picture: Any, strip: Any) -> None:
    _remember_role(picture, strip)
    compat.strips_of(compat.holder_of(scene.sequence_editor, strip)).remove(strip)


def picture_of(scene: Any, strip: Any) -> Any:
    """Return the strip whose sound a stem is, or None if it is gone. Other strips are returned unchanged."""
    owner = strip.rewas.stem.owner
    if not owner:
        return strip
    strips = compat.all_strips_of(scene.sequence_editor)
    return next((found for found in strips if found.rewas.uid == owner and not found.rewas.stem.owner), None)


def create_stem(scene: Any, picture: Any, take: Take, role: str) -> Any:
    """Put one stem of a take under its picture and return its strip. Raises PlacementError."""
    stem = take.stem(role)
    assert stem is not None
    return _create_stem(compat.holder_of(scene.sequence_editor, picture), picture, take, stem)


def copy_stem(scene: Any, picture: Any, take: Take, template: Any, place: SoundPosition) -> Any:
    """Create the sound of a copied picture like that of the original. Raises PlacementError."""
    holder = compat.holder_of(scene.sequence_editor, picture)
    stem = take.stem(template.rewas.stem.role)
    if stem is None:
        return None
    strip = _create_stem(holder, picture, take, stem, place)
    strip.volume, strip.pan = template.volume, template.pan
    strip.mute = template.rewas.stem.was_muted if template.rewas.stem.is_hidden else template.mute
    if place.is_hidden:
        strip.rewas.stem.was_muted, strip.mute = strip.mute, True
    return strip


def move_stem(strip: Any, place: SoundPosition) -> None:
    """Move and trim a sound strip. While its picture shows none of it, it is muted."""
    if compat.content_start(strip) != place.position.content_start_frame:
        compat.set_content_start(strip, place.position.content_start_frame)
    # The more strips there are, the longer each change takes Blender.
    if position_of(strip) != place.position:
        compat.set_handles(strip, place.position.start_frame, place.position.end_frame)
    link = strip.rewas.stem
    if place.is_hidden and not link.is_hidden:
        link.was_muted = strip.mute
        strip.mute = True
    elif link.is_hidden and not place.is_hidden:
        strip.mute = link.was_muted
    link.is_hidden = place.is_hidden


def write_positions(strip: Any, owner: Position) -> None:
    """Store where a sound strip and its picture are, to compare with later."""
    link, sound = strip.rewas.stem, position_of(strip)
    link.content_start_frame = sound.content_start_frame
    link.start_frame, link.end_frame = sound.start_frame, sound.end_frame
    link.owner_content_start_frame = owner.content_start_frame
    link.owner_start_frame, link.owner_end_frame = owner.start_frame, owner.end_frame


def free_stem(strip: Any) -> None:
    """Make a sound strip independent of its picture."""
    strip.rewas.property_unset("stem")


def _remember_role(picture: Any, strip: Any) -> None:
    """Store volume, pan and mute of a role whose strip is about to go."""
    role = _role(picture, strip.rewas.stem.role)
    role.volume, role.pan = strip.volume, strip.pan
    role.mute = strip.rewas.stem.was_muted if strip.rewas.stem.is_hidden else strip.mute


def set_role_removed(picture: Any, role: str, is_removed: bool) -> None:
    """Store whether the user has deleted the sound of a role, so that it is not brought back."""
    if is_removed or role in picture.rewas.roles:
        _role(picture, role).is_removed = is_removed


def _role(picture: Any, name: str) -> Any:
    roles = picture.rewas.roles
    if name in roles:
        return roles[name]
    role = roles.add()
    role.name = name
    return role


def find_free_channel(holder: Any, strip: Any, channel: int) -> None:
    """Put a moved sound back on its channel, or on another channel of the same name if that one is not free.

    Blender moves a strip to any free channel when its place is taken, even by a strip that is about to move, too.
    """
    position = position_of(strip)
    strips = compat.strips_of(holder)
    spans = list(compat.read_spans(strips))
    del spans[strips.find(strip.name)]
    first, last = position.start_frame, position.end_frame
    if any(of == channel and start < last and first < end for of, start, end in spans):
        try:
            others = [Span(*values) for values in spans]
            # Sounds that were not generated have no role, so they go by the name of their channel.
            role = strip.rewas.stem.role or holder.channels[channel].name
            channel = choose_channel(holder, role, position, others)
        except NoFreeChannelError:
            # The sound is correct where it is.
            return
    if strip.channel != channel:
        strip.channel = channel


def choose_channel(holder: Any, role: str, position: Position, occupied: list[Span]) -> int:
    """Return the channel for a sound of a role and name it. Raises NoFreeChannelError."""
    channels = list(holder.channels)
    chosen = find_channel(
        role,
        start_frame=position.start_frame,
        end_frame=position.end_frame,
        occupied=occupied,
        names=_custom_channel_names(channels),
        locked=[number for number, channel in enumerate(channels) if number and channel.lock],
    )
    channels[chosen.channel].name = chosen.name
    return chosen.channel


def _custom_channel_names(channels: list[Any]) -> dict[int, str]:
    names = {number: channel.name for number, channel in enumerate(channels) if number}
    return {number: name for number, name in names.items() if name and name != f"Channel {number}"}


def _create_stem(holder: Any, picture: Any, take: Take, stem: Stem, place: SoundPosition | None = None) -> Any:
    _check_file(take, stem)
    place = place or place_sound(position_of(picture), take.lead_in_frames, take.frames)
    spans = [Span(*values) for values in compat.read_spans(compat.strips_of(holder))]
    try:
        channel = choose_channel(holder, stem.role, place.position, spans)
    except NoFreeChannelError:
        raise PlacementError(
            f'No channel is free for the sound of "{picture.name}".',
            "Free or unlock a channel, then choose the take again.",
        ) from None
    name = sound_strip_name(picture.name, stem.role)
    strips = compat.strips_of(holder)
    try:
        strip = strips.new_sound(name, stored_path(stem.path), channel, place.position.content_start_frame)
    except RuntimeError as error:
        raise _cannot_load(error) from None
    strip.select = False
    compat.show_waveform(strip)
    link = strip.rewas.stem
    link.owner, link.role = picture.rewas.uid, stem.role
    if stem.role in picture.rewas.roles:
        role = picture.rewas.roles[stem.role]
        strip.volume, strip.pan, strip.mute = role.volume, role.pan, role.mute
    _finish_stem(strip, picture, take, place, channel)
    return strip


def _change_sound(strip: Any, picture: Any, take: Take, sound: Any) -> None:
    link, channel = strip.rewas.stem, strip.channel
    owner, sound_position = position_of(picture), position_of(strip)
    shift_frames = take.lead_in_frames - link.lead_in_frames
    if link.is_hidden:
        alignment = sound_position.content_start_frame - owner.content_start_frame + shift_frames
        place = place_sound(owner, alignment, take.frames)
    else:
        place = change_take(
            owner, sound_position, old_frames=link.sound_frames, shift_frames=shift_frames, new_frames=take.frames
        )
    strip.sound = sound
    if link.sound_frames != take.frames:
        compat.update_length(strip)
    _finish_stem(strip, picture, take, place, channel)


def _finish_stem(strip: Any, picture: Any, take: Take, place: SoundPosition, channel: int) -> None:
    link = strip.rewas.stem
    link.take, link.lead_in_frames, link.sound_frames = take.id, take.lead_in_frames, take.frames
    # Blender rounds a sound's length to frames in its own way; the strip's range decides.
    move_stem(strip, place)
    if strip.channel != channel:
        # While it still had its whole length, it was in the way of another strip, so Blender moved it.
        strip.channel = channel
    write_positions(strip, position_of(picture))
    stem = take.stem(link.role)
    assert stem is not None
    strip[PROVENANCE_PROPERTY] = _provenance(picture, take, stem)


def _check_file(take: Take, stem: Stem) -> None:
    # Blender loads a missing file without an error, as one frame of silence.
    if not stem.path.is_file():
        raise PlacementError(
            f'The sound file "{stem.path.name}" of {take.label} is missing from {stem.path.parent}.',
            "Restore it, or choose another take.",
        )


def _load_sound(take: Take, stem: Stem) -> Any:
    _check_file(take, stem)
    try:
        return bpy.data.sounds.load(stored_path(stem.path), check_existing=True)
    except RuntimeError as error:
        raise _cannot_load(error) from None


def _cannot_load(error: RuntimeError) -> PlacementError:
    reason = str(error).strip().removeprefix("Error: ").rstrip(".")
    if "Audaspace" in reason:
        return PlacementError(
            f"Blender {bpy.app.version_string} cannot load the sound ({reason}).",
            "Use a Blender build with audio support and choose the take there.",
        )
    return PlacementError(f"Blender cannot load the sound ({reason}).", "Restore the file, or choose another take.")


def _provenance(picture: Any, take: Take, stem: Stem) -> dict[str, Any]:
    pack = take.pack_of(stem.role)
    provenance: dict[str, Any] = {
        "prompt": take.prompt,
        "role": stem.role,
        "take": take.number,
        # ID properties hold 32-bit integers; a seed can have 63 bits.
        "seed": str(take.seed),
        **{key: value for key, value in take.settings.items() if isinstance(value, int | float | str)},
        "pack": pack.name,
        "pack_version": pack.version,
        "licence": pack.licence,
        "clip": picture.name,
        "media": Path(take.media).name,
        "source_start_s": str(take.source_start_s),
        "source_duration_s": str(take.source_duration_s),
        "samples": str(stem.samples),
        "sample_rate_hz": stem.sample_rate_hz,
        "job": take.job_id,
    }
    recordings = take.recordings_of(stem.role)
    if recordings:
        provenance["recordings"] = "\n".join(dict.fromkeys(each.credit_line for each in recordings))
    measured = {"energy_mae_nats": take.energy_mae_nats, "energy_correlation": take.energy_correlation}
    return provenance | {name: value for name, value in measured.items() if value is not None}
