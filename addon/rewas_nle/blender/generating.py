# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts jobs for strips, one strip per slice, so that hundreds of strips do not block Blender."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import bpy

from ..core.messages import Problem
from ..core.records import JobRecord, new_key
from ..core.sound_settings import SoundSettings
from ..timeline.selection import PICTURE_KINDS, clip_from_strip, prompt_refusal
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from . import compat
from .file_records import write_record
from .open_file import look_for_jobs, server_at
from .picture_queue import PictureBatch
from .placement import StripAddress, ensure_uid, find_strip
from .preferences import chosen_server, preferences, stems_folder
from .proxy_rendering import describe_task
from .shared_session import session
from .sound_properties import read_settings
from .strip_reading import Surroundings, picture_strip, read_in_slices, scene_rate, survey_in_slices

Plan = Callable[[Any, Any, SelectedClip, SoundSettings], tuple[SelectedClip, SoundSettings] | Refusal]
"""Changes what is generated. Called with the scene, the strip, what the strip shows, and its settings."""


class StripName(NamedTuple):
    """The names by which a strip is found. References to strips become invalid after undo."""

    scene_name: str
    strip_name: str

    def find(self) -> tuple[Any, Any] | None:
        """Return its scene and strip, or None if it is gone."""
        scene = bpy.data.scenes.get(self.scene_name)
        editor = scene.sequence_editor if scene is not None else None
        strip = compat.all_strips_of(editor).get(self.strip_name) if editor is not None else None
        return None if strip is None else (scene, strip)


@dataclass
class GenerateCount:
    """How many jobs have started, and why strips were refused."""

    started: int
    refusals: list[Refusal]


refused_strips: dict[str, StripName] = {}
"""The strips of refused rows in the list of jobs, by key, to try them again."""


def selected_names(scene: Any) -> list[StripName]:
    """Return the selected strips of the open meta strip, or of the timeline, in order of time."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    strips = compat.strips_of(compat.edited_holder(editor))
    selected = [False] * len(strips)
    strips.foreach_get("select", selected)
    spans = compat.read_spans(strips)
    chosen = [
        (start_frame, channel, strip.name)
        for strip, (channel, start_frame, _), is_selected in zip(strips, spans, selected, strict=True)
        if is_selected
    ]
    return [StripName(scene.name, name) for _, _, name in sorted(chosen)]


def has_selection(scene: Any) -> bool:
    """Return whether a strip is selected."""
    editor = scene.sequence_editor
    if editor is None:
        return False
    strips = compat.strips_of(compat.edited_holder(editor))
    selected = [False] * len(strips)
    strips.foreach_get("select", selected)
    return any(selected)


def start_jobs(names: Sequence[StripName], plan: Plan | None = None) -> Generator[None, None, GenerateCount]:
    """Read strips and start their jobs, one strip per slice. A strip that cannot have sound gets a row that says why.

    A sound or an effect stands for its picture. Sounds without a picture are skipped.

    plan: changes what is generated, if that is not all of the sound with the settings of the strip.
    """
    # This comes first: the answer for a file that was just opened must not hide jobs that have started meanwhile.
    look_for_jobs()
    count = GenerateCount(0, [])
    batch_id = uuid.uuid4().hex
    pictures = PictureBatches()
    done = set()
    for name in names:
        surroundings = yield from pictures.survey(name.scene_name)
        picture = _picture_name(name, surroundings)
        if picture is not None and picture not in done:
            done.add(picture)
            snapshot = yield from read_in_slices(picture.find, surroundings)
            found = picture.find()
            if snapshot is not None and found is not None:
                record = _build_record(*found, snapshot, batch_id, plan)
                if isinstance(record, Refusal):
                    count.refusals.append(record)
                    _refuse(picture, record, can_retry=plan is None)
                else:
                    count.started += 1
                    if record.needs_picture:
                        pictures.add(record, snapshot, *found)
                    else:
                        session().generate([record], chosen_server())
                    yield
                    write_record(record)
        yield
    pictures.start()
    return count


def prepare_again(records: Sequence[JobRecord]) -> Generator[None, None, None]:
    """Read the strips of jobs whose picture was not rendered or has been deleted, and continue the jobs."""
    pictures = PictureBatches()
    for record in records:
        address = StripAddress(record.strip_uid, record.scene_name, record.clip.name, record.clip.source_path)
        found = find_strip(address)
        snapshot = None
        if found is not None:
            surroundings = yield from pictures.survey(found[0].name)
            snapshot = yield from read_in_slices(lambda address=address: find_strip(address), surroundings)
            found = find_strip(address)
        if snapshot is None or found is None:
            what = f'The strip "{record.clip.name}" was deleted before Blender had rendered its picture.'
            session().fail_preparation(record.key, Problem(what, "Select the strips that remain and generate again."))
            continue
        clip = clip_from_strip(snapshot, scene_rate(found[0]))
        if isinstance(clip, Refusal):
            session().fail_preparation(record.key, Problem(clip.what, clip.remedy))
            continue
        if record.clip.media_frames == clip.media_frames:
            # The job may be for only a part of the strip.
            clip = replace(record.clip, path=clip.path, proxy=clip.proxy)
        current = replace(record, clip=replace(clip, prompt=record.clip.prompt), problem=None)
        if current.needs_picture:
            pictures.add(current, snapshot, *found)
        else:
            session().prepare(current)
            submit_with_picture(current.key)
        yield
    pictures.start()


def submit_with_picture(key: str) -> None:
    """Submit a job whose picture has been rendered."""
    record = session().book.get(key)
    if record is not None:
        session().submit_prepared(key, server_at(record.server))


class PictureBatches:
    """Jobs that wait for their pictures, and what is known about the other strips, by scene."""

    def __init__(self) -> None:
        self._surroundings: dict[str, Surroundings] = {}
        self._batches: dict[str, PictureBatch] = {}

    def survey(self, scene_name: str) -> Generator[None, None, Surroundings]:
        """Return what reading the strips of a scene needs to know about its other strips."""
        if scene_name not in self._surroundings:
            yield
            self._surroundings[scene_name] = yield from survey_in_slices(scene_name)
        return self._surroundings[scene_name]

    def add(self, record: JobRecord, snapshot: StripSnapshot, scene: Any, strip: Any) -> None:
        """Let a job wait for its picture."""
        task = describe_task(scene, strip, snapshot, self._surroundings[scene.name])
        self._batches.setdefault(scene.name, PictureBatch()).add(record, task)

    def start(self) -> None:
        """Start to render."""
        for scene_name, batch in self._batches.items():
            batch.start(bpy.data.scenes.get(scene_name))


def _picture_name(name: StripName, surroundings: Surroundings) -> StripName | None:
    """Return the strip that a selected strip stands for. A strip of a kind that shows no picture stands for itself."""
    found = name.find()
    if found is None:
        return None
    scene, strip = found
    picture = picture_strip(scene, strip, surroundings)
    if picture is None:
        return None if strip.type == "SOUND" else name
    return StripName(scene.name, picture.name)


def _refuse(name: StripName, refusal: Refusal, *, can_retry: bool) -> None:
    key = new_key()
    refused_strips[key] = name
    found = name.find()
    uid = ensure_uid(*found) if found is not None and found[1].type in PICTURE_KINDS else ""
    problem = Problem(refusal.what, refusal.remedy)
    session().refuse(key, name.strip_name, problem, can_retry=can_retry, strip_uid=uid)


def _build_record(
    scene: Any, strip: Any, snapshot: StripSnapshot, batch_id: str, plan: Plan | None
) -> JobRecord | Refusal:
    clip = clip_from_strip(snapshot, scene_rate(scene))
    refusal = clip if isinstance(clip, Refusal) else prompt_refusal(snapshot)
    if isinstance(clip, Refusal) or refusal is not None:
        return refusal or clip  # type: ignore[return-value]
    settings = read_settings(scene, strip, clip, preferences().pack.strip())
    planned = settings if isinstance(settings, Refusal) else (clip, settings)
    if plan is not None and not isinstance(settings, Refusal):
        planned = plan(scene, strip, clip, settings)
    if isinstance(planned, Refusal):
        return planned
    clip, settings = planned
    return JobRecord(
        key=new_key(),
        clip=clip,
        settings=settings,
        scene_name=scene.name,
        strip_uid=ensure_uid(scene, strip),
        stems_folder=stems_folder(),
        batch_id=batch_id,
        blend_file=bpy.data.filepath,
        server=chosen_server().address,
        created_at_s=int(time.time()),
    )
