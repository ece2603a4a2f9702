"""`rewas packs recordings`: the recordings of a library and their words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import JsonOption, RequiredPackOption
from rewas_cli.console import Printer, printable

RECORDINGS_EXAMPLES = """\
rewas packs recordings --pack foley
rewas packs recordings --pack foley --output words.csv
"""


def recordings(
    pack: RequiredPackOption,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write a table (.csv) that can be edited."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recordings of a library with their words.

    To change words, write the table, edit its descriptions, and give it to `rewas packs library` as --captions.
    """
    from rewas_engine.packs.description import find_pack
    from rewas_engine.recordings.caption_table import table_rows, write_caption_table
    from rewas_engine.recordings.library_pack import read_library_pack
    from rewas_server.files.output_paths import check_file_writable

    library = read_library_pack(find_pack(pack))
    rows = list(table_rows(library))
    lines = [printable(f"{row['description'] or '(no words)'}: {row['file']}") for row in rows]
    if output is not None:
        check_file_writable(output, "table")
        _check_new(output)
        write_caption_table(library, output)
        lines = [f"Wrote {output}. Recordings: {len(rows)}."]
    Printer(as_json).result({"name": library.name, "recordings": rows}, lines)


def _check_new(output: Path) -> None:
    from rewas_engine.errors import SettingsError

    if output.suffix.lower() != ".csv":
        raise SettingsError(f"The table {output} is not a CSV file.", "End its name with .csv.")
    if output.exists():
        raise SettingsError(f"{output} already exists.", "Choose another name, so that no edits are lost.")
