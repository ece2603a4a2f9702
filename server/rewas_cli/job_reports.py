"""Jobs and servers as JSON and as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from rewas_api import enum_names
from rewas_api.client import FINAL_STATES, RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_cli.console import format_size, printable
from rewas_engine.recordings.credits import UsedRecording
from rewas_server.work.stem_provenance import recordings_by_role

Report = dict[str, Any]
FULL_ID_CHARACTERS = 32
SHORT_ID_CHARACTERS = 8
LONGEST_PAGE = 1000
MAX_CANDIDATES = 5
STATE_COLOURS = {"running": "cyan", "succeeded": "green", "failed": "red", "paused": "yellow", "pausing": "yellow"}


def find_job(client: RewasClient, id_start: str) -> rewas_pb2.Job:
    """Return the job with this identifier, or the only one whose identifier starts like this.

    Raises:
        ProblemError: NOT_FOUND if there is none, SETTINGS if there are several.
    """
    if len(id_start) >= FULL_ID_CHARACTERS:
        return client.get_job(id_start)
    jobs = list(client.list_jobs(page_size=LONGEST_PAGE))
    found = [job for job in jobs if job.id.startswith(id_start)]
    if not found:
        timelines = [job for job in jobs if job.child_count]
        children = (client.list_jobs(page_size=LONGEST_PAGE, parent_id=timeline.id) for timeline in timelines)
        found = [job for group in children for job in group if job.id.startswith(id_start)]
    if not found:
        raise ProblemError(
            f'No job has an identifier that starts with "{printable(id_start[:40])}".',
            "Run `rewas jobs list` to see the jobs.",
            ProblemKind.NOT_FOUND,
        )
    if len(found) > 1:
        more = ", …" if len(found) > MAX_CANDIDATES else ""
        candidates = ", ".join(job.id[:12] for job in found[:MAX_CANDIDATES])
        raise ProblemError(
            f'{len(found)} jobs have identifiers that start with "{printable(id_start)}": {candidates}{more}.',
            "Type more characters.",
            ProblemKind.SETTINGS,
        )
    return client.get_job(found[0].id)


def job_report(job: rewas_pb2.Job) -> Report:
    """A job, without its files."""
    problem = job.problem if job.HasField("problem") else None
    return {
        "id": job.id,
        "name": job.name,
        "state": enum_names.JOB_STATE.to_name(job.state),
        "priority": enum_names.PRIORITY.to_name(job.priority) or "normal",
        "stage": enum_names.STAGE.to_name(job.stage) if job.state == rewas_pb2.JOB_STATE_RUNNING else None,
        "step": job.step,
        "total_steps": job.total_steps,
        "fraction": job.fraction,
        "time_left_s": job.time_left.ToNanoseconds() / 1e9 if job.HasField("time_left") else None,
        "position": job.position if job.HasField("position") else None,
        "waiting_reason": job.waiting_reason or None,
        "attempt": job.attempt,
        "interruptions": {
            enum_names.INTERRUPTION_CAUSE.to_name(each.cause): each.count for each in job.interruptions
        },
        "parent_id": job.parent_id or None,
        "clips": {"total": job.child_count, "finished": job.finished_child_count} if job.child_count else None,
        "pinned": job.pinned,
        "files_deleted": job.files_deleted,
        "created_at": _time(job, "created_at"),
        "started_at": _time(job, "started_at"),
        "finished_at": _time(job, "finished_at"),
        "problem": None if problem is None else problem_report(problem),
    }  # fmt: skip


def file_reports(job: rewas_pb2.Job) -> list[Report]:
    """The files of a job's result."""
    sounds = [("", job.id, job.sound)] if job.HasField("sound") else []
    sounds += [(clip.name, clip.job_id, clip.sound) for clip in job.timeline.clips if clip.HasField("sound")]
    return [
        {
            "clip": clip or None,
            "job_id": job_id,
            "seed": take.seed,
            "role": stem.role,
            "name": stem.artifact.name,
            "size_bytes": stem.artifact.size_bytes,
            "sha256": stem.artifact.sha256,
            "path": stem.artifact.path or None,
            "recordings": [vars(used) for used in recordings_by_role(take).get(stem.role, ())],
        }
        for clip, job_id, sound in sounds
        for take in sound.takes
        for stem in take.stems
    ]


def job_table(reports: Sequence[Report]) -> Any:
    """Jobs as a table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Job", no_wrap=True)
    table.add_column("Name", overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column("State", no_wrap=True)
    table.add_column("Progress")
    table.add_column("Submitted", no_wrap=True)
    for report in reports:
        state = report["state"]
        table.add_row(
            report["id"][:SHORT_ID_CHARACTERS],
            Text(printable(report["name"])),
            Text(state + (" (pinned)" if report["pinned"] else ""), style=STATE_COLOURS.get(state, "")),
            Text(progress_text(report)),
            _local_time(report["created_at"]),
        )
    return table


def progress_text(report: Mapping[str, Any]) -> str:
    """How far a job is, or why it waits or failed, in a few words."""
    if report["problem"]:
        return printable(report["problem"]["what"])
    parts = []
    if report["clips"]:
        parts.append(f"{report['clips']['finished']} of {report['clips']['total']} clips")
    if report["state"] == "running":
        parts.append(f"{report['fraction']:.0%}")
        if report["stage"]:
            parts.append(report["stage"])
        if report["total_steps"]:
            parts.append(f"step {report['step']} of {report['total_steps']}")
    if report["position"] is not None:
        ahead = report["position"]
        parts.append("next" if ahead == 0 else f"after {ahead} other job{'s' if ahead > 1 else ''}")
    if report["waiting_reason"]:
        parts.append(printable(report["waiting_reason"]))
    if report["time_left_s"] is not None:
        parts.append(f"{format_duration(report['time_left_s'])} left")
    if report["files_deleted"]:
        parts.append("files deleted")
    return ", ".join(parts)


def job_lines(report: Mapping[str, Any], files: Sequence[Report], children: Sequence[Report]) -> Iterator[str]:
    """One job in full, as lines of text."""
    yield f"{report['id']}  {printable(report['name'])}"
    yield f"  State: {report['state']}" + (f" ({progress_text(report)})" if progress_text(report) else "")
    if report["problem"]:
        yield f"  To do: {printable(report['problem']['remedy'])}"
        yield f"  Kind of problem: {report['problem']['kind']}"
    yield f"  Priority: {report['priority']}; attempt {report['attempt']}"
    for cause, count in report["interruptions"].items():
        yield f"  Interrupted: {cause}, {count} time{'s' if count != 1 else ''}"
    for label in ("created", "started", "finished"):
        if report[f"{label}_at"]:
            yield f"  {label.capitalize()}: {_local_time(report[f'{label}_at'])}"
    if report["parent_id"]:
        yield f"  Clip of the timeline {report['parent_id']}"
    if report["pinned"]:
        yield "  Pinned: its files are kept"
    if report["files_deleted"]:
        yield "  Its files were deleted to make room"
    for child in children:
        state = child["state"] + (f" ({progress_text(child)})" if progress_text(child) else "")
        yield f"  {child['id'][:SHORT_ID_CHARACTERS]}  {printable(child['name'])}: {state}"
    for file in files:
        clip = f"{printable(file['clip'])}, " if file["clip"] else ""
        yield f"  {clip}seed {file['seed']}, {printable(file['role'])}: {printable(file['path'] or file['name'])}"
        yield f"    {format_size(file['size_bytes'])}, SHA-256 {file['sha256']}"
        for used in file["recordings"]:
            yield f"    recording: {printable(UsedRecording(**used).credit_line())}"


def problem_report(problem: rewas_pb2.Problem) -> Report:
    """A problem as JSON."""
    kind = rewas_pb2.ProblemKind.Name(problem.kind).removeprefix("PROBLEM_KIND_")
    return {"what": problem.what, "remedy": problem.remedy, "kind": kind}


def server_report(client: RewasClient) -> Report:
    """The state of a server, with its running, waiting and latest jobs. Raises like the client's calls."""
    info = client.get_server_info()
    active = client.list_jobs(page_size=20, states=_ACTIVE_STATES)
    waiting = client.list_jobs(page_size=LONGEST_PAGE, states=[rewas_pb2.JOB_STATE_QUEUED])
    ended = client.list_jobs(page_size=5, states=sorted(FINAL_STATES))
    queue = sorted(map(job_report, waiting), key=lambda report: (report["position"] or 0, report["created_at"] or ""))
    return {
        "address": client.address,
        "version": info.version,
        "contract_version": info.contract_version,
        "device": info.device or None,
        "default_pack": info.default_pack,
        "worker_ready": info.worker_ready,
        "worker_problem": info.worker_problem or None,
        "loaded_packs": list(info.loaded_packs),
        "coming_packs": list(info.coming_packs),
        "load_problem": problem_report(info.load_problem) if info.HasField("load_problem") else None,
        "jobs_ahead": info.jobs_ahead,
        "active": [job_report(job) for job in _first(active, 5)],
        "waiting": queue[:5],
        "waiting_count": len(queue),
        "ended": [job_report(job) for job in _first(ended, 5)],
    }


def format_duration(duration_s: float) -> str:
    """Return a time span for people, such as "45 s" or "2 h 5 min"."""
    seconds = max(0, round(duration_s))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


_ACTIVE_STATES = [rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_CANCELLING, rewas_pb2.JOB_STATE_PAUSING]


def _first(jobs: Iterable[rewas_pb2.Job], count: int) -> Iterator[rewas_pb2.Job]:
    for number, job in enumerate(jobs, start=1):
        yield job
        if number == count:
            return


def _time(job: rewas_pb2.Job, name: str) -> str | None:
    if not job.HasField(name):
        return None
    timestamp: Timestamp = getattr(job, name)
    # Not ToDatetime, which raises for years after 9999.
    milliseconds = timestamp.ToMilliseconds()
    moment = time.gmtime(milliseconds // 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{milliseconds % 1000:03d}Z"


def _local_time(text: str | None) -> str:
    if text is None:
        return ""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
