"""`rewas jobs`: list, inspect and control the jobs of a server."""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.shared_options import JsonOption, LocalServerOption
from rewas_cli.console import Printer, printable

if TYPE_CHECKING:
    from rewas_api.client import RewasClient
    from rewas_api.v1 import rewas_pb2

DEFAULT_LIMIT = 30
_STATES = ("queued", "running", "succeeded", "failed", "cancelling", "cancelled", "pausing", "paused")
_FINAL_STATES = ("succeeded", "failed", "cancelled")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

jobs = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="List, inspect and control the jobs of a server.",
    epilog="rewas jobs list\nrewas jobs show 3f9a\nrewas jobs retry 3f9a",
)
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's identifier, or its first characters.", show_default=False)
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(metavar="JOB...", help="The jobs' identifiers, or their first characters.", show_default=False),
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help=f"Only jobs in this state; can be repeated. States: {', '.join(_STATES)}.",
        autocompletion=complete_from(*_STATES),
    ),
]


@jobs.command("list", cls=Command, epilog="rewas jobs list --state failed\nrewas jobs list --parent 3f9a --all --json")
def list_jobs(
    state: StateOption = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="JOB", help="List the clips of this timeline job.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="The largest number of jobs to show.")
    ] = DEFAULT_LIMIT,
    show_all: Annotated[bool, typer.Option("--all", help="Show all jobs, however many there are.")] = False,
    server: LocalServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first; the clips of a timeline are listed in timeline order."""
    from rich.console import Console

    from rewas_cli.job_reports import LONGEST_PAGE, find_job, job_report, job_table

    states = _parse_states(state, _STATES)
    with _open_client(server) as client:
        parent_id = find_job(client, parent).id if parent else ""
        page_size = LONGEST_PAGE if show_all else min(limit + 1, LONGEST_PAGE)
        found = client.list_jobs(page_size=page_size, parent_id=parent_id, states=states)
        reports = [job_report(job) for job in (found if show_all else itertools.islice(found, limit + 1))]
    has_more = not show_all and len(reports) > limit
    shown = reports[:limit] if has_more else reports
    if as_json:
        Printer(True).result({"jobs": shown, "more": has_more}, [])
    elif not shown:
        Printer(False).result({}, ["No jobs match." if states or parent else "There are no jobs."])
    else:
        console = Console(highlight=False)
        console.print(job_table(shown))
        if has_more:
            console.print(f"There are more: use --all, or a --limit above {limit}.", style="dim")


@jobs.command("show", cls=Command, epilog="rewas jobs show 3f9a\nrewas jobs show 3f9a --json")
def show(job: JobArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Show a job's progress, attempts, problem, clips and files."""
    from rewas_cli.job_reports import LONGEST_PAGE, file_reports, find_job, job_lines, job_report

    with _open_client(server) as client:
        found = find_job(client, job)
        children = client.list_jobs(page_size=LONGEST_PAGE, parent_id=found.id) if found.child_count else []
        child_reports = [job_report(child) for child in children]
    report, files = job_report(found), file_reports(found)
    lines = list(job_lines(report, files, child_reports))
    Printer(as_json).result({**report, "files": files, "children": child_reports}, lines)


@jobs.command("cancel", cls=Command, epilog="rewas jobs cancel 3f9a")
def cancel(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Cancel jobs. Jobs that have ended do not change."""
    _change(job, lambda client, job_id: client.cancel(job_id), server, as_json)


@jobs.command("pause", cls=Command, epilog="rewas jobs pause 3f9a 77b0")
def pause(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Pause jobs until they are resumed. A running job starts over when it is resumed."""
    _change(job, lambda client, job_id: client.pause(job_id), server, as_json)


@jobs.command("resume", cls=Command, epilog="rewas jobs resume 3f9a")
def resume(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Put paused jobs back into the queue."""
    _change(job, lambda client, job_id: client.resume(job_id), server, as_json)


@jobs.command("retry", cls=Command, epilog="rewas jobs retry 3f9a")
def retry(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Run failed or cancelled jobs again; for a timeline, only the clips without a sound."""
    _change(job, lambda client, job_id: client.retry(job_id), server, as_json)


@jobs.command("pin", cls=Command, epilog="rewas jobs pin 3f9a")
def pin(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Keep the files of jobs: the server never deletes them to make room."""
    _change(job, lambda client, job_id: client.pin(job_id), server, as_json)


@jobs.command("unpin", cls=Command, epilog="rewas jobs unpin 3f9a")
def unpin(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Let the server delete the files of jobs to make room."""
    _change(job, lambda client, job_id: client.pin(job_id, False), server, as_json)


@jobs.command("delete", cls=Command, epilog="rewas jobs delete 3f9a")
def delete(job: JobsArgument, server: LocalServerOption = None, as_json: JsonOption = False) -> None:
    """Delete jobs that have ended, with their files."""
    from rewas_cli.job_reports import find_job

    with _open_client(server) as client:
        found = [find_job(client, each) for each in job]
        for each in found:
            client.delete(each.id)
    ids = [each.id for each in found]
    Printer(as_json).result({"deleted": ids}, [f"Deleted {each}." for each in ids])


@jobs.command(
    "purge",
    cls=Command,
    epilog="rewas jobs purge --older-than 30d\nrewas jobs purge --state failed --state cancelled --yes",
)
def purge(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Only jobs that ended at least this long ago: 90s, 30m, 12h, 30d or 4w.",
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help=f"Only jobs in this state; can be repeated. States: {', '.join(_FINAL_STATES)}.",
            autocompletion=complete_from(*_FINAL_STATES),
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    server: LocalServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete all jobs that have ended, with their files. Pinned jobs are kept."""
    from rewas_cli.job_reports import LONGEST_PAGE

    states = _parse_states(state or list(_FINAL_STATES), _FINAL_STATES)
    age_s = 0.0 if older_than is None else _parse_age_s(older_than)
    with _open_client(server) as client:
        now_s = time.time()
        found = [
            job
            for job in client.list_jobs(page_size=LONGEST_PAGE, states=states)
            if not job.pinned and job.finished_at.ToMilliseconds() / 1000 <= now_s - age_s
        ]
        count = f"{len(found)} job{'' if len(found) == 1 else 's'}"
        if found and not yes:
            _confirm(f"Delete {count} with their files?")
        for job in found:
            client.delete(job.id)
    Printer(as_json).result({"deleted": [job.id for job in found]}, [f"Deleted {count}."])


def _open_client(server: str | None) -> RewasClient:
    from rewas_cli.runner import connect

    return connect(server)


def _change(
    id_starts: list[str],
    change: Callable[[RewasClient, str], rewas_pb2.Job],
    server: str | None,
    as_json: bool,
) -> None:
    from rewas_cli.job_reports import find_job, job_report

    with _open_client(server) as client:
        # Find all first, so that a mistyped one changes nothing.
        found = [find_job(client, each) for each in id_starts]
        reports = [job_report(change(client, job.id)) for job in found]
    lines = [
        f"{report['id'][:8]} {printable(report['name'])}: {report['state']}{', pinned' if report['pinned'] else ''}"
        for report in reports
    ]
    Printer(as_json).result({"jobs": reports}, lines)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("cannot ask for confirmation without a terminal; add --yes.", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


def _parse_states(names: list[str] | None, known: tuple[str, ...]) -> list[Any]:
    from rewas_api import enum_names

    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}.", param_hint="--state")
    return [enum_names.JOB_STATE.to_number(name) for name in names or ()]


def _parse_age_s(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not an age; write 30m, 12h, 30d or 4w.", param_hint="--older-than")
    return float(match[1]) * _UNITS_S[match[2]]
