"""`rewas timeline convert`: write a timeline in another format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption
from rewas_cli.commands.timeline_options import (
    MediaPathsOption,
    RateOption,
    TimelineArgument,
    TimelineNameOption,
    read_options,
)
from rewas_cli.console import SUCCESS, Printer, protect_stdout

if TYPE_CHECKING:
    import opentimelineio as otio

EXAMPLES = """\
rewas timeline convert cut.edl --rate 25 -o cut.otio
rewas timeline convert cut-with-sound.otio -o mix.rpp
rewas timeline convert mix.rpp -o mix.otio
rewas timeline convert cut.otio -o cut.edl --non-drop
rewas timeline convert cut-with-sound.otio -o /media/disk/reel.otioz
"""


def convert(
    file: TimelineArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The timeline to write: .otio, .otioz, .otiod, .xml, .aaf, .edl or .rpp.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    media_paths: MediaPathsOption = None,
    drop_frame: Annotated[
        bool | None,
        typer.Option(
            "--drop/--non-drop",
            help="Write drop-frame or non-drop-frame timecode. Drop-frame timecode exists only at 29.97 and 59.94 "
            "frames per second. No clip moves. By default, the timeline decides. If it does not state either, timecode "
            "at these rates is drop-frame.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    rate: RateOption = None,
    timeline_name: TimelineNameOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a timeline in another format, and report what is lost.

    The written file is read back and compared. The media of an .otioz file is unpacked into a folder next to the
    output.
    """
    from rewas_server.otio.bundles import SUFFIXES as BUNDLES
    from rewas_server.otio.frame_timeline import state_drop_frame
    from rewas_server.otio.losses import describe_losses
    from rewas_server.otio.reading import open_timeline
    from rewas_server.otio.writing import check_output, write_timeline

    with protect_stdout(), tempfile.TemporaryDirectory(prefix="rewas-") as folder:
        check_output(output, media_paths=media_paths, inputs=[file])
        is_packed_again = output.suffix.lower() in BUNDLES
        media_folder = Path(folder) if is_packed_again else output.with_name(f"{output.stem} media")
        opened = open_timeline(file, read_options(rate, timeline_name, media_folder))
        if drop_frame is not None:
            state_drop_frame(opened.timeline, drop_frame)
        source_folder = file.absolute().parent
        said = check_output(
            output, media_paths=media_paths, inputs=[file], timeline=opened.timeline, source_folder=source_folder
        )
        written = write_timeline(opened.timeline, output, media_paths=media_paths, source_folder=source_folder)
        lost = describe_losses(opened.timeline, *(_read_back(path, opened.timeline) for path in written))
        if is_packed_again:
            # Bundles keep everything else.
            lost += said
    report = {
        "timeline": opened.timeline.name,
        "files": [str(path.absolute()) for path in written],
        "lost": lost,
        "notes": list(opened.notes),
    }
    lines = [*opened.notes, *(f"Wrote {path}." for path in written)]
    lines += [f"Lost: {', '.join(lost)}."] if lost else ["Nothing was lost."]
    Printer(as_json).result(report, lines)
    return SUCCESS


def _read_back(path: Path, original: otio.schema.Timeline) -> otio.schema.Timeline:
    from rewas_server.otio.clips import timeline_frame_rate
    from rewas_server.otio.reading import ReadOptions, open_timeline

    return open_timeline(path, ReadOptions(rate=timeline_frame_rate(original))).timeline
