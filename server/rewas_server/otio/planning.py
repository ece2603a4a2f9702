"""Lists the clips of a timeline: which get a sound, which do not, and why.

`rewas timeline check`, the batch and the server use this one list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.errors import ProblemError
from rewas_engine.runtime.garbage_collection import paused_garbage_collection
from rewas_server.files.file_stamps import FileStamp
from rewas_server.otio.clips import PromptedClip, timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import DEFAULT_RATE, time_order
from rewas_server.otio.media_links import MediaLink, ResolveOptions, resolve_media
from rewas_server.otio.pictures import TOPMOST, Picture, find_pictures
from rewas_server.otio.prompts import ChosenPrompt, PromptOptions, choose_prompts


class ClipState(StrEnum):
    """What happens to a clip."""

    READY = "ready"
    """It gets a sound."""
    NO_PROMPT = "no prompt"
    """It has no prompt."""
    HIDDEN = "hidden"
    """Nothing of it can be seen."""
    REFUSED = "refused"
    """It has a prompt, but its sound cannot be generated."""


@dataclass(frozen=True)
class FindOptions:
    """How the clips of a timeline are found.

    Attributes:
        visible: Which of several clips at the same time get a sound; see `find_pictures`.
        prompts: Where prompts come from besides the timeline itself.
        media: Where the media of the clips are on this machine. None leaves them as the timeline says.
    """

    visible: str = TOPMOST
    prompts: PromptOptions = field(default_factory=PromptOptions)
    media: ResolveOptions | None = None


@dataclass(frozen=True)
class ListedClip:
    """A picture of a timeline, and what happens to it.

    Attributes:
        picture: The visible part of a clip.
        state: What happens to it.
        clip: What gets a sound, if it is ready. It may be a part of the picture, and a picture may have several.
        problem: Why it gets none, and what would help; also set for an unreadable clip without a prompt.
        prompt_origin: Where its prompt is from.
        note: Why a clip gets no sound on purpose, as a sentence.
        media: How its media was found; None if it was not searched.
        sound: What it asks for, even if it cannot get that; None without a prompt.
    """

    picture: Picture
    state: ClipState
    clip: PromptedClip | None = None
    problem: ProblemError | None = None
    prompt_origin: str = ""
    note: str = ""
    media: MediaLink | None = None
    sound: ChosenPrompt | None = None


@dataclass(frozen=True)
class ClipList:
    """The clips of a timeline, with problems and notes about their prompts.

    Attributes:
        clips: By position.
        problems: Rows of the spotting sheet and markers that cannot be used, for example because they match no picture.
        notes: About rows and markers that were used, and metadata that is ignored, as sentences.
        media_stamps: Stamps of the media files that are where the timeline says, taken before they were read.
    """

    clips: tuple[ListedClip, ...]
    problems: tuple[ProblemError, ...] = ()
    notes: tuple[str, ...] = ()
    media_stamps: Mapping[Path, FileStamp] = field(default_factory=dict)


def list_clips(timeline: otio.schema.Timeline, options: FindOptions = FindOptions()) -> ClipList:
    """Return every picture of a timeline by position, with what happens to it.

    Raises ProblemError (TIMELINE) if the options do not fit the timeline.
    """
    with paused_garbage_collection():
        return _list_clips(timeline, options)


def _list_clips(timeline: otio.schema.Timeline, options: FindOptions) -> ClipList:
    links: dict[tuple[int, ...], MediaLink] = {}
    stamps: Mapping[Path, FileStamp] = {}
    if options.media is not None:
        resolved = resolve_media(timeline, options.media)
        timeline, links, stamps = resolved.timeline, resolved.links, resolved.stamps
    pictures = [_linked(picture, links.get(picture.path)) for picture in find_pictures(timeline, options.visible)]
    choices = choose_prompts(
        timeline, pictures, options.prompts, timeline_frame_rate(timeline), _start_s(timeline, options.prompts)
    )
    listed = [
        each
        for index, picture in enumerate(pictures)
        for each in _list_picture(
            picture, choices.sounds[index], choices.silenced.get(index, ""), links.get(picture.path)
        )
    ]
    # A sound for a part of a clip may begin after the next clip on another track.
    listed.sort(key=lambda each: (each.picture.position_s is None, time_order(_position_s(each))))
    return ClipList(tuple(listed), choices.problems, choices.notes, stamps)


def find_clips(timeline: otio.schema.Timeline, options: FindOptions = FindOptions()) -> list[ListedClip]:
    """Return the clips of `list_clips`."""
    return list(list_clips(timeline, options).clips)


def ready_clips(listed: Sequence[ListedClip]) -> list[PromptedClip]:
    """Return the clips that get a sound."""
    return [each.clip for each in listed if each.clip is not None]


def refused_clips(listed: Sequence[ListedClip]) -> list[ListedClip]:
    """Return the clips that have a prompt, but whose sound cannot be generated."""
    return [each for each in listed if each.state is ClipState.REFUSED]


def _linked(picture: Picture, link: MediaLink | None) -> Picture:
    """Return a picture with the problem of its media, which explains most others."""
    if link is None or link.problem is None or picture.hidden:
        return picture
    return replace(picture, source=None, problem=link.problem)


def _list_picture(
    picture: Picture, sounds: Sequence[ChosenPrompt], silenced: str, media: MediaLink | None
) -> Iterator[ListedClip]:
    if picture.hidden:
        yield ListedClip(picture, ClipState.HIDDEN, media=media)
    elif not isinstance(picture.clip, otio.schema.Clip):
        # The contents of a track or stack that cannot be read are unknown.
        yield ListedClip(picture, ClipState.REFUSED, problem=picture.problem, media=media)
    elif not sounds:
        yield ListedClip(picture, ClipState.NO_PROMPT, problem=picture.problem, note=silenced, media=media)
    for sound in sounds:
        yield _list_sound(picture, sound, media)


def _list_sound(picture: Picture, sound: ChosenPrompt, media: MediaLink | None) -> ListedClip:
    problem = sound.problem or picture.problem
    if problem is not None or picture.source is None or picture.position_s is None:
        return ListedClip(
            picture, ClipState.REFUSED, problem=problem, prompt_origin=sound.origin, media=media, sound=sound
        )
    source = picture.source
    if (sound.position_s, sound.duration_s) != (picture.position_s, picture.duration_s):
        source = source.part(sound.position_s - picture.position_s, sound.duration_s)
    clip = PromptedClip(
        source=source,
        settings=sound.settings,
        position_s=sound.position_s,
        duration_s=sound.duration_s,
        frame_rate=picture.frame_rate or DEFAULT_RATE,
        path=picture.path,
        part=picture.part,
        track_name=picture.track_name,
        prompt_origin=sound.origin,
        track=sound.track,
    )
    return ListedClip(picture, ClipState.READY, clip, prompt_origin=clip.prompt_origin, media=media, sound=sound)


def _position_s(listed: ListedClip) -> Fraction:
    return (listed.picture.position_s or Fraction(0)) if listed.clip is None else listed.clip.position_s


def _start_s(timeline: otio.schema.Timeline, prompts: PromptOptions) -> Fraction:
    """Return the timecode of the first frame. An invalid one matters here only if a sheet counts from it."""
    try:
        return timeline_start_s(timeline)
    except ProblemError:
        if prompts.sheet is not None:
            raise
        return Fraction(0)
