# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an OpenTimelineIO timeline as the strips of a scene.

Strips that the add-on has exported come back as they were, at the place and with the trims that the file gives them
now. For clips of other programs, the original is kept with the strip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import PurePath
from typing import Any

from .batch_stems import BatchStem, StemMatcher, as_strips, is_batch_track, read_stems
from .exchange_values import PathConversion, as_mapping, read_curve, read_take, read_values
from .exchanged import (
    BLENDER_KEY,
    FILE_KINDS,
    REWAS_KEY,
    SOUND_KIND,
    TRANSITION_KINDS,
    ExchangedChannel,
    ExchangedMarker,
    ExchangedScene,
    ExchangedStrip,
    ExchangeNote,
    Original,
)
from .fades import VOLUME_PATH, fade_curve, level_of
from .image_files import NumberedImages
from .otio_json import (
    Clip,
    ExternalReference,
    FreezeFrame,
    Gap,
    GeneratorReference,
    ImageSequenceReference,
    Item,
    LinearTimeWarp,
    Marker,
    MissingReference,
    OtherObject,
    OtioError,
    RationalTime,
    SerializableCollection,
    Stack,
    Timeline,
    TimeRange,
    Track,
    Transition,
    to_plain,
)
from .otio_mix import REAPER_KEY, MixedTracks, is_own_mix, pan_of, read_mix
from .placement import MAX_CHANNEL
from .rates import written_rate
from .selection import PICTURE_KINDS

MAX_FRAME = 1_048_574
"""Blender's last frame."""
MAX_DEPTH = 64
_MAX_IMAGES = 1_000_000
_MAX_NAMES = 10
_OTHER_FILE = "Choose a file that contains a timeline."
_DEFAULT_RATE = Fraction(24)
_SOUND_SUFFIXES = frozenset(
    (".wav", ".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".wma", ".ac3", ".bwf", ".w64", ".rf64", ".caf")
)
_IMAGE_SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".tif",
        ".tiff",
        ".exr",
        ".dpx",
        ".cin",
        ".tga",
        ".bmp",
        ".webp",
        ".hdr",
        ".jp2",
        ".psd",
        ".sgi",
        ".rgb",
        ".avif",
        ".heic",
    )
)
_WHOLE_FRAME = Fraction(1, 1000)
"""Times closer to a whole frame than this are meant to be whole."""


@dataclass(frozen=True)
class Import:
    """A scene, and what could not be read as it is."""

    scene: ExchangedScene
    notes: tuple[ExchangeNote, ...]


def choose_timeline(read: Any, name: str = "") -> Timeline:
    """Return the timeline of a file, or the one with a name if there are several. Raises OtioError."""
    if isinstance(read, Timeline):
        found = [read]
    elif isinstance(read, SerializableCollection):
        found = [each for each in read.children if isinstance(each, Timeline)]
    elif isinstance(read, Stack | Track | Clip):
        item = read if isinstance(read, Stack) else Stack(children=[read])
        found = [Timeline(name=read.name, tracks=item)]
    else:
        label = getattr(read, "schema_label", "") or getattr(read, "schema", "")
        raise OtioError(f"It contains no timeline{f', but a {label}' if label else ''}.", _OTHER_FILE)
    named = [each for each in found if not name or each.name == name]
    if len(named) == 1:
        return named[0]
    if not found:
        raise OtioError("It contains no timeline.", _OTHER_FILE)
    listed = ", ".join(f'"{each.name}"' for each in (named or found)[:_MAX_NAMES])
    what = f"{len(named)} timelines ({listed})" if named else f'no timeline named "{name}", only {listed}'
    raise OtioError(f"It contains {what}.", _remedy_for_name([each.name for each in found], name if named else ""))


def _remedy_for_name(names: Sequence[str], ambiguous: str) -> str:
    """Return what helps if no name, an unknown one, or one that several timelines have was entered."""
    if len(names) == 1:
        return "Leave Timeline empty."
    if not ambiguous and any(name and names.count(name) == 1 for name in names):
        return "Enter one of these names under Timeline."
    return "Give each timeline its own name in the program that wrote the file, and export it again."


def read_timeline(timeline: Timeline, to_path: PathConversion, rate: Fraction | None = None) -> Import:
    """Return the scene that a timeline describes.

    Args:
        timeline: The timeline.
        to_path: Returns the absolute path of a location in the file.
        rate: Frame rate of the scene; None for that of the timeline. At another rate, strips go to the nearest frame.

    Raises:
        OtioError: A time is invalid, or there are too many tracks or levels.
    """
    return _Importer(timeline, to_path, rate).run()


def timeline_rate(timeline: Timeline) -> Fraction:
    """Return the frame rate of a timeline: its own, or that of most of its clips."""
    state = _state(timeline)
    try:
        return Fraction(str(state["rate"]))
    except (KeyError, ValueError, ZeroDivisionError):
        pass
    counts: dict[Fraction, int] = defaultdict(int)
    _count_rates(timeline.tracks, counts, 0)
    start = timeline.global_start_time
    start_rate = written_rate(start.rate) if start is not None and start.rate > 1 else None
    if start_rate is not None and start_rate <= _MAX_VIDEO_RATE:
        return start_rate
    return max(counts, key=lambda rate: counts[rate]) if counts else _DEFAULT_RATE


_MAX_VIDEO_RATE = 240


def _count_rates(item: Any, counts: dict[Fraction, int], depth: int) -> None:
    if isinstance(item, Clip | Gap) and item.source_range is not None:
        rate = written_rate(item.source_range.duration.rate)
        # Sounds may be counted in samples.
        if rate is not None and 1 < rate <= _MAX_VIDEO_RATE:
            counts[rate] += 1 if isinstance(item, Clip) else 0
    elif isinstance(item, Stack | Track) and depth < MAX_DEPTH:
        for child in item.children:
            _count_rates(child, counts, depth + 1)


@dataclass
class _Piece:
    """An item of a track between two times, in seconds from the start of its holder.

    before, after: transitions next to it. crossing: the one that leads to it from the piece before.
    """

    item: Any
    begin_s: Fraction
    end_s: Fraction
    before: list[Transition] = field(default_factory=list)
    after: list[Transition] = field(default_factory=list)
    crossing: Transition | None = None


@dataclass(frozen=True)
class _Lane:
    """Where the strips of a track go. spare: two further channels if it has transitions, otherwise 0."""

    channel: int
    spare: int = 0


class _Importer:
    def __init__(self, timeline: Timeline, to_path: PathConversion, rate: Fraction | None) -> None:
        self._timeline = timeline
        self._to_path = to_path
        self._rate = rate or timeline_rate(timeline)
        self._notes: list[ExchangeNote] = []
        self._names: set[str] = set()
        self._markers: list[ExchangedMarker] = []
        self._stems: list[BatchStem] = []
        self._item_ranges: dict[str, tuple[int, int]] = {}
        self._mixed_tracks = MixedTracks()

    def run(self) -> Import:
        timeline = self._timeline
        state = _state(timeline)
        zero_frame, timecode_frame = self._zero_frame()
        stack = timeline.tracks
        strips, channels, shells = self._read_holder(stack, zero_frame, 0)
        strips, channels = self._with_batch_takes(self._with_speeds(strips), channels)
        for marker in stack.markers:
            self._add_marker(marker, zero_frame, Fraction(0), "")
        last_frame = max((strip.end_frame for strip in strips), default=zero_frame + 1) - 1
        start_frame, end_frame = _integer(state.get("start_frame")), _integer(state.get("end_frame"))
        scene = ExchangedScene(
            name=timeline.name,
            rate=self._rate,
            start_frame=zero_frame if start_frame is None else zero_frame + start_frame,
            end_frame=last_frame if end_frame is None else zero_frame + end_frame,
            strips=strips,
            channels=_with_listed(channels, state),
            markers=tuple(self._markers),
            properties=as_mapping(read_values(state.get("properties", {}), self._to_path)),
            original=self._timeline_original(shells),
            timecode_frame=timecode_frame,
        )
        return Import(scene, (*self._notes, *self._mixed_tracks.notes()))

    # Times

    def _zero_frame(self) -> tuple[int, int]:
        """Return the scene frame of the timeline's start, and the frame that has the timecode 0."""
        timeline = self._timeline
        timecode_frame = _integer(_state(timeline).get("timecode_frame")) or 0
        if timeline.global_start_time is None:
            return 1, 0
        zero_frame = self._round(timeline.global_start_time.to_seconds()) + timecode_frame
        length = self._round(item_duration_s(timeline.tracks))
        if abs(zero_frame) + length <= MAX_FRAME:
            return zero_frame, timecode_frame
        self._note(
            f"The timeline starts at frame {zero_frame}, but Blender's last frame is {MAX_FRAME}.",
            "It starts at frame 1 instead; its timecode is kept for export.",
        )
        return 1, timecode_frame + 1 - zero_frame

    def _round(self, seconds: Fraction) -> int:
        return floor(seconds * self._rate + Fraction(1, 2))

    # Stacks and tracks

    def _read_holder(
        self, holder: Stack | Track, zero_frame: int, depth: int
    ) -> tuple[tuple[ExchangedStrip, ...], tuple[ExchangedChannel, ...], list[Any]]:
        """Return the strips and channels of a stack, and what is kept of its tracks."""
        if depth > MAX_DEPTH:
            raise OtioError(f"It is nested more than {MAX_DEPTH} levels deep.", "Export it again with fewer levels.")
        tracks = [holder] if isinstance(holder, Track) else holder.children
        lanes = _assign_channels(tracks)
        strips: list[ExchangedStrip] = []
        channels: dict[int, ExchangedChannel] = {}
        shells: list[Any] = []
        for position, track in enumerate(tracks):
            lane = lanes.get(position)
            if isinstance(track, Track) and lane is None:
                shells.append(to_plain(track))
                self._note(f'The track "{track.name}" has the kind "{track.kind}".', "It is kept only for export.")
            elif isinstance(track, Track) and lane is not None:
                found = self._read_track(track, lane, zero_frame, depth)
                strips.extend(found)
                if found or not is_batch_track(track):
                    for number, name in _lane_names(track, lane).items():
                        channels[number] = ExchangedChannel(
                            number, name, not track.enabled, bool(_state(track).get("lock"))
                        )
                    shells.extend(_shell(track, lane))
            elif lane is not None:
                single = Track(name=getattr(track, "name", "") or "", children=[track])
                strips.extend(self._read_track(single, lane, zero_frame, depth))
        return tuple(strips), tuple(channels[number] for number in sorted(channels)), shells

    def _read_track(self, track: Track, lane: _Lane, zero_frame: int, depth: int) -> list[ExchangedStrip]:
        pieces, shift_s = self._pieces(track)
        for marker in track.markers:
            self._add_marker(marker, zero_frame, -shift_s, "")
        strips: list[ExchangedStrip] = []
        if track.kind == "Audio":
            self._mixed_tracks.add(track)
        if lane.spare:
            _find_crossings(pieces)
        previous: ExchangedStrip | None = None
        is_spare = False
        for piece in pieces:
            is_spare = not is_spare if piece.crossing is not None else False
            strip = self._read_piece(piece, track, lane.spare if is_spare else lane.channel, zero_frame, depth)
            if strip is not None and piece.crossing is not None and previous is not None:
                second, first, effect = self._cross(previous, strip, piece, lane, zero_frame)
                strips[strips.index(previous)] = first
                strips.append(effect)
                strip = second
            if strip is not None:
                strips.append(strip)
            previous = strip
        return strips

    def _pieces(self, track: Track) -> tuple[list[_Piece], Fraction]:
        """Return the items of a track that are visible, and how much earlier the track's own time begins."""
        shift_s, window_end_s = Fraction(0), None
        if track.source_range is not None:
            shift_s = track.source_range.start_time.to_seconds()
            window_end_s = track.source_range.duration.to_seconds()
        pieces: list[_Piece] = []
        waiting: list[Transition] = []
        at_s = -shift_s
        for child in track.children:
            if isinstance(child, Transition):
                waiting.append(child)
                if pieces and pieces[-1].end_s == at_s:
                    pieces[-1].after.append(child)
                continue
            end_s = at_s + self._checked_duration(child, track)
            if not _is_empty_gap(child):
                begin_s = max(at_s, Fraction(0)) if track.source_range is not None else at_s
                limit_s = end_s if window_end_s is None else min(end_s, window_end_s)
                if limit_s > begin_s:
                    pieces.append(_Piece(child, at_s, limit_s, waiting))
                    pieces[-1].begin_s = begin_s
                    pieces[-1].item = _trimmed(child, begin_s - at_s)
            waiting = []
            at_s = end_s
        return pieces, shift_s

    def _checked_duration(self, item: Any, track: Track) -> Fraction:
        duration_s = item_duration_s(item)
        if duration_s < 0:
            raise OtioError(f"An item on {_named('track', track)} has a duration of {float(duration_s):g} s.")
        if not duration_s and not isinstance(item, Gap):
            clip = _named("clip", item)
            self._note(
                f"{clip[0].upper()}{clip[1:]} on {_named('track', track)} has no duration.",
                "Give it a source range in the program that wrote the file.",
            )
        return duration_s

    # Transitions

    def _cross(
        self, first: ExchangedStrip, second: ExchangedStrip, piece: _Piece, lane: _Lane, zero_frame: int
    ) -> tuple[ExchangedStrip, ExchangedStrip, ExchangedStrip]:
        """Return the second strip, the first one and the effect. The strips overlap for the whole transition."""
        transition = piece.crossing
        assert transition is not None
        cut_s = piece.begin_s
        start_frame = zero_frame + self._round(cut_s - max(transition.in_offset.to_seconds(), Fraction(0)))
        end_frame = zero_frame + self._round(cut_s + max(transition.out_offset.to_seconds(), Fraction(0)))
        end_frame = max(end_frame, start_frame + 1)
        first, second = replace(first, end_frame=end_frame), replace(second, start_frame=start_frame)
        state = _state(transition)
        kind = state.get("type")
        effect = ExchangedStrip(
            name=self._unique(transition.name or "Transition"),
            kind=kind if kind in TRANSITION_KINDS else "CROSS",
            channel=_channel(state.get("channel")) or lane.spare + 1,
            start_frame=start_frame,
            end_frame=end_frame,
            content_start_frame=start_frame,
            inputs=(first.name, second.name),
            is_muted=bool(state.get("mute")),
        )
        if state:
            effect = self._with_state(effect, state, transition.name)
            effect = replace(effect, inputs=(first.name, second.name), content_start_frame=start_frame)
        if _has_foreign(transition, keys=("transition_type",)) or not state:
            effect = replace(effect, original=Original(_plain_without_state(transition)))
        return second, first, effect

    # Items

    def _read_piece(
        self, piece: _Piece, track: Track, channel: int, zero_frame: int, depth: int
    ) -> ExchangedStrip | None:
        item = piece.item
        start_frame = zero_frame + self._round(piece.begin_s - _late_s(item))
        end_frame = zero_frame + self._round(piece.end_s)
        if end_frame <= start_frame:
            self._note(
                f'The clip "{_name(item)}" is shorter than half a frame.', "Lengthen it, or import at a higher rate."
            )
            return None
        stems = read_stems(item, track, (start_frame, end_frame), self._rate, self._to_path)
        if stems:
            self._stems.extend(stems)
            return None
        state = _state(item)
        name = self._unique(_name(item))
        kind = self._kind(item, track, state)
        strip = ExchangedStrip(
            name=name,
            kind=kind,
            channel=_channel(state.get("channel")) or channel,
            start_frame=start_frame,
            end_frame=end_frame,
            content_start_frame=start_frame,
            files=self._files(item, kind),
            # A batch mutes the sounds that it replaces. In Blender, its takes replace them.
            is_muted=not getattr(item, "enabled", True) and not state.get("replaced_by_batch"),
            settings=as_mapping(getattr(item, "metadata", {}).get(REWAS_KEY, {})),
        )
        if state.get("type"):
            strip = self._with_state(strip, state, name)
            strip = self._with_moved_range(strip, item, state)
        else:
            strip = self._with_foreign_range(strip, piece)
        if kind == SOUND_KIND:
            strip = self._with_mix(strip, item)
        if isinstance(item, Stack | Track):
            strip = self._with_children(strip, item, depth)
        self._item_ranges[name] = start_frame, end_frame
        for marker in getattr(item, "markers", ()):
            self._add_item_marker(marker, strip, item)
        return self._with_original(strip, piece)

    def _kind(self, item: Any, track: Track, state: Mapping[str, Any]) -> str:
        kind = state.get("type")
        if isinstance(kind, str) and kind:
            return kind
        if isinstance(item, Stack | Track):
            return "META"
        if track.kind == "Audio":
            return SOUND_KIND
        reference = item.media_reference if isinstance(item, Clip) else None
        if isinstance(reference, ImageSequenceReference):
            return "IMAGE"
        if isinstance(reference, GeneratorReference) or not isinstance(item, Clip):
            what = getattr(reference, "generator_kind", "") or getattr(item, "schema_label", "") or "nothing"
            self._note(f'The clip "{_name(item)}" shows {what}.', "It is a black strip in Blender.")
            return "COLOR"
        suffix = PurePath(getattr(reference, "target_url", "") or _name(item)).suffix.lower()
        return SOUND_KIND if suffix in _SOUND_SUFFIXES else "IMAGE" if suffix in _IMAGE_SUFFIXES else "MOVIE"

    def _files(self, item: Any, kind: str) -> tuple[str, ...]:
        if kind not in FILE_KINDS:
            return ()
        listed = _state(item).get("files")
        if isinstance(listed, list) and listed:
            return tuple(self._to_path(str(each)) for each in listed)
        reference = item.media_reference if isinstance(item, Clip) else None
        if isinstance(reference, ExternalReference) and reference.target_url:
            return (self._to_path(reference.target_url),)
        if isinstance(reference, ImageSequenceReference):
            return self._sequence_files(reference, item)
        return ("",)

    def _sequence_files(self, reference: ImageSequenceReference, item: Clip) -> tuple[str, ...]:
        chosen = reference.available_range or item.source_range
        frames = (
            1 if chosen is None else floor(chosen.duration.to_seconds() * (written_rate(reference.rate) or self._rate))
        )
        step = max(reference.frame_step, 1)
        count = max(1, -(-frames // step))
        if count > _MAX_IMAGES or reference.frame_zero_padding > 20:
            digits = reference.frame_zero_padding
            raise OtioError(
                f'The clip "{item.name}" has too many images ({count}) or digits in their names ({digits}).'
            )
        folder = self._to_path(reference.target_url_base.rstrip("/\\") or ".")
        return NumberedImages(
            folder,
            reference.name_prefix,
            reference.name_suffix,
            reference.start_frame,
            step,
            max(reference.frame_zero_padding, 0),
            count,
        ).paths()

    def _with_state(self, strip: ExchangedStrip, state: Mapping[str, Any], name: str) -> ExchangedStrip:
        """Return the strip as Blender exported it."""
        try:
            values = {key: read_values(state.get(key, {}), self._to_path) for key in ("properties", "rewas")}
            head, tail = state.get("trimmed_frames") or (0, 0)
            scale = state.get("time_scale")
            return replace(
                strip,
                content_start_frame=strip.start_frame - int(state.get("lead_in_frames", 0)),
                content_frames=int(state.get("content_frames", 0)),
                is_complete=True,
                trimmed_frames=(int(head), int(tail)),
                is_frozen=bool(state.get("is_frozen")),
                inputs=tuple(str(each) for each in state.get("inputs", ())),
                datablock=str(state.get("datablock", "")),
                time_scale=Fraction(scale) if scale else None,
                properties=as_mapping(values["properties"]),
                modifiers=tuple(
                    (str(each["name"]), str(each["type"]), as_mapping(read_values(each["properties"], self._to_path)))
                    for each in state.get("modifiers", ())
                ),
                curves=tuple(map(read_curve, state.get("animation", ()))),
                rewas=as_mapping(values["rewas"]),
                takes=tuple(read_take(each, self._to_path) for each in state.get("takes", ())),
                last_take_number=int(state.get("last_take_number", 0)),
                active_take=str(state.get("active_take", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError):
            self._note(
                f'The Blender data of the strip "{name}" is damaged.', "Check the settings and takes of the strip."
            )
            return strip

    def _with_moved_range(self, strip: ExchangedStrip, item: Any, state: Mapping[str, Any]) -> ExchangedStrip:
        """Return the strip with its content moved if another program has changed its range."""
        source_range = getattr(item, "source_range", None)
        try:
            exported_s = Fraction(str(state["source_start_s"]))
        except (KeyError, ValueError, ZeroDivisionError):
            return strip
        if not isinstance(source_range, TimeRange):
            return strip
        moved_frames = self._round(source_range.start_time.to_seconds() - exported_s)
        if strip.time_scale is not None and strip.time_scale < 0:
            moved_frames = -moved_frames
        return replace(strip, content_start_frame=strip.content_start_frame - moved_frames)

    def _with_foreign_range(self, strip: ExchangedStrip, piece: _Piece) -> ExchangedStrip:
        item = piece.item
        if isinstance(item, OtherObject | Gap):
            return strip
        start_s = Fraction(0)
        if item.source_range is not None:
            start_s = item.source_range.start_time.to_seconds()
            available = available_range(item)
            if available is not None:
                start_s -= available.start_time.to_seconds()
        if strip.kind not in (*FILE_KINDS, "META"):
            return strip
        # The content begins where the start of the media would be on the timeline.
        content_s = (piece.begin_s - start_s) * self._rate
        zero_frame = strip.start_frame - self._round(piece.begin_s)
        nearest = floor(content_s + Fraction(1, 2))
        if strip.kind == SOUND_KIND and abs(content_s - nearest) > _WHOLE_FRAME:
            nearest = floor(content_s)
            strip = replace(strip, sound_offset_s=(content_s - nearest) / self._rate)
        strip = replace(strip, content_start_frame=zero_frame + nearest)
        if strip.kind == "IMAGE" and len(strip.files) == 1:
            # A still has no time, so every frame is its first one.
            strip = replace(strip, content_start_frame=strip.start_frame)
        return self._with_time_effects(strip, item)

    def _with_time_effects(self, strip: ExchangedStrip, item: Item) -> ExchangedStrip:
        for effect in item.effects:
            if not isinstance(effect, LinearTimeWarp):
                continue
            if isinstance(effect, FreezeFrame) and strip.kind == "MOVIE":
                return replace(strip, is_frozen=True)
            available = available_range(item)
            if effect.time_scalar == -1 and strip.kind == "MOVIE" and available is not None:
                frames = self._round(available.duration.to_seconds())
                mirrored = frames - strip.lead_in_frames - strip.frames
                return replace(
                    strip,
                    properties={**strip.properties, "use_reverse_frames": True},
                    content_start_frame=strip.start_frame - mirrored,
                    time_scale=Fraction(-1),
                )
            if effect.time_scalar == 1 and not isinstance(effect, FreezeFrame):
                continue
            if effect.time_scalar > 0 and strip.kind in ("MOVIE", "META", "IMAGE") and effect.time_scalar < 1e6:
                return replace(strip, time_scale=Fraction(effect.time_scalar))
            self._note(
                f'The clip "{strip.name}" plays at {effect.time_scalar:g} times normal speed.',
                "It plays at normal speed in Blender. Its speed is kept for export.",
            )
        return strip

    def _with_mix(self, strip: ExchangedStrip, item: Any) -> ExchangedStrip:
        """Return a sound with the volume, pan and fades of a REAPER project."""
        mix, level = read_mix(getattr(item, "metadata", {})), level_of(strip)
        pan = mix.new_pan(pan_of(strip))
        if pan is not None:
            strip = replace(strip, properties={**strip.properties, "pan": pan})
        new = mix.applied_to(level, strip.frames, self._rate) if level is not None else None
        if level is not None and new is not None and not new.is_same(level):
            curve = fade_curve(new, strip.frames)
            strip = replace(
                strip,
                properties={**strip.properties, VOLUME_PATH: new.volume},
                curves=tuple(each for each in strip.curves if each.path != VOLUME_PATH) + ((curve,) if curve else ()),
            )
        if mix.has_envelopes:
            self._note(
                f'The sound "{strip.name}" is changed by envelopes in the file.',
                "Envelopes are not imported. Animate the volume and pan of the strip instead.",
            )
        return strip

    def _with_children(self, strip: ExchangedStrip, item: Stack | Track, depth: int) -> ExchangedStrip:
        strips, channels, shells = self._read_holder(item, strip.content_start_frame, depth + 1)
        strips = self._with_speeds(strips)
        if shells:
            plain = {**_plain_without_state(item), "children": shells}
            strip = replace(strip, original=Original(plain))
        return replace(strip, strips=strips, channels=_with_listed(channels, _state(item)))

    def _with_original(self, strip: ExchangedStrip, piece: _Piece) -> ExchangedStrip:
        item = piece.item
        before, after = tuple(map(to_plain, piece.before)), tuple(map(to_plain, piece.after))
        for transition in (*piece.before, *piece.after):
            self._note(
                f'The transition "{transition.name or transition.transition_type}" at the clip "{strip.name}" has no '
                "second picture.",
                "Blender does not show it. It is kept for export.",
            )
        if _state(item).get("type") and not _has_foreign(item) and not (before or after or strip.original):
            return strip
        children = list(strip.original.item["children"]) if strip.original is not None else []
        plain = _plain_without_state(item)
        if "children" in plain:
            plain["children"] = children
        if strip.kind in PICTURE_KINDS or strip.kind == SOUND_KIND:
            media = strip.files[0] if strip.files else ""
        else:
            media = ""
        original = Original(plain, strip.lead_in_frames, strip.frames, media, before, after)
        return replace(strip, original=original)

    def _timeline_original(self, shells: list[Any]) -> Mapping[str, Any]:
        timeline = self._timeline
        is_plain = not _has_foreign(timeline) and not _has_foreign(timeline.tracks, keys=("markers", "name"))
        if is_plain and not shells:
            return {}
        plain = _plain_without_state(timeline)
        plain["tracks"] = {**_plain_without_state(timeline.tracks), "children": shells, "markers": []}
        return plain

    def _with_speeds(self, strips: Sequence[ExchangedStrip]) -> tuple[ExchangedStrip, ...]:
        """Return the strips, with a speed effect for each that another program has retimed."""
        result: list[ExchangedStrip] = []
        for strip in strips:
            if strip.time_scale is None or strip.time_scale <= 0 or strip.kind == "SPEED":
                result.append(strip)
                continue
            occupied = {
                each.channel
                for each in (*strips, *result)
                if each.start_frame < strip.end_frame and strip.start_frame < each.end_frame
            }
            channel = next((number for number in range(strip.channel, MAX_CHANNEL + 1) if number not in occupied), None)
            if channel is None:
                self._note(f'No channel is free for the speed of the clip "{strip.name}".', "Set its speed in Blender.")
                result.append(replace(strip, time_scale=None))
                continue
            effect = ExchangedStrip(
                name=self._unique("Speed"),
                kind="SPEED",
                channel=channel,
                start_frame=strip.start_frame,
                end_frame=strip.end_frame,
                content_start_frame=strip.start_frame,
                inputs=(strip.name,),
                properties={"speed_control": "MULTIPLY", "speed_factor": float(strip.time_scale)},
                time_scale=strip.time_scale,
            )
            result += [replace(strip, time_scale=None), effect]
        return tuple(result)

    # Stems of `rewas batch`

    def _with_batch_takes(
        self, strips: tuple[ExchangedStrip, ...], channels: tuple[ExchangedChannel, ...]
    ) -> tuple[tuple[ExchangedStrip, ...], tuple[ExchangedChannel, ...]]:
        """Return the strips with the stems of a batch as takes, and other stems as strips on further channels."""
        matcher = StemMatcher(self._stems, self._rate)
        strips = tuple(self._with_takes(strip, matcher) for strip in strips)
        separate, more, notes = as_strips(matcher.left(), strips, channels)
        self._notes += notes
        return (*strips, *(replace(strip, name=self._unique(strip.name)) for strip in separate)), (*channels, *more)

    def _with_takes(self, strip: ExchangedStrip, matcher: StemMatcher) -> ExchangedStrip:
        if strip.strips:
            strip = replace(strip, strips=tuple(self._with_takes(each, matcher) for each in strip.strips))
        return matcher.give(strip, self._item_ranges.get(strip.name))

    # Markers and names

    def _add_marker(self, marker: Any, zero_frame: int, offset_s: Fraction, owner: str) -> None:
        if not isinstance(marker, Marker):
            return
        frame = zero_frame + self._round(marker.marked_range.start_time.to_seconds() + offset_s)
        duration_frames = marker.marked_range.duration.to_seconds() * self._rate
        is_plain = marker.color == "GREEN" and not (marker.comment or marker.metadata or marker.other)
        original = {} if is_plain and duration_frames == 1 else to_plain(marker)
        self._markers.append(ExchangedMarker(marker.name, frame, owner, original))

    def _add_item_marker(self, marker: Any, strip: ExchangedStrip, item: Any) -> None:
        source_range = getattr(item, "source_range", None) or available_range(item)
        start_s = source_range.start_time.to_seconds() if source_range is not None else Fraction(0)
        self._add_marker(marker, strip.start_frame, -start_s, strip.name)

    def _unique(self, name: str) -> str:
        chosen, number = name, 0
        while chosen in self._names:
            number += 1
            chosen = f"{name}.{number:03d}"
        self._names.add(chosen)
        return chosen

    def _note(self, what: str, remedy: str) -> None:
        self._notes.append(ExchangeNote(what, remedy))


def _find_crossings(pieces: Sequence[_Piece]) -> None:
    """Find the transitions that lead from one piece to the next. They no longer count as next to the pieces."""
    for first, second in pairwise(pieces):
        if second.before and first.end_s == second.begin_s:
            second.crossing = second.before[0]
            first.after, second.before = [], []


def _assign_channels(tracks: Sequence[Any]) -> dict[int, _Lane]:
    """Return the channels of the tracks by their positions: those they were exported from, otherwise new ones.

    Sounds go below pictures. Raises OtioError if Blender does not have enough channels.
    """
    lanes: dict[int, _Lane] = {}
    used = 0
    for position, track in enumerate(tracks):
        channel = _channel(_state(track).get("channel"))
        if channel is not None and isinstance(track, Track):
            lanes[position] = _Lane(channel, _spare(track, MAX_CHANNEL - 2))
            used = max(used, channel, *_item_channels(track))
    others = [position for position in range(len(tracks)) if position not in lanes]
    others.sort(key=lambda position: getattr(tracks[position], "kind", "Video") != "Audio")
    for position in others:
        track = tracks[position]
        if isinstance(track, Transition) or (isinstance(track, Track) and track.kind not in ("Video", "Audio")):
            continue
        if isinstance(track, Track) and is_batch_track(track):
            # Its stems become takes. Should one not belong to a clip, it is reported.
            lanes[position] = _Lane(MAX_CHANNEL)
            continue
        spare = _spare(track, used + 2)
        lanes[position] = _Lane(used + 1, spare)
        used += 3 if spare else 1
    if used > MAX_CHANNEL:
        raise OtioError(
            f"Its tracks need {used} channels, but Blender has only {MAX_CHANNEL}.",
            "Put its clips on fewer tracks in the program that wrote it, and export it again. A track with transitions "
            "needs three channels.",
        )
    return lanes


def _spare(track: Any, channel: int) -> int:
    """Return the channel for every second strip of a row with transitions, 0 if the track has none."""
    has_transitions = isinstance(track, Track) and any(isinstance(child, Transition) for child in track.children)
    return channel if has_transitions and track.kind != "Audio" else 0


def _item_channels(track: Track) -> list[int]:
    found = [_channel(_state(child).get("channel")) for child in track.children]
    return [channel for channel in found if channel is not None]


def _lane_names(track: Track, lane: _Lane) -> dict[int, str]:
    name = track.name or f"Channel {lane.channel}"
    if not lane.spare or _state(track).get("channel"):
        return {lane.channel: name}
    return {lane.channel: name, lane.spare: f"{name} B", lane.spare + 1: f"{name} transitions"}


def _with_listed(channels: Iterable[ExchangedChannel], state: Mapping[str, Any]) -> tuple[ExchangedChannel, ...]:
    """Return the channels of the tracks, and those that have none."""
    found = {channel.number: channel for channel in channels}
    listed = state.get("channels")
    for each in listed if isinstance(listed, list) else ():
        number = _channel(each.get("number")) if isinstance(each, dict) else None
        if number is not None and number not in found:
            found[number] = ExchangedChannel(
                number, str(each.get("name", "")), bool(each.get("mute")), bool(each.get("lock"))
            )
    return tuple(found[number] for number in sorted(found))


def _shell(track: Track, lane: _Lane) -> list[Any]:
    """Return what is kept of a track that another program has written or extended."""
    if not _has_foreign(track, keys=("markers", "name", "kind", "children", "source_range", "enabled")):
        return []
    plain = {**_plain_without_state(track), "children": [], "markers": [], "source_range": None}
    number = _integer(_state(track).get("lane")) or 0
    plain["metadata"] = {**plain["metadata"], BLENDER_KEY: {"channel": lane.channel, "lane": number}}
    return [plain]


def _has_foreign(read: Any, keys: Sequence[str] = ()) -> bool:
    """Return whether an object contains anything that Blender cannot give back.

    keys: further fields that Blender gives back.
    """
    if isinstance(read, OtherObject) or read.other:
        return True
    metadata = getattr(read, "metadata", {})
    own = {BLENDER_KEY, REWAS_KEY, *((REAPER_KEY,) if is_own_mix(metadata) else ())}
    if set(metadata) - own or getattr(read, "color", None) is not None:
        return True
    if any(not _is_own_effect(effect) for effect in getattr(read, "effects", ())):
        return True
    if isinstance(read, Clip):
        return any(_is_foreign_reference(each) for each in read.media_references.values())
    if isinstance(read, Transition):
        return not _state(read)
    return not keys and isinstance(read, Track)


def _is_own_effect(effect: Any) -> bool:
    return isinstance(effect, LinearTimeWarp) and bool(_state(effect))


def _is_foreign_reference(reference: Any) -> bool:
    known = isinstance(reference, ExternalReference | ImageSequenceReference | GeneratorReference | MissingReference)
    return not known or bool(reference.metadata or reference.other or reference.available_image_bounds is not None)


def _plain_without_state(read: Any) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(read)
    if "metadata" in plain and isinstance(plain["metadata"], dict):
        plain["metadata"] = {key: value for key, value in plain["metadata"].items() if key != BLENDER_KEY}
    if isinstance(plain.get("effects"), list) and isinstance(read, Item):
        plain["effects"] = [to_plain(effect) for effect in read.effects if not _is_own_effect(effect)]
    for key in ("children", "markers"):
        if key in plain:
            plain[key] = []
    return plain


def _state(read: Any) -> Mapping[str, Any]:
    metadata = read.other.get("metadata") if isinstance(read, OtherObject) else getattr(read, "metadata", None)
    state = metadata.get(BLENDER_KEY) if isinstance(metadata, dict) else None
    return state if isinstance(state, dict) else {}


def _late_s(item: Any) -> Fraction:
    """Return by how many seconds a sound from Blender begins later than its strip."""
    try:
        return Fraction(str(_state(item)["late_s"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return Fraction(0)


def _named(kind: str, item: Any) -> str:
    """Return a clip or track by its name for the middle of a sentence."""
    name = getattr(item, "name", "")
    return f'the {kind} "{name}"' if name else f"a {kind} without a name"


def _name(item: Any) -> str:
    if isinstance(item, OtherObject):
        name = item.other.get("name")
        return name if isinstance(name, str) and name else item.schema_label.partition(".")[0]
    if item.name:
        return str(item.name)
    reference = item.media_reference if isinstance(item, Clip) else None
    url = getattr(reference, "target_url", "") or getattr(reference, "name", "")
    return PurePath(url.replace("\\", "/")).name or {"Stack": "Meta", "Track": "Meta"}.get(item.schema, item.schema)


def _is_empty_gap(child: Any) -> bool:
    if isinstance(child, OtherObject):
        return not isinstance(child.other.get("source_range"), TimeRange)
    return not isinstance(child, Item) or (isinstance(child, Gap) and not _state(child).get("type"))


def available_range(item: Any) -> TimeRange | None:
    if not isinstance(item, Clip):
        return None
    found = getattr(item.media_reference, "available_range", None)
    return found if isinstance(found, TimeRange) else None


def item_duration_s(item: Any) -> Fraction:
    """Return the duration of an item in seconds, 0 if it has none."""
    if isinstance(item, OtherObject):
        source_range = item.other.get("source_range")
        return source_range.duration.to_seconds() if isinstance(source_range, TimeRange) else Fraction(0)
    if not isinstance(item, Item):
        return Fraction(0)
    if item.source_range is not None:
        return item.source_range.duration.to_seconds()
    if isinstance(item, Track):
        return sum((item_duration_s(child) for child in item.children), Fraction(0))
    if isinstance(item, Stack):
        return max((item_duration_s(child) for child in item.children), default=Fraction(0))
    available = available_range(item)
    return available.duration.to_seconds() if available is not None else Fraction(0)


def _trimmed(item: Any, hidden_s: Fraction) -> Any:
    """Return an item without its first seconds, which its track hides."""
    chosen = getattr(item, "source_range", None) or available_range(item)
    if not hidden_s or chosen is None or not isinstance(item, Item):
        return item
    rate = written_rate(chosen.start_time.rate) or Fraction(1)
    start = RationalTime(float((chosen.start_time.to_seconds() + hidden_s) * rate), chosen.start_time.rate)
    length = RationalTime(float((chosen.duration.to_seconds() - hidden_s) * rate), chosen.start_time.rate)
    return replace(item, source_range=TimeRange(start, length))


def _channel(value: Any) -> int | None:
    number = _integer(value)
    return number if number is not None and 1 <= number <= MAX_CHANNEL else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
