# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the server about strips: whether a prompt matches its picture, or which energy a picture has.

If Blender must render the picture of a strip first, the question waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..core.analysis import AnalysisEnded, AnalysisRequest, FileQuestion, Question
from ..core.messages import Problem
from ..core.proxies import use_proxy
from ..timeline.selection import clip_from_strip
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from . import compat
from .generating import StripName
from .picture_queue import PictureBatch, stop_waiting
from .placement import StripAddress, ensure_uid
from .preferences import chosen_server
from .proxy_rendering import describe_task
from .shared_session import session
from .strip_reading import read_in_slices, scene_rate, survey_in_slices

BuildQuestion = Callable[[Any, Any, StripSnapshot, SelectedClip], Question | Refusal]
"""Returns the question about a strip. Called with the scene, the strip, its snapshot and what it shows."""


@dataclass(frozen=True)
class Asked:
    """A question under way.

    address: its strip. lead_in_s: from the start of the strip's content to that of the clip, when it was asked.
    """

    request: AnalysisRequest
    address: StripAddress
    lead_in_s: Fraction = Fraction(0)


_reading: set[str] = set()
_asked: dict[str, Asked] = {}
_problems: dict[str, Problem] = {}
_unreported: list[Problem] = []


def ask(kind: str, scene: Any, strip: Any, build: BuildQuestion) -> Generator[None, None, Refusal | None]:
    """Ask a question about a strip, in slices. If that is not possible, returns the reason, which the panel shows too.

    kind: what is asked. A strip has at most one question of each kind.
    """
    # At once, not in the first slice: the references may be invalid by then.
    key = _key(kind, ensure_uid(scene, strip))
    _problems.pop(key, None)
    _reading.add(key)
    return _ask(key, StripName(scene.name, strip.name), build)


def _ask(key: str, name: StripName, build: BuildQuestion) -> Generator[None, None, Refusal | None]:
    try:
        refusal = yield from _read_and_ask(key, name, build)
    finally:
        _reading.discard(key)
    if refusal is not None:
        _problems[key] = Problem(refusal.what, refusal.remedy)
    return refusal


def ask_for_file(kind: str, scene: Any, strip: Any, question: FileQuestion) -> None:
    """Ask a question that needs nothing of a strip but its place on the timeline."""
    address = StripAddress(ensure_uid(scene, strip), scene.name, strip.name, "")
    key = _key(kind, address.uid)
    _problems.pop(key, None)
    _asked[key] = Asked(AnalysisRequest(key, None, question, bpy.data.filepath), address)
    session().analyse(_asked[key].request, chosen_server())


def report_refusals(operator: Any, refusals: Sequence[Refusal], questions: int) -> compat.OperatorResult:
    """Report why some or all of an operator's questions could not be asked, and return the operator's result."""
    if not refusals:
        return {"FINISHED"}
    has_asked = len(refusals) < questions
    operator.report({"WARNING" if has_asked else "ERROR"}, "\n".join(map(str, refusals)))
    return {"FINISHED"} if has_asked else {"CANCELLED"}


def take_failures() -> list[Problem]:
    """Return why questions have failed since the last call."""
    failures = list(_unreported)
    _unreported.clear()
    return failures


def is_asking(kind: str = "", strip: Any = None) -> bool:
    """Return whether a question of a kind about a strip is under way, or any question at all."""
    if strip is None:
        return bool(_reading or _asked)
    key = _key(kind, strip.rewas.uid)
    return key in _reading or key in _asked


def withdraw(kind: str, strip: Any) -> bool:
    """Cancel a question of a kind about a strip. Returns False if none is under way."""
    key = _key(kind, strip.rewas.uid)
    if key not in _reading and key not in _asked:
        return False
    _reading.discard(key)
    if _asked.pop(key, None) is not None and not stop_waiting(key):
        session().withdraw(key)
    return True


def problem_of(kind: str, strip: Any) -> Problem | None:
    """Return why the last question of a kind about a strip has failed, or None."""
    return _problems.get(_key(kind, strip.rewas.uid))


def note_problem(kind: str, strip: Any, problem: Problem) -> None:
    """Show why the answer to a question about a strip cannot be used."""
    _note_failure(_key(kind, strip.rewas.uid), problem)


def receive(message: AnalysisEnded) -> Asked | None:
    """Return the question that was answered, or None if nothing waits for the answer."""
    key = message.request.key
    asked = _asked.get(key)
    if asked is None or asked.request != message.request:
        return None
    del _asked[key]
    if message.problem is not None:
        _note_failure(key, message.problem)
    return asked


def continue_with_picture(key: str) -> bool:
    """Ask a question whose picture has been rendered. Returns False if the key is not that of a question."""
    asked = _asked.get(key)
    if asked is None:
        return False
    session().analyse(asked.request, chosen_server())
    return True


def fail_without_picture(key: str, problem: Problem) -> bool:
    """Give up a question whose picture cannot be rendered. Returns False if the key is not that of a question."""
    if _asked.pop(key, None) is None:
        return False
    _note_failure(key, problem)
    return True


def forget_questions() -> None:
    """Forget everything, because another file was opened."""
    _reading.clear()
    _asked.clear()
    _problems.clear()
    _unreported.clear()


def _note_failure(key: str, problem: Problem) -> None:
    _problems[key] = problem
    _unreported.append(problem)


def _key(kind: str, uid: str) -> str:
    return f"{kind} {uid}"


def _read_and_ask(key: str, name: StripName, build: BuildQuestion) -> Generator[None, None, Refusal | None]:
    surroundings = yield from survey_in_slices(name.scene_name)
    snapshot = yield from read_in_slices(name.find, surroundings)
    found = name.find()
    if snapshot is None or found is None:
        return Refusal(f'The strip "{name.strip_name}" was deleted.', "Select another strip.")
    scene, strip = found
    clip = clip_from_strip(snapshot, scene_rate(scene))
    question = clip if isinstance(clip, Refusal) else build(scene, strip, snapshot, clip)
    if isinstance(clip, Refusal) or isinstance(question, Refusal):
        return question if isinstance(question, Refusal) else None
    if key not in _reading:  # It was withdrawn.
        return None
    address = StripAddress(ensure_uid(scene, strip), scene.name, strip.name, clip.source_path)
    lead_in_s = (clip.start_frame - clip.content_start_frame) / clip.rate
    _asked[key] = Asked(AnalysisRequest(key, clip, question, bpy.data.filepath), address, lead_in_s)
    if clip.proxy is not None and question.media_path(clip) == clip.path and not use_proxy(Path(clip.path)):
        batch = PictureBatch()
        batch.add_key(key, describe_task(scene, strip, snapshot, surroundings))
        batch.start(scene)
    else:
        continue_with_picture(key)
    return None
