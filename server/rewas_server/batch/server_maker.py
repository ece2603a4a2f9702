"""Generates the sounds of a batch on a server: one timeline job, whose children are the missing sounds.

The key of the job is derived from its clips, so the same command always finds its job again. Each sound is fetched when
its clip is finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import opentimelineio as otio

from rewas_api import enum_names
from rewas_api.client import FINAL_STATES, RECONNECT_PAUSE_S, RewasClient
from rewas_api.clip_settings import METADATA_KEY
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ProblemKind, ServerUnavailable
from rewas_api.transfer import TransferProgress
from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.batch.plan import WantedSound
from rewas_server.batch.record import BatchRecord, KeptSound, ServerJob
from rewas_server.batch.run import UPLOAD, MadeSound, MakerProgress, raise_if_fatal
from rewas_server.otio.clips import parse_clip
from rewas_server.work.clip_outcomes import cancelled_problem
from rewas_server.work.translation import problem_from_error

_SUBMIT_PATIENCE_S = 120.0
_LISTING_SHARE = 20
"""At most 1/20 of the time is spent on asking which clips have ended."""


class MediaSharing(Protocol):
    """Makes media readable for the server."""

    def share(
        self,
        media: Path,
        cancel: CancelSignal,
        sha256: str | None = None,
        on_progress: TransferProgress | None = None,
    ) -> str | None:
        """Return the SHA-256 of a file if it was uploaded; None if the server reads it in place.

        Args:
            media: The file.
            cancel: Ends the upload.
            sha256: SHA-256 of its content, if it is known.
            on_progress: Called with the number of bytes that are uploaded, and their total.
        """

    def project_folders(self) -> list[str]:
        """Return the folders that the server may read for the files that were not uploaded."""


class BatchDetached(Exception):
    """The job was submitted and continues without this process. job_id: of the job; clip_count: of its clips."""

    def __init__(self, job_id: str, clip_count: int) -> None:
        super().__init__(job_id)
        self.job_id = job_id
        self.clip_count = clip_count


class ServerMaker:
    """Generates sounds on a server.

    Args:
        record: Keeps the sounds.
        client: Of the server.
        media: Makes media readable for it.
        on_note: Called with a sentence that the user should read.
        is_detached: Whether to leave as soon as the job is submitted.
    """

    def __init__(
        self,
        record: BatchRecord,
        client: RewasClient,
        media: MediaSharing,
        on_note: Callable[[str], object],
        is_detached: bool = False,
    ) -> None:
        self._record = record
        self._client = client
        self._media = media
        self._on_note = on_note
        self._is_detached = is_detached

    def make(
        self, wanted: Iterable[WantedSound], on_progress: Callable[[MakerProgress], object], cancel: CancelSignal
    ) -> Iterator[MadeSound]:
        """See SoundMaker. Also raises BatchDetached."""
        missing = {each.key: each for each in wanted}
        if not missing:
            return
        for job in self._record.server_jobs():
            yield from self._collect_earlier(job, missing, on_progress, cancel)
        if not missing:
            return
        shared: dict[str, str] = {}
        for each in list(missing.values()):
            try:
                self._share(each, shared, on_progress, cancel)
            except ServerUnavailable:
                raise
            except ProblemError as problem:
                del missing[each.key]
                yield MadeSound(each, None, problem)
        if missing:
            yield from self._make_missing(list(missing.values()), shared, on_progress, cancel)

    def _collect_earlier(
        self,
        job: ServerJob,
        missing: dict[str, WantedSound],
        on_progress: Callable[[MakerProgress], object],
        cancel: CancelSignal,
    ) -> Iterator[MadeSound]:
        """Fetch the sounds of an earlier job, and wait for those that are not finished."""
        due = [missing.get(key) for key in job.keys]
        if not any(due):
            return
        try:
            snapshot = self._client.get_job(job.id)
        except ProblemError as problem:
            if problem.kind is not ProblemKind.NOT_FOUND:
                raise
            # The job may still be on another server.
            if job.address == self._client.address:
                self._record.forget_server_job(job.id)
            return
        if snapshot.state not in FINAL_STATES:
            self._on_note(f"The job {job.id} is already generating clips of this timeline. Waiting for it.")
        for made in self._follow(job, due, on_progress, cancel):
            # Clips that failed in an earlier job are tried again.
            if made.kept is not None:
                del missing[made.wanted.key]
                yield made

    def _share(
        self,
        wanted: WantedSound,
        shared: dict[str, str],
        on_progress: Callable[[MakerProgress], object],
        cancel: CancelSignal,
    ) -> None:
        def report(sent_bytes: int, size_bytes: int) -> None:
            on_progress(MakerProgress(wanted.name, wanted.number, UPLOAD, sent_bytes, size_bytes, Fraction(0)))

        url = wanted.clip.source.target_url
        files = {**wanted.references, url: (wanted.media, wanted.media_sha256)}
        for location, (path, sha256) in files.items():
            if location not in shared:
                shared[location] = self._media.share(path, cancel, sha256, report) or ""

    def _make_missing(
        self,
        wanted: Sequence[WantedSound],
        shared: dict[str, str],
        on_progress: Callable[[MakerProgress], object],
        cancel: CancelSignal,
    ) -> Iterator[MadeSound]:
        uploads = {url: sha256 for url, sha256 in shared.items() if sha256}
        work = rewas_pb2.TimelineWork(timeline_otio_json=_flat_timeline(wanted), uploaded_media=uploads)
        job = self._submit(work, [each.key for each in wanted], cancel)
        if self._is_detached:
            raise BatchDetached(job.id, len(wanted))
        yield from self._follow(job, wanted, on_progress, cancel)

    def _submit(self, work: rewas_pb2.TimelineWork, keys: Sequence[str], cancel: CancelSignal) -> ServerJob:
        attempt = 0
        while True:
            text = f"{attempt} {work.timeline_otio_json} {sorted(work.uploaded_media.items())}"
            try:
                submitted = self._client.submit(
                    work,
                    idempotency_key=f"batch-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}",
                    project_folders=self._media.project_folders(),
                    # A whole timeline must not delay the clip that somebody is waiting for.
                    priority=rewas_pb2.PRIORITY_BATCH,
                    cancel=cancel,
                    on_lost=lambda problem: self._on_note(f"{problem.what} Retrying; press Ctrl-C to stop."),
                    reconnect_timeout_s=_SUBMIT_PATIENCE_S,
                )
            except ServerUnavailable as problem:
                raise (Cancelled() if cancel.is_set() else problem) from None
            if submitted.state in FINAL_STATES:
                submitted = self._client.retry(submitted.id)
            if submitted.state not in FINAL_STATES or self._has_all_sounds(submitted):
                break
            # Clips of the ended job have failed, or their files are deleted. They are tried again in a new job.
            attempt += 1
        if submitted.child_count != len(keys):
            raise ProblemError(
                f"The server found {submitted.child_count} clips in a timeline with {len(keys)}.",
                "Install the same version of ReWaS here and on the server.",
                ProblemKind.INTERNAL,
            )
        job = ServerJob(submitted.id, self._client.address, tuple(keys))
        self._record.add_server_job(job)
        return job

    def _has_all_sounds(self, job: rewas_pb2.Job) -> bool:
        return job.state == rewas_pb2.JOB_STATE_SUCCEEDED and not any(
            child.files_deleted for child in self._client.list_jobs(parent_id=job.id)
        )

    def _follow(
        self,
        job: ServerJob,
        wanted: Sequence[WantedSound | None],
        on_progress: Callable[[MakerProgress], object],
        cancel: CancelSignal,
    ) -> Iterator[MadeSound]:
        """Wait for a job, and fetch each sound when its clip has ended.

        wanted: the sound of each child that is wanted, in their order.
        """
        children = _Children(self._client, self._record, job.id, wanted, cancel)
        total_s = sum((each.amount_s for each in wanted if each is not None), Fraction(0))

        def report(snapshot: rewas_pb2.Job) -> None:
            stage = enum_names.STAGE.to_name(snapshot.stage) or ""
            done_s = total_s * Fraction(snapshot.fraction)
            current = wanted[min(snapshot.finished_child_count, len(wanted) - 1)]
            number = snapshot.finished_child_count + 1 if current is None else current.number
            on_progress(MakerProgress("", number, stage, snapshot.step, snapshot.total_steps, done_s))
            with contextlib.suppress(ServerUnavailable):
                # Sounds that cannot be fetched now are fetched later.
                children.fetch_ended(snapshot.finished_child_count)

        try:
            self._client.wait(job.id, on_snapshot=report, cancel=cancel, on_lost=self._note_outage)
        except ServerUnavailable as problem:
            raise (Cancelled() if cancel.is_set() else problem) from None
        except (JobCancelled, JobFailed):
            # The problems of its clips say what happened.
            pass
        self._fetch_rest(children, cancel)
        yield from children.made
        if cancel.is_set():
            raise Cancelled
        self._record.forget_server_job(job.id)

    def _fetch_rest(self, children: _Children, cancel: CancelSignal) -> None:
        """Fetch the sounds of all children, after the end of their job. Waits for a server that is away."""
        is_away = False
        while True:
            try:
                children.fetch_ended(None)
                return
            except ServerUnavailable as problem:
                if cancel.is_set():
                    raise Cancelled from None
                if not is_away:
                    self._note_outage(problem)
                is_away = True
            threading.Event().wait(RECONNECT_PAUSE_S)

    def _note_outage(self, problem: ServerUnavailable) -> None:
        self._on_note(f"{problem.what} Jobs continue when the server is back. Press Ctrl-C to stop waiting.")


class _Children:
    """The children of a job: fetches the sounds of those that have ended, each once.

    Attributes:
        made: The outcomes of the wanted sounds so far.
    """

    def __init__(
        self,
        client: RewasClient,
        record: BatchRecord,
        job_id: str,
        wanted: Sequence[WantedSound | None],
        cancel: CancelSignal,
    ) -> None:
        self.made: list[MadeSound] = []
        self._client = client
        self._record = record
        self._job_id = job_id
        self._wanted = wanted
        self._cancel = cancel
        self._fetched: set[str] = set()
        self._next_listing_s = 0.0

    def fetch_ended(self, ended_count: int | None) -> None:
        """Fetch the sounds of the children that have ended.

        ended_count: how many have ended; None if unknown. Raises ServerUnavailable; a later call then continues.
        """
        began_s = time.monotonic()
        if ended_count is not None and (ended_count <= len(self._fetched) or began_s < self._next_listing_s):
            return
        children = list(self._client.list_jobs(parent_id=self._job_id))
        listed_s = time.monotonic()
        self._next_listing_s = listed_s + (listed_s - began_s) * _LISTING_SHARE
        for child, wanted in zip(children, self._wanted, strict=True):
            if child.state in FINAL_STATES and child.id not in self._fetched:
                if wanted is not None:
                    self.made.append(self._fetch(child.id, wanted))
                self._fetched.add(child.id)

    def _fetch(self, child_id: str, wanted: WantedSound) -> MadeSound:
        child = self._client.get_job(child_id)
        if child.HasField("problem"):
            return MadeSound(wanted, None, ProblemError.from_proto(child.problem))
        if not child.HasField("sound"):
            return MadeSound(wanted, None, cancelled_problem(wanted.name))
        try:
            with self._record.making(wanted.key) as folder:
                for take in child.sound.takes:
                    for stem in take.stems:
                        path = folder / Path(stem.artifact.name).name
                        self._client.fetch_artifact(child_id, stem.artifact, path, reconnect_timeout_s=0)
                made = KeptSound(wanted.key, wanted.family, wanted.shown, wanted.seed, folder)
                return MadeSound(wanted, self._record.keep(made, child.sound), None)
        except ServerUnavailable:
            raise
        except (ProblemError, OSError) as error:
            raise_if_fatal(error, self._record.folder)
            return MadeSound(wanted, None, problem_from_error(error))


def _flat_timeline(wanted: Sequence[WantedSound]) -> str:
    """Return a timeline with exactly the clips that need a sound, one after another, as OTIO JSON."""
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for each in wanted:
        clip = parse_clip(each.sound_work().clip_otio_json)
        clip.metadata[METADATA_KEY] = each.settings.to_metadata()
        track.append(clip)
    timeline = otio.schema.Timeline(name="batch")
    timeline.tracks.append(track)
    return str(timeline.to_json_string(indent=-1))


__all__ = ["BatchDetached", "MediaSharing", "ServerMaker"]
