"""Links the clips of a timeline to files on this machine, and states which range of its media each clip shows.

Many edits come from another machine: paths differ, media is missing, names are ambiguous, and some clips count by the
timecode of their media. Afterwards, each clip that can be read has an absolute path and an available range in the
timecode of its media, so that later steps need not guess. Notes say what was decided for each clip.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.errors import EngineError
from rewas_engine.media.facts import MediaFacts, read_media_facts
from rewas_engine.media.video import find_break_s
from rewas_server.files.file_stamps import FileStamp, regular_file_stamp
from rewas_server.otio.clips import clip_label, read_speed
from rewas_server.otio.exact_times import DEFAULT_RATE, exact_rate, exact_seconds
from rewas_server.otio.image_sequences import (
    has_number,
    make_reference,
    picture_numbers,
    range_of,
    read_sequence,
    sequence_from_name,
    sequence_start,
    sequence_url,
)
from rewas_server.otio.media_search import (
    MAX_SEARCHED_FILES,
    MediaSearch,
    PathMap,
    is_foreign,
    is_url,
    last_name,
    longest_common_end,
    plain_path,
)
from rewas_server.otio.media_timecode import ClipRange, MediaSpan, media_start
from rewas_server.otio.names import shorten_name

Change = Literal["", "relative", "mapped", "relinked", "other reference"]
_GROWING_S = 5
"""A file that was written within this many seconds may not be finished."""
_SAME_S = 1e-6
"""Times that differ by less are the same, rounded."""
_MAX_CANDIDATES = 64
"""Files of the same name that are compared."""
_NAME_KEYS = (("ALE", "Source File"), ("ALE", "Source File Path"), ("cmx_3600", "reel"), ("ALE", "Tape"))
"""Where adapters store the name or the reel of media that they do not link."""


@dataclass(frozen=True)
class ResolveOptions:
    """Where media may be.

    Attributes:
        folder: Where relative paths start: the folder of the timeline file.
        search_folders: Folders that are searched for missing media by name, with their subfolders.
        path_maps: Where folders of other machines are on this one.
    """

    folder: Path
    search_folders: tuple[Path, ...] = ()
    path_maps: tuple[PathMap, ...] = ()


@dataclass(frozen=True)
class MediaLink:
    """How a clip was linked to its media.

    Attributes:
        location: The media as the timeline names it; "" if it names none.
        path: The file on this machine; for an image sequence, its pattern in the folder of its pictures. None if there
            is a problem.
        change: How the file was found: "" where the timeline says, "relative" to the timeline, "mapped" by a path map,
            "relinked" by its name, or through an "other reference" of the clip.
        notes: What was decided, as sentences.
        problem: Why the clip has no media that can be read.
        available_range: Of the media, as the clip counts it.
    """

    location: str
    path: Path | None = None
    change: Change = ""
    notes: tuple[str, ...] = ()
    problem: ProblemError | None = None
    available_range: otio.opentime.TimeRange | None = None


@dataclass(frozen=True)
class ResolvedMedia:
    """A timeline with linked media.

    Attributes:
        timeline: A copy of the timeline.
        links: How each clip on the video tracks was linked, by its path: indexes of children, from the tracks down.
        stamps: Stamps of the media files, taken before they were read.
    """

    timeline: otio.schema.Timeline
    links: dict[tuple[int, ...], MediaLink]
    stamps: Mapping[Path, FileStamp] = field(default_factory=dict)

    def problem(self, path: tuple[int, ...]) -> ProblemError | None:
        """Return why a clip has no media that can be read; None if it has."""
        link = self.links.get(path)
        return None if link is None else link.problem

    def notes(self, path: tuple[int, ...]) -> tuple[str, ...]:
        """Return what was decided about the media of a clip, as sentences."""
        link = self.links.get(path)
        return () if link is None else link.notes


def resolve_media(timeline: otio.schema.Timeline, options: ResolveOptions) -> ResolvedMedia:
    """Link the clips on the video tracks of a timeline to files on this machine. The timeline itself does not change.

    A clip whose media is missing, ambiguous or unreadable keeps its reference, and its link says what is wrong.
    """
    resolved = timeline.clone()
    resolver = MediaResolver(options)
    links = {path: resolver.link(clip) for path, clip in _clips_in(resolved.tracks, (), 0)}
    return ResolvedMedia(resolved, links, resolver.stamps)


def link_found_media(timeline: otio.schema.Timeline, links: Mapping[tuple[int, ...], MediaLink]) -> None:
    """Link the clips of a timeline, which changes, to the media that was not where the timeline says.

    links: by the path of the clip. Links that lead to a file stay as they are.
    """
    for path, link in links.items():
        if link.path is None or link.change not in ("mapped", "relinked"):
            continue
        clip = timeline.tracks
        for index in path:
            clip = clip[index]
        reference = clip.media_reference
        if isinstance(reference, otio.schema.ImageSequenceReference):
            reference.target_url_base = f"{link.path.parent}/"
        elif isinstance(reference, otio.schema.ExternalReference):
            name = last_name(link.location)
            reference.target_url = str(link.path.parent / name if has_number(name) else link.path)
        else:
            linked = otio.schema.ExternalReference(str(link.path), link.available_range)
            linked.name = reference.name
            clip.media_reference = linked


def _clips_in(
    parent: otio.core.Composition, path: tuple[int, ...], depth: int
) -> Iterator[tuple[tuple[int, ...], otio.schema.Clip]]:
    if depth > 100:  # Deeper clips are refused later.
        return
    for index, child in enumerate(parent):
        if isinstance(child, otio.schema.Clip):
            yield (*path, index), child
            continue
        is_heard = isinstance(child, otio.schema.Track) and child.kind != otio.schema.TrackKind.Video
        if isinstance(child, otio.core.Composition) and not is_heard:
            yield from _clips_in(child, (*path, index), depth + 1)


@dataclass(frozen=True)
class _Found:
    """A media reference whose files are on this machine. is_active: whether it is the clip's own active one."""

    reference: Any
    path: Path
    change: Change
    notes: tuple[str, ...] = ()
    is_active: bool = False


class _Ambiguous(Exception):
    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = paths


class MediaResolver:
    """Links clips one by one, and remembers what it has read.

    Args:
        options: Where media may be.
    """

    def __init__(self, options: ResolveOptions) -> None:
        self._options = options
        self._search = MediaSearch(options.folder, options.search_folders, options.path_maps)
        self._locations: dict[str, tuple[Path | None, str]] = {}
        self._files: dict[Path, FileStamp | None] = {}
        self._ranges: dict[tuple[Fraction, ...], otio.opentime.TimeRange] = {}
        self._facts: dict[Path, MediaFacts | EngineError] = {}
        self._numbers: dict[tuple[Path, str, str, int], list[int]] = {}
        self._spans: dict[Path, tuple[MediaSpan | None, tuple[str, ...]]] = {}

    def link(self, clip: otio.schema.Clip) -> MediaLink:
        """Link a clip, which changes, and return how. A clip whose media cannot be read keeps its reference."""
        location = _location(clip.media_reference)
        try:
            found = self._find(clip, location)
            if found is None:
                if not location and not isinstance(clip.media_reference, otio.schema.MissingReference):
                    return MediaLink(location)  # A generator: the error is raised when the clip is read.
                return MediaLink(location, problem=self._missing(clip, location))
            _replace_reference(clip, found)
            notes = self._set_range(clip, found)
            available = clip.media_reference.available_range
            return MediaLink(location, found.path, found.change, (*found.notes, *notes), available_range=available)
        except EngineError as error:
            label = clip_label(clip)
            what = f"{label}: {error.what}"
            return MediaLink(location, problem=ProblemError(what, error.remedy, ProblemKind.MEDIA))
        except ProblemError as problem:
            return MediaLink(location, problem=problem)

    def _find(self, clip: otio.schema.Clip, location: str) -> _Found | None:
        """Find the media of a clip: at the location or by the name of its active reference, or by another reference."""
        found = self._at_location(clip, clip.media_reference)
        if found is not None:
            return replace(found, is_active=found.reference is clip.media_reference)
        references, shown = clip.media_references(), _shown(clip)
        active = clip.active_media_reference_key
        ambiguous: _Ambiguous | None = None
        for key in sorted(references, key=lambda name: name != active):
            reference = references[key]
            found = self._at_location(clip, reference)
            if found is None:
                try:
                    found = self._by_name(clip, reference, shown)
                except _Ambiguous as several:
                    ambiguous = ambiguous or several
            if found is None:
                continue
            if key == active:
                return found
            linked = found.reference.clone()
            if linked.available_range is None and references[active].available_range is not None:
                linked.available_range = references[active].available_range  # A proxy has the timecode of its original.
            missing = f"{last_name(location)} is missing" if location else "It has no other media"
            note = f'{missing}, so its media reference "{shorten_name(key)}" ({found.path.name}) is used.'
            return _Found(linked, found.path, "other reference", (*found.notes, note))
        if ambiguous is not None:
            names = " and ".join(str(path) for path in ambiguous.paths[:2])
            raise ProblemError(
                f"{clip_label(clip)} fits {len(ambiguous.paths)} files named {ambiguous.paths[0].name}: "
                f"{names}{', …' if len(ambiguous.paths) > 2 else ''}.",
                "Search only the folder with the right one, or relink the clip.",
                ProblemKind.MEDIA,
            )
        return None

    def _at_location(self, clip: otio.schema.Clip, reference: otio.core.MediaReference) -> _Found | None:
        if isinstance(reference, otio.schema.ImageSequenceReference):
            folder, change = self._locate(str(reference.target_url_base))
            if folder is None or not folder.is_dir():
                return None
            return self._sequence_in(clip, reference, folder, change)
        if not isinstance(reference, otio.schema.ExternalReference) or not reference.target_url:
            return None
        url = str(reference.target_url)
        path, change = self._locate(url)
        if path is not None and self._is_file(path):
            return _Found(reference, path, change)
        if has_number(last_name(url)):
            head = url[: len(url) - len(url.replace("\\", "/").rpartition("/")[2])]
            folder, change = self._locate(head or ".")
            if folder is not None and folder.is_dir():
                return self._numbered(clip, reference, folder, last_name(url), change)
        return None

    @property
    def stamps(self) -> dict[Path, FileStamp]:
        """The stamps of the files that were found where the timeline says, taken before they were read."""
        return {path: stamp for path, stamp in self._files.items() if stamp is not None}

    def _is_file(self, path: Path) -> bool:
        if path not in self._files:
            self._files[path] = regular_file_stamp(path)
        return self._files[path] is not None

    def _locate(self, location: str) -> tuple[Path | None, Any]:
        if location not in self._locations:
            self._locations[location] = self._search.at_location(location)
        return self._locations[location]

    def _numbered(
        self, clip: otio.schema.Clip, reference: otio.core.MediaReference, folder: Path, name: str, change: Any
    ) -> _Found | None:
        """Read an ordinary reference to "shot.%04d.exr" as an image sequence."""
        available = reference.available_range
        stated = available or clip.source_range
        rate = float(DEFAULT_RATE) if stated is None else stated.duration.rate
        sequence = sequence_from_name(folder, name, rate)
        if sequence is None:
            return None
        sequence.name, first_s = reference.name, sequence.available_range
        for key, value in reference.metadata.items():
            sequence.metadata[key] = value
        # If no range is stated, the pictures are counted by their numbers.
        sequence.available_range = available or first_s
        return self._sequence_in(clip, sequence, folder, change)

    def _sequence_in(
        self, clip: otio.schema.Clip, reference: otio.schema.ImageSequenceReference, folder: Path, change: Any
    ) -> _Found | None:
        digits = max(0, int(reference.frame_zero_padding))
        parts = (str(reference.name_prefix), str(reference.name_suffix), digits)
        if (folder, *parts) not in self._numbers:
            self._numbers[folder, *parts] = picture_numbers(folder, *parts)
        numbers = self._numbers[folder, *parts]
        if not numbers:
            return None
        linked = reference.clone()
        linked.target_url_base = f"{folder}/"
        if linked.available_range is None:
            counted = make_reference(folder, *parts, numbers, linked.rate)
            linked.available_range = counted.available_range
            linked.start_frame, linked.frame_step = counted.start_frame, counted.frame_step
            shown = _shown(clip)
            first_s = sequence_start(linked, clip_label(clip))
            if shown is not None and shown.begin_s + shown.frame_s / 2 < first_s:
                length_s = exact_seconds(linked.available_range.duration, clip_label(clip), "media duration")
                rate = exact_rate(linked.rate, clip_label(clip), "rate")
                linked.available_range = range_of(Fraction(0), length_s, rate)
        return _Found(linked, folder / last_name(sequence_url(linked)), change)

    def _by_name(
        self, clip: otio.schema.Clip, reference: otio.core.MediaReference, shown: ClipRange | None
    ) -> _Found | None:
        """Find media in the search folders. Raises _Ambiguous if several files fit equally well."""
        if not self._options.search_folders:
            return None
        if isinstance(reference, otio.schema.ImageSequenceReference):
            name = last_name(reference.target_url_for_image_number(0))
            folders = longest_common_end(self._search.folders_with(name), str(reference.target_url_base))
            if len(folders) > 1:
                raise _Ambiguous([folder / name for folder in folders])
            return None if not folders else self._sequence_in(clip, reference, folders[0], "relinked")
        names = list(dict.fromkeys(_names(clip, reference)))
        if not names:
            return None
        paths = self._search.by_name(names)
        exact = bool(paths)
        if not exact:
            paths = [path for name in names for path in self._search.by_stem(name.rpartition(".")[0] or name)]
        paths = list(dict.fromkeys(paths))[:_MAX_CANDIDATES]
        classes = {path: self._how_well(reference, path, shown) for path in paths}
        best = min(classes.values(), default=3)
        # A file with another extension must contain the range. One of this name may not: its clip is refused later.
        if not paths or best > (2 if exact else 1):
            return None
        fitting = longest_common_end([path for path in paths if classes[path] == best], _location(reference))
        if len(fitting) > 1:
            raise _Ambiguous(fitting)
        linked = reference
        if not isinstance(reference, otio.schema.ExternalReference):
            linked = otio.schema.ExternalReference()
            linked.name = reference.name
            linked.available_range = reference.available_range
            for key, value in reference.metadata.items():
                linked.metadata[key] = value
        return _Found(linked, fitting[0], "relinked", (f"Its media was found by name: {fitting[0]}.",))

    def _how_well(self, reference: otio.core.MediaReference, path: Path, shown: ClipRange | None) -> int:
        """Return 0 if a file fits a clip by its timecode, 1 by its length alone, 2 not at all, 3 if it is not media."""
        try:
            facts = self._facts_of(path)
        except EngineError:
            return 3
        if facts.is_still or facts.duration_s is None or shown is None:
            return 1
        span = MediaSpan.of(facts.timecode, facts.duration_s)
        available = reference.available_range
        if available is not None and span.timecode_s is not None:
            start_s = exact_seconds(available.start_time, "The media", "start")
            if abs(start_s - span.timecode_s) <= shown.frame_s and shown.fits(span.timecode_s, span.length_s):
                return 0
        if any(shown.fits(start_s, span.length_s) for start_s in span.timecode_starts(shown.rate)):
            return 0
        start_s = Fraction(0) if available is None else exact_seconds(available.start_time, "The media", "start")
        return 1 if shown.fits(start_s, span.length_s) else 2

    def _facts_of(self, path: Path) -> MediaFacts:
        if path not in self._facts:
            try:
                self._facts[path] = read_media_facts(path)
            except EngineError as error:
                self._facts[path] = error
        facts = self._facts[path]
        if isinstance(facts, EngineError):
            raise facts
        return facts

    def _set_range(self, clip: otio.schema.Clip, found: _Found) -> Iterable[str]:
        """Set the available range of a clip's media, and return notes on it. Raises EngineError and ProblemError."""
        reference = clip.media_reference
        if isinstance(reference, otio.schema.ImageSequenceReference):
            self._check_pictures(clip, reference, found.path, _shown(clip))
            return []
        facts = self._facts_of(found.path)
        if facts.is_still:
            reference.available_range = clip.source_range or reference.available_range
            return ["It is a still picture, so its sound has a steady energy."]
        span, notes = self._span_of(found.path, facts)
        if span is None:
            return notes
        available = reference.available_range
        if clip.source_range is not None:
            if available is None and not span.timecode_s:
                reference.available_range = self._range(Fraction(0), span.length_s, _rate(clip))
                return notes
            if available is not None and _is_plainly_right(clip, available, span):
                return notes
        shown = _shown(clip)
        stated_s = None if available is None else exact_seconds(available.start_time, clip_label(clip), "media start")
        start_s, note = media_start(span, stated_s, shown)
        rate = shown.rate if shown is not None else facts.frame_rate or Fraction(48_000)
        reference.available_range = self._range(start_s, span.length_s, rate)
        return (*notes, note) if note else notes

    def _range(self, *place: Fraction) -> otio.opentime.TimeRange:
        """Return a range by its start, length and rate."""
        if place not in self._ranges:
            self._ranges[place] = range_of(*place)
        return self._ranges[place]

    def _span_of(self, path: Path, facts: MediaFacts) -> tuple[MediaSpan | None, tuple[str, ...]]:
        """Return the range of a file, and notes on it. Raises EngineError."""
        if path not in self._spans:
            notes, length_s = [], facts.duration_s
            if time.time() - path.stat().st_mtime < _GROWING_S:
                notes = [f"{path.name} was written a moment ago. If it is still being copied or recorded, wait for it."]
            break_s = find_break_s(path) if facts.is_cut_short and facts.frame_rate else None
            if break_s is not None:
                length_s = break_s
                notes.append(
                    f"{path.name} breaks off {float(break_s):.3f} s after its start, as an unfinished copy does."
                )
            span = None if length_s is None else MediaSpan.of(facts.timecode, length_s)
            self._spans[path] = span, tuple(notes)
        return self._spans[path]

    def _check_pictures(
        self, clip: otio.schema.Clip, reference: otio.schema.ImageSequenceReference, path: Path, shown: ClipRange | None
    ) -> None:
        label = clip_label(clip)
        sequence = read_sequence(reference, label)
        if sequence.missing != "error":
            return
        begin_s, end_s = Fraction(0), sequence.duration_s
        if shown is not None:
            start_s = exact_seconds(reference.available_range.start_time, label, "media start")
            begin_s, end_s = shown.begin_s - start_s, shown.end_s - start_s
        digits = max(0, int(reference.frame_zero_padding))
        numbers = set(self._numbers[path.parent, sequence.prefix, sequence.suffix, digits])
        first, last = sequence.index_at(begin_s), sequence.index_at(end_s - Fraction(1, 10**6))
        wanted = [sequence.start_number + index * sequence.step for index in range(first, max(first, last) + 1)]
        missing = [number for number in wanted if number not in numbers]
        if missing:
            name = sequence.file_name((missing[0] - sequence.start_number) // sequence.step)
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ProblemError(
                f"{label} shows {len(wanted)} pictures of {path}, of which {name}{others} "
                f"do{'' if others else 'es'} not exist.",
                "Render them, or set the sequence to hold the picture before a missing one.",
                ProblemKind.MEDIA,
            )

    def _missing(self, clip: otio.schema.Clip, location: str) -> ProblemError:
        label, plain = clip_label(clip), plain_path(location)
        has_searched = bool(self._options.search_folders)
        search = "Search for it with --search-folder" if not has_searched else "Search another folder"
        if self._search.is_incomplete:
            search = f"Search a smaller folder (the search stopped after {MAX_SEARCHED_FILES} files)"
        if not location:
            names = [name for name in _names(clip, clip.media_reference) if name]
            called = f', and no file is named "{shorten_name(names[0])}"' if names and has_searched else ""
            return _media_problem(f"{label} is not linked to a media file{called}.", f"{search}, or relink the clip.")
        if is_url(plain):
            return _media_problem(
                f"{label}: {shorten_name(location)} is not a file on this machine.",
                "Download or mount it, and say where it is with --path-map, or relink the clip.",
            )
        if is_foreign(plain):
            head = "/".join(plain.split("/")[: 4 if plain.startswith("//") else 2])
            return _media_problem(
                f"{label}: {shorten_name(location)} is a path of another machine.",
                f"Say where its folder is on this machine, for example --path-map '{head}=/mnt/media'.",
            )
        return _media_problem(
            f"{label}: The media file {shorten_name(plain)} does not exist.",
            f"{search}, say where its folder is with --path-map, or relink the clip.",
        )


def _rate(clip: otio.schema.Clip) -> Fraction:
    return exact_rate(clip.source_range.duration.rate, clip_label(clip), "duration")


def _is_plainly_right(clip: otio.schema.Clip, available: otio.opentime.TimeRange, span: MediaSpan) -> bool:
    """Whether the stated range of the media is that of its file, and a clip at normal speed lies well within it.

    Most clips are like this, and exact arithmetic would take ten times as long.
    """
    chosen = clip.source_range
    begin_s, length_s = available.start_time.to_seconds(), available.duration.to_seconds()
    first_s, shown_s = chosen.start_time.to_seconds(), chosen.duration.to_seconds()
    return (
        abs(begin_s - float(span.timecode_s or 0)) < _SAME_S
        and abs(length_s - float(span.length_s)) < _SAME_S
        and begin_s <= first_s
        and 0 < shown_s <= begin_s + length_s - first_s
        and not len(clip.effects)
    )


def _shown(clip: otio.schema.Clip) -> ClipRange | None:
    """Return the range that a clip shows; None if it states none. Raises ProblemError for an invalid one."""
    chosen = clip.source_range
    if chosen is None:
        return None
    label = clip_label(clip)
    begin_s = exact_seconds(chosen.start_time, label, "start")
    duration_s = exact_seconds(chosen.duration, label, "duration")
    rate = exact_rate(chosen.duration.rate, label, "duration")
    try:
        speed = abs(read_speed(clip, label))
    except ProblemError:
        speed = Fraction(1)  # The clip is refused later, when it is read.
    return ClipRange(begin_s, begin_s + (duration_s * speed or 1 / rate), rate)


def _replace_reference(clip: otio.schema.Clip, found: _Found) -> None:
    """Make the found media the active reference of a clip."""
    reference = found.reference
    if isinstance(reference, otio.schema.ExternalReference):
        reference.target_url = str(found.path)
    if not found.is_active:
        clip.media_reference = reference


def _location(reference: otio.core.MediaReference | None) -> str:
    if isinstance(reference, otio.schema.ImageSequenceReference):
        return sequence_url(reference)
    return str(reference.target_url or "") if isinstance(reference, otio.schema.ExternalReference) else ""


def _names(clip: otio.schema.Clip, reference: otio.core.MediaReference) -> Iterator[str]:
    """Yield the names that the media of a clip may have, the most reliable first."""
    if isinstance(reference, otio.schema.ExternalReference) and reference.target_url:
        yield last_name(str(reference.target_url))
        return
    if not isinstance(reference, otio.schema.MissingReference):
        return
    for group, key in _NAME_KEYS:
        held = clip.metadata.get(group)
        value = held.get(key) if hasattr(held, "get") else None
        if isinstance(value, str) and value.strip():
            yield last_name(value.strip())
    for name in (reference.name, clip.name):
        if name:
            yield last_name(name)


def _media_problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.MEDIA)
