"""Check whether the recordings of a library are still there and still the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import MediaError
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.file_state import FileState, content_of
from rewas_engine.recordings.index import Recording
from rewas_engine.recordings.library_pack import LibraryPack
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

STAGE = "recordings"


@dataclass(frozen=True)
class RecordingsCheck:
    """The state of the recordings of a library.

    Attributes:
        count: Number of recordings.
        folders: Folders outside the pack that recordings are in.
        absent: Folders of recordings that do not exist, and the number of recordings in each.
        problems: Recordings in existing folders that are missing or have changed.
    """

    count: int
    folders: tuple[Path, ...]
    absent: tuple[tuple[Path, int], ...]
    problems: tuple[LeftOut, ...]

    @property
    def unusable(self) -> int:
        """Number of recordings that are missing or have changed."""
        return sum(count for _, count in self.absent) + len(self.problems)

    def sentences(self) -> Iterator[str]:
        """Yield one sentence for each problem."""
        for folder, count in self.absent:
            yield f"The folder {folder} with {count} recording{'s' if count != 1 else ''} does not exist."
        for problem in self.problems:
            yield f"{problem}."


def check_recordings(
    pack: LibraryPack,
    *,
    reads: bool,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> RecordingsCheck:
    """Check the recordings of a library.

    Args:
        pack: The library.
        reads: Compare the content of every recording with its hash. Otherwise, files with the same size and
            modification time count as unchanged.
        on_progress: Called after each recording.
        cancel: Stops the check.

    Raises:
        Cancelled: The caller asked to stop.
    """
    index = pack.index
    absent_folders = [source for source in index.sources if not source.is_dir()]
    absent: Counter[Path] = Counter()
    problems: list[LeftOut] = []
    for done, recording in enumerate(index.recordings, start=1):
        folder = next((each for each in absent_folders if recording.path.is_relative_to(each)), None)
        if folder is not None:
            absent[folder] += 1
        elif why := _problem_of(recording, reads, cancel):
            problems.append(LeftOut(str(recording.path), why))
        if on_progress is not None:
            on_progress(Progress(STAGE, done, len(index.recordings), done / len(index.recordings)))
    outside = tuple(source for source in index.sources if not source.is_relative_to(pack.path.absolute()))
    return RecordingsCheck(len(index.recordings), outside, tuple(absent.items()), tuple(problems))


def restore_times(pack: LibraryPack) -> None:
    """Give copied recordings the modification times of the index, by which unchanged files are recognised quickly.

    Unpacking an archive changes them. Call this after a check that has read the recordings. Raises OSError.
    """
    for recording in pack.index.recordings:
        if recording.path.is_relative_to(pack.path.absolute()):
            os.utime(recording.path, ns=(recording.modified_ns, recording.modified_ns))


def _problem_of(recording: Recording, reads: bool, cancel: CancelSignal | None) -> str:
    """Why a recording cannot be used, as a clause; "" if it can."""
    try:
        state = FileState.of(recording.path)
    except OSError as error:
        return "it is missing" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
    is_dated = state.modified_ns == recording.modified_ns
    if state.size_bytes == recording.size_bytes and is_dated and not reads:
        return ""
    try:
        is_same = state.size_bytes == recording.size_bytes and content_of(recording.path, cancel) == recording.content
    except MediaError as error:
        return f"it cannot be read ({error.what})"
    return "" if is_same else "it has changed since the library was made"
