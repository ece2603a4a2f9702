"""Reads and writes timeline files in any OpenTimelineIO format, and keeps media paths valid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.atomic_files import atomic_path
from rewas_server.files.output_paths import check_folder_writable
from rewas_server.otio.schemas import describe_read_error


def read_timeline(path: Path) -> otio.schema.Timeline:
    """Read the single timeline in a file. Raises ProblemError (TIMELINE)."""
    if not path.is_file():
        raise _timeline_problem(f"The timeline file {path} does not exist.", "Check the path.")
    try:
        found = otio.adapters.read_from_file(str(path))
    except otio.exceptions.NoKnownAdapterForExtensionError as error:
        raise _timeline_problem(
            f"{path.name} has a format that OpenTimelineIO cannot read here.",
            f"Use one of {_supported_suffixes(read=True)}, or install its adapter.",
        ) from error
    except Exception as error:  # Adapters raise all kinds of exceptions.
        if path.suffix.lower() == ".otio":
            text = path.read_text(encoding="utf-8", errors="replace")
            raise _timeline_problem(*describe_read_error(f"The timeline {path.name}", text, error)) from error
        raise _timeline_problem(
            f"The timeline {path.name} cannot be read ({type(error).__name__}: {error}).",
            "Export it again, if possible as .otio.",
        ) from error
    if isinstance(found, otio.schema.SerializableCollection):
        timelines = [item for item in found if isinstance(item, otio.schema.Timeline)]
        if len(timelines) != 1:
            raise _timeline_problem(f"{path.name} contains {len(timelines)} timelines.", "Export a single timeline.")
        found = timelines[0].clone()
    if not isinstance(found, otio.schema.Timeline):
        raise _timeline_problem(
            f"{path.name} contains an OpenTimelineIO {type(found).__name__} instead of a timeline.",
            "Export a whole timeline.",
        )
    found.name = found.name or path.stem
    return found


def check_writable(path: Path) -> None:
    """Check that a timeline can be written to this path. Raises ProblemError (TIMELINE, SETTINGS)."""
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in otio.adapters.suffixes_with_defined_adapters(write=True) or suffix == "otiod":
        raise _timeline_problem(
            f"Cannot write a timeline to {path.name}.",
            f"Use one of the extensions {_supported_suffixes(write=True)}.",
        )
    if not path.parent.is_dir():
        raise _timeline_problem(f"The folder {path.parent} for {path.name} does not exist.", "Create it first.")
    check_folder_writable(path.parent)


def write_timeline(timeline: otio.schema.Timeline, path: Path) -> None:
    """Write a timeline atomically. Raises ProblemError (TIMELINE) if the format does not support it."""
    try:
        with atomic_path(path) as unfinished:
            otio.adapters.write_to_file(timeline, str(unfinished))
    except OSError:
        raise
    except Exception as error:  # Adapters raise all kinds of exceptions.
        raise _timeline_problem(
            f"Cannot write the timeline to {path.name} ({type(error).__name__}: {error}).",
            "Write it as .otio, which supports everything.",
        ) from error


def make_media_absolute(timeline: otio.schema.Timeline, folder: Path) -> otio.schema.Timeline:
    """Return a copy with absolute media paths. Relative paths start at the timeline's folder."""
    absolute = timeline.clone()
    for clip in absolute.find_clips():
        reference = clip.media_reference
        if isinstance(reference, otio.schema.ExternalReference) and reference.target_url:
            reference.target_url = _absolute_url(reference.target_url, folder)
    return absolute


def relink_stems(timeline: otio.schema.Timeline, local_paths: Mapping[str, Path]) -> None:
    """Relink stems to their files on this machine. local_paths: from the path on the timeline to the local path."""
    for clip in timeline.find_clips():
        reference = clip.media_reference
        if isinstance(reference, otio.schema.ExternalReference) and reference.target_url in local_paths:
            reference.target_url = str(local_paths[reference.target_url])


def restore_media(timeline: otio.schema.Timeline, original: otio.schema.Timeline) -> None:
    """Restore the original media path of every original clip. New tracks come after the original ones."""
    for clip, before in zip(timeline.find_clips(), original.find_clips(), strict=False):
        if isinstance(before.media_reference, otio.schema.ExternalReference):
            clip.media_reference.target_url = before.media_reference.target_url


def _absolute_url(target_url: str, folder: Path) -> str:
    if "://" in target_url or PureWindowsPath(target_url).drive or Path(target_url).is_absolute():
        return target_url
    path = (folder / target_url).absolute()
    decoded = (folder / unquote(target_url)).absolute()
    # Some tools write relative URLs (my%20shot.mov), others relative paths: use the one that exists.
    return str(decoded if decoded.is_file() and not path.is_file() else path)


def _supported_suffixes(*, read: bool = False, write: bool = False) -> str:
    return ", ".join(f".{name}" for name in sorted(otio.adapters.suffixes_with_defined_adapters(read, write)))


def _timeline_problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.TIMELINE)
