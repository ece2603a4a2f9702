"""Writes timelines. Problems are found before the work starts, and a file is written completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.atomic_files import atomic_path, write_text_atomic
from rewas_server.files.output_paths import check_file_writable
from rewas_server.otio import aaf, edl, fcp_xml, reaper
from rewas_server.otio.bundles import SUFFIXES as BUNDLES
from rewas_server.otio.bundles import check_media, is_bundle_folder, pack_media, write_archive, write_folder
from rewas_server.otio.clips import timeline_frame_rate
from rewas_server.otio.formats import MediaPaths, TimelineFormat, format_for
from rewas_server.otio.frame_timeline import check_frame_rate
from rewas_server.otio.losses import predict_losses
from rewas_server.otio.media_paths import renamed_media
from rewas_server.otio.schemas import restore_schemas

_FRAME_FORMATS = (".xml", ".aaf", ".edl")
_Write = Callable[[otio.schema.Timeline, Path], Sequence[Path]]


def check_output(
    path: Path,
    *,
    media_paths: MediaPaths | str | None = None,
    inputs: Sequence[Path] = (),
    timeline: otio.schema.Timeline | None = None,
    source_folder: Path | None = None,
) -> list[str]:
    """Check that a timeline can be written to this path, before the work for it starts.

    Args:
        path: The file, or the folder with the suffix .otiod.
        media_paths: How to name media; None for the format's default.
        inputs: Files that must not be overwritten.
        timeline: The timeline to write, or the one that it will be made from. None checks only the path.
        source_folder: Where the relative media references of the timeline start; the folder of `path` if None.

    Returns what the timeline will lose in the file, such as "3 markers".

    Raises ProblemError (TIMELINE, SETTINGS, RESOURCES).
    """
    found = format_for(path, writes=True)
    style = _choose_style(found, media_paths)
    if found.suffix == ".otiod":
        _check_folder_output(path, inputs)
    else:
        check_file_writable(path, "timeline", read=inputs)
    if timeline is None:
        return []
    if found.suffix in (*_FRAME_FORMATS, ".rpp"):
        check_frame_rate(timeline_frame_rate(timeline), found.title)
    if found.suffix == ".edl":
        for suffix in edl.further_suffixes(timeline):
            check_file_writable(_further(path, suffix), "timeline", read=inputs)
    lost = predict_losses(timeline, found)
    if found.suffix == ".edl" and (unreadable := edl.unreadable_pictures(timeline)):
        lost.append(f"{unreadable} video clip{'s' if unreadable > 1 else ''} that cannot be read")
    if found.suffix in BUNDLES:
        lost += check_media(timeline, source_folder or path.absolute().parent, path)
    if style is MediaPaths.EMBEDDED:
        lost += aaf.check_sounds(timeline, source_folder or path.absolute().parent, path)
    return lost


def write_timeline(
    timeline: otio.schema.Timeline,
    path: Path,
    *,
    media_paths: MediaPaths | str | None = None,
    source_folder: Path | None = None,
) -> list[Path]:
    """Write a timeline atomically, without changing it.

    Args:
        timeline: Its media references are as in its own file, and those of stems are absolute.
        path: Where to write; the suffix is the format.
        media_paths: How to name media. None: media that belongs to the output is relative, and other media references
            stay unchanged where the format allows it.
        source_folder: Where the relative media references of the timeline start; the folder of `path` if None.

    Returns the files that were written.

    Raises:
        ProblemError: The format does not support the timeline (TIMELINE).
        OSError: The file cannot be written.
    """
    found = format_for(path, writes=True)
    style = _choose_style(found, media_paths)
    source_folder = source_folder or path.absolute().parent
    try:
        if found.suffix in BUNDLES:
            return _write_bundle(timeline, path, source_folder)
        folder = path.absolute().parent
        named = MediaPaths.URL if style is MediaPaths.EMBEDDED else style
        with renamed_media(timeline, named, folder, source_folder, keeps_foreign=found.suffix == ".otio"):
            if style is MediaPaths.EMBEDDED:
                return list(_write_aaf(timeline, path, embeds_sounds=True))
            return list(_WRITERS[found.suffix](timeline, path))
    except (OSError, ProblemError):
        raise
    except Exception as error:  # Adapters raise all kinds of exceptions.
        raise ProblemError(
            f"Cannot write the timeline to {path.name} ({type(error).__name__}: {error}).",
            "Write it as .otio, which supports everything.",
            ProblemKind.TIMELINE,
        ) from error


def _write_otio(timeline: otio.schema.Timeline, path: Path) -> Sequence[Path]:
    # OTIO's own writer does not notice a full disk.
    write_text_atomic(path, restore_schemas(timeline.to_json_string()))
    return [path]


def _write_fcp_xml(timeline: otio.schema.Timeline, path: Path) -> Sequence[Path]:
    with atomic_path(path) as unfinished:
        otio.adapters.write_to_file(fcp_xml.prepare(timeline), str(unfinished), adapter_name="fcp_xml")
        fcp_xml.finish(unfinished, timeline)
    return [path]


def _write_aaf(timeline: otio.schema.Timeline, path: Path, *, embeds_sounds: bool = False) -> Sequence[Path]:
    with atomic_path(path) as unfinished:
        otio.adapters.write_to_file(aaf.prepare(timeline), str(unfinished), adapter_name="AAF")
        aaf.finish(unfinished, timeline, embeds_sounds=embeds_sounds)
    return [path]


def _write_edl(timeline: otio.schema.Timeline, path: Path) -> Sequence[Path]:
    written = []
    for file in edl.write_edl(timeline):
        target = _further(path, file.suffix)
        write_text_atomic(target, file.text)
        written.append(target)
    return written


def _further(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}{suffix}{path.suffix}")


def _write_reaper(timeline: otio.schema.Timeline, path: Path) -> Sequence[Path]:
    write_text_atomic(path, reaper.write_project(timeline))
    return [path]


def _write_bundle(timeline: otio.schema.Timeline, path: Path, source_folder: Path) -> list[Path]:
    packed = timeline.clone()
    files = pack_media(packed, source_folder)
    if path.suffix.lower() == ".otioz":
        with atomic_path(path) as unfinished:
            write_archive(packed, files, unfinished)
    else:
        with _atomic_folder(path) as unfinished:
            write_folder(packed, files, unfinished)
    return [path]


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a path for a folder, which then replaces `path`, or is removed on an error."""
    token = f"{os.getpid()}-{secrets.token_hex(3)}"
    unfinished = path.with_name(f".{path.stem[:40]}.{token}.partial")
    replaced = path.with_name(f".{path.stem[:40]}.{token}.replaced")
    try:
        yield unfinished
        if path.exists():
            path.rename(replaced)
        try:
            unfinished.rename(path)
        except OSError:
            if replaced.exists():
                replaced.rename(path)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _choose_style(found: TimelineFormat, media_paths: MediaPaths | str | None) -> MediaPaths | None:
    """Return how to name media. None: relative where the media belongs to the output."""
    if media_paths is None:
        return MediaPaths.URL if found.media_paths[:1] == (MediaPaths.URL,) else None
    try:
        style = MediaPaths(media_paths)
    except ValueError:
        raise ProblemError(
            f'"{media_paths}" is not a kind of media path.',
            f"Use {_alternatives([one.value for one in MediaPaths])}.",
            ProblemKind.SETTINGS,
        ) from None
    if not found.media_paths:
        raise ProblemError(
            f"{found.title} contains its media, so it has no media paths.",
            "Leave out --media-paths, or write another format.",
            ProblemKind.SETTINGS,
        )
    if style not in found.media_paths:
        raise ProblemError(
            f"{found.title} does not support {style.value} media paths.",
            f"Use {_alternatives([one.value for one in found.media_paths])}, or write it as .otio.",
            ProblemKind.SETTINGS,
        )
    return style


def _check_folder_output(path: Path, inputs: Sequence[Path]) -> None:
    if path.is_dir():
        if not is_bundle_folder(path):
            raise ProblemError(
                f"Cannot write the timeline to {path}, which is a folder with other contents.",
                "Choose another name.",
                ProblemKind.SETTINGS,
            )
        if any(one.exists() and one.samefile(path) for one in inputs):
            raise ProblemError(
                f"Cannot write the timeline to {path}, which is also an input.",
                "Choose another name.",
                ProblemKind.SETTINGS,
            )
        check_file_writable(path.with_name(f".{path.name}"), "timeline")
        return
    if path.exists():
        raise ProblemError(
            f"Cannot write the timeline to {path}: the format needs a folder, but this is a file.",
            "Choose another name.",
            ProblemKind.SETTINGS,
        )
    check_file_writable(path, "timeline", read=inputs)


def _alternatives(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


_WRITERS: dict[str, _Write] = {
    ".otio": _write_otio,
    ".xml": _write_fcp_xml,
    ".aaf": _write_aaf,
    ".edl": _write_edl,
    ".rpp": _write_reaper,
}
