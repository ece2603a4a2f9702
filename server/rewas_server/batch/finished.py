"""Remember a finished batch, so that a repeat with nothing changed ends at once, as with a build tool.

A finished batch is remembered with everything that decides its outcome: the timeline, the options, the program itself,
the stamps of all media and of all files that were written, the packs, and the state of the record. If any of these has
changed, the repeat runs in full. A batch whose outcome depends on anything else is never
remembered: see `read_inputs`, `settled_media` and `outcome_files`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_api.errors import ProblemError
from rewas_engine import EngineError
from rewas_server.batch.record import BatchRecord
from rewas_server.batch.stem_delivery import SoundedClip
from rewas_server.delivery.deliver import Delivery
from rewas_server.delivery.delivery_record import record_path
from rewas_server.files.file_stamps import FileStamp, file_stamp, regular_file_stamp
from rewas_server.otio.media_links import ResolveOptions
from rewas_server.otio.media_search import plain_path
from rewas_server.otio.planning import ClipList

_READ_SUFFIXES, _WRITTEN_SUFFIXES = frozenset({".otio", ".fcpxml"}), frozenset({".otio", ".edl", ".rpp"})
"""Formats that need no adapter of OpenTimelineIO. An adapter may run any code."""
_FILE_URL = re.compile(rb"""file:[^"'<>\s]*""")
_VARIABLES = ("REWAS_", "OTIO_")
_PACKAGES = "rewas_"


@dataclass(frozen=True)
class BatchReport:
    """What a batch prints.

    Attributes:
        notes: Sentences.
        lines: The result as text.
        is_verbose: Whether the lines contain all clips.
        json: The result as a JSON object; None if it was not requested.
        has_failed: Whether a clip has no sound, or a prompt has no clip.
    """

    notes: tuple[str, ...]
    lines: tuple[str, ...]
    is_verbose: bool
    json: Mapping[str, Any] | None
    has_failed: bool = False


def read_inputs(timeline: Path, output: Path, options: object) -> str | None:
    """Return a digest of the timeline, the options and the program; None if they do not decide the outcome.

    They do not if the timeline is read or written by an adapter of OpenTimelineIO, or if it names media with "%",
    whose meaning depends on the files that exist. Call it before the timeline is read, and again before the outcome is
    remembered.

    Args:
        timeline: The file.
        output: The file to write.
        options: Everything else that decides the outcome. Its `repr` must change with it.
    """
    if timeline.suffix.lower() not in _READ_SUFFIXES or output.suffix.lower() not in _WRITTEN_SUFFIXES:
        return None
    try:
        program = _program()
        content = timeline.read_bytes()
    except OSError:
        return None
    if not program or (b"%" in content and b"%" in _FILE_URL.sub(b"", content)):
        return None
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES))
    paths = (timeline.absolute(), output.absolute())
    held = repr((program, hashlib.sha256(content).hexdigest(), variables, paths, options))
    return hashlib.sha256(held.encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def _program() -> str:
    """Return a digest that changes with the code and the data of this program, and with the libraries; "" if unknown.

    The files of this program are identified by their stamps, since it may run from its sources.
    """
    digest = hashlib.sha256(sys.version.encode())
    for name in sorted({module.partition(".")[0] for module in sys.modules if module.startswith(_PACKAGES)}):
        for place in getattr(sys.modules.get(name), "__path__", ()):
            if not os.path.isdir(place):  # noqa: PTH112
                return ""  # In an archive
            for folder, below, files in os.walk(place):
                below[:] = sorted(each for each in below if each != "__pycache__")
                for file in sorted(files):
                    path = os.path.join(folder, file)  # noqa: PTH118
                    digest.update(f"{path} {file_stamp(path)}\n".encode("utf-8", "surrogatepass"))
    for place in sys.path:
        if os.path.isdir(place):  # noqa: PTH112
            found = sorted(each for each in os.listdir(place) if each.endswith((".dist-info", ".egg-link", ".pth")))  # noqa: PTH208
            digest.update(f"{place} {found}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def find_finished(
    record: BatchRecord, inputs: str, pack_content_sha256: Callable[[str], str], *, verbose: bool, as_json: bool
) -> BatchReport | None:
    """Return the report of a finished batch if a repeat would change nothing and give the same report; else None.

    Args:
        record: The record of the batch.
        inputs: From `read_inputs`.
        pack_content_sha256: Returns the hash of a pack's files. Raises ProblemError, EngineError.
        verbose: Whether the report must contain all clips.
        as_json: Whether it must contain the JSON object.
    """
    content = record.finished(inputs)
    if content is None:
        return None
    held = json.loads(zlib.decompress(content))
    if held["is_verbose"] != verbose or (as_json and held["json"] is None) or held["revision"] != record.revision():
        return None
    try:
        if any(pack_content_sha256(name) != sha256 for name, sha256 in held["packs"].items()):
            return None
        if any(file_stamp(path) != tuple(stamp) for path, stamp in held["files"].items()):
            return None
    except (OSError, ProblemError, EngineError):
        return None
    return BatchReport(tuple(held["notes"]), tuple(held["lines"]), verbose, held["json"])


def remember_finished(
    record: BatchRecord,
    name: str,
    inputs: str,
    packs: Mapping[str, str],
    files: Mapping[str, FileStamp],
    report: BatchReport,
) -> None:
    """Remember a finished batch.

    Args:
        record: The record of the batch, in which `set_wanted` was called.
        name: As for `BatchRecord.set_wanted`.
        inputs: From `read_inputs`.
        packs: The hash of each pack's files, by its name.
        files: From `settled_media` and `outcome_files`.
        report: What a repeat prints.
    """
    held = {
        "packs": dict(packs),
        "files": dict(files),
        "revision": record.revision(),
        "notes": report.notes,
        "lines": report.lines,
        "is_verbose": report.is_verbose,
        "json": report.json,
    }
    record.set_finished(name, inputs, zlib.compress(json.dumps(held).encode(), level=1))


def settled_media(
    listed: ClipList, options: ResolveOptions | None, references: Iterable[Path] = ()
) -> dict[str, FileStamp] | None:
    """Return the stamps of the media of a timeline, from before they were read.

    Return None unless each reference sound is a file, and the file of each clip is at the first place to which its
    location can refer, so that no other file can replace it. Missing media, media found by a search, and image
    sequences depend on more than those files.

    Args:
        listed: All clips of the timeline, also those without a sound.
        options: The options with which they were listed.
        references: The reference sounds of the clips.
    """
    if options is None or options.path_maps:
        return None
    found: dict[str, FileStamp] = {}
    for path in references:
        reference_stamp = regular_file_stamp(path)
        if reference_stamp is None:
            return None
        found[str(path)] = reference_stamp
    first: dict[str, Path] = {}
    for each in listed.clips:
        link = each.media
        if link is None or (link.path is None and link.problem is None):
            continue  # A generator
        if link.location not in first:
            first[link.location] = Path(os.path.normpath(options.folder / plain_path(link.location)))
        if link.path != first[link.location] or link.change not in ("", "relative"):
            return None
        stamp = listed.media_stamps.get(link.path)
        if stamp is None:
            return None
        found[str(link.path)] = stamp
    return found


def outcome_files(
    record: BatchRecord,
    media: Mapping[str, FileStamp],
    clips: Sequence[SoundedClip],
    delivery: Delivery,
    documents: Iterable[Path],
    outputs: Iterable[Path],
) -> dict[str, FileStamp] | None:
    """Return the stamps of the files that a batch has read and written; None if a repeat would do something else.

    Args:
        record: The record of the batch.
        media: From `settled_media`.
        clips: The clips with their results.
        delivery: The delivered stems.
        documents: The reports that were written.
        outputs: The written timeline.
    """
    origins = {each.outcome.origin for each in clips}
    has_made = "generated" in origins or any(stem.was_written for stem in delivery.stems)
    # A repeat may cut a sound from a newer one, and says nothing about the names of files that it does not write.
    if None in origins or (has_made and ("cut" in origins or delivery.notes)):
        return None
    if any(media.get(str(path)) != stamp for path, stamp in record.media_stamps().items()):
        return None
    try:
        files = dict(media)
        files.update(_sound_files(clips))
        for stem in delivery.stems:
            stamp = file_stamp(stem.path)
            if stamp[:2] != (stem.size_bytes, stem.modified_ns):
                return None
            files[str(stem.path)] = stamp
        for path in (*documents, *outputs, record_path(record.folder.parent)):
            files[str(path.absolute())] = file_stamp(path)
    except (OSError, _Incomplete):
        return None
    return files


class _Incomplete(Exception):
    pass


def _sound_files(clips: Sequence[SoundedClip]) -> Iterator[tuple[str, FileStamp]]:
    """Yield the stamps of the kept sounds. Raises OSError, or _Incomplete if one has changed since it was read."""
    seen = set()
    for each in clips:
        sound = each.outcome.sound
        if sound is None or sound.result_stamp is None:
            raise _Incomplete
        if sound.key in seen:
            continue
        seen.add(sound.key)
        yield sound.result_file, sound.result_stamp
        for path, size_bytes in sound.stem_sizes():
            stamp = file_stamp(path)
            if stamp[0] != size_bytes:
                raise _Incomplete
            yield path, stamp


__all__ = [
    "BatchReport",
    "find_finished",
    "outcome_files",
    "read_inputs",
    "remember_finished",
    "settled_media",
]
