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
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rewas_engine.recordings.library_pack import LibraryPack, MadeLibrary

LIBRARY_EXAMPLES = """\
rewas packs library recordings/ -o foley --licence CC0-1.0
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
    again after changes: only new and changed files are read. Libraries cannot generate sound yet.
    """
    from rewas_engine.errors import Cancelled
    from rewas_engine.packs.library import pack_folder
    from rewas_engine.recordings.library_pack import LibraryTerms, make_library

    terms = LibraryTerms(licence.strip(), credit.strip(), non_commercial)
    target = Path(output) if os.sep in output else pack_folder(output)
    with cancel_on_ctrl_c() as cancel:
        try:
            made = make_library(
                folders, target, terms, _embed, table=table, copies=copy, on_progress=progress_printer(), cancel=cancel
            )
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
    }


def _lines(pack: LibraryPack) -> list[str]:
    index = pack.index
    return [
        f"{pack.name}: {pack.summary} Single sounds: {len(index.events)}. Steady parts: {len(index.stretches)}.",
        f"    {pack.terms.permits}",
        f"Folder: {pack.path.absolute()}",
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
