"""`rewas packs`: list, check, add, remove and convert model packs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.packs_convert import convert
from rewas_cli.commands.packs_library import (
    LIBRARY_EXAMPLES,
    check_copied_recordings,
    library,
    note_recordings_elsewhere,
    print_library,
    verify_recordings,
)
from rewas_cli.commands.packs_recordings import RECORDINGS_EXAMPLES, recordings
from rewas_cli.commands.shared_options import JsonOption, LocalServerOption, RequiredPackOption, ServerOption
from rewas_cli.console import SUCCESS, Printer, abort_on_ctrl_c, protect_stdout

if TYPE_CHECKING:
    from rewas_api.client import RewasClient
    from rewas_engine.packs.description import PackInfo

LOAD_POLL_S = 0.2

packs = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Manage model packs.",
    epilog="rewas packs list\nrewas packs info --pack starter",
)
packs.add_typer(convert, name="convert")
packs.command("library", cls=Command, epilog=LIBRARY_EXAMPLES)(library)
packs.command("recordings", cls=Command, epilog=RECORDINGS_EXAMPLES)(recordings)


@packs.command("list", cls=Command, epilog="rewas packs list --json")
def list_packs(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List the installed packs with their licences, and any problems."""
    from rewas_cli.reports import NO_LICENCE, pack_report
    from rewas_cli.runner import open_runner
    from rewas_engine.packs.library import size_bytes, unfinished_folders

    with protect_stdout(), open_runner(server) as runner:
        reports = [pack_report(pack) for pack in runner.packs()]
    lines = []
    for report in reports:
        if report["problem"]:
            lines.append(f"{report['name']}: unusable. {report['problem']['what']} {report['problem']['remedy']}")
        else:
            licence = report["licence"] or NO_LICENCE
            lines.append(f"{report['name']} {report['version']} ({licence}): {report['summary']}")
            lines.append(f"    {report['permits']}")
    # The folders of a server cannot be inspected from here.
    unfinished = [] if server else unfinished_folders()
    for path in unfinished:
        lines.append(
            f"{path}: not a pack; {'removing' if path.suffix == '.removed' else 'creating'} it is in progress or was "
            f"interrupted ({size_bytes(path) / 1e6:.0f} MB). If no process is using it, delete that folder."
        )
    report = {"packs": reports, "unfinished": [str(path) for path in unfinished]}
    Printer(as_json).result(report, lines or ["No pack is installed."])


@packs.command("info", cls=Command, epilog="rewas packs info --pack starter")
def info(pack: RequiredPackOption, as_json: JsonOption = False) -> None:
    """Show a pack's licence, controls, size and networks."""
    from rewas_engine.packs.description import find_pack, read_pack
    from rewas_engine.packs.library import size_bytes
    from rewas_engine.recordings.library_pack import is_library_pack

    if is_library_pack(find_pack(pack)):
        print_library(find_pack(pack), as_json)
        return
    description = read_pack(find_pack(pack))
    about = description.info
    report: dict[str, Any] = {
        "name": about.path.name,
        "version": about.version,
        "named_in_sounds": f"{about.name} {about.version}",
        "summary": about.summary,
        "licence": about.licence,
        "permits": about.permits,
        "controls": list(about.controls),
        "checks_conflict": about.checks_conflict,
        "scores_words": about.scores_words,
        "reads_words": about.reads_words,
        "kinds": list(about.kinds),
        "sample_rate": about.sample_rate_hz,
        "size_bytes": size_bytes(about.path),
        "path": str(about.path.absolute()),
        "components": dict(description.components),
        "sampling": dict(description.sampling),
        "picture": dict(description.picture),
    }
    lines = [
        f"{about.path.name} {about.version}: {about.summary}",
        f"Licence: {about.licence}. {about.permits}",
        f"Follows {', '.join(about.controls)}; {about.sample_rate_hz} Hz; {report['size_bytes'] / 1e6:.0f} MB",
        f"Compares prompts with the video: {_yes_or_no(about.checks_conflict)}; "
        f"scores takes against the prompt: {_yes_or_no(about.scores_words)}; "
        f"estimates energy for the prompt: {_yes_or_no(about.reads_words)}",
        *_kind_lines(about),
        *_original_name_lines(about),
        f"Folder: {report['path']}",
        *[f"  {role}: {class_name}" for role, class_name in sorted(description.components.items())],
    ]
    Printer(as_json).result(report, lines)


@packs.command("verify", cls=Command, epilog="rewas packs verify --pack starter")
def verify(pack: RequiredPackOption, as_json: JsonOption = False) -> int:
    """Check every file of a pack against its hash, and its vocoder against its description.

    For a library, also check every recording. The exit code is 1 if recordings are missing or have changed.
    """
    from rewas_engine.packs.description import find_pack, read_pack, verify_files

    description = read_pack(find_pack(pack))
    verify_files(description)
    report = {"name": description.path.name, "files": len(description.files), "whole": True}
    if description.info.is_library:
        return verify_recordings(description.path, report, as_json)
    line = f"{description.path.name} is intact: all {len(description.files)} files match their hashes."
    Printer(as_json).result(report, [line])
    return SUCCESS


@packs.command(
    "add", cls=Command, epilog="rewas packs add downloads/workshop --name workshop\nrewas packs add foley.zip"
)
def add(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The folder of the pack, or a ZIP archive of it.", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name to install it under; the folder's name by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a pack's files and copy it to your own packs.

    For a library, also check the recordings that it contains. Recordings elsewhere stay where they are.
    """
    from rewas_engine.packs.library import add_pack

    with abort_on_ctrl_c():
        added = add_pack(source.absolute(), name, check_copied_recordings)
    if added.info.is_library:
        note_recordings_elsewhere(added.path)
    _print_installed("Added", added.path, as_json)


@packs.command("remove", cls=Command, epilog="rewas packs remove --pack workshop")
def remove(
    pack: RequiredPackOption,
    as_json: JsonOption = False,
) -> None:
    """Delete one of your own packs."""
    from rewas_engine.packs.library import remove_pack

    with abort_on_ctrl_c():
        path = remove_pack(pack)
    Printer(as_json).result({"name": pack, "path": str(path)}, [f"Removed {pack} from {path.parent}."])


@packs.command("load", cls=Command, epilog="rewas packs load --pack workshop --wait")
def load(
    pack: RequiredPackOption,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the pack is loaded.")] = False,
    server: LocalServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a pack on a server in advance, so that its first job need not wait.

    Each worker loads the pack as soon as it is idle. If memory is short, other packs are unloaded.
    """
    from rewas_cli.runner import connect

    with connect(server) as client, abort_on_ctrl_c():
        client.load_pack(pack)
        if wait:
            _wait_until_loaded(client, pack)
    state = "loaded" if wait else "requested"
    line = f"{pack} is loaded." if wait else f"The server loads {pack} as soon as it is idle. See `rewas status`."
    Printer(as_json).result({"name": pack, "state": state}, [line])


def _wait_until_loaded(client: RewasClient, name: str) -> None:
    """Wait until a pack is loaded. Raises ProblemError if it cannot be loaded."""
    import threading

    from rewas_api.errors import ProblemError, ProblemKind

    pause = threading.Event()
    while True:
        info = client.get_server_info()
        if info.HasField("load_problem"):
            raise ProblemError.from_proto(info.load_problem)
        if name not in info.coming_packs:
            if name in info.loaded_packs:
                return
            raise ProblemError(
                f"The server does not load {name}: another pack was requested after it.",
                "Run the command again.",
                ProblemKind.PACK,
            )
        pause.wait(LOAD_POLL_S)


def _kind_lines(about: PackInfo) -> list[str]:
    """What a pack says about the kinds of sound that it knows."""
    if not about.kinds:
        return []
    listed = ", ".join(kind.replace("_", " ") for kind in about.kinds)
    return [f"Knows {len(about.kinds)} kinds of sound: {listed}"]


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _print_installed(verb: str, path: Path, as_json: bool) -> None:
    from rewas_cli.reports import NO_LICENCE
    from rewas_engine.packs.description import read_pack

    about = read_pack(path).info
    report = {"name": path.name, "path": str(path), "licence": about.licence, "permits": about.permits}
    lines = [f"{verb} {path.name} ({about.licence or NO_LICENCE}).", f"    {about.permits}"]
    lines += [f"    {line}" for line in _original_name_lines(about)]
    Printer(as_json).result(report, lines)


def _original_name_lines(about: PackInfo) -> list[str]:
    """If a pack is installed under another name: the name that its authors gave it, which sound files carry."""
    if about.name == about.path.name:
        return []
    return [f"Sound files name it {about.name} {about.version}, as its authors do."]
