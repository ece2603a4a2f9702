# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivers messages from background threads to Blender, and does long work on the main thread in slices.

A timer calls `on_timer()`. In background mode, where timers never fire, scripts and tests call `pump()`.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import bpy

from ..core.analysis import AnalysisEnded, ConflictAnswer, ConflictQuestion
from ..core.board import Board
from ..core.description_question import DescriptionAnswer
from ..core.energy_question import EnergyAnswer
from ..core.messages import JobFailed, Message, Problem, StemsReceived
from ..core.records import JobRecord, RecordsFound
from ..core.slices import Slices, run_all
from ..core.video_question import VideoAnswer
from . import arrivals, connecting, energy_estimates, links, open_file, picture_queue, questions, status_bar
from .check_results import store_check
from .generating import prepare_again, submit_with_picture
from .preferences import chosen_server
from .prepared import forget_takes, prepare_jobs
from .redraw import redraw_panels, redraw_sequencers
from .shared_session import close_session, session, watch_server
from .text_videos import place_video
from .user_activity import is_user_busy
from .word_suggestions import forget_all_words, store_words

IDLE_INTERVAL_S = 0.2
BUSY_INTERVAL_S = 0.1
WORKING_INTERVAL_S = 0.01
"""Used while there is more work than fits into one tick."""
PUMP_BUDGET_S = 0.0025
"""The last message, slice or strip of a tick may end later; each takes less than 2 ms."""

LONG_STEP_BEGINS_S = 0.001
"""A step that takes Blender milliseconds waits for a tick that has not worked for longer than this."""
MOST_POSTPONED = 5
"""After this many ticks that have worked for longer, for example during playback, it begins anyway."""
ARRIVING_REDRAW_INTERVAL_S = 0.1
WORKING_REDRAW_INTERVAL_S = 0.5
"""Used while strips are read. Redrawing a long timeline takes much longer than a tick, and delays the next one."""

_drawn_board: Board | None = None
_drawn_at_s = 0.0
_postponed = 0
_work: deque[tuple[Slices[Any], Callable[[Any], object]]] = deque()


def watch_preferred_server() -> None:
    """Poll the server named in the preferences."""
    watch_server(chosen_server())


def run_in_slices(work: Generator[None, None, Any], on_end: Callable[[Any], object] = lambda result: None) -> None:
    """Do work on the main thread, a few milliseconds in each tick, then call `on_end` with its result.

    It begins with the next tick. In background mode, where no ticks follow, all of it is done at once. The work is
    abandoned when another file is opened.
    """
    if bpy.app.background:
        on_end(run_all(work))
        return
    _work.append((Slices(work), on_end))
    wake_timer()


def pump() -> float:
    """Process waiting work for a few milliseconds. Returns the seconds until the next call."""
    begin_s = time.monotonic()
    deadline_s = begin_s + PUMP_BUDGET_S
    if open_file.look_for_jobs():
        # With hundreds of jobs, this is enough for one tick.
        return WORKING_INTERVAL_S
    current = session()
    _redraw_if_changed(current.board, begin_s)
    current.drain(_handle, deadline_s=deadline_s)
    picture_queue.handle_messages(_continue_with_picture, _fail_without_picture, deadline_s=deadline_s)
    is_busy = is_user_busy()
    is_linked = not is_busy and links.step(deadline_s)
    if _work and time.monotonic() < deadline_s:
        _step_work(deadline_s)
    elif is_linked and not _work:
        _take_long_step(time.monotonic() - begin_s)
    if time.monotonic() - begin_s < LONG_STEP_BEGINS_S:
        _redraw_if_changed(current.board, begin_s)
    status_bar.update_status_bar(current.board)
    is_waiting = arrivals.is_waiting() or energy_estimates.is_waiting() or connecting.is_waiting()
    if _work or current.board is not _drawn_board or (not is_busy and (is_waiting or not is_linked)):
        return WORKING_INTERVAL_S
    return BUSY_INTERVAL_S if current.is_busy or questions.is_asking() else IDLE_INTERVAL_S


def _take_long_step(worked_s: float) -> None:
    """Do one thing that takes Blender milliseconds, or postpone it if this tick has already worked for too long."""
    global _postponed
    if worked_s > LONG_STEP_BEGINS_S and _postponed < MOST_POSTPONED:
        _postponed += 1
        return
    _postponed = 0
    if connecting.is_waiting() and (connecting.is_full() or not arrivals.has_stems()):
        connecting.connect_next()
    elif energy_estimates.is_waiting():
        energy_estimates.draw_next()
    else:
        arrivals.place_next()


def on_timer() -> float:
    """Pump and keep the timer alive: Blender unregisters a timer whose function raises."""
    try:
        return pump()
    except Exception:
        traceback.print_exc()
        return IDLE_INTERVAL_S


def wake_timer() -> None:
    """Make the timer fire soon, because a job has started."""
    if bpy.app.timers.is_registered(on_timer):
        bpy.app.timers.unregister(on_timer)
    bpy.app.timers.register(on_timer, first_interval=WORKING_INTERVAL_S, persistent=True)


def _step_work(deadline_s: float) -> None:
    slices, on_end = _work[0]
    try:
        has_ended = slices.step(deadline_s)
    except BaseException:
        _work.popleft()
        raise
    if has_ended:
        _work.popleft()
        on_end(slices.result)


def _handle(message: Message | RecordsFound | AnalysisEnded) -> None:
    current = session()
    match message:
        case AnalysisEnded():
            _receive_answer(message)
        case RecordsFound():
            run_in_slices(open_file.resume(message), _render_again)
        case StemsReceived() if message.key in current.open_keys:
            arrivals.add_arrival(message)
        case StemsReceived():
            record = current.book.get(message.key)
            if record is not None:
                current.store(message.key, open_file.note_for_other_file(record))
        case JobFailed():
            record = current.book.get(message.key)
            if record is not None and _is_first_report(message, record):
                print(f"ReWaS: {message.problem}")  # noqa: T201
                status_bar.show_failure(message.problem)


def _receive_answer(message: AnalysisEnded) -> None:
    asked = questions.receive(message)
    question, answer = message.request.question, message.answer
    if asked is not None and isinstance(answer, EnergyAnswer):
        energy_estimates.add_estimate(asked, answer)
    elif asked is not None and isinstance(answer, ConflictAnswer) and isinstance(question, ConflictQuestion):
        store_check(asked, question, answer)
    elif asked is not None and isinstance(answer, DescriptionAnswer):
        store_words(asked, answer)
    elif asked is not None and isinstance(answer, VideoAnswer):
        place_video(asked, answer)
    redraw_sequencers()


def _continue_with_picture(key: str) -> None:
    if not questions.continue_with_picture(key):
        submit_with_picture(key)


def _fail_without_picture(key: str, problem: Problem) -> None:
    if not questions.fail_without_picture(key, problem):
        session().fail_preparation(key, problem)


def _render_again(records: list[JobRecord]) -> None:
    if records:
        run_in_slices(prepare_again(records))


def _is_first_report(failed: JobFailed, record: JobRecord) -> bool:
    """Return whether no other clip of the same press of Generate has reported this problem."""
    current = session()
    others = (other for other in current.book.all() if other.batch_id == record.batch_id and other.key != record.key)
    jobs = (current.board.jobs.get(other.key) for other in others)
    return not any(job is not None and job.problem == failed.problem for job in jobs)


def _redraw_if_changed(board: Board, now_s: float) -> None:
    """Prepare the rows of the panel and redraw it. With 500 jobs, this takes 2 ms."""
    global _drawn_board, _drawn_at_s
    interval_s = WORKING_REDRAW_INTERVAL_S if _work else ARRIVING_REDRAW_INTERVAL_S if arrivals.is_waiting() else 0.0
    if board is _drawn_board or now_s - _drawn_at_s < interval_s:
        return
    _drawn_board, _drawn_at_s = board, now_s
    prepare_jobs(board)
    redraw_panels()


def _forget_questions() -> None:
    questions.forget_questions()
    energy_estimates.forget_estimates()
    forget_all_words()


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    global _drawn_board
    _drawn_board = None
    forget_takes()
    _forget_questions()
    _work.clear()
    status_bar.clear_failure()
    if not bpy.app.background:
        watch_preferred_server()
        wake_timer()


def register() -> None:
    wake_timer()
    bpy.app.handlers.load_post.append(_after_load)
    # The preferences do not exist yet while the extension is being enabled, so the first check runs shortly afterwards.
    if not bpy.app.background:
        bpy.app.timers.register(_after_load, first_interval=0.2)


def unregister() -> None:
    for timer in (on_timer, _after_load):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    if _after_load in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_after_load)
    _work.clear()
    _forget_questions()
    arrivals.clear_arrivals()
    picture_queue.close()
    close_session()
