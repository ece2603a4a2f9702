# SPDX-License-Identifier: GPL-3.0-or-later
"""Use case: submit clips, watch their jobs and fetch the stems."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..timeline.clips import clip_to_otio
from ..timeline.names import sound_file_name, unique_name
from ..timeline.strips import SelectedClip
from .contract import ServerChoice, UserProblemError, open_client, problem_from
from .messages import (
    GenerationInfo,
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    Message,
    ReceivedTake,
    StemFile,
    StemsReceived,
)

if TYPE_CHECKING:
    from rewas_api.client import RewasClient

_RETRY_PAUSE_S = 1.0
PostMessage = Callable[[Message], object]


@dataclass(frozen=True)
class SoundSettings:
    """Generation settings. None means the default of the pack or the server."""

    pack: str | None = None
    seed: int | None = None
    takes: int = 1
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    control_strength: float | None = None


@dataclass(frozen=True)
class ClipRequest:
    """A request for the sound of one clip.

    key: a UUID, also the idempotency key of the job. scene_name: the scene with the strip. stems_folder: absolute
    folder for the sound files. batch_id: shared by all clips of one press of Generate. blend_file: None while the file
    is unsaved.
    """

    key: str
    clip: SelectedClip
    settings: SoundSettings
    scene_name: str
    stems_folder: Path
    batch_id: str = ""
    blend_file: Path | None = None


@dataclass
class _ActiveJob:
    clip_request: ClipRequest
    cancelled: threading.Event = field(default_factory=threading.Event)
    job_id: str = ""
    is_finished: bool = False


class GenerateThread:
    """One press of Generate: a thread that talks to the server until all its requests have ended.

    `post` is called with messages in that thread. Every request ends with exactly one StemsReceived, JobFailed or
    JobCancelled, unless the thread is closed first.
    """

    def __init__(self, clip_requests: Sequence[ClipRequest], server: ServerChoice, *, post: PostMessage) -> None:
        self._active_jobs = {clip_request.key: _ActiveJob(clip_request) for clip_request in clip_requests}
        self._server = server
        self._post = post
        self._closed = threading.Event()
        self._client: RewasClient | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name="rewas-generate", daemon=True)]

    def start(self) -> None:
        """Start the thread."""
        self._threads[0].start()

    @property
    def is_finished(self) -> bool:
        """Whether all its threads have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def cancel(self, key: str) -> bool:
        """Cancel one request. Returns False if it does not belong to this thread. Returns immediately."""
        active_job = self._active_jobs.get(key)
        if active_job is None:
            return False
        with self._lock:
            active_job.cancelled.set()
            job_id = active_job.job_id
        if job_id and not active_job.is_finished:
            self._cancel_on_server(job_id)
        return True

    def close(self) -> None:
        """Cancel every request and close the connection. Returns at once; follow with join()."""
        for key in self._active_jobs:
            self.cancel(key)
        self._closed.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end. Returns False if one is still running after `timeout_s` seconds."""
        for thread in self._threads[1:]:
            thread.join(timeout_s)
        if self._client is not None:
            self._client.close()
        self._threads[0].join(timeout_s)
        return self.is_finished

    def _cancel_on_server(self, job_id: str) -> None:
        client = self._client
        if client is None:
            return

        def request_cancel() -> None:
            from rewas_api.errors import ServerUnavailable

            try:
                while True:
                    try:
                        client.cancel(job_id)
                        return
                    except ServerUnavailable:
                        # The job would continue when the server is back.
                        if self._closed.wait(_RETRY_PAUSE_S):
                            return
            except Exception as error:  # the watching thread reports the same problem
                print(f"ReWaS: the job {job_id} cannot be cancelled: {problem_from(error)}")  # noqa: T201

        thread = threading.Thread(target=request_cancel, name="rewas-cancel", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        try:
            with open_client(self._server) as client:
                self._client = client
                folders = _find_shared_folders(client, [job.clip_request for job in self._active_jobs.values()])
                for active_job in self._active_jobs.values():
                    self._run_guarded(active_job, lambda active_job: self._submit(client, active_job, folders))
                for active_job in self._active_jobs.values():
                    if not active_job.is_finished:
                        self._run_guarded(active_job, lambda active_job: self._follow(client, active_job))
        except Exception as error:
            if not isinstance(error, UserProblemError) and not hasattr(error, "remedy"):
                traceback.print_exc()
            for active_job in self._active_jobs.values():
                self._end(active_job, JobFailed(active_job.clip_request.key, problem_from(error)))

    def _run_guarded(self, active_job: _ActiveJob, act: Callable[[_ActiveJob], None]) -> None:
        from rewas_api import errors

        try:
            act(active_job)
        except errors.JobCancelled:
            self._end(active_job, JobCancelled(active_job.clip_request.key))
        except (errors.ServerUnavailable, errors.ContractMismatch):
            # No other request will succeed either, so end all of them.
            raise
        except Exception as error:
            if not isinstance(error, errors.ProblemError | OSError):
                traceback.print_exc()
            self._end(active_job, JobFailed(active_job.clip_request.key, problem_from(error)))

    def _end(self, active_job: _ActiveJob, message: StemsReceived | JobFailed | JobCancelled) -> None:
        if not active_job.is_finished and not self._closed.is_set():
            self._post(message)
        active_job.is_finished = True

    def _submit(self, client: RewasClient, active_job: _ActiveJob, folders: _SharedFolders) -> None:
        clip_request = active_job.clip_request
        if active_job.cancelled.is_set():
            self._end(active_job, JobCancelled(clip_request.key))
            return
        job = self._retry_until_reachable(active_job, lambda: _submit_clip(client, clip_request, folders))
        if job is None:
            return
        with self._lock:
            active_job.job_id = job.id
            cancel_now = active_job.cancelled.is_set()
        self._post(JobAccepted(clip_request.key, job.id))
        if cancel_now:
            client.cancel(job.id)

    def _retry_until_reachable(self, active_job: _ActiveJob, submit: Callable[[], Any]) -> Any:
        """Submit a request, again and again while the server is away. None if the user cancels it in the meantime.

        The server answered when Generate was pressed, and a second submission with the same key creates no second job.
        """
        from rewas_api.errors import ServerUnavailable

        while True:
            try:
                return submit()
            except ServerUnavailable:
                if self._closed.wait(_RETRY_PAUSE_S):
                    raise
                if active_job.cancelled.is_set():
                    self._end(active_job, JobCancelled(active_job.clip_request.key))
                    return None

    def _follow(self, client: RewasClient, active_job: _ActiveJob) -> None:
        clip_request = active_job.clip_request
        # Jobs survive the end of the server, so this waits until it is back.
        job = client.wait(active_job.job_id, on_snapshot=lambda job: self._post(_progress(clip_request.key, job)))
        takes = tuple(
            ReceivedTake(
                number=number,
                seed=take.seed,
                stems=tuple(self._fetch(client, clip_request, job.id, number, stem) for stem in take.stems),
                energy_mae_nats=take.energy_mae_nats,
                energy_correlation=take.energy_correlation if take.HasField("energy_correlation") else None,
            )
            for number, take in enumerate(job.sound.takes, start=1)
        )
        sound = job.sound
        duration = sound.clip.duration_s
        generation_info = GenerationInfo(
            pack=sound.pack.name,
            pack_version=sound.pack.version,
            licence=sound.pack.licence,
            num_inference_steps=sound.settings.num_inference_steps,
            guidance_scale=sound.settings.guidance_scale,
            control_strength=sound.settings.control_strength,
        )
        duration_s = Fraction(duration.numerator, max(duration.denominator, 1))
        notes = tuple(note.text for note in sound.notes)
        self._end(active_job, StemsReceived(clip_request.key, job.id, generation_info, duration_s, takes, notes))

    def _fetch(self, client: RewasClient, clip_request: ClipRequest, job_id: str, take: int, stem: Any) -> StemFile:
        clip_request.stems_folder.mkdir(parents=True, exist_ok=True)
        name = sound_file_name(clip_request.clip.name, stem.role, take, job_id)
        name = unique_name(name, lambda name: (clip_request.stems_folder / name).exists())
        path = client.fetch_artifact(job_id, stem.artifact, clip_request.stems_folder / name)
        return StemFile(stem.role, path, stem.sample_rate_hz, stem.channels, stem.samples)


@dataclass(frozen=True)
class _SharedFolders:
    """The folders that the server reads by path: those it allows, and those of the project, sent with each request."""

    allowed: tuple[Path, ...]
    of_project: tuple[str, ...]


def _find_shared_folders(client: RewasClient, clip_requests: Sequence[ClipRequest]) -> _SharedFolders:
    """Return the folders that the server reads by path. It reads those of the project if it runs on this machine."""
    from rewas_api.project_folders import find_project_folders

    info = client.get_server_info()
    files = [clip_request.blend_file for clip_request in clip_requests if clip_request.blend_file is not None]
    files += [Path(clip_request.clip.path) for clip_request in clip_requests]
    of_project = find_project_folders(files) if info.reads_project_folders else []
    return _SharedFolders(tuple(Path(root) for root in info.allowed_roots), tuple(of_project))


def _uploaded_media(client: RewasClient, clip: SelectedClip, folders: _SharedFolders) -> Mapping[str, str]:
    """Upload the clip's media unless the server can read it by path. Returns hashes by path."""
    media = Path(clip.path).resolve()
    if any(media.is_relative_to(folder) for folder in (*folders.allowed, *map(Path, folders.of_project))):
        return {}
    return {clip.path: client.upload_media(media)}


def _submit_clip(client: RewasClient, clip_request: ClipRequest, folders: _SharedFolders) -> Any:
    """Submit a clip and return its job. A person is waiting for it."""
    from rewas_api.v1 import rewas_pb2

    work = _sound_work(clip_request, uploaded=_uploaded_media(client, clip_request.clip, folders))
    return client.submit(
        work,
        idempotency_key=clip_request.key,
        project_folders=folders.of_project,
        priority=rewas_pb2.PRIORITY_INTERACTIVE,
    )


def _sound_work(clip_request: ClipRequest, *, uploaded: Mapping[str, str]) -> Any:
    from rewas_api.clip_settings import ClipSettings
    from rewas_api.v1 import rewas_pb2

    chosen = clip_request.settings
    settings = ClipSettings(
        prompt=clip_request.clip.prompt,
        pack=chosen.pack,
        seed=chosen.seed,
        takes=chosen.takes,
        num_inference_steps=chosen.num_inference_steps,
        guidance_scale=chosen.guidance_scale,
        control_strength=chosen.control_strength,
    )
    clip = clip_to_otio(clip_request.clip)
    return rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(), settings=settings.to_proto(), uploaded_media=dict(uploaded)
    )


def _progress(key: str, job: Any) -> JobProgress:
    from rewas_api import enum_names

    state = enum_names.JOB_STATE.to_name(job.state)
    return JobProgress(
        key=key,
        revision=job.revision,
        # The stems must still be fetched: the job is finished for the server, not for the user.
        state=state if state in ("queued", "running", "cancelling") else "running",
        stage=enum_names.STAGE.to_name(job.stage) or "",
        step=job.step,
        total_steps=job.total_steps,
        fraction=job.fraction,
        time_left_s=job.time_left.ToNanoseconds() / 1e9 if job.HasField("time_left") else None,
    )
