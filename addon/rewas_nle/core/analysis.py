# SPDX-License-Identifier: GPL-3.0-or-later
"""Short jobs that answer a question about a clip or a text. Nothing is stored: a lost question is asked again."""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..timeline.strips import SelectedClip
from .contract import ServerChoice, UserProblemError, open_client, problem_from
from .messages import Problem
from .requests import share_media
from .sound_work import build_conflict_work

if TYPE_CHECKING:
    from rewas_api.client import RewasClient
    from rewas_api.v1 import rewas_pb2

POLL_INTERVAL_S = 0.2


FetchFile = Callable[["rewas_pb2.Artifact", Path], Path]
"""Downloads a file of the job to a path, complete or not at all, and returns the path."""


class Question(Protocol):
    """What to find out about a clip. A frozen dataclass, because it is passed in messages."""

    @property
    def minor_version(self) -> int:
        """Lowest minor version of the contract of a server that can answer; 0 for any."""

    def media_path(self, clip: SelectedClip) -> str:
        """Return the file that the server must read."""

    def build_work(self, clip: SelectedClip, uploaded: Mapping[str, str]) -> Any:
        """Return the work of the contract. uploaded: SHA-256 of uploaded files by path."""

    def read_answer(self, job: rewas_pb2.Job) -> object:
        """Return the answer of a job that has succeeded, as plain values."""


class FileQuestion(Protocol):
    """What to make without a clip. The answer includes a file. A frozen dataclass, like a Question."""

    @property
    def minor_version(self) -> int:
        """Lowest minor version of the contract of a server that can answer."""

    def build_work(self) -> Any:
        """Return the work of the contract."""

    def fetch_answer(self, job: rewas_pb2.Job, fetch: FetchFile) -> object:
        """Fetch the file of a job that has succeeded, and return the answer as plain values."""


@dataclass(frozen=True)
class AnalysisRequest:
    """A question about a clip, or a FileQuestion without one.

    key: any text by which the answer is recognised; a new question with the same key replaces the older one.
    blend_file: absolute path of the open .blend file, "" while it is unsaved.
    """

    key: str
    clip: SelectedClip | None
    question: Question | FileQuestion
    blend_file: str = ""


@dataclass(frozen=True)
class _Withdrawal:
    """The question with this key needs no answer any more."""

    key: str


@dataclass(frozen=True)
class AnalysisEnded:
    """A message: the answer to a question, or why there is none. answer: what the question's read_answer returned."""

    request: AnalysisRequest
    answer: object = None
    problem: Problem | None = None


@dataclass(frozen=True)
class ConflictMark:
    """A range whose picture does not match the prompt, in seconds from the start of the clip."""

    start_s: float
    end_s: float
    score: float
    best_label: str


@dataclass(frozen=True)
class ConflictAnswer:
    """Whether a prompt contradicts the picture.

    verdict: "agree", "unsure", "conflict" or "unsupported". score: probability that they match, None if unsupported.
    suggestions: prompts that match better, best first.
    """

    verdict: str
    score: float | None
    explanation: str
    encoder: str
    marks: tuple[ConflictMark, ...]
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class ConflictQuestion:
    """Does the prompt contradict the picture? pack: None for the server's default."""

    prompt: str
    pack: str | None = None

    @property
    def minor_version(self) -> int:
        """Any server can answer."""
        return 0

    def media_path(self, clip: SelectedClip) -> str:
        """Return the file that the server must read."""
        return clip.path

    def build_work(self, clip: SelectedClip, uploaded: Mapping[str, str]) -> rewas_pb2.ConflictWork:
        """Return the work of the contract."""
        return build_conflict_work(clip, self.prompt, self.pack, uploaded)

    def read_answer(self, job: rewas_pb2.Job) -> ConflictAnswer:
        """Return the answer."""
        return read_conflict(job.conflict)


def read_conflict(result: rewas_pb2.ConflictResult) -> ConflictAnswer:
    """Return a comparison of prompt and picture as plain values."""
    from rewas_api import enum_names

    return ConflictAnswer(
        verdict=enum_names.VERDICT.to_name(result.verdict) or "unsupported",
        score=result.score if result.HasField("score") else None,
        explanation=result.explanation,
        encoder=result.encoder,
        marks=tuple(
            ConflictMark(
                item.start_s.numerator / max(item.start_s.denominator, 1),
                item.end_s.numerator / max(item.end_s.denominator, 1),
                item.score,
                item.best_label,
            )
            for item in result.ranges
        ),
        suggestions=tuple(suggestion.prompt for suggestion in result.suggestions),
    )


class Analyses:
    """A thread that asks one server questions and posts the answers, each as one AnalysisEnded.

    Args:
        server: The server.
        post: Called with messages in the thread.
    """

    def __init__(self, server: ServerChoice, *, post: Callable[[AnalysisEnded], object]) -> None:
        self._server = server
        self._post = post
        self._requests: queue.SimpleQueue[AnalysisRequest | _Withdrawal | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._client: RewasClient | None = None
        self._thread = threading.Thread(target=self._answer_all, name="rewas-analyses", daemon=True)
        self._thread.start()

    def ask(self, request: AnalysisRequest) -> None:
        """Ask a question. Returns immediately."""
        self._requests.put(request)

    def withdraw(self, key: str) -> None:
        """Cancel the job of a question, if it runs. Returns immediately. An answer that is on its way still arrives."""
        self._requests.put(_Withdrawal(key))

    def close(self) -> None:
        """End the thread. Returns at once; follow with join()."""
        self._closed.set()
        self._requests.put(None)
        client = self._client
        if client is not None:
            client.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end. Returns False if it is still running after `timeout_s` seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _answer_all(self) -> None:
        asked: dict[str, tuple[AnalysisRequest, str]] = {}
        while not self._closed.is_set():
            try:
                request = self._requests.get(timeout=POLL_INTERVAL_S if asked else None)
            except queue.Empty:
                request = None
            if self._closed.is_set():
                return
            if isinstance(request, _Withdrawal):
                withdrawn = asked.pop(request.key, None)
                if withdrawn is not None:
                    self._cancel(withdrawn[1])
            elif request is not None:
                asked.pop(request.key, None)
                job_id = self._guarded(request, self._submit)
                if isinstance(job_id, str):
                    asked[request.key] = (request, job_id)
            for key, (waiting, job_id) in list(asked.items()):
                has_ended = self._guarded(waiting, partial(self._poll, job_id=job_id))
                if has_ended is not False:
                    del asked[key]

    def _guarded(self, request: AnalysisRequest, act: Callable[[AnalysisRequest], object]) -> object:
        """Return what `act` returns. If it fails, post the problem and return None."""
        try:
            return act(request)
        except Exception as error:
            if not self._closed.is_set():
                if not isinstance(error, UserProblemError) and not hasattr(error, "remedy"):
                    traceback.print_exc()
                self._post(AnalysisEnded(request, problem=problem_from(error)))
            return None

    def _submit(self, request: AnalysisRequest) -> str:
        from rewas_api.v1 import rewas_pb2

        if self._client is None:
            self._client = open_client(self._server)
        client = self._client
        _check_version(client, request.question.minor_version)
        folders, work = _build_work(client, request)
        job = client.submit(
            work,
            idempotency_key=uuid.uuid4().hex,
            project_folders=folders,
            priority=rewas_pb2.PRIORITY_INTERACTIVE,
        )
        return str(job.id)

    def _cancel(self, job_id: str) -> None:
        """Cancel a job. If the server does not answer, the job ends by itself, and nobody waits for it."""
        from rewas_api.errors import ProblemError

        assert self._client is not None
        with contextlib.suppress(ProblemError):
            self._client.cancel(job_id)

    def _poll(self, request: AnalysisRequest, job_id: str) -> bool:
        """Post the answer if the job has ended. Returns whether it has."""
        from rewas_api.errors import JobFailed, ServerUnavailable
        from rewas_api.v1 import rewas_pb2

        assert self._client is not None
        try:
            job = self._client.get_job(job_id)
        except ServerUnavailable:
            # The job survives the end of its server.
            self._closed.wait(POLL_INTERVAL_S)
            return False
        if job.state == rewas_pb2.JOB_STATE_FAILED:
            raise JobFailed(job)
        if job.state == rewas_pb2.JOB_STATE_CANCELLED:
            raise UserProblemError(Problem("The job was cancelled on the server.", "Try again."))
        if job.state != rewas_pb2.JOB_STATE_SUCCEEDED:
            return False
        if request.clip is None:
            fetch = partial(self._client.fetch_artifact, job_id)
            answer = cast("FileQuestion", request.question).fetch_answer(job, fetch)
        else:
            answer = cast("Question", request.question).read_answer(job)
        self._post(AnalysisEnded(request, answer))
        return True


def _build_work(client: RewasClient, request: AnalysisRequest) -> tuple[list[str], Any]:
    """Return the project folders and the work of a request. Its media is uploaded if the server cannot read it."""
    if request.clip is None:
        return [], cast("FileQuestion", request.question).build_work()
    question = cast("Question", request.question)
    path = question.media_path(request.clip)
    folders, uploaded = share_media(client, request.blend_file, (path,), lambda sent, total: None)
    return folders, question.build_work(request.clip, uploaded)


def _check_version(client: RewasClient, minor_version: int) -> None:
    """Raise UserProblemError if the server is too old for a question. minor_version: of the contract; 0 for any."""
    if minor_version and client.get_server_info().contract_minor_version < minor_version:
        raise UserProblemError(
            Problem("The version of ReWaS on the server is too old for this.", "Update the server, then try again.")
        )
