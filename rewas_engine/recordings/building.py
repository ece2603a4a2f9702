"""Build the index of a library: measure the files that are new or have changed, and embed the words.

Measurements are appended to a journal, so that a run that was stopped or killed continues where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.audio import SILENT_PEAK
from rewas_engine.recordings.analysis import Analysis, analyse, decibels
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.index import LibraryIndex, Recording, SoundEvent, Stretch
from rewas_engine.recordings.sound_blocks import open_blocks
from rewas_engine.recordings.words import SoundFile
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

STAGE = "recordings"
OFFSET = 0.01
"""Mean of the samples that counts as a DC offset."""
TELEPHONE_HZ = 16_000
"""Recordings with a lower sample rate sound dull."""
_HASH_BYTES = 1 << 20
_EMBEDDED_AT_ONCE = 256

Embed = Callable[[Sequence[str]], NDArray[np.floating[Any]]]
"""Function from texts to embeddings `[texts, dimensions]` of any norm."""


@dataclass(frozen=True)
class Measured:
    """A file and what was found in it. Its recording has no words; its events and stretches have the number 0."""

    recording: Recording
    events: tuple[SoundEvent, ...]
    stretches: tuple[Stretch, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltLibrary:
    """A new index, and what was done to build it.

    Attributes:
        measured: Number of files that were read; all others are as in the previous index.
        left_out: Files that cannot be used.
        notes: Problems of files that are used nevertheless, one sentence each.
    """

    index: LibraryIndex
    measured: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


class Journal:
    """Measurements in a file, one JSON object per line. Incomplete lines are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[Measured]:
        """Yield all measurements."""
        if not self.path.is_file():
            return
        for line in self.path.read_text("utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                recording = {**entry["recording"], "path": Path(entry["recording"]["path"])}
                yield Measured(
                    Recording(**recording),
                    tuple(SoundEvent(*row) for row in entry["events"]),
                    tuple(Stretch(*row) for row in entry["stretches"]),
                    tuple(entry.get("notes", ())),
                )
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, measured: Measured) -> None:
        """Append a measurement. Raises OSError if the disk is full."""
        entry = {
            "recording": {**asdict(measured.recording), "path": str(measured.recording.path)},
            "events": [list(asdict(event).values()) for event in measured.events],
            "stretches": [list(asdict(stretch).values()) for stretch in measured.stretches],
            "notes": list(measured.notes),
        }
        with self.path.open("a", encoding="utf-8") as file:
            # Begin with a line break, because a killed process may have left an incomplete line.
            file.write("\n" + json.dumps(entry) + "\n")


def measurements_of(index: LibraryIndex) -> Iterator[Measured]:
    """Yield what an index knows about each of its recordings."""
    events: dict[int, list[SoundEvent]] = {}
    stretches: dict[int, list[Stretch]] = {}
    for event in index.events:
        events.setdefault(event.recording, []).append(replace(event, recording=0))
    for stretch in index.stretches:
        stretches.setdefault(stretch.recording, []).append(replace(stretch, recording=0))
    for number, recording in enumerate(index.recordings):
        yield Measured(recording, tuple(events.get(number, ())), tuple(stretches.get(number, ())))


def build_index(
    files: Sequence[SoundFile],
    known: Iterable[Measured],
    journal: Journal,
    embed: Embed,
    *,
    workers: int,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> BuiltLibrary:
    """Measure files that are not known yet, and index all of them.

    Args:
        files: The files of the library.
        known: Earlier measurements. One applies to a file with the same path and size, and the same modification time
            or content.
        journal: Receives new measurements.
        embed: Embeds words.
        workers: Number of threads. Reading and measuring release the global interpreter lock.
        on_progress: Called after each file.
        cancel: Stops the work; the journal keeps what has been measured.

    Raises:
        Cancelled: The caller asked to stop.
        OSError: The journal cannot be written.
    """
    earlier = {measured.recording.path: measured for measured in known}
    results: dict[Path, Measured] = {}
    left_out: list[LeftOut] = []
    missing: list[SoundFile] = []
    for file in files:
        unchanged = _unchanged(file, earlier.get(file.path))
        if unchanged is not None:
            results[file.path] = unchanged
        else:
            missing.append(file)
    report = _Reporter(missing, on_progress)
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(_measure, file, earlier.get(file.path), cancel): file for file in missing}
        try:
            for done in as_completed(running):
                file = running.pop(done)
                try:
                    measured = done.result()
                    journal.add(measured)
                    results[file.path] = measured
                except MediaError as error:
                    left_out.append(LeftOut(_name(file), _clause(error.what, file.path.name)))
                report.finished(file)
        finally:
            pool.shutdown(cancel_futures=True)
    index, duplicates = _assemble(files, results, embed)
    notes = tuple(note for file in files if file.path in results for note in results[file.path].notes)
    return BuiltLibrary(index, len(missing), (*left_out, *duplicates), notes)


def measure(path: Path, cancel: CancelSignal | None = None) -> Measured:
    """Measure a sound file.

    Raises:
        MediaError: The file cannot be read, is damaged, changes while it is read, or has no audible sound.
        Cancelled: The caller asked to stop.
    """
    before = _state(path)
    weights = None
    while True:
        with open_blocks(path, cancel) as sound:
            rate_hz, channels = sound.sample_rate_hz, sound.channels
            found = analyse(sound.blocks, rate_hz, weights)
        if found.better_weights is None:
            break
        weights = found.better_weights
    if not found.samples:
        raise MediaError(f"{path.name} has no samples.", "Copy it again from its source.")
    if found.peak_db < decibels(SILENT_PEAK):
        raise MediaError(f"{path.name} is silent.", "Leave it out, or export it again.")
    content = content_of(path, cancel)
    if _state(path) != before:
        raise MediaError(f"{path.name} changed while it was read.", "Run the command again when the file is complete.")
    recording = Recording(
        path, *before, content, rate_hz, channels, found.samples, "", None, None, found.noise_floor_db, found.peak_db,
        found.stereo_width,
    )  # fmt: skip
    return Measured(recording, found.events, found.stretches, tuple(_notes(path, found, rate_hz)))


def content_of(path: Path, cancel: CancelSignal | None = None) -> str:
    """SHA-256 of a file in hex. Raises MediaError if it cannot be read, and Cancelled."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                digest.update(block)
    except OSError as error:
        raise _unreadable_error(path, error) from error
    return digest.hexdigest()


def _measure(file: SoundFile, earlier: Measured | None, cancel: CancelSignal | None) -> Measured:
    if file.is_cut_short:
        raise MediaError(f"{file.path.name} is cut short.", "Copy it again from its source.")
    if earlier is not None and _state(file.path)[0] == earlier.recording.size_bytes:
        size_bytes, modified_ns = _state(file.path)
        if content_of(file.path, cancel) == earlier.recording.content:
            return replace(
                earlier, recording=replace(earlier.recording, size_bytes=size_bytes, modified_ns=modified_ns)
            )
    return measure(file.path, cancel)


def _unchanged(file: SoundFile, earlier: Measured | None) -> Measured | None:
    """The earlier measurement of a file, if its size and modification time are the same."""
    if earlier is None:
        return None
    try:
        state = _state(file.path)
    except MediaError:
        return None
    return earlier if state == (earlier.recording.size_bytes, earlier.recording.modified_ns) else None


def _state(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable_error(path, error) from error
    return state.st_size, state.st_mtime_ns


def _unreadable_error(path: Path, error: OSError) -> MediaError:
    return MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check the file and its folder.")


def _notes(path: Path, found: Analysis, rate_hz: int) -> Iterator[str]:
    if found.clipped_s:
        yield f"{path.name} is clipped for {1000 * found.clipped_s:.1f} ms."
    if abs(found.offset) >= OFFSET:
        yield f"{path.name} has a DC offset of {100 * found.offset:.1f} % of full scale."
    if rate_hz < TELEPHONE_HZ:
        yield f"{path.name} has a sample rate of {rate_hz} Hz and no sound above {rate_hz // 2} Hz."


class _Reporter:
    """Reports finished files; the fraction counts bytes, because files differ in length."""

    def __init__(self, files: Sequence[SoundFile], on_progress: ProgressCallback | None) -> None:
        self.on_progress, self.done, self.done_bytes, self.count = on_progress, 0, 0, len(files)
        self.sizes = {file.path: _size(file.path) for file in files}
        self.total_bytes = max(1, sum(self.sizes.values()))
        self.started = time.monotonic()

    def finished(self, file: SoundFile) -> None:
        self.done += 1
        self.done_bytes += self.sizes[file.path]
        if self.on_progress is None:
            return
        fraction = self.done / self.count if self.done_bytes == 0 else self.done_bytes / self.total_bytes
        left_s = (time.monotonic() - self.started) * (1 - fraction) / fraction
        self.on_progress(Progress(STAGE, self.done, self.count, fraction, time_left_s=left_s))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _assemble(
    files: Sequence[SoundFile], results: Mapping[Path, Measured], embed: Embed
) -> tuple[LibraryIndex, list[LeftOut]]:
    recordings: list[Recording] = []
    events: list[SoundEvent] = []
    stretches: list[Stretch] = []
    left_out: list[LeftOut] = []
    first_with: dict[str, SoundFile] = {}
    for file in files:
        measured = results.get(file.path)
        if measured is None:
            continue
        same = first_with.setdefault(measured.recording.content, file)
        if same is not file:
            left_out.append(LeftOut(_name(file), f"it has the same content as {_name(same)}"))
            continue
        number = len(recordings)
        recordings.append(
            replace(measured.recording, path=file.path, words=file.words, licence=file.licence, credit=file.credit)
        )
        events += [replace(event, recording=number) for event in measured.events]
        stretches += [replace(stretch, recording=number) for stretch in measured.stretches]
    sources = tuple(dict.fromkeys(file.source for file in files))
    embeddings = _embeddings([recording.words for recording in recordings], embed)
    return LibraryIndex(sources, tuple(recordings), tuple(events), tuple(stretches), embeddings), left_out


def _embeddings(words: Sequence[str], embed: Embed) -> NDArray[np.float16]:
    distinct = sorted({each for each in words if each})
    if not distinct:
        return np.zeros((len(words), 0), np.float16)
    parts = [
        np.asarray(embed(distinct[start : start + _EMBEDDED_AT_ONCE]), np.float64)
        for start in range(0, len(distinct), _EMBEDDED_AT_ONCE)
    ]
    vectors = np.concatenate(parts)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    row_of = {each: row for row, each in enumerate(distinct)}
    embeddings = np.zeros((len(words), vectors.shape[1]), np.float16)
    for number, each in enumerate(words):
        if each:
            embeddings[number] = vectors[row_of[each]]
    return embeddings


def _clause(sentence: str, name: str) -> str:
    """A sentence about a file as a clause that follows its name."""
    clause = sentence.removesuffix(".")
    return f"it {clause.removeprefix(name).lstrip()}" if clause.startswith(f"{name} ") else clause


def _name(file: SoundFile) -> str:
    return file.path.relative_to(file.source).as_posix()
