"""Copy the recordings of a library, byte for byte, to a folder from which they are moved into the pack at the end."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rewas_engine.errors import Cancelled, MediaError, PackError
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.file_state import changed_error, clause_of, unreadable_error
from rewas_engine.recordings.index import LibraryIndex, Recording
from rewas_engine.runtime.atomic_files import atomic_path, flush_to_disk
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

STAGE = "copies"
_COPY_BYTES = 1 << 22


def copy_recordings(
    index: LibraryIndex,
    targets: Mapping[Path, Path],
    folder: Path,
    staged: Path,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> tuple[LibraryIndex, list[LeftOut]]:
    """Copy the recordings that neither the pack nor the folder of staged copies contains.

    Args:
        index: Index of the originals.
        targets: Where the copy of each original will be.
        folder: The folder of all copies in the pack.
        staged: The folder that the copies are written to.
        on_progress: Called after each file.
        cancel: Stops the work.

    Returns:
        The index that refers to the copies, and the recordings that have vanished or changed since they were measured.

    Raises:
        PackError: There is too little space.
        OSError: A copy cannot be written.
        Cancelled: The caller asked to stop. Complete copies stay.
    """
    places = [targets[each.path].relative_to(folder) for each in index.recordings]
    missing = []
    for number, (recording, place) in enumerate(zip(index.recordings, places, strict=True)):
        if _is_copy(folder / place, recording):
            # A stopped run may have staged another file of this name, which would replace the copy.
            (staged / place).unlink(missing_ok=True)
        elif not _is_copy(staged / place, recording):
            missing.append(number)
    needed_bytes, copied_bytes = sum(index.recordings[number].size_bytes for number in missing), 0
    _check_space(needed_bytes, folder.parent.parent)
    lost: dict[int, LeftOut] = {}
    for done, number in enumerate(missing, start=1):
        recording = index.recordings[number]
        try:
            _copy(recording, staged / places[number], cancel)
        except MediaError as error:
            lost[number] = LeftOut(places[number].as_posix(), clause_of(error, recording.path))
        copied_bytes += recording.size_bytes
        if on_progress is not None:
            on_progress(Progress(STAGE, done, len(missing), copied_bytes / needed_bytes))
    index = index.without(lost)
    recordings = tuple(replace(each, path=targets[each.path]) for each in index.recordings)
    return replace(index, sources=(folder,), recordings=recordings), list(lost.values())


def _check_space(needed_bytes: int, disk: Path) -> None:
    free_bytes = shutil.disk_usage(disk).free
    if needed_bytes > free_bytes:
        raise PackError(
            f"The copies need {needed_bytes / 1e6:.1f} MB, but only {free_bytes / 1e6:.1f} MB are free in {disk}.",
            "Free space, choose another folder, or do not copy the recordings.",
        )


def _is_copy(place: Path, recording: Recording) -> bool:
    try:
        state = place.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (recording.size_bytes, recording.modified_ns)


def _copy(recording: Recording, place: Path, cancel: CancelSignal | None) -> None:
    """Copy a recording. Raises MediaError if it cannot be read or has changed, and OSError if it cannot be written."""
    place.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with atomic_path(place) as unfinished:
        with unfinished.open("xb") as copy:
            for block in _blocks(recording.path):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                digest.update(block)
                copy.write(block)
            flush_to_disk(copy)
        if digest.hexdigest() != recording.content:
            raise changed_error(recording.path)
        # The modification time identifies the copy as unchanged.
        os.utime(unfinished, ns=(recording.modified_ns, recording.modified_ns))


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_COPY_BYTES):
                yield block
    except OSError as error:
        raise unreadable_error(path, error) from error
