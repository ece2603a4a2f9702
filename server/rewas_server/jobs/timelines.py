"""The job of a timeline: its state follows from those of its children, one for each clip.

A child is an ordinary job for the sound of a clip. When all children are in a final state, their stems are placed on
the timeline. It succeeds if at least one clip has a sound; the others keep their problem.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.checking.checker import RequestChecker
from rewas_server.files.uploads import UploadStore
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.store import Change, StoreUnavailable, is_damaged
from rewas_server.work.clip_outcomes import cancelled_problem, no_sound_problem
from rewas_server.work.translation import internal_problem, problem_from_error

_BEGUN_STATES = lifecycle.FINAL_STATES | {rewas_pb2.JOB_STATE_RUNNING}
_BUSY_STATES = frozenset({rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_PAUSING, rewas_pb2.JOB_STATE_CANCELLING})
_MOST_BUSY = 1000
"""Largest number of children that workers hold at once."""
_READ_AT_ONCE = 10
"""Number of children whose results are in memory at once."""
_CLIPS_FILE_NAME = "clips.binpb"
_log = logging.getLogger("rewas.server")


class TimelineJobs:
    """Updates the jobs of timelines when their children change.

    Args:
        board: The jobs.
        checker: Assembles timelines.
        uploads: Holds the timelines that were uploaded.
        artifacts_dir: Folder with one subfolder per job.
    """

    def __init__(self, board: JobBoard, checker: RequestChecker, uploads: UploadStore, artifacts_dir: Path) -> None:
        self._board = board
        self._checker = checker
        self._uploads = uploads
        self._artifacts_dir = artifacts_dir

    async def child_changed(self, parent_id: str) -> list[rewas_pb2.Job]:
        """Update a timeline job after a change of one of its children, and end it after the last one.

        Calling it again changes nothing. If the record of the timeline was lost or cannot be read, nobody waits for
        its clips any more, so the unfinished ones are cancelled. Returns the cancelled ones. Raises StoreUnavailable.
        """
        try:
            parent = await self._board.get(parent_id)
        except ProblemError as problem:
            if problem.kind is not ProblemKind.NOT_FOUND:
                raise
            return await self._cancel_children(parent_id)
        if parent.state in lifecycle.FINAL_STATES:
            return await self._cancel_children(parent_id) if is_damaged(parent) else []
        children = await self._read_children(parent)
        parent = await self._board.update(parent_id, lambda job: follow_children(job, children))
        if parent.state not in lifecycle.FINAL_STATES and children.have_ended:
            await self._board.update(parent_id, await self._ending(parent))
        return []

    async def _cancel_children(self, parent_id: str) -> list[rewas_pb2.Job]:
        cancelled = await self._board.update_children(
            parent_id, lifecycle.request_cancel, states=lifecycle.UNFINISHED_STATES
        )
        if cancelled:
            _log.error(
                "The record of the timeline job %s is lost or damaged. Its unfinished clips (%d) are cancelled.",
                parent_id,
                len(cancelled),
                extra={"job_id": parent_id},
            )
        return cancelled

    async def _read_children(self, parent: rewas_pb2.Job) -> Children:
        counts = await self._board.count_children(parent.id)
        busy = await self._board.list_page(_MOST_BUSY, None, parent_id=parent.id, states=_BUSY_STATES)
        left_s = [job.time_left.ToNanoseconds() / 1e9 if job.HasField("time_left") else None for job in busy.jobs]
        if counts.get(rewas_pb2.JOB_STATE_QUEUED):
            place = await self._board.place(parent.id)
            left_s.append(None if place is None else place.time_left_s)
        known_s = [each_s for each_s in left_s if each_s is not None]
        is_known = len(known_s) == len(left_s) and not counts.get(rewas_pb2.JOB_STATE_PAUSED)
        # The job ends with the child that ends last.
        return Children(counts, busy.jobs, max(known_s) if is_known and known_s else None)

    async def _ending(self, parent: rewas_pb2.Job) -> Change:
        """Return the change that ends a timeline job. Raises StoreUnavailable."""
        folder = self._artifacts_dir / parent.id
        try:
            # An earlier attempt may have left files.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            result = await self._assemble(parent, folder / _CLIPS_FILE_NAME)
            return lambda job: _end(job, lambda job: lifecycle.complete_job(job, result))
        except StoreUnavailable:
            raise
        except ProblemError as error:
            problem = error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreUnavailable(
                    "The disk with the server's state folder is full.", "Free some space; the timeline then continues."
                ) from error
            problem = problem_from_error(error)
        except Exception:
            _log.exception("The timeline of the job %s could not be assembled.", parent.id, extra={"job_id": parent.id})
            problem = internal_problem(parent.id)
        failure = problem
        return lambda job: _end(job, lambda job: lifecycle.fail_job(job, failure))

    async def _assemble(self, parent: rewas_pb2.Job, clips_path: Path) -> rewas_pb2.TimelineResult:
        """Return the result of a timeline. Raises ProblemError if no clip has a sound, StoreUnavailable, OSError."""
        request = await self._board.request(parent.id)
        try:
            problem = no_sound_problem(parent.name, await self._write_clips(parent.id, clips_path))
            if problem is not None:
                raise problem
            uploaded_bytes = await self._uploads.size_bytes(request.timeline.timeline_sha256)
            return await self._checker.assemble(request, clips_path, uploaded_bytes)
        finally:
            await asyncio.to_thread(_remove, clips_path)

    async def _write_clips(self, parent_id: str, path: Path) -> list[rewas_pb2.TimelineClip]:
        """Write the outcomes of all clips to a file, as a serialised TimelineResult. Return them without sounds.

        Together, the results of many clips are large, so this process holds only some of them at a time.
        """
        outlines: list[rewas_pb2.TimelineClip] = []
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        with path.open("wb") as file:
            after: int | None = 0
            while after is not None:
                page = await self._board.children(parent_id, _READ_AT_ONCE, after)
                clips = [clip_outcome(child) for child in page.jobs]
                # Serialised messages that follow each other are merged into one.
                await asyncio.to_thread(file.write, rewas_pb2.TimelineResult(clips=clips).SerializeToString())
                outlines += map(_without_sound, clips)
                after = page.next_before
        return outlines


@dataclass(frozen=True)
class Children:
    """The children of a timeline job.

    Attributes:
        counts: Number of children in each state.
        busy: The children that workers hold, in the order of the timeline.
        time_left_s: Until the last one ends, in seconds; None while unknown.
    """

    counts: Mapping[int, int]
    busy: Sequence[rewas_pb2.Job]
    time_left_s: float | None

    @property
    def count(self) -> int:
        """Number of children."""
        return sum(self.counts.values())

    @property
    def ended_count(self) -> int:
        """Number of children in a final state."""
        return sum(count for state, count in self.counts.items() if state in lifecycle.FINAL_STATES)

    @property
    def have_ended(self) -> bool:
        """Whether all children are in a final state."""
        return self.ended_count == self.count

    @property
    def states(self) -> set[int]:
        """The states that occur."""
        return {state for state, count in self.counts.items() if count}


def follow_children(parent: rewas_pb2.Job, children: Children) -> rewas_pb2.Job:
    """Return a timeline job as the states of its children require. Without a difference, the job itself is returned.

    It does not end the job, except one that is being cancelled.
    """
    states, have_ended = children.states, children.have_ended
    after = parent
    if after.state in lifecycle.FINAL_STATES:
        return parent
    if after.state == rewas_pb2.JOB_STATE_CANCELLING and have_ended:
        after = lifecycle.cancel_job(after)
    if after.state == rewas_pb2.JOB_STATE_PAUSING and not have_ended and not states & _BUSY_STATES:
        after = lifecycle.pause_job(after)
    if after.state == rewas_pb2.JOB_STATE_PAUSED and have_ended:
        # The last child ended instead of pausing.
        after = lifecycle.resume_job(after)
    if after.state == rewas_pb2.JOB_STATE_QUEUED and states & _BEGUN_STATES:
        after = lifecycle.start_job(after)
    after = _with_progress(after, children)
    after.revision = parent.revision
    if after == parent:
        return parent
    after.revision += 1
    return after


def _with_progress(parent: rewas_pb2.Job, children: Children) -> rewas_pb2.Job:
    """Return the job with the progress of all children together, and the stage of the one that runs."""
    after = rewas_pb2.Job()
    after.CopyFrom(parent)
    after.finished_child_count = children.ended_count
    done = children.ended_count + sum(child.fraction for child in children.busy)
    after.fraction = max(parent.fraction, min(1.0, done / max(1, children.count)))
    if after.state != rewas_pb2.JOB_STATE_RUNNING:
        return after
    running = next((child for child in children.busy if child.state == rewas_pb2.JOB_STATE_RUNNING), rewas_pb2.Job())
    after.stage, after.step, after.total_steps = running.stage, running.step, running.total_steps
    after.ClearField("time_left")
    if children.time_left_s is not None and not children.have_ended:
        after.time_left.FromMilliseconds(round(children.time_left_s * 1000))
    return after


def _end(job: rewas_pb2.Job, change: Change) -> rewas_pb2.Job:
    """End a timeline job with a change, unless it was cancelled or retried while its timeline was being assembled."""
    if job.state == rewas_pb2.JOB_STATE_CANCELLING:
        return lifecycle.cancel_job(job)
    return change(job) if job.state in (rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_PAUSING) else job


def clip_outcome(child: rewas_pb2.Job) -> rewas_pb2.TimelineClip:
    """Return the outcome of the clip of a child in a final state."""
    clip = rewas_pb2.TimelineClip(name=child.name, job_id=child.id)
    if child.HasField("sound"):
        clip.sound.CopyFrom(child.sound)
    elif child.HasField("problem"):
        clip.problem.CopyFrom(child.problem)
    else:
        clip.problem.CopyFrom(cancelled_problem(child.name).to_proto())
    return clip


def _without_sound(clip: rewas_pb2.TimelineClip) -> rewas_pb2.TimelineClip:
    return rewas_pb2.TimelineClip(name=clip.name, problem=clip.problem if clip.HasField("problem") else None)


def _remove(path: Path) -> None:
    """Delete a file, and its folder if nothing else is in it."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
