"""The file of credits beside stems: which recordings each stem contains, with their licences and credits."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rewas_engine.recordings.credits import UsedRecording
from rewas_engine.runtime.atomic_files import write_bytes_atomic
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock
from rewas_server.delivery.csv_tables import csv_text, read_csv
from rewas_server.delivery.file_names import numbered_names

CREDITS_FILE = "credits.csv"
COLUMNS = ("Stem", "Recording", "Licence", "Credit", "Words", "SHA-256")
_LOCK_WAIT_S = 10.0


def update_credits(folder: Path, stems: Mapping[str, Sequence[UsedRecording]]) -> Path | None:
    """Write the recordings of stems to credits.csv in their folder, and return the file.

    Rows of other stems in the folder are kept, and those of stems that are no longer there are removed. If a file of
    this name is not such a table, it is kept, and the table gets another name.

    Args:
        folder: The folder of the stems.
        stems: The recordings in each stem, by the name of its file; none for a stem that a model generated.

    Returns:
        The file; None if no stem in the folder has recordings.

    Raises:
        OSError: The file cannot be written.
    """
    if not any(stems.values()) and not (folder / CREDITS_FILE).exists():
        return None
    try:
        with file_lock(folder / f".{CREDITS_FILE}.lock", wait_s=_LOCK_WAIT_S):
            return _update(folder, stems)
    except AlreadyLocked as error:
        path = folder / CREDITS_FILE
        raise OSError(f"The file {path} cannot be written, because another process is writing it.") from error


def _update(folder: Path, stems: Mapping[str, Sequence[UsedRecording]]) -> Path | None:
    path, present = _find_table(folder)
    rows = [tuple(row) for row in present or () if row[0] not in stems and (folder / row[0]).is_file()]
    rows += [_row(name, recording) for name, recordings in stems.items() for recording in recordings]
    if not rows:
        if present is not None:
            path.unlink()
        return None
    # Spreadsheets recognise UTF-8 by its byte order mark.
    content = csv_text(COLUMNS, sorted(dict.fromkeys(rows))).encode("utf-8-sig", "replace")
    if present is None or path.read_bytes() != content:
        write_bytes_atomic(path, content)
    return path


def _row(name: str, recording: UsedRecording) -> tuple[str, ...]:
    texts = (recording.name, recording.licence, recording.credit, recording.words, recording.content_sha256)
    return (name, *texts)


def _find_table(folder: Path) -> tuple[Path, list[list[str]] | None]:
    """Return where the table is or will be, and its rows if it exists."""
    for candidate in numbered_names(Path(CREDITS_FILE).stem):
        path = folder / f"{candidate}{Path(CREDITS_FILE).suffix}"
        try:
            header, *rows = read_csv(path.read_bytes().decode("utf-8-sig"))
        except FileNotFoundError:
            return path, None
        except (UnicodeDecodeError, csv.Error, ValueError, IsADirectoryError):
            continue
        if tuple(header) == COLUMNS and all(len(row) == len(COLUMNS) for row in rows):
            return path, rows
    raise AssertionError("the numbers never end")


__all__ = ["COLUMNS", "CREDITS_FILE", "update_credits"]
