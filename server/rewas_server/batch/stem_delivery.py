"""Passes the kept sounds of a batch to delivery, which renders the part of each sound that its clip shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY, ClipSettings
from rewas_api.v1 import rewas_pb2
from rewas_server.batch.run import ClipOutcome
from rewas_server.delivery.stems import GeneratedStem, MissingSound, TimelineFacts
from rewas_server.otio.clips import PromptedClip, timeline_frame_rate, timeline_start_s
from rewas_server.otio.frame_timeline import is_drop_frame
from rewas_server.otio.names import shorten_name
from rewas_server.otio.planning import ClipState, ListedClip
from rewas_server.work.stem_provenance import SoundProvenance

_IDENTITY_KEY = "stems_of"
"""Key in metadata["rewas"] of a timeline that a batch has written: the identity of the timeline with these stems."""


@dataclass(frozen=True)
class SoundedClip:
    """A clip with its result; None without a sound."""

    outcome: ClipOutcome
    listed: ListedClip
    result: rewas_pb2.SoundResult | None


def with_results(outcomes: Sequence[ClipOutcome], clips: Sequence[ListedClip]) -> list[SoundedClip]:
    """Return the clips with their results."""
    return [
        SoundedClip(outcome, listed, None if outcome.sound is None else outcome.sound.result)
        for outcome, listed in zip(outcomes, clips, strict=True)
    ]


def timeline_facts(timeline: otio.schema.Timeline, file: Path, stems: Path) -> TimelineFacts:
    """Return what delivery must know about a timeline.

    Timelines of the same name may share a folder of stems. Their files tell them apart.

    Args:
        timeline: The timeline.
        file: Its file.
        stems: The folder for its stems.
    """
    ours = timeline.metadata.get(METADATA_KEY)
    known = ours.get(_IDENTITY_KEY) if hasattr(ours, "items") else None
    frame_rate = timeline_frame_rate(timeline)
    return TimelineFacts(
        name=shorten_name(timeline.name),
        start_s=timeline_start_s(timeline),
        frame_rate=frame_rate,
        is_drop_frame=is_drop_frame(timeline, frame_rate),
        # A relative path stays the same if the whole project is moved.
        identity=known if isinstance(known, str) and known else f"{timeline.name} {_relative(file, stems)}",
    )


def write_identity(timeline: otio.schema.Timeline, facts: TimelineFacts) -> None:
    """Write the identity of a timeline into it, so that a batch on the output delivers the same files."""
    ours = timeline.metadata.get(METADATA_KEY)
    if ours is None:
        timeline.metadata[METADATA_KEY] = {_IDENTITY_KEY: facts.identity}
    elif hasattr(ours, "items"):
        ours[_IDENTITY_KEY] = facts.identity


def generated_stems(clips: Sequence[SoundedClip]) -> Iterator[GeneratedStem]:
    """Yield the stems of all clips that have a sound."""
    for each in clips:
        if each.result is not None and each.listed.clip is not None:
            yield from _stems(each.outcome, each.listed.clip, each.result)


def missing_sounds(sounds: Sequence[SoundedClip], listed: Iterable[ListedClip]) -> list[MissingSound]:
    """Return the clips without a sound: those that failed, and those without a prompt for one.

    Args:
        sounds: The clips with a prompt.
        listed: All clips of the timeline.
    """
    failed = [
        _missing(each.listed, f"{each.outcome.problem.what} {each.outcome.problem.remedy}", each.outcome.number)
        for each in sounds
        if each.outcome.problem is not None
    ]
    return failed + [
        _missing(each, each.note or "It has no prompt.") for each in listed if each.state is ClipState.NO_PROMPT
    ]


def _missing(listed: ListedClip, reason: str, number: int | None = None) -> MissingSound:
    # A sound may be for a part of the picture.
    place = listed.picture if listed.clip is None else listed.clip
    return MissingSound(listed.picture.name, number, place.position_s, place.duration_s, reason)


def _stems(outcome: ClipOutcome, clip: PromptedClip, result: rewas_pb2.SoundResult) -> Iterator[GeneratedStem]:
    assert outcome.sound is not None
    made = SoundProvenance(ClipSettings.from_proto(result.settings), result.pack)
    for number, take in enumerate(result.takes, start=1):
        for stem in take.stems:
            yield GeneratedStem(
                path=outcome.sound.folder / stem.artifact.name,
                sha256=stem.artifact.sha256,
                clip_name=clip.source.name,
                clip_number=outcome.number,
                role=stem.role,
                take_number=number,
                position_s=clip.position_s,
                duration_s=clip.duration_s,
                head_handle_s=outcome.head_s,
                tail_handle_s=max(outcome.sound.shown.duration_s - outcome.head_s - clip.duration_s, Fraction(0)),
                frame_rate=clip.frame_rate,
                score=take.score if take.HasField("score") else None,
                has_faults=bool(take.faults),
                track=clip.track,
                loops=result.settings.loop,
                media_name=Path(clip.source.target_url).name,
                model_rate_hz=made.pack_of(take, stem.role).sample_rate_hz,
                provenance=made.of_stem(take, stem.role),
            )


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file.absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another drive
        return file.absolute().as_posix()


__all__ = ["SoundedClip", "generated_stems", "missing_sounds", "timeline_facts", "with_results", "write_identity"]
