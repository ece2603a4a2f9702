"""`rewas timeline sheet`: a spotting sheet of a timeline."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.prompt_options import (
    DefaultPromptOption,
    MarkersOption,
    PromptForOption,
    SheetOption,
    SuggestOption,
    prompt_options,
)
from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    ConflictModelOption,
    DeviceOption,
    JsonOption,
    PackOption,
    ServerOption,
    build_execution,
)
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
from rewas_cli.console import SUCCESS, Printer, cancel_on_ctrl_c, protect_stdout

EXAMPLES = """\
rewas timeline sheet cut.otio --output spotting.csv
rewas timeline sheet cut.edl --rate 25 --output spotting.csv --delimiter semicolon
rewas timeline sheet cut.otio --output spotting.csv --suggest
rewas timeline sheet recut.otio --sheet spotting.csv --output spotting-2.csv
"""


def sheet(
    file: TimelineArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="The spotting sheet to write (.csv). An existing file is only replaced if it is also the --sheet.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    delimiter: Annotated[
        str,
        typer.Option(
            "--delimiter",
            metavar="comma|semicolon|tab",
            help="What separates the columns. In many European countries, Excel expects semicolons.",
            autocompletion=complete_from("comma", "semicolon", "tab"),
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = "comma",
    non_drop: Annotated[
        bool,
        typer.Option(
            "--non-drop",
            help="Write non-drop-frame timecode at 29.97 and 59.94 frames per second. An update with --sheet keeps "
            "the counting of the earlier sheet.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    rate: RateOption = None,
    timeline_name: TimelineNameOption = None,
    visible: VisibleOption = "topmost",
    earlier: SheetOption = None,
    markers: MarkersOption = "labelled",
    prompt_for: PromptForOption = None,
    prompt: DefaultPromptOption = None,
    suggest: SuggestOption = False,
    search_folders: SearchFolderOption = None,
    path_maps: PathMapOption = None,
    pack: PackOption = None,
    conflict_model: ConflictModelOption = None,
    device: DeviceOption = "auto",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a spotting sheet: a CSV file with a line for each clip, to fill in the prompts in a spreadsheet.

    The sheet contains the prompts that the clips already have. `rewas batch --sheet` reads it.
    """
    from rewas_cli.commands.prompt_suggestions import list_with_suggestions
    from rewas_cli.runner import open_runner
    from rewas_server.files.output_paths import check_file_writable
    from rewas_server.otio.planning import FindOptions, list_clips
    from rewas_server.otio.reading import open_timeline
    from rewas_server.otio.sheet_writing import count_prompts, sheet_lines
    from rewas_server.otio.spotting_sheet import check_delimiter, write_sheet

    check_delimiter(delimiter)
    check_file_writable(output, "spotting sheet", read=[file])
    _check_new(output, earlier)
    # The media of an .otioz file is needed only while the pack looks at it.
    with (
        protect_stdout(),
        cancel_on_ctrl_c() as cancel,
        tempfile.TemporaryDirectory(prefix="rewas-") as folder,
    ):
        execution = build_execution(None, False, False, server, device)
        opened = open_timeline(file, read_options(rate, timeline_name, Path(folder)))
        prompts = prompt_options(prompt, prompt_for, markers, earlier)
        finding = FindOptions(visible, prompts, resolve_options(file, search_folders, path_maps))
        listed = list_clips(opened.timeline, finding)
        suggested: list[str] = []
        if suggest:
            with open_runner(server, execution, conflict_model, device) as runner:
                listed, suggested = list_with_suggestions(opened.timeline, listed, finding, runner, pack, cancel)
        lines = sheet_lines(opened.timeline, listed, prompts.sheet, False if non_drop else None)
        write_sheet(output, lines, () if prompts.sheet is None else prompts.sheet.own_columns, delimiter)
    with_prompt = count_prompts(lines)
    report = {
        "sheet": str(output.absolute()),
        "timeline": opened.timeline.name,
        "lines": len(lines),
        "with_prompt": with_prompt,
        "notes": [*opened.notes, *listed.notes, *suggested],
        "problems": [{"what": problem.what, "remedy": problem.remedy} for problem in listed.problems],
    }
    said = [f"Note: {note}" for note in report["notes"]]
    said += [str(problem) for problem in listed.problems]
    clips = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
    said.append(f"{output}: {clips}, {with_prompt} with a prompt.")
    Printer(as_json).result(report, said)
    return SUCCESS


def _check_new(output: Path, earlier: Path | None) -> None:
    """Raise ProblemError if the sheet would replace a file other than the one that it updates."""
    from rewas_api.errors import ProblemError, ProblemKind

    if output.exists() and not (earlier is not None and earlier.exists() and output.samefile(earlier)):
        raise ProblemError(
            f"{output} already exists.",
            f"Choose another name, or add --sheet {output} to update it and keep its contents.",
            ProblemKind.SETTINGS,
        )
