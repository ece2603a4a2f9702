"""The problems of a timeline's clips. This module does not need OpenTimelineIO."""

from __future__ import annotations

from collections.abc import Sequence

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2

_MAX_NAMED_PROBLEMS = 3


def no_sound_problem(name: str, clips: Sequence[rewas_pb2.TimelineClip]) -> ProblemError | None:
    """Return the problem of a timeline without any sound; None if a clip has one.

    Args:
        name: Of the timeline.
        clips: What became of each clip.
    """
    problems = [ProblemError.from_proto(clip.problem) for clip in clips if clip.HasField("problem")]
    if len(problems) < len(clips) or not problems:
        return None
    if len(problems) == 1:
        return problems[0]
    distinct = list(dict.fromkeys(problem.what for problem in problems))
    more = "" if len(distinct) <= _MAX_NAMED_PROBLEMS else f" … ({len(distinct)} different problems)"
    return ProblemError(
        f'No clip of the timeline "{name}" has a sound: {" ".join(distinct[:_MAX_NAMED_PROBLEMS])}{more}',
        problems[0].remedy,
        problems[0].kind,
    )


def raise_if_all_fail(name: str, problems: Sequence[ProblemError | None]) -> None:
    """Raise ProblemError if no clip of a timeline can get a sound.

    Args:
        name: Of the timeline.
        problems: Why each clip can get none; None if it can.
    """
    clips = [rewas_pb2.TimelineClip(problem=None if each is None else each.to_proto()) for each in problems]
    without_sound = no_sound_problem(name, clips)
    if without_sound is not None:
        raise without_sound


def cancelled_problem(name: str) -> ProblemError:
    """Return the problem of a clip whose job was cancelled. name: of the clip."""
    return ProblemError(f'The clip "{name}" was cancelled.', "Retry it to get its sound.", ProblemKind.SETTINGS)
