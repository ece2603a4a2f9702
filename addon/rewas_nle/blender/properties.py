# SPDX-License-Identifier: GPL-3.0-or-later
"""What is saved in the .blend: prompt, settings and takes on each strip, unfinished jobs on each scene."""

from typing import Any

import bpy

from ..timeline.energy_keys import LOUDEST_DB, SILENCE_DB
from . import compat
from .sound_properties import GROUPS as SOUND_GROUPS
from .sound_properties import RewasSoundSettings
from .take_list import read_take


class RewasTakeStem(bpy.types.PropertyGroup):
    """The file of one stem of a take. Its name is its role."""

    path: bpy.props.StringProperty(
        name="File",
        description="Sound file of this stem. // is the folder of the .blend file",
        subtype="FILE_PATH",
        options=compat.BLEND_RELATIVE,
    )
    sample_rate_hz: bpy.props.IntProperty(name="Sample Rate", description="Samples per second of the sound file")
    channels: bpy.props.IntProperty(name="Channels", description="Number of audio channels of the sound file")
    samples: bpy.props.IntProperty(name="Samples", description="Length of the sound file in samples")


def _get_label(take: Any) -> str:
    return take.name or f"Take {take.number}"


def _set_label(take: Any, label: str) -> None:
    take.name = "" if label.strip() == f"Take {take.number}" else label.strip()


def _take_changed(settings: Any, context: Any) -> None:
    """Remember which take was on the timeline before, to compare with."""
    takes, index = settings.takes, settings.active_take_index
    uid = takes[index].uid if 0 <= index < len(takes) else ""
    if uid != settings.latest_take:
        settings.previous_take, settings.latest_take = settings.latest_take, uid


def _prompt_changed(settings: Any, context: Any) -> None:
    """Use the recordings nearest to a new prompt. The earlier choice counted the recordings for the old prompt."""
    takes, index = settings.takes, settings.active_take_index
    if settings.settings.recording and not (
        0 <= index < len(takes) and read_take(takes[index]).prompt == settings.prompt
    ):
        settings.settings.recording = 0


class RewasTake(bpy.types.PropertyGroup):
    """One take of a strip. blender.take_list reads and writes it."""

    name: bpy.props.StringProperty(
        name="Name", description="Name of this take. Leave empty to show its number", options=set()
    )
    label: bpy.props.StringProperty(
        name="Name",
        description="Name of this take. Double-click to rename it",
        get=_get_label,
        set=_set_label,
        options={"SKIP_SAVE"},
    )
    is_favourite: bpy.props.BoolProperty(
        name="Favourite", description="Mark this take as one of the best of its strip", options=set()
    )
    uid: bpy.props.StringProperty(name="Identifier", description="Identifier of this take, which never changes")
    number: bpy.props.IntProperty(name="Number", description="Number of this take, which is never reused")
    stems: bpy.props.CollectionProperty(
        type=RewasTakeStem, name="Stems", description="The sound files of this take, one for each role"
    )
    record: bpy.props.StringProperty(name="Record", description="Settings and results of this take, as JSON")


class RewasRole(bpy.types.PropertyGroup):
    """What a strip remembers of the sound of one role while no take has a stem for it. Its name is the role."""

    volume: bpy.props.FloatProperty(name="Volume", description="Volume of the sound of this role", default=1.0)
    pan: bpy.props.FloatProperty(name="Pan", description="Stereo position of the sound of this role")
    mute: bpy.props.BoolProperty(name="Mute", description="Whether the sound of this role is muted")
    is_removed: bpy.props.BoolProperty(
        name="Removed", description="Whether you have deleted the sound of this role from the timeline"
    )


class RewasStemLink(bpy.types.PropertyGroup):
    """Ties a sound strip to the strip whose sound it is. blender.stem_strips reads and writes it.

    The frames are those of both strips when the link was last brought up to date.
    """

    owner: bpy.props.StringProperty(
        name="Owner", description="Identifier of the strip that this sound belongs to, or empty for other strips"
    )
    take: bpy.props.StringProperty(name="Take", description="Identifier of the take that this sound comes from")
    role: bpy.props.StringProperty(name="Role", description="Role of this sound in its take, such as primary")
    lead_in_frames: bpy.props.IntProperty(
        name="Lead-In", description="Frames from the start of the owner's content to the start of the take"
    )
    sound_frames: bpy.props.IntProperty(name="Length", description="Length of the take in frames of the scene")
    is_hidden: bpy.props.BoolProperty(
        name="Hidden", description="Whether this sound is muted because its strip shows none of its frames"
    )
    is_connected: bpy.props.BoolProperty(
        name="Connected",
        description="Whether this sound was connected to its strip, or need not be, because it is shorter",
    )
    was_muted: bpy.props.BoolProperty(name="Was Muted", description="Whether this sound was muted before it was hidden")
    content_start_frame: bpy.props.IntProperty(
        name="Content", description="Frame where the content of the sound begins"
    )
    start_frame: bpy.props.IntProperty(name="Start", description="First frame of the sound strip")
    end_frame: bpy.props.IntProperty(name="End", description="Frame after the last one of the sound strip")
    owner_content_start_frame: bpy.props.IntProperty(
        name="Owner's Content", description="Frame where the content of the owner begins"
    )
    owner_start_frame: bpy.props.IntProperty(name="Owner's Start", description="First frame of the owner")
    owner_end_frame: bpy.props.IntProperty(name="Owner's End", description="Frame after the last one of the owner")


class RewasConflictMark(bpy.types.PropertyGroup):
    """A range of a strip whose picture does not match the prompt."""

    start_s: bpy.props.FloatProperty(
        name="Start", description="Start of the range, in seconds from the start of the strip's content"
    )
    end_s: bpy.props.FloatProperty(
        name="End", description="End of the range, in seconds from the start of the strip's content"
    )
    score: bpy.props.FloatProperty(name="Score", description="Probability that the range matches the prompt")
    best_label: bpy.props.StringProperty(name="Looks Like", description="What the range looks like instead")


class RewasSuggestion(bpy.types.PropertyGroup):
    """A prompt that matches the picture better. Its name is the prompt."""


class RewasCheck(bpy.types.PropertyGroup):
    """How well a prompt matches the picture of a strip. Read and written by blender.check_results."""

    verdict: bpy.props.StringProperty(
        name="Verdict", description="Result of the comparison: agree, unsure or conflict. Empty before the first one"
    )
    score: bpy.props.FloatProperty(name="Score", description="Probability that prompt and picture match")
    explanation: bpy.props.StringProperty(name="Explanation", description="The result in one sentence")
    encoder: bpy.props.StringProperty(name="Encoder", description="The model that made the comparison")
    prompt: bpy.props.StringProperty(name="Prompt", description="The prompt that was compared")
    marks: bpy.props.CollectionProperty(
        type=RewasConflictMark, name="Marks", description="Ranges whose picture does not match the prompt"
    )
    suggestions: bpy.props.CollectionProperty(
        type=RewasSuggestion, name="Suggestions", description="Prompts that match the picture better, best first"
    )


class RewasStripSettings(bpy.types.PropertyGroup):
    """Settings of one strip. Blender saves, undoes and copies them with the strip."""

    uid: bpy.props.StringProperty(
        name="Identifier", description="Identifier of this strip. Empty until its sound is generated"
    )
    uid_name: bpy.props.StringProperty(
        name="Identified Name", description="Name of the strip that holds the identifier, to recognise copies"
    )
    uid_scene: bpy.props.StringProperty(
        name="Identified Scene", description="Scene of the strip that holds the identifier, to recognise copies"
    )
    takes: bpy.props.CollectionProperty(
        type=RewasTake, name="Takes", description="Every version of the sound of this strip"
    )
    active_take_index: bpy.props.IntProperty(
        name="Active Take",
        description="The take that is on the timeline, counted from 0. -1 is none",
        default=-1,
        min=-1,
        options=set(),
        update=_take_changed,
    )
    last_take_number: bpy.props.IntProperty(
        name="Last Number", description="Highest number that was given to a take of this strip"
    )
    roles: bpy.props.CollectionProperty(
        type=RewasRole, name="Roles", description="Volume, pan and mute of the sound of each role"
    )
    stem: bpy.props.PointerProperty(
        type=RewasStemLink, name="Stem", description="Link from a generated sound to its strip"
    )
    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="The sound to generate for this strip, for example: a ball bounces on a wooden floor",
        options=set(),
        update=_prompt_changed,
    )
    settings: bpy.props.PointerProperty(
        type=RewasSoundSettings, name="Settings", description="What else to generate for this strip, and how"
    )
    latest_take: bpy.props.StringProperty(
        name="Latest Take", description="Identifier of the take that was last put on the timeline"
    )
    check: bpy.props.PointerProperty(
        type=RewasCheck, name="Check", description="How well the prompt matches the picture"
    )
    previous_take: bpy.props.StringProperty(
        name="Previous Take", description="Identifier of the take that was on the timeline before the active one"
    )


class RewasJob(bpy.types.PropertyGroup):
    """An unfinished job. Its name is its key."""

    record: bpy.props.StringProperty(
        name="Record", description="What is needed to continue the job in another Blender, as JSON", options=set()
    )


class RewasSceneSettings(bpy.types.PropertyGroup):
    """The add-on's data in a scene."""

    jobs: bpy.props.CollectionProperty(
        type=RewasJob, name="Jobs", description="Jobs whose sound has not arrived yet", options=set()
    )
    show_energy: bpy.props.BoolProperty(
        name="Sound Energy",
        description="Show energy over the strips: the drawn curve in white, what the active take requested in violet, "
        "and the energy of its sound in green",
        default=True,
        options=set(),
    )


class RewasRow(bpy.types.PropertyGroup):
    """A row of a list whose content Python holds."""


class RewasWindowSettings(bpy.types.PropertyGroup):
    """The state of the panels, which is not saved in a file."""

    jobs: bpy.props.CollectionProperty(
        type=RewasRow, name="Jobs", description="One item for each job of this Blender", options={"SKIP_SAVE"}
    )
    active_job_index: bpy.props.IntProperty(
        name="Job", description="The job whose details are shown", options={"SKIP_SAVE"}
    )
    show_all_recordings: bpy.props.BoolProperty(
        name="Show All",
        description="Show all recordings in the take, not only the first ones",
        options={"SKIP_SAVE"},
    )
    preset: bpy.props.PointerProperty(
        type=RewasSoundSettings, name="Preset", description="Settings that are being saved to or loaded from a preset"
    )


GROUPS = (
    *SOUND_GROUPS,
    RewasTakeStem,
    RewasTake,
    RewasRole,
    RewasStemLink,
    RewasConflictMark,
    RewasSuggestion,
    RewasCheck,
    RewasStripSettings,
    RewasJob,
    RewasSceneSettings,
    RewasRow,
    RewasWindowSettings,
)


def register() -> None:
    for group in GROUPS:
        bpy.utils.register_class(group)
    compat.STRIP_TYPE.rewas = bpy.props.PointerProperty(type=RewasStripSettings)
    # Directly on the strip, so that the Graph Editor lists their F-curves by the name of the strip.
    compat.STRIP_TYPE.rewas_energy_db = bpy.props.FloatProperty(
        name="Energy",
        description="Level of the sound over time, in decibels. -100 is silence",
        default=-40.0,
        min=SILENCE_DB,
        max=LOUDEST_DB,
        precision=1,
    )
    compat.STRIP_TYPE.rewas_energy_origin = bpy.props.FloatProperty(
        name="Energy Origin", description="Marks where the picture begins, so that the curve Energy stays with it"
    )
    window_type: Any = bpy.types.WindowManager
    window_type.rewas = bpy.props.PointerProperty(type=RewasWindowSettings)
    bpy.types.Scene.rewas = bpy.props.PointerProperty(type=RewasSceneSettings)  # type: ignore[attr-defined]


def unregister() -> None:
    window_type: Any = bpy.types.WindowManager
    del window_type.rewas
    del bpy.types.Scene.rewas  # type: ignore[attr-defined]
    del compat.STRIP_TYPE.rewas_energy_origin, compat.STRIP_TYPE.rewas_energy_db
    del compat.STRIP_TYPE.rewas
    for group in reversed(GROUPS):
        bpy.utils.unregister_class(group)
