"""Collect the recordings of extracted packages in a folder, with a table of their words, licences and credits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.files import SOUND_SUFFIXES
from rewas_engine.recordings.packaged.archives import read_archive
from rewas_engine.recordings.packaged.table import PackagedSound
from rewas_engine.runtime.atomic_files import write_bytes_atomic, write_text_atomic

CAPTIONS_FILE = "metadata.csv"
"""The table at the top of the folder. Libraries and trainings read it."""


@dataclass(frozen=True)
class Collection:
    """A folder of recordings from packages.

    Attributes:
        folder: The folder.
        sounds: Path of each recording within the folder -> what the table says about it.
        left_out: Recordings that were not found or cannot be read.
    """

    folder: Path
    sounds: Mapping[str, PackagedSound]
    left_out: tuple[LeftOut, ...]


def collect(sounds: Iterable[PackagedSound], packages: Mapping[str, Sequence[Path]], folder: Path) -> Collection:
    """Copy recordings out of extracted packages into a folder. Files that already exist are not written again.

    Args:
        sounds: The recordings.
        packages: Name of each package -> folders with its files. Of a recording's packages, the first one here counts.
        folder: Where the recordings go. Recordings of an earlier run that are no longer wanted are deleted.

    Raises:
        OSError: A folder cannot be read or written.
    """
    opened: dict[str, _Package] = {}
    found: dict[str, PackagedSound] = {}
    left_out: list[LeftOut] = []
    # Archives stay in memory while their package is read.
    for sound in sorted(sounds, key=lambda one: one.packages):
        name = next((each for each in sound.packages if each in packages), None)
        if name is None:
            continue
        if name not in opened:
            opened = {name: _Package(packages[name])}
        try:
            content = opened[name].read(sound.path)
        except (LookupError, ValueError) as error:
            left_out.append(LeftOut(f"{name}: {sound.path}", error.args[0]))
            continue
        place = _place(sound)
        _write_if_new(folder / place, content)
        found[place] = sound
    for former in _listed(folder) - found.keys():
        (folder / former).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomic(folder / CAPTIONS_FILE, _captions(found))
    return Collection(folder, found, tuple(left_out))


class _Package:
    """The files of a package in memory, as far as they are archives."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.files: dict[str, list[tuple[PurePosixPath, Path]]] = {}
        self.archives: dict[Path, dict[str, bytes]] = {}
        for root in roots:
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    inner = PurePosixPath(file.relative_to(root).as_posix())
                    self.files.setdefault(file.name, []).append((inner, file))

    def read(self, path: str) -> bytes:
        """Raises LookupError if there is no such file, and ValueError if its archive is damaged."""
        parts = PurePosixPath(path).parts
        for count in range(len(parts), 0, -1):
            tail = parts[:count]
            matches = [file for inner, file in self.files.get(tail[-1], []) if inner.parts[-count:] == tail]
            if matches:
                return self.read_inner(matches[0], "/".join(parts[count:]))
        raise LookupError("it is not in the package")

    def read_inner(self, file: Path, inner: str) -> bytes:
        if not inner:
            return file.read_bytes()
        if file not in self.archives:
            try:
                files = read_archive(file.read_bytes())
            except ValueError as error:
                raise ValueError(f"{file.name} is damaged ({error})") from error
            if files is None:
                raise ValueError(f"{file.name} is not an archive of a known format")
            self.archives[file] = files
        if inner not in self.archives[file]:
            raise LookupError(f"it is not in {file.name}")
        return self.archives[file][inner]


def _place(sound: PackagedSound) -> str:
    """Where a recording belongs in the folder. Samples of SoundFonts are WAV files."""
    is_named = PurePosixPath(sound.path).suffix.lower() in SOUND_SUFFIXES
    return f"{sound.packages[0]}/{sound.path}{'' if is_named else '.wav'}"


def _write_if_new(path: Path, content: bytes) -> None:
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, content)


def _listed(folder: Path) -> set[str]:
    """The recordings that an earlier run collected."""
    try:
        with (folder / CAPTIONS_FILE).open(encoding="utf-8", newline="") as file:
            listed = {row.get("file") or "" for row in csv.DictReader(file)}
    except FileNotFoundError:
        return set()
    return {name for name in listed if name and not {"..", "/"} & set(PurePosixPath(name).parts)}


def _captions(sounds: Mapping[str, PackagedSound]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "description", "kind", "licence", "credit"))
    for place, sound in sorted(sounds.items()):
        writer.writerow((place, sound.words, sound.kind, sound.licence, sound.credit))
    return text.getvalue()
