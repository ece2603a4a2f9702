"""What happens to jobs, as records of the log and as metrics, derived from their snapshots."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from cachetools import LRUCache

from rewas_api import enum_names
from rewas_api.errors import ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.logs import LogPrivacy, private_texts
from rewas_server.metrics import ServerMetrics

MAX_ENDED_JOBS = 10_000
"""Jobs that have ended and are kept in memory, to recognise a retry."""
UNKNOWN_KIND = "unknown"
_NO_INTERRUPTIONS: Counter[int] = Counter()
"""Shared by all jobs without interruptions, to save memory. It never changes."""
_log = logging.getLogger("rewas.server")


@dataclass(slots=True)
class _Known:
    """What is known of a job. Times are of time.monotonic, in seconds; None if unknown."""

    kind: str
    revision: int = 0
    state: int = rewas_pb2.JOB_STATE_UNSPECIFIED
    attempt: int = 0
    stage: int = rewas_pb2.STAGE_UNSPECIFIED
    stored_at_s: float | None = None
    began_at_s: float | None = None
    stage_began_at_s: float | None = None
    interruptions: Counter[int] = field(default_factory=lambda: _NO_INTERRUPTIONS)


class JobTracker:
    """Follows the jobs of a board. Its methods are called in the event loop.

    Args:
        metrics: The metrics to update.
        privacy: Hides the prompts of unfinished jobs.
    """

    def __init__(self, metrics: ServerMetrics, privacy: LogPrivacy) -> None:
        self._metrics = metrics
        self._privacy = privacy
        self._unfinished: dict[str, _Known] = {}
        self._ended: MutableMapping[str, _Known] = LRUCache(maxsize=MAX_ENDED_JOBS)

    def job_added(self, job: rewas_pb2.Job, request: rewas_pb2.SubmitJobRequest, *, is_new: bool = True) -> None:
        """A job was stored. is_new: False for a job from an earlier run of the server."""
        kind = request.WhichOneof("work") or UNKNOWN_KIND
        early = self._unfinished.get(job.id) or self._ended.get(job.id)
        if early is not None:
            # A worker has begun the job before its submission returned.
            self._set_kind(job.id, early, kind)
            self._metrics.submitted.labels(kind).inc(is_new)
        if early is not None:
            return
        known = _Known(kind, job.revision, job.state, job.attempt, interruptions=_count_interruptions(job))
        if job.state in lifecycle.FINAL_STATES:
            # For example, a clip of a timeline whose media is missing.
            self._ended[job.id] = known
            self._metrics.submitted.labels(kind).inc(is_new)
            self._count_end(job, kind, is_new)
            return
        self._privacy.hide(job.id, private_texts(request))
        level = _level(job)
        self._unfinished[job.id] = known
        if is_new:
            known.stored_at_s = time.monotonic()
            self._metrics.submitted.labels(kind).inc()
            clips = f", {job.child_count} clips" if job.child_count else ""
            _log.log(level, "The job was submitted (%s%s).", kind, clips, extra={"job_id": job.id})
        else:
            state = enum_names.JOB_STATE.to_name(job.state)
            _log.log(level, "The job is from an earlier run (%s, %s).", kind, state, extra={"job_id": job.id})
        self._count(known, +1)

    def job_changed(self, job: rewas_pb2.Job) -> None:
        """A job has a new snapshot. Snapshots may arrive out of order; older ones are ignored."""
        known = self._unfinished.get(job.id) or self._ended.get(job.id) or _Known(UNKNOWN_KIND)
        if job.revision <= known.revision:
            return
        was_counted = job.id in self._unfinished
        if was_counted:
            self._count(known, -1)
        was_final = known.state in lifecycle.FINAL_STATES
        self._report_interruptions(job, known)
        self._report_stage(job, known)
        if job.attempt > known.attempt:
            self._report_start(job, known)
        if job.state != known.state:
            self._report_state(job, known, was_final=was_final)
        known.revision, known.state, known.attempt = job.revision, job.state, job.attempt
        if job.state in lifecycle.FINAL_STATES:
            self._unfinished.pop(job.id, None)
            self._ended[job.id] = known
            self._privacy.release(job.id)
        else:
            self._ended.pop(job.id, None)
            self._unfinished[job.id] = known
            self._count(known, +1)

    def _set_kind(self, job_id: str, known: _Known, kind: str) -> None:
        is_counted = job_id in self._unfinished
        if is_counted:
            self._count(known, -1)
        known.kind = kind
        if is_counted:
            self._count(known, +1)

    def store_failed(self) -> None:
        """The job store could not be read or written."""
        self._metrics.store_errors.inc()

    def _count(self, known: _Known, difference: int) -> None:
        self._metrics.jobs.labels(enum_names.JOB_STATE.to_name(known.state), known.kind).inc(difference)
        # The job of a timeline does not wait itself; its children do.
        if known.state == rewas_pb2.JOB_STATE_QUEUED and known.kind != "timeline":
            self._metrics.queue_length.inc(difference)

    def _report_start(self, job: rewas_pb2.Job, known: _Known) -> None:
        now_s = time.monotonic()
        known.began_at_s = now_s
        if job.attempt == 1 and known.stored_at_s is not None:
            self._metrics.wait_s.labels(known.kind).observe(now_s - known.stored_at_s)
        _log.info("The job began (%s, attempt %d).", known.kind, job.attempt, extra={"job_id": job.id})

    def _report_stage(self, job: rewas_pb2.Job, known: _Known) -> None:
        stage = job.stage if job.state == rewas_pb2.JOB_STATE_RUNNING else rewas_pb2.STAGE_UNSPECIFIED
        if stage == known.stage:
            return
        now_s = time.monotonic()
        if known.stage != rewas_pb2.STAGE_UNSPECIFIED and known.stage_began_at_s is not None:
            name = enum_names.STAGE.to_name(known.stage)
            self._metrics.stage_s.labels(name).observe(now_s - known.stage_began_at_s)
        known.stage, known.stage_began_at_s = stage, now_s

    def _report_interruptions(self, job: rewas_pb2.Job, known: _Known) -> None:
        counted = _count_interruptions(job)
        for number, count in (counted - known.interruptions).items():
            cause = enum_names.INTERRUPTION_CAUSE.to_name(number)
            self._metrics.interruptions.labels(cause).inc(count)
            _log.warning("The job was interrupted (%s).", cause, extra={"job_id": job.id})
        known.interruptions = counted

    def _report_state(self, job: rewas_pb2.Job, known: _Known, *, was_final: bool) -> None:
        about = {"job_id": job.id}
        state = enum_names.JOB_STATE.to_name(job.state) or ""
        if job.state in lifecycle.FINAL_STATES:
            self._report_end(job, known)
        elif was_final:
            known.stored_at_s = time.monotonic()
            self._metrics.retries.inc()
            level = logging.DEBUG if job.parent_id else logging.WARNING
            _log.log(level, "The job is retried on request.", extra=about)
        elif job.state == rewas_pb2.JOB_STATE_QUEUED and known.state == rewas_pb2.JOB_STATE_RUNNING:
            _log.warning("The job waits for another attempt after attempt %d.", known.attempt, extra=about)
        elif job.state != rewas_pb2.JOB_STATE_RUNNING:
            _log.log(_level(job), "The job is %s.", state, extra=about)

    def _count_end(self, job: rewas_pb2.Job, kind: str, count: int = 1) -> str:
        """Count a job that has ended. Returns the name of the kind of its problem; "" if it has none."""
        state = enum_names.JOB_STATE.to_name(job.state)
        problem = ProblemKind(job.problem.kind).name if job.state == rewas_pb2.JOB_STATE_FAILED else ""
        self._metrics.finished.labels(state, kind, problem.lower()).inc(count)
        return problem

    def _report_end(self, job: rewas_pb2.Job, known: _Known) -> None:
        about = {"job_id": job.id}
        problem = self._count_end(job, known.kind)
        duration_s = None if known.began_at_s is None else time.monotonic() - known.began_at_s
        known.began_at_s = None
        after = "" if duration_s is None else f" after {duration_s:.2f} s"
        if duration_s is not None:
            self._metrics.run_s.labels(known.kind).observe(duration_s)
        if job.state == rewas_pb2.JOB_STATE_SUCCEEDED:
            _log.info("The job finished%s.", after, extra=about)
        elif problem:
            # Not the sentences of the problem: they may quote the prompt.
            _log.info("The job failed%s (%s).", after, problem, extra=about)
        else:
            _log.log(_level(job), "The job was cancelled%s.", after, extra=about)


def _level(job: rewas_pb2.Job) -> int:
    """Return the log level of a change that may affect thousands of clips of a timeline at once."""
    return logging.DEBUG if job.parent_id and not job.attempt else logging.INFO


def _count_interruptions(job: rewas_pb2.Job) -> Counter[int]:
    return Counter({each.cause: each.count for each in job.interruptions}) if job.interruptions else _NO_INTERRUPTIONS
