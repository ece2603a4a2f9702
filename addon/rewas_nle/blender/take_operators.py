# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the takes of a strip, and those that generate a part of a take or another one like it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..core.plain_json import from_plain
from ..core.sound_settings import KeptSounds, Regeneration, SoundSettings
from ..timeline.energy_keys import shift_keys
from ..timeline.ranges import MarkedRange, clip_of_take, range_between_markers, seconds_in_clip
from ..timeline.strips import Refusal, SelectedClip
from ..timeline.takes import MIX_ROLE, PRIMARY_ROLE, Take
from . import compat
from .active_picture import active_picture
from .energy_curves import remove_layer_keys, write_keys
from .operators import generate_strips
from .placement import choose_take, delete_take, ensure_uid
from .prepared import prepared_take
from .setting_operators import poll_picture, selected_pictures
from .sound_properties import drawn_keys, write_settings
from .stem_strips import PlacementError
from .take_list import active_item, active_take, add_takes, used_paths

_doomed: set[Path] = set()
"""Files of deleted takes. They are deleted when the .blend is saved, so that undo can bring a take back until then."""


def _poll_take(operator: Any, context: Any) -> bool:
    if not poll_picture(operator, context):
        return False
    if active_item(active_picture(context)) is None:
        operator.poll_message_set("Generate sound for this strip first")
        return False
    return True


class _TakeOperator:
    @classmethod
    def poll(cls, context: Any) -> bool:
        return _poll_take(cls, context)

    def restore(self, context: Any, *, lock_seed: bool) -> Any:
        """Set prompt and settings of the strip to those of its active take, and return the strip."""
        picture = active_picture(context)
        take = active_take(picture)
        assert take is not None
        restore_settings(picture, take)
        picture.rewas.settings.lock_seed = lock_seed
        return picture


class REWAS_OT_play_take(_TakeOperator, bpy.types.Operator):
    """Play the active take from its first frame. Press again to stop"""

    bl_idname = "rewas.play_take"
    bl_label = "Play Take"
    bl_options = {"REGISTER"}

    def execute(self, context: Any) -> compat.OperatorResult:
        scene, picture = compat.scene_of(context), active_picture(context)
        if not context.screen.is_animation_playing:
            take = active_take(picture)
            assert take is not None
            first = compat.content_start(picture) + take.lead_in_frames
            scene.frame_set(max(first, compat.left_handle(picture)))
        bpy.ops.screen.animation_play()
        return {"FINISHED"}


class REWAS_OT_compare_takes(bpy.types.Operator):
    """Switch between the active take and the previously active one to compare them, even during playback"""

    bl_idname = "rewas.compare_takes"
    bl_label = "Compare Takes (A/B)"
    bl_options = {"REGISTER", "UNDO_GROUPED"}
    bl_undo_group = "rewas.compare_takes"

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not _poll_take(cls, context):
            return False
        if len(active_picture(context).rewas.takes) < 2:
            cls.poll_message_set("This strip has only one take")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas
        uids = [item.uid for item in settings.takes]
        active = settings.active_take_index
        previous = settings.previous_take
        target = uids.index(previous) if previous in uids else (active + 1) % len(uids)
        if target == active:
            target = (active + 1) % len(uids)
        return _choose(self, context, uids[target])


class REWAS_OT_next_take(bpy.types.Operator):
    """Put the next take of the list on the timeline"""

    bl_idname = "rewas.next_take"
    bl_label = "Next Take"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return REWAS_OT_compare_takes.poll.__func__(cls, context)  # type: ignore[attr-defined, no-any-return]

    def execute(self, context: Any) -> compat.OperatorResult:
        settings = active_picture(context).rewas
        index = (settings.active_take_index + 1) % len(settings.takes)
        return _choose(self, context, settings.takes[index].uid)


def _choose(operator: Any, context: Any, uid: str) -> compat.OperatorResult:
    try:
        choose_take(compat.scene_of(context), active_picture(context), uid)
    except PlacementError as error:
        operator.report({"WARNING"}, f"{error.what} {error.remedy}")
        return {"CANCELLED"}
    return {"FINISHED"}


class REWAS_OT_delete_take(_TakeOperator, bpy.types.Operator):
    """Delete the active take. Its sound files are deleted at the next save, unless something else uses them"""

    bl_idname = "rewas.delete_take"
    bl_label = "Delete Take"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> compat.OperatorResult:
        picture = active_picture(context)
        try:
            take = delete_take(compat.scene_of(context), picture, active_item(picture).uid)
        except PlacementError as error:
            self.report({"WARNING"}, f"{error.what} {error.remedy}")
            return {"FINISHED"}
        _doomed.update(stem.path for stem in take.stems)
        self.report({"INFO"}, f"Deleted {take.label}. Its files are deleted at the next save")
        return {"FINISHED"}


class REWAS_OT_send_take(_TakeOperator, bpy.types.Operator):
    """Add the active take to the other selected strips and put it on the timeline there"""

    bl_idname = "rewas.send_take"
    bl_label = "Send Take to Selected"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not _poll_take(cls, context):
            return False
        picture = active_picture(context)
        if not any(strip != picture for strip in selected_pictures(context)):
            cls.poll_message_set("Select the other strips as well")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        scene, picture = compat.scene_of(context), active_picture(context)
        take = active_take(picture)
        assert take is not None
        problems = []
        others = [strip for strip in selected_pictures(context) if strip != picture]
        for strip in others:
            ensure_uid(scene, strip)
            add_takes(strip, [take_for(strip, picture, take)])
            try:
                choose_take(scene, strip, take.id)
            except PlacementError as error:
                problems.append(f"{error.what} {error.remedy}")
        if problems:
            self.report({"WARNING"}, "\n".join(dict.fromkeys(problems)))
        else:
            self.report({"INFO"}, f"Sent {take.label} to {len(others)} strip{'s' if len(others) > 1 else ''}")
        return {"FINISHED"}


def take_for(strip: Any, picture: Any, take: Take) -> Take:
    """Return a take for another strip. Unless both show the same media, it begins where the other strip begins."""
    if _media_of(strip) == _media_of(picture):
        return take
    return replace(take, lead_in_frames=compat.left_handle(strip) - compat.content_start(strip))


def _media_of(strip: Any) -> str:
    return bpy.path.abspath(strip.filepath) if strip.type == "MOVIE" else strip.name


class REWAS_OT_use_take_settings(_TakeOperator, bpy.types.Operator):
    """Set prompt and settings of the strip to those of the active take, with its seed locked"""

    bl_idname = "rewas.use_take_settings"
    bl_label = "Use Settings of Take"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> compat.OperatorResult:
        self.restore(context, lock_seed=True)
        return {"FINISHED"}


class REWAS_OT_generate_like_take(_TakeOperator, bpy.types.Operator):
    """Generate another take with the prompt and settings of the active one, and a new seed"""

    bl_idname = "rewas.generate_like_take"
    bl_label = "Generate Another Like This"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> compat.OperatorResult:
        return generate_strips(self, compat.scene_of(context), [self.restore(context, lock_seed=False)])


class REWAS_OT_regenerate(_TakeOperator, bpy.types.Operator):
    """Regenerate the primary sound of the active take as a new take. If Change is below 1, a part of it is kept"""

    bl_idname = "rewas.regenerate"
    bl_label = "Regenerate"
    bl_options = {"REGISTER"}

    def execute(self, context: Any) -> compat.OperatorResult:
        return generate_strips(self, compat.scene_of(context), [active_picture(context)], plan_again)


class REWAS_OT_range_again(bpy.types.Operator):
    bl_idname = "rewas.range_again"
    bl_label = "Regenerate Range"
    bl_description = (
        "Regenerate only the marked range of the active take, as a new take. The range is the preview range or, "
        "while none is set, the range between the two markers around the current frame"
    )
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not _poll_take(cls, context):
            return False
        if marked_range(compat.scene_of(context)) is None:
            cls.poll_message_set("Set a preview range (P), or place a marker (M) at each side of the current frame")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        return generate_strips(self, compat.scene_of(context), [active_picture(context)], plan_range_again)


class REWAS_OT_another_recording(_TakeOperator, bpy.types.Operator):
    bl_idname = "rewas.another_recording"
    bl_label = "Another Recording"
    bl_description = (
        "Make a new take whose primary sound uses the next recordings of the library, with the energy, settings and "
        "seed of the active take. After the last recordings, the list starts again"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        if not _poll_take(cls, context):
            return False
        if not prepared_take(active_item(active_picture(context))).recordings_of(PRIMARY_ROLE):
            cls.poll_message_set("The primary sound of this take was not made from recordings. Choose a library")
            return False
        return True

    def execute(self, context: Any) -> compat.OperatorResult:
        picture = active_picture(context)
        take = active_take(picture)
        assert take is not None
        if picture.rewas.prompt == take.prompt:
            # Later takes use these recordings too.
            picture.rewas.settings.recording = take.place + 1
        return generate_strips(self, compat.scene_of(context), [picture], plan_another_recording)


def marked_range(scene: Any) -> MarkedRange | None:
    """Return the preview range, or the range between the markers around the current frame."""
    if scene.use_preview_range:
        return MarkedRange(scene.frame_preview_start, scene.frame_preview_end + 1)
    return range_between_markers([marker.frame for marker in scene.timeline_markers], scene.frame_current)


def plan_again(
    scene: Any, strip: Any, clip: SelectedClip, settings: SoundSettings
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    """Plan to regenerate the whole active take."""
    return _plan(strip, clip, settings, None)


def plan_range_again(
    scene: Any, strip: Any, clip: SelectedClip, settings: SoundSettings
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    """Plan to regenerate the marked range of the active take."""
    return _plan(strip, clip, settings, marked_range(scene))


def _plan(
    strip: Any, clip: SelectedClip, settings: SoundSettings, marked: MarkedRange | None
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    take = active_take(strip)
    primary = take.stem(PRIMARY_ROLE) if take is not None else None
    if take is None or primary is None:
        return Refusal(f'The strip "{strip.name}" has no primary sound yet.', "Generate sound for it first.")
    whole = clip_of_take(clip, take)
    if isinstance(whole, Refusal):
        return whole
    seconds = (Fraction(0), whole.source_duration_s) if marked is None else seconds_in_clip(marked, whole)
    if seconds is None:
        return Refusal(
            f'The marked range is outside {take.label} of the strip "{strip.name}".',
            "Mark a range within it: the preview range, or a marker at each side of the current frame.",
        )
    regeneration = Regeneration(
        sound=primary.path,
        start_s=seconds[0],
        end_s=seconds[1],
        strength=round(strip.rewas.settings.range_strength, 6),
    )
    is_replaced = regeneration.strength == 1 and seconds == (Fraction(0), whole.source_duration_s)
    energy = settings.energy
    if energy.source == "drawn":
        # The strip may have been trimmed since, so the range of the take is another one.
        energy = replace(energy, keys=drawn_keys(strip.id_data, strip, whole))
    return whole, replace(
        settings,
        energy=energy,
        layers=(),
        loop=None,
        new_sound_at_cuts=None,
        cuts_s=(),
        gain_db=None,
        mix=None,
        sample_rate_hz=None,
        regenerate=regeneration,
        kept=_kept_layers(take) if is_replaced else replace(_kept_layers(take), recordings=take.recordings),
    )


def plan_another_recording(
    scene: Any, strip: Any, clip: SelectedClip, settings: SoundSettings
) -> tuple[SelectedClip, SoundSettings] | Refusal:
    """Plan to perform the primary sound of the active take with the next recordings of the library."""
    take = active_take(strip)
    assert take is not None
    whole = clip_of_take(clip, take)
    if isinstance(whole, Refusal):
        return whole
    chosen = take.settings.get("chosen")
    performed = settings if chosen is None else from_plain(SoundSettings, dict(chosen))
    keys = performed.energy.keys
    if keys and abs(keys[-1][0] - float(whole.source_duration_s)) > 1 / float(whole.rate):
        # The take has been extended since it was made, and with it the curve of the strip.
        performed = replace(performed, energy=replace(performed.energy, keys=drawn_keys(scene, strip, whole)))
    return replace(whole, prompt=take.prompt), replace(
        performed,
        pack=take.pack or performed.pack,
        seed=take.seed,
        takes=1,
        layers=(),
        mix=None,
        performance=replace(performed.performance, place=take.place + 1),
        kept=_kept_layers(take),
    )


def _kept_layers(take: Take) -> KeptSounds:
    """Return the sounds of a take except the primary one and the mix, which contains it."""
    return KeptSounds(
        tuple(stem for stem in take.stems if stem.role not in (PRIMARY_ROLE, MIX_ROLE)),
        tuple(recording for recording in take.recordings if recording.role != PRIMARY_ROLE),
        # A new take may be made with another pack.
        tuple(take.pack_of(role) for role in take.roles if role not in (PRIMARY_ROLE, MIX_ROLE)),
    )


def restore_settings(strip: Any, take: Take) -> None:
    """Set prompt and settings of a strip to those that a take was generated with."""
    strip.rewas.prompt = take.prompt
    chosen = take.settings.get("chosen")
    if chosen is not None:
        settings = from_plain(SoundSettings, dict(chosen))
        remove_layer_keys(strip.id_data, strip)
        write_settings(strip.rewas.settings, settings)
        lead_in_s = float(take.lead_in_frames / take.scene_rate)
        drawn = {"": settings.energy.keys, **{layer.name: layer.keys for layer in settings.layers}}
        for layer, keys in drawn.items():
            if keys:
                write_keys(strip.id_data, strip, shift_keys(keys, lead_in_s), layer)
    # The settings hold smaller seeds than the contract does; ours are never larger.
    strip.rewas.settings.seed = min(take.seed, 2**31 - 1)


@bpy.app.handlers.persistent
def _after_saving(target: str = "", *_: Any) -> None:
    if not bpy.data.filepath or target != bpy.data.filepath:
        return
    for path in _doomed - used_paths():
        path.unlink(missing_ok=True)
    _doomed.clear()


@bpy.app.handlers.persistent
def _after_loading(*_: Any) -> None:
    _doomed.clear()


CLASSES = (
    REWAS_OT_play_take,
    REWAS_OT_compare_takes,
    REWAS_OT_next_take,
    REWAS_OT_delete_take,
    REWAS_OT_send_take,
    REWAS_OT_use_take_settings,
    REWAS_OT_generate_like_take,
    REWAS_OT_regenerate,
    REWAS_OT_range_again,
    REWAS_OT_another_recording,
)
_HANDLERS = (("save_post", _after_saving), ("load_post", _after_loading))


def register() -> None:
    for operator in CLASSES:
        bpy.utils.register_class(operator)
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
    for operator in reversed(CLASSES):
        bpy.utils.unregister_class(operator)
    _doomed.clear()
