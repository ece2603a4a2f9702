# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline files: .otio, and .otioz, which is a zip file that also contains the media. Runs in threads."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from threading import Event
from typing import IO, Any

from ..timeline.exchanged import ExchangedScene, ExchangedStrip, ExchangeNote, all_strips
from ..timeline.image_files import numbered_images
from ..timeline.otio_export import build_timeline
from ..timeline.otio_import import choose_timeline, read_timeline
from ..timeline.otio_json import OtioError, Timeline, from_plain, read_otio
from ..timeline.otio_sounds import read_sounds
from ..timeline.sound_changes import SoundChanges, UnrelatedError, compare_sounds
from ..timeline.takes import Take, store_take
from .media_locations import MediaFinder, relative_location
from .sound_fitting import read_wav_format

ARCHIVE_SUFFIX = ".otioz"
TIMELINE_SUFFIX = ".otio"
REAPER_SUFFIX = ".rpp"
_CONTENT = "content.otio"
_VERSION = "version.txt"
_ARCHIVE_VERSION = "1.0.0"
_MEDIA = "media"
_BLOCK_BYTES = 1 << 20
_MAX_TIMELINE_BYTES = 512 << 20
_MAX_RATIO = 200
"""Media hardly shrinks in a zip file. A file beyond this ratio is meant to fill the disk."""
_SPARE_BYTES = 256 << 20

Progress = Callable[[float], None]


class ExchangeError(Exception):
    """A file cannot be read or written."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class CancelledError(Exception):
    """The user has cancelled the export or import."""


@dataclass(frozen=True)
class ReadFile:
    """What was read from a file.

    scene: the strips. notes: what could not be read as it is. extracted: folder that the media was extracted to.
    """

    scene: ExchangedScene
    notes: tuple[ExchangeNote, ...]
    extracted: Path | None = None


@dataclass(frozen=True)
class ReadChanges:
    """The changes of another program. extracted: folder to which the media was extracted."""

    changes: SoundChanges
    extracted: Path | None = None


def write_scene(
    scene: ExchangedScene,
    path: Path,
    *,
    relative: bool = True,
    progress: Progress = lambda fraction: None,
    cancelled: Event | None = None,
) -> tuple[ExchangeNote, ...]:
    """Write a scene as .otio or, with its media, as .otioz. The file is complete or not there.

    Args:
        scene: What to write.
        path: The file. Its suffix chooses the format.
        relative: Whether the locations of media start at the file's folder.
        progress: Called with the fraction that is done.
        cancelled: Set to stop.

    Returns:
        What could not be written as it is.

    Raises:
        ExchangeError: The file cannot be written.
        CancelledError: `cancelled` was set.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    lost: list[ExchangeNote] = []
    scene = replace(scene, strips=tuple(_with_takes(strip, lost) for strip in scene.strips))
    try:
        try:
            if path.suffix.lower() == ARCHIVE_SUFFIX:
                notes = _write_archive(scene, unfinished, progress, cancelled or Event())
            else:
                folder = path.parent

                def to_url(media: str) -> str:
                    return relative_location(media, folder) if relative else media

                export = build_timeline(scene, to_url)
                unfinished.write_text(export.timeline.to_json_string(indent=2), encoding="utf-8")
                notes = export.notes
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "Choose another folder, or free some disk space."
        raise ExchangeError(f"Cannot write {path} ({reason}).", remedy) from error
    return (*lost, *notes)


def read_scene(
    path: Path,
    *,
    name: str = "",
    rate: Fraction | None = None,
    search: tuple[Path, ...] = (),
    progress: Progress = lambda fraction: None,
    cancelled: Event | None = None,
) -> ReadFile:
    """Read the strips of a timeline file. The media of an .otioz file is extracted next to it.

    Args:
        path: The file.
        name: Name of the timeline, if the file contains several.
        rate: Frame rate of the scene; None for that of the timeline.
        search: Folders that are searched for media that is missing.
        progress: Called with the fraction that is done.
        cancelled: Set to stop.

    Raises:
        ExchangeError: The file cannot be read.
        CancelledError: `cancelled` was set.
    """
    with _opened(path, name, search, progress, cancelled or Event()) as opened:
        found = read_timeline(opened.timeline, opened.finder.locate, rate)
    scene = replace(found.scene, strips=tuple(_with_stored_takes(strip) for strip in found.scene.strips))
    notes = (*found.notes, *_missing_files(scene), *_stopped_search(opened.finder))
    return ReadFile(scene, notes, opened.extracted)


def read_changes(
    path: Path,
    scene: ExchangedScene,
    *,
    name: str = "",
    search: tuple[Path, ...] = (),
    progress: Progress = lambda fraction: None,
    cancelled: Event | None = None,
) -> ReadChanges:
    """Read a timeline that another program has changed, and compare its sounds with those of a scene.

    Args:
        path: The file: .otio, .otioz or a REAPER project. The media of an .otioz file is extracted next to it if it
            contains a new sound.
        scene: The current state of the scene that was exported.
        name: Name of the timeline, if the file contains several.
        search: Folders that are searched for media that is missing.
        progress: Called with the fraction that is done.
        cancelled: Set it to stop.

    Raises:
        ExchangeError: The file cannot be read, or contains none of the sounds of the scene.
        CancelledError: `cancelled` was set.
    """
    with _opened(path, name, search, progress, cancelled or Event()) as opened:
        found = read_sounds(opened.timeline, opened.finder.locate)
        try:
            changes = compare_sounds(scene, found)
        except UnrelatedError:
            raise ExchangeError(
                f'{path.name} contains none of the sounds of the scene "{scene.name}".',
                "Switch to the scene that you exported, and import the changes again.",
            ) from None
        missing = [sound for sound in changes.added if not Path(sound.found.path).is_file()]
        notes = [
            ExchangeNote(
                f'The file of the new sound "{sound.found.name}" is missing ({sound.found.path}), so the sound was not '
                "added.",
                "Import again and choose its folder as Search Folder.",
            )
            for sound in missing
        ]
        present = tuple(sound for sound in changes.added if sound not in missing)
        changes = replace(changes, added=present, notes=(*changes.notes, *notes, *_stopped_search(opened.finder)))
    extracted = opened.extracted
    if extracted is not None and not changes.added:
        shutil.rmtree(extracted, ignore_errors=True)
        extracted = None
    return ReadChanges(changes, extracted)


@dataclass(frozen=True)
class _OpenedFile:
    timeline: Timeline
    finder: MediaFinder
    extracted: Path | None


@contextmanager
def _opened(
    path: Path, name: str, search: tuple[Path, ...], progress: Progress, cancelled: Event
) -> Iterator[_OpenedFile]:
    """Read the timeline in a file. Errors in the block become an ExchangeError, and extracted media is then removed.

    name: of the timeline, if the file contains several. search: folders with media.
    """
    extracted: Path | None = None
    try:
        if path.suffix.lower() == REAPER_SUFFIX:
            read = _read_reaper(path)
        elif path.suffix.lower() == ARCHIVE_SUFFIX:
            text, extracted = _extract(path, progress, cancelled)
            read = read_otio(text)
        else:
            read = read_otio(_read_text(path))
        timeline = choose_timeline(read, name)
        timeline.name = timeline.name or path.stem
        yield _OpenedFile(timeline, MediaFinder(extracted or path.parent, search), extracted)
    except BaseException as error:
        if extracted is not None:
            shutil.rmtree(extracted, ignore_errors=True)
        if isinstance(error, OtioError):
            raise ExchangeError(f"{path.name} cannot be imported. {error}", error.remedy) from error
        if isinstance(error, RecursionError):
            raise ExchangeError(f"{path.name} is nested too deeply.", "Export it again with fewer levels.") from error
        if isinstance(error, OSError):
            raise ExchangeError(f"Cannot read {path} ({error.strerror or error}).", "Check the file.") from error
        raise


def _read_reaper(path: Path) -> Any:
    try:
        from rewas_api.reaper_projects import ReaperError, read_reaper_project
    except ImportError as error:
        raise ExchangeError(
            f"The libraries of the ReWaS extension cannot be loaded ({error}).",
            "Reinstall the extension for this Blender version and platform, then restart Blender.",
        ) from error
    try:
        return from_plain(read_reaper_project(_read_text(path), path.stem))
    except ReaperError as error:
        raise ExchangeError(f"{path.name} cannot be imported. {error.what}", error.remedy) from error


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_TIMELINE_BYTES + 1)
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> str:
    if len(data) > _MAX_TIMELINE_BYTES:
        limit_mb = _MAX_TIMELINE_BYTES >> 20
        raise ExchangeError(f"The timeline in {path.name} is larger than {limit_mb} MB.", "Export a shorter one.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ExchangeError(
            f"{path.name} is not an OpenTimelineIO file or REAPER project.", "Choose an .otio, .otioz or .rpp file."
        ) from None


def _missing_files(scene: ExchangedScene) -> Iterator[ExchangeNote]:
    """Yield a note on the missing files of each strip, or of several strips that miss the same ones."""
    is_there: dict[str, bool] = {}
    strips: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for strip in all_strips(scene.strips):
        for path in strip.files:
            if path not in is_there:
                is_there[path] = bool(path) and Path(path).exists()
        missing = tuple(path for path in strip.files if not is_there[path])
        if missing:
            strips.setdefault((missing, len(strip.files)), []).append(strip.name)
    for (missing, count), names in strips.items():
        yield _missing_note(missing, count, names)


def _missing_note(missing: Sequence[str], count: int, names: Sequence[str]) -> ExchangeNote:
    """Return a note on missing files. count: files of each strip. names: those of the strips."""
    shown = f'the strip "{names[0]}"' + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    if count > 1:
        are = "are" if len(missing) > 1 else "is"
        return ExchangeNote(
            f"{len(missing)} of {count} images of {shown} {are} missing ({missing[0]}{others}).",
            "Restore them, or import again and choose their folder as Search Folder.",
        )
    where = f"is missing ({missing[0]})" if missing[0] else "is not named in the file"
    return ExchangeNote(
        f"The media of {shown} {where}.",
        "Import again and choose its folder as Search Folder, or choose another file in the strip.",
    )


def _stopped_search(finder: MediaFinder) -> Iterator[ExchangeNote]:
    if finder.stopped_in is not None:
        yield ExchangeNote(
            f"The search in {finder.stopped_in} stopped after {finder.searched_files:,} files, so media in the rest of "
            "the folder was not found.",
            "Import again and choose a folder closer to the media as Search Folder.",
        )


def _with_takes(strip: ExchangedStrip, notes: list[ExchangeNote]) -> ExchangedStrip:
    """Return the strip with its takes read from what it stores."""
    takes = []
    for stored in strip.stored_takes:
        try:
            takes.append(stored.read())
        except ValueError as error:
            what = f'Take {stored.number} of the strip "{strip.name}" cannot be read ({error}).'
            notes.append(ExchangeNote(what, "The exported file does not contain this take."))
    inner = tuple(_with_takes(each, notes) for each in strip.strips)
    return replace(strip, takes=tuple(takes) if strip.stored_takes else strip.takes, strips=inner)


def _with_stored_takes(strip: ExchangedStrip) -> ExchangedStrip:
    """Return the strip with its takes as it will store them.

    Stems for which the timeline does not say how many channels they have get what their files say.
    """
    takes = tuple(_take_with_formats(take) for take in strip.takes)
    inner = tuple(_with_stored_takes(each) for each in strip.strips)
    return replace(strip, takes=takes, stored_takes=tuple(map(store_take, takes)), strips=inner)


def _take_with_formats(take: Take) -> Take:
    stems = []
    for stem in take.stems:
        known = read_wav_format(stem.path) if not stem.channels else None
        if known is not None:
            channels, rate, samples = known
            stem = replace(stem, channels=channels, sample_rate_hz=rate, samples=samples)
        stems.append(stem)
    return replace(take, stems=tuple(stems))


# Archives


@dataclass
class _ArchiveNames:
    """Names in an archive by the absolute paths of files and folders."""

    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def name_for(self, path: str) -> str:
        """Return the name of a file, or of a folder with numbered images."""
        if path not in self.names:
            self.names[path] = self._unique(Path(path).name)
        return self.names[path]

    def add_images(self, strip: ExchangedStrip) -> None:
        """Name the images of a strip. Those of a sequence are in one folder."""
        if numbered_images(strip.files) is None:
            return
        folder = str(Path(strip.files[0]).parent)
        for path in strip.files:
            self.names[path] = f"{self.name_for(folder)}/{Path(path).name}"

    def _unique(self, name: str) -> str:
        chosen, number = name or "file", 1
        while chosen.casefold() in self.taken:
            number += 1
            chosen = f"{Path(name).stem} {number}{Path(name).suffix}"
        self.taken.add(chosen.casefold())
        return f"{_MEDIA}/{chosen}"


def _write_archive(scene: ExchangedScene, path: Path, progress: Progress, cancelled: Event) -> tuple[ExchangeNote, ...]:
    names = _ArchiveNames()
    for strip in all_strips(scene.strips):
        names.add_images(strip)
    export = build_timeline(scene, names.name_for)
    files = {Path(media): name for media, name in names.names.items() if not Path(media).is_dir()}
    notes = [
        ExchangeNote(
            f"The file {media} is missing, so the archive does not contain it.", "Restore it and export again."
        )
        for media in files
        if not media.is_file()
    ]
    present = {media: name for media, name in files.items() if media.is_file()}
    total = sum(media.stat().st_size for media in present) or 1
    done = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(_VERSION, _ARCHIVE_VERSION, zipfile.ZIP_DEFLATED)
        archive.writestr(_CONTENT, export.timeline.to_json_string(indent=2), zipfile.ZIP_DEFLATED)
        for media, name in present.items():
            info = zipfile.ZipInfo.from_file(media, name, strict_timestamps=False)
            with media.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                for block in _read_blocks(source, cancelled):
                    target.write(block)
                    done += len(block)
                    progress(done / total)
    return (*export.notes, *notes)


def _read_blocks(file: IO[bytes], cancelled: Event) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        if cancelled.is_set():
            raise CancelledError
        yield block


def _extract(path: Path, progress: Progress, cancelled: Event) -> tuple[str, Path]:
    """Extract the media of an archive next to it. Returns the timeline and the folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            content = next((member for member in members if member.filename == _CONTENT), None)
            if content is None:
                raise ExchangeError(f"{path.name} contains no timeline.", "Export it again as .otioz.")
            with archive.open(content) as file:
                text = _decode(path, file.read(_MAX_TIMELINE_BYTES + 1))
            media = [member for member in members if member.filename.startswith(f"{_MEDIA}/") and not member.is_dir()]
            _check_members(path, media)
            folder = _new_folder(path)
            try:
                _extract_media(archive, media, folder, progress, cancelled)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return text, folder
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        # RuntimeError: encrypted. NotImplementedError: an unusual compression.
        raise ExchangeError(f"{path.name} is damaged ({error}).", "Copy or export it again.") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse names that lead out of the folder, and sizes that would fill the disk."""
    for member in members:
        parts = PurePosixPath(member.filename).parts
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if ".." in parts or "\\" in member.filename or ":" in member.filename or is_link:
            raise ExchangeError(
                f"{path.name} contains a file with an unsafe name ({member.filename!r}).", "Do not trust this file."
            )
    total = sum(member.file_size for member in members)
    packed = max(path.stat().st_size, 1)
    if total > packed * _MAX_RATIO:
        raise ExchangeError(f"{path.name} would grow to {total // packed} times its size.", "Do not trust this file.")
    free = shutil.disk_usage(path.parent).free
    if total + _SPARE_BYTES > free:
        raise ExchangeError(
            f"The media in {path.name} needs {total >> 20} MB, but only {free >> 20} MB are free.",
            "Free some disk space.",
        )


def _extract_media(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, progress: Progress, cancelled: Event
) -> None:
    total = sum(member.file_size for member in members) or 1
    done = 0
    for member in members:
        target = folder.joinpath(*PurePosixPath(member.filename).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("xb") as file:
            # zipfile stops at the announced size, so what was checked is the limit.
            for block in _read_blocks(source, cancelled):
                file.write(block)
                done += len(block)
                progress(done / total)


def _new_folder(path: Path) -> Path:
    number = 1
    while True:
        folder = path.with_name(path.stem if number == 1 else f"{path.stem} {number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
