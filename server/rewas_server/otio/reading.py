"""Opens timeline files of every format, even hostile ones, and chooses the requested timeline.

OpenTimelineIO files are checked before OTIO reads them, since its reader crashes on deep nesting. The adapters of other
formats run in a process with limits of memory and time (`adapter_process`), because they have none themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import IO, Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind, TimelineProblem
from rewas_server.otio.clips import move_track_offsets, timelines_in
from rewas_server.otio.fcp_xml import restore_enabled
from rewas_server.otio.formats import format_for
from rewas_server.otio.names import shorten_name
from rewas_server.otio.reaper import read_project
from rewas_server.otio.schemas import parse_any

MAX_TEXT_BYTES = 512 << 20
"""Larger files are treated as mistakes, except AAF files, which may contain sound and video."""
READ_TIMEOUT_S = 300.0
_MEMORY_BYTES = 4 << 30
_MAX_LISTED_NAMES = 10
_CONTENT = "content.otio"
_FCPXML_CONTENT = "Info.fcpxml"
_FOLDERS = frozenset({".otiod", ".fcpxmld"})
"""Formats that are folders."""
_OWN_PROCESS = frozenset({".blend"})
"""Formats whose adapters start a process with limits themselves."""


@dataclass(frozen=True)
class ReadOptions:
    """How a timeline file is read.

    Attributes:
        rate: Frames per second for formats that do not state them, such as EDL and ALE; None to infer them.
        timeline_name: The timeline to read from a file that contains several.
        media_folder: Where to unpack the media of an .otioz file. None leaves them packed.
    """

    rate: Fraction | None = None
    timeline_name: str | None = None
    media_folder: Path | None = None


@dataclass(frozen=True)
class OpenedTimeline:
    """A timeline, and what the user should know about how it was read, as sentences."""

    timeline: otio.schema.Timeline
    notes: tuple[str, ...] = ()


def open_timeline(path: Path, options: ReadOptions = ReadOptions()) -> OpenedTimeline:
    """Read a timeline file in any format.

    Raises ProblemError (TIMELINE) for a file that cannot be read, or that contains several timelines of which
    `options` choose none.
    """
    if not path.exists():
        raise TimelineProblem(f"The timeline file {path} does not exist.", "Check the path.")
    suffix = path.suffix.lower()
    if path.is_dir() and suffix not in _FOLDERS:
        raise TimelineProblem(f"{path} is a folder, not a timeline file.", "Give the path of a file.")
    if not path.is_dir() and not path.is_file():
        # A pipe or a device might never end.
        raise TimelineProblem(f"{path} is not a file.", "Give the path of a file.")
    format_for(path)
    try:
        found, notes = _read(path, suffix, options)
    except OSError as error:
        raise TimelineProblem(f"{path} cannot be read ({error.strerror or error}).", "Check the file.") from error
    timeline, more = _choose(found, path, options)
    timeline.name = timeline.name or path.stem
    move_track_offsets(timeline)
    if suffix == ".xml":
        restore_enabled(timeline)
    return OpenedTimeline(timeline, (*notes, *more))


def _read(path: Path, suffix: str, options: ReadOptions) -> tuple[Any, tuple[str, ...]]:
    """Return what a file contains, with relative media of bundles made absolute, and notes."""
    if suffix == ".otio":
        return parse_any(_text(path, _read_limited(path)), f"The timeline {path.name}")
    if suffix == ".otiod":
        content = path / _CONTENT
        if not content.is_file():
            raise TimelineProblem(f"{path.name} contains no {_CONTENT}.", "Export it again as .otiod or .otio.")
        found, notes = parse_any(_text(path, _read_limited(content)), f"The timeline {path.name}")
        _make_absolute(found, path.absolute())
        return found, notes
    if suffix == ".fcpxmld":
        return _read_fcpxml_bundle(path, options)
    if suffix == ".otioz":
        return _read_archive(path, options.media_folder)
    if suffix == ".rpp":
        _read_limited(path)
        return read_project(path), ()
    if suffix in _OWN_PROCESS:
        return _read_here(path), ()
    return _read_in_process(path, suffix, options.rate)


def _read_fcpxml_bundle(path: Path, options: ReadOptions) -> tuple[Any, tuple[str, ...]]:
    content = path / _FCPXML_CONTENT
    if not content.is_file():
        raise TimelineProblem(f"{path.name} contains no {_FCPXML_CONTENT}.", "Export the project again as XML.")
    found, notes = _read_in_process(content, ".fcpxml", options.rate)
    _make_absolute(found, path.absolute())
    return found, notes


def _read_limited(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise _too_large(path.name, size)
    return path.read_bytes()


def _too_large(name: str, size: int) -> ProblemError:
    return TimelineProblem(
        f"{name} is too large for a timeline ({size / 2**20:.0f} MiB).",
        f"Check that it is the right file; timelines can have up to {MAX_TEXT_BYTES >> 20} MiB.",
    )


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TimelineProblem(
            f"The timeline {path.name} is not UTF-8 text (byte {error.start}).",
            "Export it again; the file may be damaged.",
        ) from error


def _read_archive(path: Path, media_folder: Path | None) -> tuple[Any, tuple[str, ...]]:
    try:
        with zipfile.ZipFile(path) as archive:
            try:
                info = archive.getinfo(_CONTENT)
            except KeyError:
                raise TimelineProblem(
                    f"{path.name} contains no {_CONTENT}.", "Export it again as .otioz or .otio."
                ) from None
            if info.file_size > MAX_TEXT_BYTES:
                raise _too_large(path.name, info.file_size)
            with archive.open(info) as file:
                # A zip's index may state less than it unpacks to.
                content = file.read(MAX_TEXT_BYTES + 1)
            if len(content) > MAX_TEXT_BYTES:
                raise _too_large(path.name, len(content))
            found, notes = parse_any(_text(path, content), f"The timeline {path.name}")
            if media_folder is not None:
                _unpack_media(archive, path, media_folder)
                _make_absolute(found, media_folder.absolute())
            return found, notes
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise TimelineProblem(
            f"{path.name} is not an intact .otioz archive ({error}).", "Copy or export it again."
        ) from error


def _unpack_media(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    """Unpack the media of an archive. A file that is there with the same size is kept."""
    media = [info for info in archive.infolist() if not info.is_dir() and info.filename != _CONTENT]
    total = sum(info.file_size for info in media)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise ProblemError(
            f"The media of {path.name} needs {total / 2**30:.1f} GiB, and {folder} has {free / 2**30:.1f} GiB free.",
            "Free some space.",
            ProblemKind.RESOURCES,
        )
    for info in media:
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in info.filename:
            raise TimelineProblem(
                f'{path.name} contains a file with the unsafe name "{shorten_name(info.filename)}".',
                "Export it again, or unpack it yourself and use the .otio file.",
            )
        target = folder / name
        if target.is_symlink() or not target.is_file() or target.stat().st_size != info.file_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f".{target.name}.part")
            try:
                with archive.open(info) as source, unfinished.open("xb") as copy:
                    _copy(source, copy, info.file_size, path)
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)


def _copy(source: IO[bytes], target: IO[bytes], size: int, path: Path) -> None:
    left = size
    while block := source.read(1 << 20):
        left -= len(block)
        if left < 0:
            raise TimelineProblem(f"{path.name} contains a file that is larger than it states.", "Export it again.")
        target.write(block)


def _make_absolute(found: Any, folder: Path) -> None:
    for timeline in timelines_in(found):
        for clip in timeline.find_clips():
            for reference in clip.media_references().values():
                if isinstance(reference, otio.schema.ExternalReference) and _is_relative(reference.target_url):
                    reference.target_url = str(folder / reference.target_url)


def _is_relative(url: str) -> bool:
    return bool(url) and ":" not in url and not url.startswith(("/", "\\"))


def _read_here(path: Path) -> Any:
    try:
        return otio.adapters.read_from_file(str(path))
    except (ProblemError, OSError, MemoryError):
        raise
    except Exception as error:  # Adapters raise all kinds of exceptions.
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _read_in_process(path: Path, suffix: str, rate: Fraction | None) -> tuple[Any, tuple[str, ...]]:
    """Read a file with its adapter in a process with limits."""
    if suffix != ".aaf":
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise _too_large(path.name, size)
    question = {
        "path": str(path.absolute()),
        "suffix": suffix,
        "rate": None if rate is None else str(rate),
        "parent_pid": os.getpid(),
        "memory_bytes": _MEMORY_BYTES,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "rewas_server.otio.adapter_process"],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=READ_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, f"it took longer than {READ_TIMEOUT_S:g} s") from error
    header, _, content = ended.stdout.partition(b"\n")
    if ended.returncode or not header:
        raise _unreadable(path, f"its reader ended with the status {ended.returncode}")
    answer = json.loads(header)
    if answer["problem"] is not None:
        raise TimelineProblem(*answer["problem"])
    found, notes = parse_any(content.decode(), f"The timeline {path.name}")
    return found, (*answer["notes"], *notes)


def _unreadable(path: Path, reason: str) -> ProblemError:
    return TimelineProblem(
        f"The timeline {path.name} cannot be read ({shorten_name(reason)}).", "Export it again, if possible as .otio."
    )


def _choose(found: Any, path: Path, options: ReadOptions) -> tuple[otio.schema.Timeline, list[str]]:
    """Return the requested timeline on its own, and notes."""
    timelines = list(timelines_in(found))
    wanted = options.timeline_name
    if wanted is not None:
        matching = [timeline for timeline in timelines if timeline.name == wanted]
        if len(matching) != 1:
            how_many = f"{len(matching)} timelines" if matching else "no timeline"
            raise TimelineProblem(
                f'{path.name} contains {how_many} with the name "{wanted}".', _list_names(timelines, path)
            )
        timelines = matching
    if len(timelines) > 1:
        raise TimelineProblem(f"{path.name} contains {len(timelines)} timelines.", _list_names(timelines, path))
    if timelines:
        # Only a timeline in a collection has a parent.
        return found if timelines[0] is found else timelines[0].clone(), []
    items = list(_items_in(found))
    if not items:
        kind = type(found).__name__
        raise TimelineProblem(f"{path.name} contains no timeline and no clips ({kind}).", "Export a whole timeline.")
    # A bin of clips, such as an ALE: each gets its sound, one after the other.
    timeline = otio.schema.Timeline(path.stem)
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    track.extend([item.clone() for item in items])
    note = f"{path.name} contains no timeline, so its clips ({len(items)}) were read one after another."
    return timeline, [note]


def _list_names(timelines: list[otio.schema.Timeline], path: Path) -> str:
    if not timelines:
        return "Export a whole timeline."
    names = [f'"{shorten_name(timeline.name)}"' for timeline in timelines[:_MAX_LISTED_NAMES]]
    more = f" and {len(timelines) - len(names)} more" if len(timelines) > len(names) else ""
    distinct = {timeline.name for timeline in timelines}
    if len(distinct) < len(timelines):
        return f"Several have the same name ({', '.join(names)}{more}); export one of them alone."
    return f"Choose one with --timeline NAME: {', '.join(names)}{more}."


def _items_in(found: Any) -> Iterator[otio.core.Item]:
    """Yield the clips, tracks and stacks in something without a timeline."""
    if isinstance(found, otio.core.Item):
        yield found
    elif isinstance(found, otio.schema.SerializableCollection):
        for item in found:
            yield from _items_in(item)
