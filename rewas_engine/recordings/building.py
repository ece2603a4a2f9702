"""Build the index of a library: measure the files that are new or have changed, and embed the words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.audio import SILENT_PEAK
from rewas_engine.recordings.analysis import Analysis, analyse, decibels
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.file_state import changed_error, clause_of, content_of, state_of
from rewas_engine.recordings.index import LibraryIndex, Recording, SoundEvent, Stretch
from rewas_engine.recordings.known_files import Journal, KnownFile, KnownFiles, Measured, Unusable
from rewas_engine.recordings.sound_blocks import open_blocks
from rewas_engine.recordings.words import SoundFile
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

STAGE = "recordings"
OFFSET = 0.01
"""Mean of the samples that counts as a DC offset."""
TELEPHONE_HZ = 16_000
"""Recordings with a lower sample rate sound dull."""
HIGHEST_PEAK_DB = 60.0
"""Floating-point samples can exceed full scale. Above this, they are not a sound, or are not normalised."""
EXCESS_DB = 3.0
"""Sounds that exceed full scale by more than this are not clipped. Clipped MP3 and Ogg files exceed it slightly."""
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
"""Other sample rates are errors in the header. At a higher rate, a part of a recording would not fit into memory."""
_EMBEDDED_AT_ONCE = 256

Embed = Callable[[Sequence[str]], NDArray[np.floating[Any]]]
"""Function from texts to embeddings `[texts, dimensions]` of any norm."""


@dataclass(frozen=True)
class Earlier:
    """What earlier runs have found.

    Attributes:
        found: What was found in files. Of two findings about one file, the later one counts. A measurement applies to
            a file with the same path and size, and the same modification time or content.
        known: What is known about the files. If their content is that of a file that was measured, they are not read.
        embedded: Embedding of words `[dimensions]`, of norm 1.
    """

    known: KnownFiles
    found: Iterable[Measured | Unusable] = ()
    embedded: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltLibrary:
    """A new index, and what was done to build it.

    Attributes:
        known: What is known about the files, for the next run.
        measured: Number of files that were read; all others are as in the previous run.
        left_out: Files that cannot be used.
        notes: Problems of files that are used nevertheless, one sentence each.
    """

    index: LibraryIndex
    known: KnownFiles
    measured: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def build_index(
    files: Sequence[SoundFile],
    earlier: Earlier,
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
        earlier: What earlier runs have found.
        journal: Receives what is found now.
        embed: Embeds words.
        workers: Number of threads. Reading and measuring release the global interpreter lock.
        on_progress: Called after each file.
        cancel: Stops the work; the journal keeps what has been measured.

    Raises:
        Cancelled: The caller asked to stop.
        OSError: The journal cannot be written.
    """
    findings = _Findings(earlier)
    found: dict[Path, Measured | Unusable] = {}
    failed: dict[Path, str] = {}
    missing: list[SoundFile] = []
    for file in files:
        if file.metadata.is_cut_short:
            failed[file.path] = "it is cut short"
        elif (finding := findings.of(file)) is not None:
            found[file.path] = finding
        else:
            missing.append(file)
    report = _Reporter(missing, on_progress)
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(_examine, file.path, findings, cancel): file for file in missing}
        try:
            for done in as_completed(running):
                file = running.pop(done)
                try:
                    finding = done.result()
                    journal.add(finding)
                    found[file.path] = finding
                except MediaError as error:
                    failed[file.path] = clause_of(error, file.path)
                report.finished(file)
                if cancel is not None and cancel.is_set():
                    raise Cancelled
        finally:
            pool.shutdown(cancel_futures=True)
    measured = {path: finding for path, finding in found.items() if isinstance(finding, Measured)}
    failed |= {path: finding.why for path, finding in found.items() if isinstance(finding, Unusable)}
    left_out = [LeftOut(_name(file), failed[file.path]) for file in files if file.path in failed]
    index, duplicates = _assemble(files, measured, embed, earlier.embedded)
    used = {recording.path for recording in index.recordings}
    notes = tuple(f"{_name(file)} {note}." for file in files if file.path in used for note in measured[file.path].notes)
    known = replace(earlier.known, files=dict(_known(files, found, earlier.known)))
    return BuiltLibrary(index, known, len(missing), (*left_out, *duplicates), notes)


def measure(path: Path, cancel: CancelSignal | None = None, content: str | None = None) -> Measured:
    """Measure a sound file.

    Args:
        path: The file.
        cancel: Stops the work.
        content: SHA-256 of the file in hex, if it is known.

    Raises:
        MediaError: The file cannot be read, is damaged, changes while it is read, or has no audible sound.
        Cancelled: The caller asked to stop.
    """
    before = state_of(path)
    weights = None
    while True:
        with open_blocks(path, cancel) as sound:
            rate_hz, channels = sound.sample_rate_hz, sound.channels
            if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
                raise MediaError(
                    f"{path.name} has a sample rate of {rate_hz} Hz.",
                    f"Export it with a rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz.",
                )
            found = analyse(sound.blocks, rate_hz, weights)
        if found.better_weights is None:
            break
        weights = found.better_weights
    if not found.samples:
        raise MediaError(f"{path.name} has no samples.", "Copy it again from its source.")
    if found.peak_db < decibels(SILENT_PEAK):
        raise MediaError(f"{path.name} is silent.", "Leave it out, or export it again.")
    if found.peak_db > HIGHEST_PEAK_DB:
        raise MediaError(
            f"{path.name} contains samples {found.peak_db:.0f} dB above full scale.",
            "Normalise it, or export it again.",
        )
    content = content or content_of(path, cancel)
    if not state_of(path).has_content_of(before):
        raise changed_error(path)
    recording = Recording(
        path, before.size_bytes, before.modified_ns, content, rate_hz, channels, found.samples, "", None, None,
        found.noise_floor_db, found.peak_db, found.stereo_width,
    )  # fmt: skip
    return Measured(recording, found.events, found.stretches, tuple(_notes(found, rate_hz)))


class _Findings:
    """What earlier runs have found, by file and by content."""

    def __init__(self, earlier: Earlier) -> None:
        self._known = earlier.known
        self._by_path = {_path_of(finding): finding for finding in earlier.found}
        self._by_content = {
            finding.recording.content: finding for finding in self._by_path.values() if isinstance(finding, Measured)
        }
        self._sizes = {measured.recording.size_bytes for measured in self._by_content.values()}

    def of(self, file: SoundFile) -> Measured | Unusable | None:
        """What was found in a file, if it has not changed since."""
        finding = self._by_path.get(file.path)
        if isinstance(finding, Measured) and finding.is_of(file.state):
            return finding
        if isinstance(finding, Unusable) and finding.state == file.state:
            return finding
        known = self._known.unchanged(file.source, file.path, file.state)
        if known is None:
            return None
        # Compare the whole state, because a file can become readable without a change of its content.
        if known.why and known.state == file.state:
            return Unusable(file.path, file.state, known.why)
        same = self._by_content.get(known.content)
        return None if same is None else same.at(file.path, file.state)

    def may_have(self, size_bytes: int) -> bool:
        """Whether a file of this size may have the content of a measured one."""
        return size_bytes in self._sizes

    def with_content(self, content: str) -> Measured | None:
        """The measurement of a file with this content."""
        return self._by_content.get(content)


def _examine(path: Path, findings: _Findings, cancel: CancelSignal | None) -> Measured | Unusable:
    """Measure a file, unless the same content was measured earlier. Raises MediaError if this may succeed next time."""
    state = state_of(path)
    content = content_of(path, cancel) if findings.may_have(state.size_bytes) else None
    same = findings.with_content(content) if content is not None else None
    if same is not None:
        return same.at(path, state)
    try:
        return measure(path, cancel, content)
    except MediaError as error:
        content_of(path, cancel)  # raises MediaError if it is the drive that fails
        if state_of(path) != state:
            raise changed_error(path) from error
        return Unusable(path, state, clause_of(error, path))


def _path_of(finding: Measured | Unusable) -> Path:
    return finding.recording.path if isinstance(finding, Measured) else finding.path


def _known(
    files: Sequence[SoundFile], found: Mapping[Path, Measured | Unusable], known: KnownFiles
) -> Iterator[tuple[str, KnownFile]]:
    """What is known about files that have not changed since they were listed."""
    for file in files:
        name, finding = known.name(file.source, file.path), found.get(file.path)
        if isinstance(finding, Measured) and finding.is_of(file.state):
            content = finding.recording.content
            yield name, KnownFile(file.state, file.metadata, content, notes=finding.notes)
        elif isinstance(finding, Unusable) and finding.state == file.state:
            yield name, KnownFile(file.state, file.metadata, why=finding.why)
        elif file.metadata.is_cut_short:
            yield name, KnownFile(file.state, file.metadata)


def _notes(found: Analysis, rate_hz: int) -> Iterator[str]:
    if not found.events and not found.stretches:
        yield "has neither a single sound nor a steady part, so it is not used"
    if found.peak_db > EXCESS_DB:
        yield f"exceeds full scale by {found.peak_db:.0f} dB"
    elif found.clipped_s:
        yield f"is clipped for {1000 * found.clipped_s:.1f} ms"
    if abs(found.offset) >= OFFSET:
        yield f"has a DC offset of {100 * found.offset:.1f} % of full scale"
    if rate_hz < TELEPHONE_HZ:
        yield f"has a sample rate of {rate_hz} Hz and no sound above {rate_hz // 2} Hz"


class _Reporter:
    """Reports finished files; the fraction counts bytes, because files differ in length."""

    def __init__(self, files: Sequence[SoundFile], on_progress: ProgressCallback | None) -> None:
        self.on_progress, self.done, self.done_bytes, self.count = on_progress, 0, 0, len(files)
        self.sizes = {file.path: file.state.size_bytes for file in files}
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


def _assemble(
    files: Sequence[SoundFile],
    results: Mapping[Path, Measured],
    embed: Embed,
    embedded: Mapping[str, NDArray[np.float16]],
) -> tuple[LibraryIndex, list[LeftOut]]:
    recordings: list[Recording] = []
    events: list[SoundEvent] = []
    stretches: list[Stretch] = []
    left_out: list[LeftOut] = []
    best_with: dict[str, SoundFile] = {}
    for file in sorted((file for file in files if file.path in results), key=_rank):
        best_with.setdefault(results[file.path].recording.content, file)
    for file in files:
        measured = results.get(file.path)
        if measured is None:
            continue
        best = best_with[measured.recording.content]
        if best is not file:
            left_out.append(LeftOut(_name(file), f"it has the same content as {_name(best)}"))
            continue
        number = len(recordings)
        recordings.append(
            replace(measured.recording, path=file.path, words=file.words, licence=file.licence, credit=file.credit)
        )
        events += [replace(event, recording=number) for event in measured.events]
        stretches += [replace(stretch, recording=number) for stretch in measured.stretches]
    sources = tuple(dict.fromkeys(file.source for file in files))
    embeddings = _embeddings([recording.words for recording in recordings], embed, embedded)
    return LibraryIndex(sources, tuple(recordings), tuple(events), tuple(stretches), embeddings), left_out


def _embeddings(words: Sequence[str], embed: Embed, embedded: Mapping[str, NDArray[np.float16]]) -> NDArray[np.float16]:
    vector_of = {each: embedded[each] for each in words if each in embedded}
    new = sorted({each for each in words if each and each not in vector_of})
    for start in range(0, len(new), _EMBEDDED_AT_ONCE):
        some = new[start : start + _EMBEDDED_AT_ONCE]
        vectors = np.asarray(embed(some), np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        vector_of |= dict(zip(some, vectors.astype(np.float16), strict=True))
    dimensions = len(next(iter(vector_of.values()), ()))
    embeddings = np.zeros((len(words), dimensions), np.float16)
    for number, each in enumerate(words):
        if each:
            embeddings[number] = vector_of[each]
    return embeddings


def _rank(file: SoundFile) -> tuple[bool, int]:
    """Of files with the same content, the first is used. Copies have longer names than their originals."""
    return not file.words, len(_name(file))


def _name(file: SoundFile) -> str:
    return file.path.relative_to(file.source).as_posix()
