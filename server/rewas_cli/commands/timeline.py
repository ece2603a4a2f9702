"""`rewas timeline`: check and convert timelines, write spotting sheets, and list delivery profiles."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.prompt_options import (
    DefaultPromptOption,
    MarkersOption,
    PromptForOption,
    SheetOption,
    prompt_options,
)
from rewas_cli.commands.shared_options import JsonOption
from rewas_cli.commands.timeline_convert import EXAMPLES as CONVERT_EXAMPLES
from rewas_cli.commands.timeline_convert import convert
from rewas_cli.commands.timeline_options import (
    PathMapOption,
    RateOption,
    SearchFolderOption,
    TimelineArgument,
    TimelineNameOption,
    VisibleOption,
    read_options,
    resolve_options,
)
from rewas_cli.commands.timeline_profiles import EXAMPLES as PROFILE_EXAMPLES
from rewas_cli.commands.timeline_profiles import profiles
from rewas_cli.commands.timeline_sheet import EXAMPLES as SHEET_EXAMPLES
from rewas_cli.commands.timeline_sheet import sheet
from rewas_cli.console import FAILED_WORK, SUCCESS, Printer, protect_stdout

_CHECK_EXAMPLES = """\
rewas timeline check cut.otio
rewas timeline check cut.edl --rate 25 --json
rewas timeline check cut.fcpxml --timeline "Reel 2" --visible all
rewas timeline check cut.aaf --sheet spotting.csv --prompt-for 'door*=a heavy wooden door'
rewas timeline check cut.aaf --search-folder /mnt/rushes --path-map X:/Media=/mnt/media
"""

timeline = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Check and convert timelines, write spotting sheets, and list delivery profiles.",
    epilog="rewas timeline check cut.otio",
)


@timeline.callback()
def _group() -> None:
    """Check and convert timelines, write spotting sheets, and list delivery profiles."""


@timeline.command("check", cls=Command, epilog=_CHECK_EXAMPLES)
def check(
    file: TimelineArgument,
    rate: RateOption = None,
    timeline_name: TimelineNameOption = None,
    visible: VisibleOption = "topmost",
    spotting_sheet: SheetOption = None,
    markers: MarkersOption = "labelled",
    prompt_for: PromptForOption = None,
    prompt: DefaultPromptOption = None,
    search_folders: SearchFolderOption = None,
    path_maps: PathMapOption = None,
    as_json: JsonOption = False,
) -> int:
    """List each clip of a timeline: what will be done, or why not and what would help.

    The exit code is 1 if a clip has a prompt and cannot get its sound, or if a prompt is for no clip.
    """
    from rewas_cli.timeline_reports import check_report, print_check
    from rewas_server.otio.planning import FindOptions, list_clips, refused_clips
    from rewas_server.otio.reading import open_timeline

    # The media of an .otioz file is needed only during the check.
    with protect_stdout(), tempfile.TemporaryDirectory(prefix="rewas-") as folder:
        opened = open_timeline(file, read_options(rate, timeline_name, Path(folder)))
        prompts = prompt_options(prompt, prompt_for, markers, spotting_sheet)
        media = resolve_options(file, search_folders, path_maps)
        listed = list_clips(opened.timeline, FindOptions(visible, prompts, media))
    report = check_report(file, opened, listed)
    if as_json:
        Printer(True).result(report, [])
    else:
        print_check(report)
    return FAILED_WORK if refused_clips(listed.clips) or listed.problems else SUCCESS


timeline.command("sheet", cls=Command, epilog=SHEET_EXAMPLES)(sheet)
timeline.command("profiles", cls=Command, epilog=PROFILE_EXAMPLES)(profiles)
timeline.command("convert", cls=Command, epilog=CONVERT_EXAMPLES)(convert)
