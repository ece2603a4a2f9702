"""`rewas packs library`: a library pack from folders of recordings."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.shared_options import JsonOption
from rewas_cli.commands.training_console import progress_printer
from rewas_cli.console import FAILED_WORK, INTERRUPTED, SUCCESS, Printer, cancel_on_ctrl_c, note, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rewas_engine.recordings.library_pack import LibraryPack, MadeLibrary

LIBRARY_EXAMPLES = """\
rewas packs library recordings/ -o my-sounds --licence CC0-1.0
rewas packs library doors/ steps/ -o feet-and-doors --credit "A. Recordist" --copy
"""
_MOST_LISTED = 10


def library(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Folders of recordings; subfolders are included.", show_default=False),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder of the library, or only its name among your own packs."
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            metavar="FILE",
            dir_okay=False,
            help="A table of captions (.csv, .tsv or .jsonl). By default, the table at the top of each folder.",
        ),
    ] = None,
    licence: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The licence of the recordings, such as CC-BY-4.0.", show_default=False),
    ] = "",
    credit: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The author to credit for the recordings.", show_default=False),
    ] = "",
    non_commercial: Annotated[
        bool, typer.Option("--non-commercial", help="State that the recordings must not be used commercially.")
    ] = False,
    copy: Annotated[
        bool,
        typer.Option("--copy", help="Copy the recordings into the library. By default, the library refers to them."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a library of your own recordings, or update it.

    Finds the single sounds and the steady parts of each recording, and the words that describe it. Run the same command
    again after changes: only new and changed files are read. Then choose the library with --pack, like any pack.
    """
    from rewas_engine.errors import Cancelled
    from rewas_engine.models.sentence_encoder import sentence_encoder_version
    from rewas_engine.packs.library import pack_folder
    from rewas_engine.recordings.library_pack import LibraryTerms, make_library

    terms = LibraryTerms(licence.strip(), credit.strip(), non_commercial)
    target = Path(output) if os.sep in output else pack_folder(output)
    with cancel_on_ctrl_c() as cancel:
        try:
            made = make_library(
                folders, target, terms, _embed, table=table, copies=copy, encoder=sentence_encoder_version(),
                on_progress=progress_printer(), cancel=cancel,
            )  # fmt: skip
        except Cancelled as stopped:
            note("The run was stopped before the library was written. Run the same command again to continue.")
            raise typer.Exit(INTERRUPTED) from stopped
    _print_problems(made)
    problems = {
        "files_read": made.measured,
        "left_out": [{"what": each.what, "why": each.why} for each in made.left_out],
        "notes": list(made.notes),
    }
    read = "1 file was read." if made.measured == 1 else f"{made.measured} files were read."
    lines = [*_lines(made.pack), read]
    Printer(as_json).result(_report(made.pack) | problems, lines)


def print_library(path: Path, as_json: bool) -> None:
    """Print what is in a library pack, and its terms."""
    from rewas_engine.recordings.library_pack import read_library_pack

    pack = read_library_pack(path)
    Printer(as_json).result(_report(pack), _lines(pack))


def verify_recordings(path: Path, report: dict[str, Any], as_json: bool) -> int:
    """Check every recording of a library, print the result, and return the exit code.

    Args:
        path: The library, whose own files are intact.
        report: The report on these files, to be completed.
        as_json: Whether to print JSON.
    """
    from rewas_engine.errors import Cancelled
    from rewas_engine.recordings.library_pack import read_library_pack
    from rewas_engine.recordings.verification import check_recordings

    pack = read_library_pack(path)
    with cancel_on_ctrl_c() as cancel:
        try:
            check = check_recordings(pack, reads=True, on_progress=progress_printer(), cancel=cancel)
        except Cancelled as stopped:
            raise typer.Exit(INTERRUPTED) from stopped
    problems = list(check.sentences())
    report = {**report, "recordings": check.count, "whole": not problems, "problems": problems}
    lines = [f"{path.name} is intact: its index and all {check.count} recordings match their hashes."]
    if problems:
        lines = [
            *[printable(problem) for problem in problems],
            f"{path.name}: {check.unusable} of {check.count} recordings are missing or have changed. Restore them, or "
            "run `rewas packs library` again with the same folders.",
        ]
    Printer(as_json).result(report, lines)
    return FAILED_WORK if problems else SUCCESS


def check_copied_recordings(path: Path) -> None:
    """Check the recordings that a pack contains. Raises PackError if one is missing or has changed."""
    from rewas_engine.errors import PackError
    from rewas_engine.recordings.library_pack import is_library_pack, read_library_pack
    from rewas_engine.recordings.verification import check_recordings, restore_times

    if not is_library_pack(path):
        return
    pack = read_library_pack(path)
    inside = pack.path.absolute()
    if any(source.is_relative_to(inside) for source in pack.index.sources):
        check = check_recordings(pack, reads=True)
        problems = [problem for problem in check.problems if Path(problem.what).is_relative_to(inside)]
        if problems or any(folder.is_relative_to(inside) for folder, _ in check.absent):
            first = f" {Path(problems[0].what).relative_to(inside)}: {problems[0].why}." if problems else ""
            raise PackError(f"The library {pack.name} lacks recordings that belong to it.{first}", "Copy it again.")
        restore_times(pack)


def note_recordings_elsewhere(path: Path) -> None:
    """Print which folders outside the pack a library refers to, and whether its recordings are there."""
    from rewas_engine.recordings.library_pack import read_library_pack
    from rewas_engine.recordings.verification import check_recordings

    check = check_recordings(read_library_pack(path), reads=False)
    for folder in check.folders:
        note(printable(f"{path.name} refers to recordings in {folder}. They were not copied."))
    for problem in list(check.sentences())[:_MOST_LISTED]:
        note(printable(problem))
    if check.unusable:
        note(
            f"{check.unusable} of {check.count} recordings cannot be used here. Restore their folder, or make the "
            "library with --copy on the computer that has them, and add the copy."
        )


@functools.cache
def _encoder() -> Any:
    from rewas_engine.models.text import SentenceEncoder

    return SentenceEncoder.default()


def _embed(words: Sequence[str]) -> NDArray[np.float32]:
    embeddings: NDArray[np.float32] = _encoder()(list(words)).numpy()
    return embeddings


def _report(pack: LibraryPack) -> dict[str, Any]:
    index = pack.index
    return {
        "name": pack.name,
        "path": str(pack.path.absolute()),
        "summary": pack.summary,
        "licence": pack.terms.licence,
        "permits": pack.terms.permits,
        "recordings": len(index.recordings),
        "without_words": sum(not recording.words for recording in index.recordings),
        "events": len(index.events),
        "stretches": len(index.stretches),
        "folders": [str(source) for source in index.sources],
    }


def _lines(pack: LibraryPack) -> list[str]:
    index = pack.index
    return [
        f"{pack.name}: {pack.summary} Single sounds: {len(index.events)}. Steady parts: {len(index.stretches)}.",
        f"    {pack.terms.permits}",
        f"Folder: {pack.path.absolute()}",
        *[
            printable(f"Recordings: {source}{'' if source.is_dir() else ' (does not exist)'}")
            for source in index.sources
        ],
    ]


def _print_problems(made: MadeLibrary) -> None:
    lines = [f"left out: {each}" for each in made.left_out] + list(made.notes)
    for line in lines[:_MOST_LISTED]:
        note(printable(line))
    if len(lines) > _MOST_LISTED:
        note(f"and {len(lines) - _MOST_LISTED} more notes; --json lists all of them")
    unnamed = [recording for recording in made.pack.index.recordings if not recording.words]
    if unnamed:
        name, others = printable(unnamed[0].path.name), len(unnamed) - 1
        which = f"{name} has" if not others else f"{name} and {others} more recording{'s' if others > 1 else ''} have"
        note(
            f"{which} no words, so prompts cannot find {'them' if others else 'it'}. Add a table of captions, or a "
            ".txt file next to each recording."
        )
