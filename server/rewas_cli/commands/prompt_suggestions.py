"""Lets a model pack suggest prompts for the clips of a timeline that have none, in this process or on a server."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from rewas_cli.console import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import opentimelineio as otio

    from rewas_api.errors import ProblemError
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.runner import Runner
    from rewas_engine.runtime.progress import CancelSignal
    from rewas_server.otio.clips import ClipSource
    from rewas_server.otio.planning import ClipList, FindOptions, ListedClip
    from rewas_server.otio.prompts import PictureKey

T = TypeVar("T")


@dataclass(frozen=True)
class Suggestions:
    """Suggested prompts by picture, and notes for the user about the clips, as sentences."""

    prompts: dict[PictureKey, str]
    notes: list[str]


def list_with_suggestions(
    timeline: otio.schema.Timeline,
    listed: ClipList,
    finding: FindOptions,
    runner: Runner,
    pack: str | None,
    cancel: CancelSignal,
) -> tuple[ClipList, list[str]]:
    """Return the clips of a timeline with suggested prompts where they had none, and notes for the user.

    Args:
        timeline: The timeline.
        listed: Its clips without suggestions, found with `finding`.
        finding: How they were found.
        runner, pack, cancel: See `suggest_prompts`.
    """
    from rewas_server.otio.planning import list_clips

    suggestions = suggest_prompts(listed.clips, runner, pack, cancel)
    if not suggestions.prompts:
        return listed, suggestions.notes
    prompts = replace(finding.prompts, suggestions=suggestions.prompts)
    return list_clips(timeline, replace(finding, prompts=prompts)), suggestions.notes


def suggest_prompts(clips: Sequence[ListedClip], runner: Runner, pack: str | None, cancel: CancelSignal) -> Suggestions:
    """Ask a pack for a prompt for each clip that has none and could get a sound.

    Args:
        clips: The clips of a timeline, with absolute paths to their media.
        runner: Where the pack runs.
        pack: Its name; None for the default one.
        cancel: Ends the work.

    Raises:
        ProblemError: The pack cannot suggest prompts, or the server does not answer.
        Cancelled: `cancel` was set.
    """

    def ask(source: ClipSource) -> tuple[str, str]:
        return _ask(source, runner, pack, cancel)

    found = Suggestions({}, [])
    for asked in ask_about(filter(lacks_prompt, clips), ask):
        picture = asked.listed.picture
        if asked.problem is not None:
            # Clips that show the same have the same problem.
            if not asked.is_repeated:
                found.notes.append(f"No prompt was suggested. {asked.problem}")
            continue
        assert asked.answer is not None
        prompt, said = asked.answer
        if not asked.is_repeated:
            found.notes.append(f'The clip "{picture.name}": {said}')
        if prompt:
            found.prompts[picture.path, picture.part] = prompt
    return found


@dataclass(frozen=True)
class AskedClip(Generic[T]):
    """A clip of a timeline with the answer about it.

    Attributes:
        listed: The clip.
        answer: The answer; None if there is a problem.
        problem: Why there is no answer.
        is_repeated: Whether an earlier clip shows the same range of the same media, so that the answer is the same.
    """

    listed: ListedClip
    answer: T | None = None
    problem: ProblemError | None = None
    is_repeated: bool = False


def ask_about(clips: Iterable[ListedClip], ask: Callable[[ClipSource], T]) -> Iterator[AskedClip[T]]:
    """Ask about each clip of a timeline. Clips that show the same range of the same media are asked about once.

    Args:
        clips: With absolute paths to their media.
        ask: Returns the answer for what a clip shows.

    Raises:
        ProblemError: `ask` has raised one that does not concern the clip or its media.
    """
    from rewas_api.errors import ProblemError, ProblemKind

    known: dict[tuple[object, ...], tuple[T | None, ProblemError | None]] = {}
    for each in clips:
        source = each.picture.source
        if source is None or each.picture.problem is not None:
            yield AskedClip(each, problem=each.picture.problem or each.problem)
            continue
        seen = (source.target_url, source.start_s, source.duration_s, source.speed)
        is_repeated = seen in known
        if not is_repeated:
            try:
                known[seen] = ask(source), None
            except ProblemError as problem:
                if problem.kind not in (ProblemKind.MEDIA, ProblemKind.NOT_FOUND, ProblemKind.TIMELINE):
                    raise
                known[seen] = None, problem
        answer, found_problem = known[seen]
        yield AskedClip(each, answer, found_problem, is_repeated)


def lacks_prompt(each: ListedClip) -> bool:
    """Whether a clip has no prompt, but could get a sound."""
    from rewas_server.otio.planning import ClipState

    return each.state is ClipState.NO_PROMPT and wants_sound(each)


def wants_sound(each: ListedClip) -> bool:
    """Whether a clip could get a sound: the timeline does not ask for silence, and it is no title."""
    import opentimelineio as otio

    reference = getattr(each.picture.clip, "media_reference", None)
    return not each.note and not isinstance(reference, otio.schema.GeneratorReference)


def _ask(source: ClipSource, runner: Runner, pack: str | None, cancel: CancelSignal) -> tuple[str, str]:
    """Return the prompt that a pack suggests for a clip, "" if there is none, and a sentence about it."""
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.v1 import rewas_pb2
    from rewas_cli.runner import locate_local_media
    from rewas_server.work.timeline import build_sound_work

    media = locate_local_media(source)
    sha256 = runner.share(media, cancel)
    uploaded = {source.target_url: sha256} if sha256 else {}
    clip = build_sound_work(source, ClipSettings(), source.frame_rate or Fraction(24), uploaded_media=uploaded)
    work = rewas_pb2.ConflictWork(
        clip_otio_json=clip.clip_otio_json, uploaded_media=dict(clip.uploaded_media), pack=pack
    )
    with tempfile.TemporaryDirectory(prefix="rewas-") as folder, progress_bar(source.name) as on_progress:
        result = runner.run(work, Path(folder), on_progress, cancel).result
    assert isinstance(result, rewas_pb2.ConflictResult)
    return _best(result)


def _best(result: rewas_pb2.ConflictResult) -> tuple[str, str]:
    if not result.suggestions:
        return "", "the pack knows no sound for its video."
    best = result.suggestions[0]
    others = ", ".join(f"“{other.prompt}” ({other.score:.2f})" for other in result.suggestions[1:])
    also = f"; also likely: {others}" if others else ""
    return best.prompt, f"suggested “{best.prompt}” ({best.score:.2f}){also}."
