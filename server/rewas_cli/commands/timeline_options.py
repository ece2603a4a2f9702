"""Options of the commands that read timelines: how a file is read, and which of its clips count."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.shared_options import OUTPUT_PANEL

if TYPE_CHECKING:
    from rewas_server.otio.media_links import ResolveOptions
    from rewas_server.otio.reading import ReadOptions

TIMELINE_PANEL = "Reading the timeline"

TimelineArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TIMELINE",
        help="The timeline: .otio, .otioz, .otiod, .edl, .xml, .fcpxml, .fcpxmld, .aaf, .ale, .kdenlive, .xges, .rpp "
        "or .blend.",
        show_default=False,
    ),
]
RateOption = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="FPS",
        help="Frames per second of a timeline that does not state them, such as an EDL: 25, 23.976 or 24000/1001.",
        rich_help_panel=TIMELINE_PANEL,
    ),
]
TimelineNameOption = Annotated[
    str | None,
    typer.Option(
        "--timeline",
        metavar="NAME",
        help="The timeline to read from a file that contains several.",
        rich_help_panel=TIMELINE_PANEL,
    ),
]
VisibleOption = Annotated[
    str,
    typer.Option(
        "--visible",
        metavar="topmost|all|TRACK",
        help="Which of several clips at the same time get a sound: the topmost one, all of them, or those of the "
        "video track with this name or number.",
        autocompletion=complete_from("topmost", "all"),
        rich_help_panel=TIMELINE_PANEL,
    ),
]
ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="The delivery profile: default, post, reaper, stereo, the name of your own profile, or a TOML file.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]

SearchFolderOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--search-folder",
        metavar="FOLDER",
        help="Search this folder and its subfolders for media that is not where the timeline says. Of files with the "
        "same name, the one whose timecode fits is used. Can be repeated.",
        rich_help_panel=TIMELINE_PANEL,
    ),
]
PathMapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path-map",
        metavar="FROM=TO",
        help="Where a folder of another machine is on this one, such as X:/Media=/mnt/media. FROM can be a path of any "
        "system, a network share or a URL. Can be repeated.",
        rich_help_panel=TIMELINE_PANEL,
    ),
]


def resolve_options(
    timeline: Path, search_folders: Sequence[Path] | None, path_maps: Sequence[str] | None
) -> ResolveOptions:
    """Return where the media of a timeline file may be. Raises ProblemError (SETTINGS) for a folder that is missing."""
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_server.otio.media_links import ResolveOptions
    from rewas_server.otio.media_search import parse_path_map

    for folder in search_folders or ():
        if not folder.is_dir():
            raise ProblemError(
                f"The folder {folder} of --search-folder does not exist.", "Check its path.", ProblemKind.SETTINGS
            )
    return ResolveOptions(
        timeline.absolute().parent,
        tuple(folder.absolute() for folder in search_folders or ()),
        tuple(parse_path_map(text) for text in path_maps or ()),
    )


MediaPathsOption = Annotated[
    str | None,
    typer.Option(
        "--media-paths",
        metavar="relative|absolute|url|embedded",
        help="How the written timeline names its media. By default, media in its folder or next to it gets relative "
        "paths, and other media gets absolute paths. In an .otio file, media that was not generated keeps its path, as "
        "long as that names the same file. An .xml file always contains URLs. An .aaf file contains URLs; with "
        "embedded, it contains its sounds instead.",
        autocompletion=complete_from("relative", "absolute", "url", "embedded"),
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def read_options(rate: str | None, timeline_name: str | None, media_folder: Path | None = None) -> ReadOptions:
    """Return how to read a timeline. Raises ProblemError (SETTINGS) for an invalid rate."""
    from rewas_server.otio.reading import ReadOptions

    return ReadOptions(None if rate is None else _parse_rate(rate), timeline_name, media_folder)


def _parse_rate(text: str) -> Fraction:
    from rewas_api.errors import ProblemError, ProblemKind
    from rewas_server.otio.exact_times import exact_rate

    try:
        rate = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= 1000:
        raise ProblemError(
            f'The rate "{text[:40]}" is not a number of frames per second.',
            "Give a number from 1 to 1000, such as --rate 25, 23.976 or 24000/1001.",
            ProblemKind.SETTINGS,
        )
    return rate if rate.denominator == 1001 else exact_rate(float(rate), "The option --rate", "rate")
