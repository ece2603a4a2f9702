"""The job of a timeline: its state follows from those of its children, one for each clip.

A child is an ordinary job for the sound of a clip. When all children are in a final state, their stems are placed on
the timeline. It succeeds if at least one clip has a sound; the others keep their problem.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from rewas_api.errors import ProblemError
from rewas_api.v1 import rewas_pb2
from rewas_server.checking.checker import RequestChecker
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.store import Change, StoreUnavailable
from rewas_server.work.clip_outcomes import cancelled_problem, no_sound_problem
from rewas_server.work.translation import internal_problem

_BEGUN_STATES = lifecycle.FINAL_STATES | {rewas_pb2.JOB_STATE_RUNNING}
_BUSY_STATES = frozenset({rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_PAUSING, rewas_pb2.JOB_STATE_CANCELLING})
_log = logging.getLogger("rewas.server")


class TimelineJobs:
    """Updates the jobs of timelines when their children change.

    Args:
        board: The jobs.
        checker: Assembles timelines.
    """

    def __init__(self, board: JobBoard, checker: RequestChecker) -> None:
        self._board = board
        self._checker = checker

    async def child_changed(self, parent_id: str) -> None:
        """Update a timeline job after a change of one of its children, and end it after the last one.

        Calling it again changes nothing. Raises StoreUnavailable, and ProblemError (NOT_FOUND).
        """
        parent = await self._board.get(parent_id)
        if parent.state in lifecycle.FINAL_STATES:
            return
        page = await self._board.list_page(max(1, parent.child_count), None, parent_id=parent_id)
        parent = await self._board.update(parent_id, lambda job: follow_children(job, page.jobs))
        if parent.state not in lifecycle.FINAL_STATES and _have_ended(page.jobs):
            await self._board.update(parent_id, await self._ending(parent))

    async def _ending(self, parent: rewas_pb2.Job) -> Change:
        """Return the change that ends a timeline job. Raises StoreUnavailable."""
        clips = [_outcome(child) for child in await self._board.children(parent.id)]
        problem = no_sound_problem(parent.name, clips)
        try:
            if problem is None:
                result = await self._checker.assemble(await self._board.request(parent.id), clips)
                return lambda job: _end(job, lambda job: lifecycle.complete_job(job, result))
        except StoreUnavailable:
            raise
        except ProblemError as error:
            problem = error
        except Exception:
            _log.exception("The timeline of the job %s could not be assembled.", parent.id, extra={"job_id": parent.id})
            problem = internal_problem(parent.id)
        failure = problem
        return lambda job: _end(job, lambda job: lifecycle.fail_job(job, failure))


def follow_children(parent: rewas_pb2.Job, children: Sequence[rewas_pb2.Job]) -> rewas_pb2.Job:
    """Return a timeline job as the states of its children require. Without a difference, the job itself is returned.

    It does not end the job, except one that is being cancelled.

    Args:
        parent: The job.
        children: Its children, with the time left if it is known.
    """
    states, have_ended = {child.state for child in children}, _have_ended(children)
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


def _with_progress(parent: rewas_pb2.Job, children: Sequence[rewas_pb2.Job]) -> rewas_pb2.Job:
    """Return the job with the progress of all children together, and the stage of the one that runs."""
    after = rewas_pb2.Job()
    after.CopyFrom(parent)
    left = [child for child in children if child.state not in lifecycle.FINAL_STATES]
    after.finished_child_count = len(children) - len(left)
    done = after.finished_child_count + sum(child.fraction for child in left)
    after.fraction = max(parent.fraction, min(1.0, done / max(1, len(children))))
    if after.state != rewas_pb2.JOB_STATE_RUNNING:
        return after
    running = next((child for child in left if child.state == rewas_pb2.JOB_STATE_RUNNING), rewas_pb2.Job())
    after.stage, after.step, after.total_steps = running.stage, running.step, running.total_steps
    after.ClearField("time_left")
    if left and all(child.HasField("time_left") for child in left):
        # The job ends with the child that ends last.
        after.time_left.CopyFrom(max((child.time_left for child in left), key=Duration.ToNanoseconds))
    return after


def _have_ended(children: Sequence[rewas_pb2.Job]) -> bool:
    return all(child.state in lifecycle.FINAL_STATES for child in children)


def _end(job: rewas_pb2.Job, change: Change) -> rewas_pb2.Job:
    """End a timeline job with a change, unless it was cancelled or retried while its timeline was being assembled."""
    if job.state == rewas_pb2.JOB_STATE_CANCELLING:
        return lifecycle.cancel_job(job)
    return change(job) if job.state in (rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_PAUSING) else job


def _outcome(child: rewas_pb2.Job) -> rewas_pb2.TimelineClip:
    clip = rewas_pb2.TimelineClip(name=child.name, job_id=child.id)
    if child.HasField("sound"):
        clip.sound.CopyFrom(child.sound)
    elif child.HasField("problem"):
        clip.problem.CopyFrom(child.problem)
    else:
        clip.problem.CopyFrom(cancelled_problem(child.name).to_proto())
    return clip
