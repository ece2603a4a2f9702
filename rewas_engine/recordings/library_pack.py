"""Library packs: a folder with pack.toml, the index of a library and, if they were copied, its recordings."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from rewas_engine.errors import Cancelled, MediaError, PackError, SettingsError
from rewas_engine.packs.description import (
    DESCRIPTION_FILE,
    LIBRARY_FAMILY,
    PACK_FORMAT,
    damaged_pack_error,
    read_document,
    sha256_of,
)
from rewas_engine.recordings.building import (
    Embed,
    Journal,
    Measured,
    build_index,
    measurements_of,
)
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.index import INDEX_FILE, LibraryIndex, Recording
from rewas_engine.recordings.words import SoundFile, find_sound_files
from rewas_engine.runtime.atomic_files import atomic_path, flush_to_disk, write_text_atomic
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

VERSION = "1.0.0"
COPIES_FOLDER = "recordings"
STAGED_FOLDER = "copies"
"""Folder next to the pack that holds copies until all are complete."""
INDEX_PATTERN = "index-*"
JOURNAL_FILE = "measured.jsonl"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_COPY_BYTES = 1 << 22


@dataclass(frozen=True)
class LibraryTerms:
    """Terms of a library as a whole. A recording can have its own licence and credit.

    Attributes:
        licence: Name of the licence or SPDX identifier; "" if it is not stated.
        credit: Whom to name; "" for nobody.
        is_non_commercial: Whether commercial use is forbidden.
    """

    licence: str = ""
    credit: str = ""
    is_non_commercial: bool = False

    def __post_init__(self) -> None:
        """Raise SettingsError for terms that are not one line."""
        for what, text in (("licence", self.licence), ("credit", self.credit)):
            if not text.isprintable() or len(text) > 1000:
                raise SettingsError(
                    f"The {what} of the library is not a single line of at most 1000 characters.", "Shorten it."
                )

    @property
    def permits(self) -> str:
        """What the terms permit, in a few sentences."""
        if self.is_non_commercial:
            use = "Non-commercial use only."
        elif self.licence:
            use = f"Use as permitted by {self.licence} and by the licences of individual recordings."
        else:
            use = "The licence is not stated. Make sure that you may use the recordings."
        return f"{use} Credit: {self.credit}." if self.credit else use


@dataclass(frozen=True)
class LibraryPack:
    """A library pack.

    Attributes:
        path: Its folder.
        name, version, summary: As in pack.toml.
        terms: Terms of the library.
        index: What is known about its recordings.
    """

    path: Path
    name: str
    version: str
    summary: str
    terms: LibraryTerms
    index: LibraryIndex


@dataclass(frozen=True)
class MadeLibrary:
    """A library pack that was written. For the other attributes, see BuiltLibrary."""

    pack: LibraryPack
    measured: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def is_library_pack(path: Path) -> bool:
    """Whether a folder is a library pack. Raises PackError if its pack.toml is missing or unreadable."""
    return read_document(path).get("family") == LIBRARY_FAMILY


def read_library_pack(path: Path) -> LibraryPack:
    """Read a library pack with its index.

    Raises:
        PackError: The folder is not a library pack, or pack.toml is damaged.
        MediaError: The index is missing or damaged.
    """
    document = read_document(path)
    if document.get("family") != LIBRARY_FAMILY:
        raise PackError(f"The pack {path.name} is not a library of recordings.", "Choose a library pack.")
    try:
        library = document["library"]
        terms = LibraryTerms(str(document["licence"]), str(library["credit"]), bool(library["non_commercial"]))
        about = {name: str(document[name]) for name in ("name", "version", "summary")}
        index = Path(str(library["index"])).name
    except (KeyError, TypeError) as error:
        raise damaged_pack_error(path, f"{DESCRIPTION_FILE} is incomplete ({error})") from error
    return LibraryPack(path, terms=terms, index=LibraryIndex.load(path / index), **about)


def make_library(
    folders: Sequence[Path],
    output: Path,
    terms: LibraryTerms,
    embed: Embed,
    *,
    table: Path | None = None,
    copies: bool = False,
    workers: int | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> MadeLibrary:
    """Make a library pack, or update one. Only new and changed files are read.

    The pack appears or changes in one step at the end. If the work is stopped or the process is killed, the
    measurements stay next to the pack, and the next call continues from them.

    Args:
        folders: Folders of sound files, searched with their subfolders.
        output: Folder of the pack.
        terms: Terms of the library.
        embed: Embeds words.
        table: A table of captions; None uses the one at the top of each folder.
        copies: Copy the recordings, byte for byte, into the pack. Otherwise, the pack refers to the originals.
        workers: Number of threads; None means one per processor.
        on_progress: Called after each file.
        cancel: Stops the work.

    Raises:
        SettingsError: A folder or table cannot be used, or the output and a sound folder overlap.
        PackError: The output exists and is not a library pack, another process is writing it, no file can be used, or
            it cannot be written, for example because the disk is full.
        Cancelled: The caller asked to stop.
    """
    output, folders = _plain(output), [_plain(folder) for folder in folders]
    _check_output(output, folders)
    work = output.with_name(f".{output.name}.partial")
    files, left_out = find_sound_files(folders, table)
    targets = _copy_targets(files, output)
    with _locked(output, work):
        try:
            return _make(files, left_out, targets if copies else {}, targets, output, work, terms, embed,
                         workers or os.cpu_count() or 1, on_progress, cancel)  # fmt: skip
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise PackError(f"The library {output.name} cannot be written ({error.strerror}).",
                                "Check the folder and your permissions.") from error  # fmt: skip
            raise PackError(
                f"The disk is full: the library {output.name} was not written.",
                f"Free space on the disk of {output.parent}, or choose another folder, and run the command again.",
            ) from error
        finally:
            _remove_if_useless(work)


def _make(
    files: Sequence[SoundFile],
    left_out: Sequence[LeftOut],
    wanted_copies: Mapping[Path, Path],
    targets: Mapping[Path, Path],
    output: Path,
    work: Path,
    terms: LibraryTerms,
    embed: Embed,
    workers: int,
    on_progress: ProgressCallback | None,
    cancel: CancelSignal | None,
) -> MadeLibrary:
    work.mkdir(parents=True, exist_ok=True)
    journal = Journal(work / JOURNAL_FILE)
    known = [*_known(output, targets), *journal.read()]
    built = build_index(files, known, journal, embed, workers=workers, on_progress=on_progress, cancel=cancel)
    left_out = (*left_out, *built.left_out)
    if not built.index.recordings:
        shutil.rmtree(work, ignore_errors=True)
        raise _nothing_usable_error(files, left_out)
    index = _stage_copies(built.index, wanted_copies, output, work / STAGED_FOLDER, cancel)
    _write(index, output, work, terms)
    shutil.rmtree(work, ignore_errors=True)
    return MadeLibrary(read_library_pack(output), built.measured, tuple(left_out), built.notes)


def _plain(path: Path) -> Path:
    """The absolute path without "..", as the index has it."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _check_output(output: Path, folders: Sequence[Path]) -> None:
    written = output.resolve()
    for folder in folders:
        read = folder.resolve()
        if written.is_relative_to(read) or read.is_relative_to(written):
            raise SettingsError(
                f"The library {output} and the sound folder {folder} overlap: one contains the other.",
                "Write the library to another folder.",
            )
    if output.exists() and not (output.is_dir() and (output / DESCRIPTION_FILE).is_file() and is_library_pack(output)):
        raise PackError(
            f"{output} already exists and is not a library of recordings.", "Remove it, or give another name."
        )


@contextmanager
def _locked(output: Path, work: Path) -> Iterator[None]:
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(work.with_suffix(".lock")):
            yield
    except AlreadyLocked as error:
        raise PackError(
            f"Another process is writing the library {output.name} in {output.parent}.", "Wait until it has finished."
        ) from error


def _known(output: Path, targets: Mapping[Path, Path]) -> list[Measured]:
    """Measurements in the present pack. Those of copies count for the originals, whose size and time they have."""
    if not output.exists():
        return []
    try:
        index = read_library_pack(output).index
    except (MediaError, PackError):
        return []  # A damaged pack is built anew.
    original_of = {target: original for original, target in targets.items()}
    return [
        replace(
            measured,
            recording=replace(
                measured.recording, path=original_of.get(measured.recording.path, measured.recording.path)
            ),
        )
        for measured in measurements_of(index)
    ]


def _copy_targets(files: Sequence[SoundFile], output: Path) -> dict[Path, Path]:
    """Where the copy of each file belongs. If folders have the same name, the later ones get a number."""
    folder_of: dict[Path, Path] = {}
    for file in files:
        if file.source not in folder_of:
            name, number = file.source.name or "recordings", 1
            while (
                folder := output / COPIES_FOLDER / (name if number == 1 else f"{name}-{number}")
            ) in folder_of.values():
                number += 1
            folder_of[file.source] = folder
    return {file.path: folder_of[file.source] / file.path.relative_to(file.source) for file in files}


def _stage_copies(
    index: LibraryIndex, targets: Mapping[Path, Path], output: Path, staged: Path, cancel: CancelSignal | None
) -> LibraryIndex:
    """Copy the recordings that the pack lacks to a folder next to it. Returns the index that refers to the copies."""
    if not targets:
        return index
    missing = [each for each in index.recordings if not _is_copy(targets[each.path], each)]
    _check_space(missing, output)
    for recording in missing:
        _copy(recording.path, staged / targets[recording.path].relative_to(output / COPIES_FOLDER), cancel)
    recordings = tuple(replace(each, path=targets[each.path]) for each in index.recordings)
    return replace(index, sources=(output / COPIES_FOLDER,), recordings=recordings)


def _check_space(missing: Sequence[Recording], output: Path) -> None:
    needed = sum(each.size_bytes for each in missing)
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        raise PackError(
            f"The copies need {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free in {output.parent}.",
            "Free space, choose another folder, or do not copy the recordings.",
        )


def _is_copy(place: Path, recording: Recording) -> bool:
    try:
        state = place.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (recording.size_bytes, recording.modified_ns)


def _copy(source: Path, place: Path, cancel: CancelSignal | None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(place) as unfinished:
        with source.open("rb") as original, unfinished.open("xb") as copy:
            while block := original.read(_COPY_BYTES):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                copy.write(block)
            flush_to_disk(copy)
        shutil.copystat(source, unfinished)


def _write(index: LibraryIndex, output: Path, work: Path, terms: LibraryTerms) -> None:
    """Write index and description, and move the staged copies. The description is last: it makes the index valid."""
    is_new = not output.exists()
    base = work / "pack" if is_new else output
    base.mkdir(exist_ok=True)
    unnamed = work / "index"
    shutil.rmtree(unnamed, ignore_errors=True)
    index.save(unnamed, final_folder=output / "index")
    hashes = {file.name: sha256_of(file) for file in sorted(unnamed.iterdir())}
    name = INDEX_PATTERN.replace("*", hashes[INDEX_FILE][:16])
    files = {f"{name}/{file}": digest for file, digest in hashes.items()}
    document = tomli_w.dumps(_document(index, output.name, terms, name, files))
    for copy in sorted((work / STAGED_FOLDER).rglob("*")):
        if copy.is_file():
            place = base / COPIES_FOLDER / copy.relative_to(work / STAGED_FOLDER)
            place.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(place)
    # The present index has the same name if nothing has changed. It stays, since it must never be missing.
    if {file.name: sha256_of(file) for file in (base / name).glob("*")} != hashes:
        shutil.rmtree(base / name, ignore_errors=True)
        unnamed.replace(base / name)
    write_text_atomic(base / DESCRIPTION_FILE, document)
    if is_new:
        base.replace(output)
    _remove_old(output, name, index)


def _document(
    index: LibraryIndex, name: str, terms: LibraryTerms, index_folder: str, files: Mapping[str, str]
) -> dict[str, Any]:
    duration_s = sum(each.samples / each.sample_rate_hz for each in index.recordings)
    count = len(index.recordings)
    return {
        "format": PACK_FORMAT,
        "name": name,
        "version": VERSION,
        "summary": f"A library of {count} recording{'s' if count != 1 else ''}, {_duration(duration_s)} of sound.",
        "licence": terms.licence,
        "permits": terms.permits,
        "family": LIBRARY_FAMILY,
        "library": {
            "index": index_folder,
            "credit": terms.credit,
            "non_commercial": terms.is_non_commercial,
            "recordings": count,
            "events": len(index.events),
            "stretches": len(index.stretches),
            "duration_s": round(duration_s, 3),
        },
        "files": dict(files),
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _remove_old(output: Path, index_folder: str, index: LibraryIndex) -> None:
    """Delete indexes and copies that are no longer used. Files that cannot be deleted stay."""
    for other in output.glob(INDEX_PATTERN):
        if other.name != index_folder:
            shutil.rmtree(other, ignore_errors=True)
    used = {recording.path for recording in index.recordings}
    for path in (output / COPIES_FOLDER).rglob("*"):
        if path.is_file() and path not in used:
            path.unlink(missing_ok=True)


def _remove_if_useless(work: Path) -> None:
    """Remove the work folder unless it has measurements to continue from."""
    for name in ("pack", "index", STAGED_FOLDER):
        shutil.rmtree(work / name, ignore_errors=True)
    if work.is_dir() and not (work / JOURNAL_FILE).is_file():
        shutil.rmtree(work, ignore_errors=True)


def _nothing_usable_error(files: Sequence[SoundFile], left_out: Sequence[LeftOut]) -> PackError:
    if not files:
        first = f" First problem: {left_out[0]}." if left_out else ""
        return PackError(f"The folders contain no sound files.{first}", "Give folders that contain sound files.")
    what = f"None of the {len(files)} sound files can be used." if len(files) > 1 else "The sound file cannot be used."
    return PackError(f"{what} {left_out[0]}.", "Check the files that were left out.")
