"""Library packs: a folder with pack.toml, the index of a library and, if they were copied, its recordings."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from rewas_engine.errors import Cancelled, MediaError, PackError, SettingsError
from rewas_engine.packs.description import (
    DEFAULT_PACK,
    DESCRIPTION_FILE,
    LIBRARY_FAMILY,
    PACK_FORMAT,
    damaged_pack_error,
    read_document,
    sha256_of,
)
from rewas_engine.recordings.building import Earlier, Embed, build_index
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.copies import copy_recordings
from rewas_engine.recordings.files import is_text
from rewas_engine.recordings.index import INDEX_FILE, LibraryIndex
from rewas_engine.recordings.known_files import Journal, KnownFiles, measurements_of
from rewas_engine.recordings.words import SoundFile, find_sound_files
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

VERSION = "1.0.0"
COPIES_FOLDER = "recordings"
STAGED_FOLDER = "copies"
"""Folder next to the pack that holds copies until all are complete."""
INDEX_PATTERN = "index-*"
JOURNAL_FILE = "measured.jsonl"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class LibraryTerms:
    """Terms of a library as a whole. A recording can have its own licence and credit.

    Attributes:
        licence: Name of the licence or SPDX identifier; "" if it is not stated.
        credit: The people to name; "" if there are none.
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
        index_path: The folder of the index.
    """

    path: Path
    name: str
    version: str
    summary: str
    terms: LibraryTerms
    index: LibraryIndex
    index_path: Path


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
        folder = path / Path(str(library["index"])).name
    except (KeyError, TypeError) as error:
        raise damaged_pack_error(path, f"{DESCRIPTION_FILE} is incomplete ({error})") from error
    return LibraryPack(path, terms=terms, index=LibraryIndex.load(folder), index_path=folder, **about)


def make_library(
    folders: Sequence[Path],
    output: Path,
    terms: LibraryTerms,
    embed: Embed,
    *,
    table: Path | None = None,
    copies: bool = False,
    encoder: str = "",
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
        encoder: Name and version of the encoder of `embed`. Words that it has embedded earlier are not embedded again;
            "" embeds all words.
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
    build = _Build(output, work, terms, embed, encoder, copies, workers or os.cpu_count() or 1, on_progress, cancel)
    try:
        with _locked(output, work):
            try:
                return build.run(folders, table)
            except Cancelled:
                _remove_unfinished(work, keeps_copies=True)
                raise
            except BaseException:
                _remove_unfinished(work, keeps_copies=False)
                raise
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise PackError(f"The library {output.name} cannot be written ({error.strerror}).",
                            f"Check the folder {output.parent} and your permissions.") from error  # fmt: skip
        raise PackError(
            f"The disk is full: the library {output.name} was not written.",
            f"Free space on the disk of {output.parent}, or choose another folder, and run the command again.",
        ) from error


@dataclass(frozen=True)
class _Build:
    """One run that makes or updates a library. Its fields are those of `make_library`, and its work folder."""

    output: Path
    work: Path
    terms: LibraryTerms
    embed: Embed
    encoder: str
    copies: bool
    workers: int
    on_progress: ProgressCallback | None
    cancel: CancelSignal | None

    def run(self, folders: Sequence[Path], table: Path | None) -> MadeLibrary:
        names = _folder_names(folders)
        present = _present(self.output)
        known = (KnownFiles.load(present.index_path, names) if present else None) or KnownFiles(names)
        files, left_out = find_sound_files(
            folders, table, known=known, on_progress=self.on_progress, cancel=self.cancel
        )
        targets = _copy_targets(files, known, self.output)
        self.work.mkdir(parents=True, exist_ok=True)
        journal = Journal(self.work / JOURNAL_FILE)
        earlier = _earlier(present, known, targets, journal, self.encoder)
        built = build_index(
            files, earlier, journal, self.embed, workers=self.workers, on_progress=self.on_progress, cancel=self.cancel
        )
        left_out = [*left_out, *built.left_out]
        if not built.index.recordings:
            shutil.rmtree(self.work, ignore_errors=True)
            raise _nothing_usable_error(files, left_out)
        index = built.index
        if self.copies:
            index, lost = copy_recordings(
                index, targets, self.output / COPIES_FOLDER, self.work / STAGED_FOLDER, self.on_progress, self.cancel
            )
            left_out += lost
            if not index.recordings:
                raise _nothing_usable_error(files, left_out)
        _write(index, replace(built.known, encoder=self.encoder), self.output, self.work, self.terms)
        shutil.rmtree(self.work, ignore_errors=True)
        notes = (*built.notes, *_notes_on_gone(present, index, targets))
        return MadeLibrary(read_library_pack(self.output), built.measured, tuple(left_out), notes)


def _plain(path: Path) -> Path:
    """The absolute path without "..", as the index has it."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _check_output(output: Path, folders: Sequence[Path]) -> None:
    # Unlike Path.resolve(), os.path.realpath() accepts links that lead to each other.
    written = Path(os.path.realpath(output))
    for path in (output, *folders):
        if not is_text(str(path)):
            raise SettingsError(f"The name of the folder {str(path)!a} is not in UTF-8.", "Rename the folder.")
    for folder in folders:
        read = Path(os.path.realpath(folder))
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


def _present(output: Path) -> LibraryPack | None:
    """The library as it is before the run, if any. A damaged one is rebuilt."""
    if not output.exists():
        return None
    try:
        return read_library_pack(output)
    except (MediaError, PackError):
        return None


def _notes_on_gone(present: LibraryPack | None, index: LibraryIndex, targets: Mapping[Path, Path]) -> Iterator[str]:
    """A sentence on the recordings of the present library that no longer exist."""
    if present is None:
        return
    found = {*targets, *targets.values()}
    contents = {recording.content for recording in index.recordings}
    gone = [each for each in present.index.recordings if each.path not in found and each.content not in contents]
    if len(gone) == 1:
        yield f"{gone[0].path} no longer exists and was removed from the library."
    elif gone:
        yield f"{len(gone)} recordings no longer exist and were removed from the library, such as {gone[0].path}."


def _earlier(
    present: LibraryPack | None, known: KnownFiles, targets: Mapping[Path, Path], journal: Journal, encoder: str
) -> Earlier:
    """What the present pack and the journal say. Measurements of copies are those of their originals."""
    if present is None or not known.files:
        return Earlier(known, journal.read())
    original_of = {target: original for original, target in targets.items()}
    notes_of = {each.content: each.notes for each in known.files.values() if each.notes}
    measured = (
        replace(
            each,
            recording=replace(each.recording, path=original_of.get(each.recording.path, each.recording.path)),
            notes=notes_of.get(each.recording.content, ()),
        )
        for each in measurements_of(present.index)
    )
    index = present.index
    words = [each.words for each in index.recordings]
    embedded = dict(zip(words, index.embeddings, strict=True)) if encoder and encoder == known.encoder else {}
    return Earlier(known, itertools.chain(measured, journal.read()), embedded)


def _folder_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The name of each folder of recordings in the library. A number tells folders with the same name apart."""
    names: dict[Path, str] = {}
    for folder in folders:
        name, number = folder.name or "recordings", 1
        taken = {each.casefold() for each in names.values()}
        while (unique := name if number == 1 else f"{name}-{number}").casefold() in taken:
            number += 1
        names.setdefault(folder, unique)
    return names


def _copy_targets(files: Sequence[SoundFile], known: KnownFiles, output: Path) -> dict[Path, Path]:
    """Where the copy of each file belongs. Names that some file systems do not distinguish get a number."""
    targets: dict[Path, Path] = {}
    taken: set[str] = set()
    for file in files:
        target, number = output / COPIES_FOLDER / known.name(file.source, file.path), 1
        stem = target.stem
        while (plain := unicodedata.normalize("NFC", str(target)).casefold()) in taken:
            number += 1
            target = target.with_stem(f"{stem} {number}")
        taken.add(plain)
        targets[file.path] = target
    return targets


def _write(index: LibraryIndex, known: KnownFiles, output: Path, work: Path, terms: LibraryTerms) -> None:
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
    if {file: sha256_of(base / name / file) for file in hashes if (base / name / file).is_file()} != hashes:
        shutil.rmtree(base / name, ignore_errors=True)
        unnamed.replace(base / name)
    # The description has no hash of this file, because it does not affect the sounds of the pack.
    known.save(base / name)
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
            "model": DEFAULT_PACK,
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


def _remove_unfinished(work: Path, keeps_copies: bool) -> None:
    """Clear the work folder, except for what the next run can continue from."""
    for name in ("pack", "index", *(() if keeps_copies else (STAGED_FOLDER,))):
        shutil.rmtree(work / name, ignore_errors=True)
    if work.is_dir() and not (work / JOURNAL_FILE).is_file() and not (work / STAGED_FOLDER).is_dir():
        shutil.rmtree(work, ignore_errors=True)


def _nothing_usable_error(files: Sequence[SoundFile], left_out: Sequence[LeftOut]) -> PackError:
    if not files:
        first = f" First problem: {left_out[0]}." if left_out else ""
        return PackError(f"The folders contain no sound files.{first}", "Give folders that contain sound files.")
    what = f"None of the {len(files)} sound files can be used." if len(files) > 1 else "The sound file cannot be used."
    return PackError(f"{what} {left_out[0]}.", "Check the files that were left out.")
