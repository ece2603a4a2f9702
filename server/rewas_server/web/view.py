"""What the web page shows, as values for its templates."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.lifecycle import FINAL_STATES
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.jobs.timelines import clip_outcome
from rewas_server.web.energy_plot import EnergyPlot, plot_energy
from rewas_server.work.stem_provenance import recordings_of_take

MAX_ACTIVE, MAX_WAITING, MAX_ENDED = 20, 20, 8
MAX_CLIPS, MAX_TAKES, MAX_STEMS, MAX_RECORDINGS = 4, 4, 10, 8
_ACTIVE_STATES = frozenset(
    {
        rewas_pb2.JOB_STATE_RUNNING,
        rewas_pb2.JOB_STATE_CANCELLING,
        rewas_pb2.JOB_STATE_PAUSING,
        rewas_pb2.JOB_STATE_PAUSED,
    }
)
_STAGES = {
    rewas_pb2.STAGE_DECODE: "Reading the clip",
    rewas_pb2.STAGE_ENERGY: "Estimating the energy",
    rewas_pb2.STAGE_CONFLICT: "Comparing prompt and frames",
    rewas_pb2.STAGE_DESCRIBE: "Describing picture and sound",
    rewas_pb2.STAGE_SAMPLE: "Generating",
    rewas_pb2.STAGE_VOCODE: "Generating the waveform",
    rewas_pb2.STAGE_PERFORM: "Performing recordings",
    rewas_pb2.STAGE_DELIVER: "Writing the stems",
    rewas_pb2.STAGE_LOAD: "Loading the model",
}
_FAULTS = {
    rewas_pb2.TAKE_FAULT_SILENT: "The sound is silent.",
    rewas_pb2.TAKE_FAULT_CLIPPED: "The sound is clipped.",
    rewas_pb2.TAKE_FAULT_STUCK: "The sound is stuck.",
    rewas_pb2.TAKE_FAULT_WRONG: "The sound does not match its prompt.",
}


@dataclass(frozen=True)
class ServerView:
    """The state of the server."""

    device: str
    worker: str
    worker_ready: bool
    default_pack: str
    disk_free: str


@dataclass(frozen=True)
class JobView:
    """A job that has not ended."""

    id: str
    name: str
    state: str
    activity: str
    percent: int
    time_left: str
    place: str
    waiting_reason: str
    is_clip: bool


@dataclass(frozen=True)
class StemView:
    """A stem with its player."""

    role: str
    url: str
    name: str


@dataclass(frozen=True)
class TakeView:
    """A take with its energy.

    recordings: a line for each recording in it, without the last `hidden_recordings` of them.
    """

    title: str
    stems: tuple[StemView, ...]
    plot: EnergyPlot | None
    faults: tuple[str, ...]
    recordings: tuple[str, ...] = ()
    hidden_recordings: int = 0


@dataclass(frozen=True)
class SoundView:
    """The result for one clip. takes: the best one first."""

    clip: str
    prompt: str
    facts: str
    takes: tuple[TakeView, ...]
    hidden_takes: int
    notes: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class EndedView:
    """A job that has ended."""

    id: str
    name: str
    state: str
    finished: str
    finished_iso: str
    pinned: bool
    files_deleted: bool
    problem: str
    remedy: str
    sounds: tuple[SoundView, ...]
    hidden_sounds: int


@dataclass(frozen=True)
class PageView:
    """The whole page."""

    server: ServerView
    active: tuple[JobView, ...]
    waiting: tuple[JobView, ...]
    waiting_count: int
    ended: tuple[EndedView, ...]

    @property
    def has_reasons(self) -> bool:
        """Whether something keeps jobs from starting."""
        return any(job.waiting_reason for job in self.waiting)


class PageReader:
    """Reads what the page shows."""

    def __init__(self, board: JobBoard, scheduler: Scheduler, config: ServerConfig) -> None:
        self._board, self._scheduler, self._config = board, scheduler, config
        self._ended: dict[tuple[str, int], EndedView] = {}

    async def read(self) -> PageView:
        """Return what the page shows now. Raises ProblemError (RESOURCES) if the store is unavailable."""
        active = await self._board.list_page(MAX_ACTIVE, None, states=_ACTIVE_STATES)
        queued = [entry.id for entry in await self._board.queue() if entry.state == rewas_pb2.JOB_STATE_QUEUED]
        waiting = [await _find(self._board, job_id) for job_id in queued[:MAX_WAITING]]
        return PageView(
            _server_view(self._scheduler, self._config),
            tuple(map(_job_view, active.jobs)),
            # A job may have begun, or been deleted, since the queue was read.
            tuple(_job_view(job) for job in waiting if job and job.state == rewas_pb2.JOB_STATE_QUEUED),
            len(queued),
            await self._read_ended(),
        )

    async def _read_ended(self) -> tuple[EndedView, ...]:
        page = await self._board.list_page(MAX_ENDED, None, states=FINAL_STATES)
        views: dict[tuple[str, int], EndedView] = {}
        for listed in page.jobs:
            # A list holds no results, and those of a long timeline are large: each is read once.
            view = self._ended.get((listed.id, listed.revision))
            if view is None:
                job = await _find(self._board, listed.id)
                if job is not None and job.timeline.HasField("file"):
                    first = await self._board.children(job.id, MAX_CLIPS)
                    job.timeline.clips.extend(map(clip_outcome, first.jobs))
                view = None if job is None else await asyncio.to_thread(_ended_view, job)
            if view is not None:
                views[listed.id, listed.revision] = view
        self._ended = views
        return tuple(views.values())


async def _find(board: JobBoard, job_id: str) -> rewas_pb2.Job | None:
    try:
        return await board.get(job_id)
    except ProblemError as problem:
        if problem.kind is ProblemKind.NOT_FOUND:
            return None
        raise


def _server_view(scheduler: Scheduler, config: ServerConfig) -> ServerView:
    ready = scheduler.worker_ready
    return ServerView(
        scheduler.device or "Not known yet",
        "Ready" if ready else scheduler.worker_problem or "Starting",
        ready,
        config.default_pack,
        _free_space(config.state_dir),
    )


def _job_view(job: rewas_pb2.Job) -> JobView:
    return JobView(
        id=job.id,
        name=job.name,
        state=_state(job),
        activity=_activity(job),
        percent=round(100 * job.fraction),
        time_left=_duration(job.time_left.ToMilliseconds() / 1000) if job.HasField("time_left") else "",
        place=_place(job),
        waiting_reason=job.waiting_reason,
        is_clip=bool(job.parent_id),
    )


def _activity(job: rewas_pb2.Job) -> str:
    parts = []
    if job.child_count:
        parts.append(f"{job.finished_child_count} of {job.child_count} clips done")
    if job.state == rewas_pb2.JOB_STATE_RUNNING:
        parts += [_STAGES[job.stage]] if job.stage in _STAGES else []
        parts += [f"step {job.step} of {job.total_steps}"] if job.total_steps else []
    else:
        parts.append(_state(job))
    return ", ".join(parts)


def _place(job: rewas_pb2.Job) -> str:
    if not job.HasField("position"):
        return ""
    if job.position == 0:
        return "Next"
    return f"After {job.position} other job{'s' if job.position > 1 else ''}"


def _ended_view(job: rewas_pb2.Job) -> EndedView:
    finished = datetime.fromtimestamp(job.finished_at.seconds, UTC)
    sounds = list(_sounds(job))
    return EndedView(
        id=job.id,
        name=job.name,
        state=_state(job),
        finished=f"{finished.astimezone():%Y-%m-%d %H:%M:%S}",
        finished_iso=finished.isoformat(),
        pinned=job.pinned,
        files_deleted=job.files_deleted,
        problem=job.problem.what,
        remedy=job.problem.remedy,
        sounds=tuple(sounds[:MAX_CLIPS]),
        hidden_sounds=max(len(sounds), job.child_count) - len(sounds[:MAX_CLIPS]),
    )


def _sounds(job: rewas_pb2.Job) -> Iterable[SoundView]:
    result = job.WhichOneof("result")
    if result == "sound":
        yield _sound_view(job.id, job.sound, "", has_files=not job.files_deleted)
    elif result == "timeline":
        for clip in job.timeline.clips:
            if clip.HasField("sound"):
                yield _sound_view(clip.job_id, clip.sound, clip.name, has_files=not job.files_deleted)
            else:
                problem = f"{clip.problem.what} {clip.problem.remedy}"
                yield SoundView(clip.name, "", "", (), 0, (), problem)
    elif result == "energy":
        notes = tuple(note.text for note in job.energy.notes)
        plot = plot_energy({"energy": job.energy.energy}, "Energy of the clip over time.")
        facts = _seconds(job.energy.clip.duration_s)
        yield SoundView("", "", facts, (TakeView("Energy of the clip", (), plot, ()),), 0, notes, "")
    elif result == "conflict":
        yield SoundView("", "", "", (), 0, (job.conflict.explanation,) if job.conflict.explanation else (), "")
    elif result == "description":
        told = job.description
        texts = (told.description, *told.notes, *(f"Suggested: {each.prompt}" for each in told.suggestions[:1]))
        yield SoundView("", "", _seconds(told.clip.duration_s), (), 0, tuple(filter(None, texts)), "")
    elif result == "audible_video":
        video = job.audible_video
        texts = (f"Video of {video.frames} frames with sound, seed {video.seed}: {video.file.name}",)
        yield SoundView("", video.prompt, _seconds(video.duration_s), (), 0, texts, "")


def _sound_view(job_id: str, sound: rewas_pb2.SoundResult, clip: str, *, has_files: bool) -> SoundView:
    facts = [_seconds(sound.clip.duration_s), _packs_text(sound)]
    takes = tuple(
        _take_view(job_id, sound, take, number, has_files=has_files)
        for number, take in enumerate(sound.takes[:MAX_TAKES], start=1)
    )
    notes = [note.text for note in sound.notes]
    if sound.conflict.verdict == rewas_pb2.VERDICT_CONFLICT:
        notes.append(sound.conflict.explanation)
    return SoundView(
        clip=clip,
        prompt=sound.settings.prompt,
        facts=", ".join(filter(None, facts)),
        takes=takes,
        hidden_takes=len(sound.takes[MAX_TAKES:]),
        notes=tuple(notes),
        problem="",
    )


def _packs_text(sound: rewas_pb2.SoundResult) -> str:
    layers = [layer.pack.name for take in sound.takes[:1] for layer in take.layers]
    names = list(dict.fromkeys(name for name in (sound.pack.name, *layers) if name))
    return f"pack{'s' if len(names) > 1 else ''} {' and '.join(names)}" if names else ""


def _take_view(
    job_id: str, sound: rewas_pb2.SoundResult, take: rewas_pb2.Take, number: int, *, has_files: bool
) -> TakeView:
    match = [f"on average {take.energy_mae_nats:.2f} nats apart"]
    if take.HasField("energy_correlation"):
        match.append(f"correlation {take.energy_correlation:.2f}")
    description = f"Requested and produced energy over time: {', '.join(match)}."
    stems = [
        StemView(stem.role, f"/jobs/{quote(job_id, safe='')}/audio/{quote(stem.artifact.name, safe='')}", take_name)
        for stem, take_name in ((stem, f"{stem.role}, take {number}") for stem in take.stems[:MAX_STEMS])
        if has_files
    ]
    recordings = [used.credit_line() for used in recordings_of_take(take)]
    return TakeView(
        f"Take {number}, seed {take.seed}: energy {', '.join(match)}",
        tuple(stems),
        plot_energy({"requested": sound.requested_energy, "produced": take.output_energy}, description),
        tuple(_FAULTS[fault] for fault in take.faults if fault in _FAULTS),
        tuple(recordings[:MAX_RECORDINGS]),
        len(recordings[MAX_RECORDINGS:]),
    )


def _state(job: rewas_pb2.Job) -> str:
    return (enum_names.JOB_STATE.to_name(job.state) or "unknown").capitalize()


def _seconds(duration: rewas_pb2.Rational) -> str:
    return f"{duration.numerator / duration.denominator:.2f} s" if duration.denominator else ""


def _duration(duration_s: float) -> str:
    seconds = max(0, round(duration_s))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _free_space(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError:
        return "Unknown"
