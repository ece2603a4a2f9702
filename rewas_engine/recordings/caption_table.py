"""Write the words of a library as a table that can be edited and read again."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rewas_engine.recordings.library_pack import LibraryPack
from rewas_engine.runtime.atomic_files import write_bytes_atomic

COLUMNS = (
    "file", "description", "licence", "credit", "duration_s", "channels", "sample_rate_hz", "single_sounds",
    "steady_parts",
)  # fmt: skip


def table_rows(pack: LibraryPack) -> Iterator[dict[str, str | int | float]]:
    """Yield a row of COLUMNS for each recording. The file begins with the name of its folder."""
    index = pack.index
    for number, recording in enumerate(index.recordings):
        yield {
            "file": _name(pack, recording.path),
            "description": recording.words,
            "licence": recording.licence or "",
            "credit": recording.credit or "",
            "duration_s": round(recording.samples / recording.sample_rate_hz, 3),
            "channels": recording.channels,
            "sample_rate_hz": recording.sample_rate_hz,
            "single_sounds": len(index.events_of(number)),
            "steady_parts": len(index.stretches_of(number)),
        }


def write_caption_table(pack: LibraryPack, path: Path) -> None:
    """Write a CSV file that `read_manifest` reads. Raises OSError if it cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(table_rows(pack))
    # With a byte order mark, because Excel does not recognise UTF-8 without it.
    write_bytes_atomic(path, text.getvalue().encode("utf-8-sig"))


def _name(pack: LibraryPack, path: Path) -> str:
    same_names = Counter(source.name for source in pack.index.sources)
    for source in pack.index.sources:
        if path.is_relative_to(source):
            if same_names[source.name] > 1:
                return path.as_posix()  # The name of the folder would also mean the file in the other folder.
            inner = path.relative_to(source).as_posix()
            # The folder of copies contains a folder with the name of the original.
            return inner if source.is_relative_to(pack.path.absolute()) else f"{source.name}/{inner}"
    return path.name
