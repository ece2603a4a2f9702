"""`rewas status`: what a server is doing, live."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.shared_options import JsonOption, LocalServerOption
from rewas_cli.console import STAGE_LABELS, Interrupted, Printer, abort_on_ctrl_c, format_size, printable

if TYPE_CHECKING:
    from rewas_api.client import RewasClient

EXAMPLES = """\
rewas status
rewas status --once
rewas status --web
rewas status --server 127.0.0.1:50080 --json
"""
REFRESH_INTERVAL_S = 0.5


def status(
    once: Annotated[bool, typer.Option("--once", help="Show the state once, and exit.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Print a link that opens the server's web page once, and exit.")
    ] = False,
    server: LocalServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the server, its device, its worker, its queue and its jobs until Ctrl-C."""
    from rich.console import Console

    from rewas_cli.runner import connect

    with connect(server) as client:
        if web:
            link = _web_link(client, is_configured=server is None)
            Printer(as_json).result({"link": link}, [link])
        elif as_json:
            Printer(True).result(_read(client), [])
        elif once or not sys.stdout.isatty():
            Console(highlight=False).print(_view(_read(client)))
        else:
            # Ctrl-C is how this view ends, so it is not an error.
            with contextlib.suppress(Interrupted), abort_on_ctrl_c():
                _show_live(client)


def _web_link(client: RewasClient, *, is_configured: bool) -> str:
    """Return a link to the web page. is_configured: the server is the one that is configured on this machine.

    Raises ProblemError: SETTINGS if there is no page, or not on this machine.
    """
    from rewas_api.addresses import is_loopback, split_address
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_cli.connection import find_token
    from rewas_server.config_file import resolve_config
    from rewas_server.web.links import make_link

    port = client.get_server_info().web_port
    if not port:
        raise ProblemError(
            f"The server at {client.address} serves no web page.",
            "Start it with `rewas serve --web-port 0`.",
            ProblemKind.SETTINGS,
        )
    if not is_configured and not is_loopback(split_address(client.address)[0]):
        raise ProblemError(
            f"The web page of {client.address} opens only on that machine.",
            "Run `rewas status --web` there.",
            ProblemKind.SETTINGS,
        )
    config = resolve_config({}).config
    token_file = config.token_path if is_configured and config.certificate else None
    return make_link(port, find_token(client.address, token_file))


def _read(client: RewasClient) -> dict[str, Any]:
    from rewas_cli.job_reports import server_report
    from rewas_server.config_file import resolve_config

    report = server_report(client)
    report["disk"] = None
    if client.address.startswith(("127.", "localhost:", "[::1]")):
        state_dir = resolve_config({}).config.state_dir
        # The folder of another server on this machine is unknown here.
        if state_dir.is_dir():
            usage = shutil.disk_usage(state_dir)
            report["disk"] = {"folder": str(state_dir), "free_bytes": usage.free, "total_bytes": usage.total}
    return report


def _show_live(client: RewasClient) -> None:
    import threading

    from rich.live import Live
    from rich.text import Text

    from rewas_api.errors import ProblemError

    pause = threading.Event()
    with Live(Text(f"Connecting to {client.address} …"), refresh_per_second=4, screen=False) as live:
        while True:
            try:
                live.update(_view(_read(client)))
            except ProblemError as problem:
                # The server may come back: keep asking.
                live.update(Text(f"{problem.what}\nWaiting for a server at {client.address} …", style="yellow"))
            pause.wait(REFRESH_INTERVAL_S)


def _view(report: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from rewas_cli.job_reports import job_table

    worker = "ready" if report["worker_ready"] else "starting"
    if report["worker_problem"]:
        worker = printable(report["worker_problem"])
    parts: list[Any] = [
        Text(f"ReWaS {report['version']} at {report['address']}", style="bold"),
        Text(f"Device: {report['device'] or 'not known yet'}; default pack: {report['default_pack']}"),
        Text(f"Worker: {worker}", style="" if report["worker_ready"] else "yellow"),
    ]
    parts += _pack_lines(report)
    if report["disk"]:
        parts.append(Text(f"Disk: {format_size(report['disk']['free_bytes'])} free for {report['disk']['folder']}"))
    for job in report["active"]:
        parts += ["", *_active_job(job)]
    if not report["active"]:
        parts += ["", Text("No job is running.", style="dim")]
    if report["waiting"]:
        parts += ["", Text(f"Waiting: {report['waiting_count']}"), job_table(report["waiting"])]
    if report["ended"]:
        parts += ["", Text("Latest results:"), job_table(report["ended"])]
    return Group(*parts)


def _pack_lines(report: Mapping[str, Any]) -> list[Any]:
    from rich.text import Text

    lines = []
    for label, names in (("Packs in memory", report["loaded_packs"]), ("Packs to load", report["coming_packs"])):
        if names:
            lines.append(Text(f"{label}: {', '.join(map(printable, names))}"))
    problem = report["load_problem"]
    if problem:
        lines.append(Text(printable(f"{problem['what']} {problem['remedy']}"), style="yellow"))
    return lines


def _active_job(job: Mapping[str, Any]) -> list[Any]:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    from rewas_cli.job_reports import format_duration

    stage = STAGE_LABELS.get(job["stage"] or "", job["state"].capitalize())
    steps = f", step {job['step']} of {job['total_steps']}" if job["total_steps"] else ""
    left = "" if job["time_left_s"] is None else f", {format_duration(job['time_left_s'])} left"
    return [
        Text(f"{job['id'][:8]} {printable(job['name'])}", style="bold"),
        Text(f"{stage}{steps}: {job['fraction']:.0%}{left}"),
        ProgressBar(total=1.0, completed=job["fraction"], width=60),
    ]
