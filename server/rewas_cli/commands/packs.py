"""`rewas packs`: the model packs that there are, and what can be done with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.packs_convert import convert
from rewas_cli.commands.shared_options import JsonOption, ServerOption
from rewas_cli.console import Printer, abort_on_ctrl_c, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.packs.description import PackInfo

packs = typer.Typer(no_args_is_help=True, help="Look after model packs.")
packs.add_typer(convert, name="convert")

PackArgument = Annotated[str, typer.Argument(metavar="PACK", help="A pack's name, or its folder.", show_default=False)]


@packs.command("list")
def list_packs(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List the installed model packs, what each may be used for, and what is wrong with it."""
    from rewas_cli.reports import pack_report
    from rewas_cli.runner import open_runner
    from rewas_engine.packs.library import size_bytes, unfinished_folders

    with protect_stdout(), open_runner(server) as runner:
        reports = [pack_report(pack) for pack in runner.packs()]
    lines = []
    for report in reports:
        if report["problem"]:
            lines.append(f"{report['name']}: unusable. {report['problem']['what']} {report['problem']['remedy']}")
        else:
            lines.append(f"{report['name']} {report['version']} ({report['licence']}): {report['summary']}")
            lines.append(f"    {report['permits']}")
    # A server's own folders are not ours to look into.
    unfinished = [] if server else unfinished_folders()
    for path in unfinished:
        lines.append(
            f"{path}: no pack; its {'removal' if path.suffix == '.removed' else 'making'} goes on or was broken off "
            f"({size_bytes(path) / 1e6:.0f} MB). If nothing is at work on it, delete that folder."
        )
    report = {"packs": reports, "unfinished": [str(path) for path in unfinished]}
    Printer(as_json).result(report, lines or ["No pack is installed."])


@packs.command("info")
def info(pack: PackArgument, as_json: JsonOption = False) -> None:
    """Say what a pack is, what it may be used for, and how it makes sound."""
    from rewas_engine.packs.description import find_pack, read_pack
    from rewas_engine.packs.library import size_bytes

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
        f"Holds words against the picture: {_said(about.checks_conflict)}; "
        f"scores takes by the words: {_said(about.scores_words)}",
        *_original_name_lines(about),
        f"Lies in {report['path']}",
        *[f"  {role}: {class_name}" for role, class_name in sorted(description.components.items())],
    ]
    Printer(as_json).result(report, lines)


@packs.command("verify")
def verify(pack: PackArgument, as_json: JsonOption = False) -> None:
    """Compare every file of a pack with its hash, and its vocoder with its description."""
    from rewas_engine.packs.description import find_pack, read_pack, verify_files

    description = read_pack(find_pack(pack))
    verify_files(description)
    report = {"name": description.path.name, "files": len(description.files), "whole": True}
    line = f"{description.path.name} is whole: {len(description.files)} files are as they were made."
    Printer(as_json).result(report, [line])


@packs.command("add")
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A pack's folder.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="What it shall be called; else as its folder is.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a pack to your own packs, after checking its files."""
    from rewas_engine.packs.library import add_pack

    with abort_on_ctrl_c():
        added = add_pack(folder.absolute(), name)
    _print_installed("Added", added.path, as_json)


@packs.command("remove")
def remove(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A pack's name.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Delete one of your own packs."""
    from rewas_engine.packs.library import remove_pack

    with abort_on_ctrl_c():
        path = remove_pack(pack)
    Printer(as_json).result({"name": pack, "path": str(path)}, [f"Removed {pack} from {path.parent}."])


def _said(can: bool) -> str:
    return "yes" if can else "no"


def _print_installed(verb: str, path: Path, as_json: bool) -> None:
    from rewas_engine.packs.description import read_pack

    about = read_pack(path).info
    report = {"name": path.name, "path": str(path), "licence": about.licence, "permits": about.permits}
    lines = [f"{verb} {path.name} ({about.licence}).", f"    {about.permits}"]
    lines += [f"    {line}" for line in _original_name_lines(about)]
    Printer(as_json).result(report, lines)


def _original_name_lines(about: PackInfo) -> list[str]:
    """Of a pack that is called otherwise than its makers called it: what stands in the sounds made with it."""
    if about.name == about.path.name:
        return []
    return [f"Sounds made with it name it {about.name} {about.version}, as its makers do."]
