# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an OpenTimelineIO timeline from the strips of a scene.

Each channel becomes a video track, an audio track, or both. Strips that overlap on one channel go to further tracks of
the same channel. Two strips with a cross effect or a wipe become neighbours with a transition on the track of the first
one. What only Blender knows is in `metadata["blender"]`; what came from another program is exported from the original.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from .clips import rational_time
from .exchange_values import PathConversion, write_curve, write_take, write_values
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
    all_strips,
)
from .image_files import numbered_images
from .otio_json import (
    DEFAULT_MEDIA_KEY,
    Clip,
    ExternalReference,
    FreezeFrame,
    Gap,
    GeneratorReference,
    ImageSequenceReference,
    Item,
    LinearTimeWarp,
    Marker,
    OtherObject,
    OtioObject,
    RationalTime,
    Stack,
    Timeline,
    TimeRange,
    Track,
    Transition,
    from_plain,
)
from .otio_mix import write_mix
from .takes import Take

_GENERATORS = frozenset({"COLOR", "TEXT", "SCENE", "MASK"})
"""Types of the strips that show a picture without a file. Other effects have no picture, so they become gaps."""
_NEW_MARKER_FRAMES = 1


@dataclass(frozen=True)
class Export:
    """A timeline, and what could not be written as it is."""

    timeline: Timeline
    notes: tuple[ExchangeNote, ...]


@dataclass
class _Placed:
    """An item on a track: its first frame, the frame after the last one, and the transitions next to it.

    A sound may begin between two frames.
    """

    start_frame: int | Fraction
    end_frame: int
    item: OtioObject
    before: list[Any]
    after: list[Any]


@dataclass(frozen=True)
class _Crossing:
    """A transition from one strip to another. cut_frame: first frame of the second strip on the track."""

    effect: ExchangedStrip
    first: ExchangedStrip
    second: ExchangedStrip
    cut_frame: int


def build_timeline(scene: ExchangedScene, to_url: PathConversion) -> Export:
    """Return a scene as a timeline.

    scene: what was read. to_url: returns the location to write for the absolute path of a file.
    """
    return _Exporter(scene, to_url).run()


class _Exporter:
    def __init__(self, scene: ExchangedScene, to_url: PathConversion) -> None:
        self._scene = scene
        self._rate = scene.rate
        self._to_url = to_url
        self._notes: list[ExchangeNote] = []
        strips = list(all_strips(scene.strips))
        self._takes = {strip.uid: strip.takes for strip in strips if strip.uid and not strip.stem}
        self._warped = {
            effect.inputs[0]: effect.time_scale for effect in strips if effect.kind == "SPEED" and effect.time_scale
        }
        names = {strip.name for strip in strips}
        self._markers: dict[str, list[ExchangedMarker]] = defaultdict(list)
        for marker in scene.markers:
            self._markers[marker.owner if marker.owner in names else ""].append(marker)

    def run(self) -> Export:
        scene = self._scene
        zero_frame = min([scene.start_frame, *(strip.start_frame for strip in scene.strips)])
        original = from_plain(dict(scene.original)) if scene.original else None
        timeline = original if isinstance(original, Timeline) else Timeline()
        timeline.name = scene.name
        timeline.global_start_time = self._time(zero_frame - scene.timecode_frame)
        timeline.metadata[BLENDER_KEY] = _without_empty(
            {
                "start_frame": scene.start_frame - zero_frame,
                "end_frame": scene.end_frame - zero_frame,
                "timecode_frame": scene.timecode_frame,
                "rate": str(scene.rate),
                "properties": write_values(scene.properties, self._to_url),
                "channels": _channel_values(scene.channels),
            }
        ) | {"start_frame": scene.start_frame - zero_frame}
        stack = timeline.tracks
        stack.children = self._tracks(scene.strips, scene.channels, zero_frame, stack.children)
        stack.markers = [self._marker(marker, zero_frame) for marker in self._markers[""]]
        return Export(timeline, tuple(self._notes))

    def _time(self, frames: int | Fraction) -> RationalTime:
        return RationalTime(float(frames), float(self._rate))

    def _range(self, start: int | Fraction, duration: int | Fraction) -> TimeRange:
        return TimeRange(self._time(start), self._time(duration))

    # Tracks

    def _tracks(
        self,
        strips: Sequence[ExchangedStrip],
        channels: Sequence[ExchangedChannel],
        zero_frame: int,
        originals: Sequence[Any],
    ) -> list[Any]:
        crossings = find_crossings(strips)
        lanes: dict[tuple[bool, int], list[list[_Placed]]] = defaultdict(list)
        for channel, is_sound, block in self._blocks(strips, crossings):
            rows = lanes[is_sound, channel]
            row = next((row for row in rows if row[-1].end_frame <= block[0].start_frame), None)
            if row is None:
                rows.append(row := [])
            row.extend(block)
        by_number = {channel.number: channel for channel in channels}
        shells = {_shell_key(shell): shell for shell in originals if isinstance(shell, Track)}
        tracks: list[Any] = []
        for (is_sound, number), rows in sorted(lanes.items()):
            for lane, row in enumerate(rows):
                track = shells.pop((is_sound, number, lane), Track())
                self._fill_track(track, row, zero_frame)
                self._describe_track(track, by_number.get(number), number, lane, is_sound=is_sound)
                tracks.append(track)
        # Tracks that Blender cannot show are kept as they are.
        return tracks + [shell for shell in originals if _is_kept_whole(shell)]

    def _blocks(
        self, strips: Sequence[ExchangedStrip], crossings: Sequence[_Crossing]
    ) -> list[tuple[int, bool, list[_Placed]]]:
        """Return the strips by start, each with its channel. Strips that are joined by transitions form one block."""
        by_first = {crossing.first.name: crossing for crossing in crossings}
        joined = {crossing.second.name for crossing in crossings} | {crossing.effect.name for crossing in crossings}
        blocks = []
        for strip in sorted(strips, key=lambda strip: (strip.start_frame, strip.channel)):
            if strip.name in joined:
                continue
            block: list[_Placed] = []
            current, start_frame = strip, strip.start_frame
            transitions: list[Any] = []
            while True:
                crossing = by_first.get(current.name)
                end_frame = current.end_frame if crossing is None else crossing.cut_frame
                item = self._item(current, start_frame, end_frame, strip.channel)
                before, after = _kept_transitions(current)
                late_frames = _late_s(current, start_frame) * self._rate
                block.append(_Placed(start_frame + late_frames, end_frame, item, before + transitions, after))
                if crossing is None:
                    break
                current, start_frame, transitions = crossing.second, crossing.cut_frame, [self._transition(crossing)]
            blocks.append((strip.channel, strip.kind == SOUND_KIND, block))
        return blocks

    def _fill_track(self, track: Track, row: Sequence[_Placed], zero_frame: int) -> None:
        reached_s = Fraction(0)
        children: list[Any] = []
        for placed in row:
            # Each gap ends at an exact position, so rounded durations do not accumulate.
            gap_s = (placed.start_frame - zero_frame) / self._rate - reached_s
            if gap_s > 0:
                duration = rational_time(gap_s, self._rate)
                children.append(Gap(source_range=TimeRange(RationalTime(0.0, duration.rate), duration)))
                reached_s += gap_s
            children += [*placed.before, placed.item, *placed.after]
            reached_s += _duration_s(placed.item, (placed.end_frame - placed.start_frame) / self._rate)
        track.children = children
        track.source_range = None

    def _describe_track(
        self, track: Track, channel: ExchangedChannel | None, number: int, lane: int, *, is_sound: bool
    ) -> None:
        track.kind = "Audio" if is_sound else "Video"
        track.name = channel.name if channel is not None else f"Channel {number}"
        track.enabled = channel is None or not channel.is_muted
        track.metadata[BLENDER_KEY] = _without_empty(
            {"channel": number, "lane": lane, "lock": channel is not None and channel.is_locked}
        )

    def _transition(self, crossing: _Crossing) -> Transition:
        effect = crossing.effect
        is_dissolve = effect.kind != "WIPE"
        original = from_plain(dict(effect.original.item)) if effect.original is not None else None
        transition = original if isinstance(original, Transition) else Transition()
        transition.name = effect.name
        if original is None:
            transition.transition_type = "SMPTE_Dissolve" if is_dissolve else "Custom_Transition"
        transition.in_offset = self._time(crossing.cut_frame - crossing.second.start_frame)
        transition.out_offset = self._time(crossing.first.end_frame - crossing.cut_frame)
        transition.metadata[BLENDER_KEY] = {
            **self._state(effect, effect.start_frame),
            "channel": effect.channel,
            "mute": effect.is_muted,
        }
        return transition

    # Items

    def _item(self, strip: ExchangedStrip, start_frame: int, end_frame: int, channel: int) -> OtioObject:
        """Return a strip, from a start to an end that a transition may have changed, on the track of a channel."""
        if strip.kind == "META":
            item: Item = self._stack(strip, start_frame, end_frame)
        elif strip.kind in FILE_KINDS or strip.kind in _GENERATORS:
            item = self._clip(strip, start_frame, end_frame)
        else:
            item = Gap(source_range=self._range(0, end_frame - start_frame))
        item.name = strip.name
        item.enabled = not strip.is_muted
        state = self._state(strip, start_frame)
        if channel != strip.channel:
            state["channel"] = strip.channel
        if late_s := _late_s(strip, start_frame):
            state["late_s"] = str(late_s)
        if item.source_range is not None and strip.kind in (*FILE_KINDS, "META"):
            state["source_start_s"] = str(item.source_range.start_time.to_seconds())
        item.metadata[BLENDER_KEY] = state
        if strip.settings:
            item.metadata[REWAS_KEY] = dict(strip.settings)
        elif strip.change and str(strip.rewas.get("prompt", "")).strip():
            self._note(f"{strip.change} So only Blender can use its prompt.", "Generate its sound in Blender.")
        item.effects.extend(self._time_effects(strip))
        markers = [
            self._marker(marker, strip.content_start_frame, item) for marker in self._markers.get(strip.name, ())
        ]
        merged = self._merge_original(
            strip, item, markers, (start_frame - strip.content_start_frame, end_frame - start_frame)
        )
        if strip.kind == SOUND_KIND and isinstance(merged, Clip):
            write_mix(strip, self._rate, merged.metadata)
        return merged

    def _state(self, strip: ExchangedStrip, start_frame: int) -> dict[str, Any]:
        """Return what Blender needs to build a strip besides its place on the timeline."""
        state = _without_empty(
            {
                "lead_in_frames": start_frame - strip.content_start_frame,
                "content_frames": strip.content_frames,
                "trimmed_frames": list(strip.trimmed_frames) if any(strip.trimmed_frames) else [],
                "inputs": list(strip.inputs),
                "datablock": strip.datablock,
                "sound_offset_s": str(strip.sound_offset_s) if strip.sound_offset_s else "",
                "is_frozen": strip.is_frozen,
                "files": self._listed_files(strip),
                "time_scale": str(strip.time_scale) if strip.time_scale is not None else "",
                "properties": write_values(strip.properties, self._to_url),
                "modifiers": [
                    {"name": name, "type": kind, "properties": write_values(properties, self._to_url)}
                    for name, kind, properties in strip.modifiers
                ],
                "animation": [write_curve(curve) for curve in strip.curves],
                "rewas": write_values(strip.rewas, self._to_url),
                "takes": [write_take(take, self._to_url) for take in strip.takes],
                "last_take_number": strip.last_take_number,
                "active_take": strip.active_take,
                "channels": _channel_values(strip.channels),
            }
        )
        return {"type": strip.kind, **state}

    def _listed_files(self, strip: ExchangedStrip) -> list[str]:
        """Return the images of a strip if no reference can name all of them."""
        if strip.kind != "IMAGE" or len(strip.files) < 2 or numbered_images(strip.files) is not None:
            return []
        return [self._to_url(path) for path in strip.files]

    def _stack(self, strip: ExchangedStrip, start_frame: int, end_frame: int) -> Stack:
        original = from_plain(dict(strip.original.item)) if strip.original is not None else None
        shells = original.children if isinstance(original, Stack) else ()
        return Stack(
            children=self._tracks(strip.strips, strip.channels, strip.content_start_frame, shells),
            source_range=self._range(start_frame - strip.content_start_frame, end_frame - start_frame),
        )

    def _clip(self, strip: ExchangedStrip, start_frame: int, end_frame: int) -> Clip:
        references, active = self._references(strip)
        return Clip(
            media_references=references,
            active_media_reference_key=active,
            source_range=self._source_range(strip, start_frame, end_frame),
        )

    def _source_range(self, strip: ExchangedStrip, start_frame: int, end_frame: int) -> TimeRange:
        frames, lead_in_frames = end_frame - start_frame, start_frame - strip.content_start_frame
        native = strip.native
        if native is not None:
            hidden_s = (start_frame - strip.start_frame) / self._rate
            duration_s = min(frames / self._rate, native.source_duration_s - hidden_s)
            return TimeRange(
                rational_time(native.source_start_s + hidden_s, native.media_rate, self._rate),
                rational_time(duration_s, native.media_rate, self._rate),
            )
        if strip.kind == SOUND_KIND and (offset_s := sound_offset_s(strip)):
            late_s = _late_s(strip, start_frame)
            return TimeRange(
                rational_time(lead_in_frames / self._rate - offset_s + late_s, self._rate),
                rational_time(frames / self._rate - late_s, self._rate),
            )
        if strip.kind != "MOVIE" or strip.file_rate is None:
            return self._range(lead_in_frames, frames)
        if strip.time_scale is not None and strip.time_scale < 0:
            lead_in_frames = strip.content_frames - lead_in_frames - frames
        start_s = strip.trimmed_frames[0] / strip.file_rate + lead_in_frames / self._media_rate(strip)
        return TimeRange(
            rational_time(start_s, strip.file_rate, self._rate),
            rational_time(frames / self._rate, strip.file_rate, self._rate),
        )

    def _media_rate(self, strip: ExchangedStrip) -> Fraction:
        """Return how many frames of a movie's content pass in a second of the movie."""
        assert strip.file_rate is not None
        playable_frames = strip.file_frames - sum(strip.trimmed_frames)
        return strip.file_rate if strip.content_frames == playable_frames else self._rate

    def _references(self, strip: ExchangedStrip) -> tuple[dict[str, Any], str]:
        if strip.kind not in FILE_KINDS:
            picture = {key: value for key, value in strip.properties.items() if key in ("text", "color")}
            parameters = write_values(picture, self._to_url)
            generator = GeneratorReference(generator_kind=strip.kind, parameters=parameters)
            return {DEFAULT_MEDIA_KEY: generator}, DEFAULT_MEDIA_KEY
        takes = self._takes.get(strip.stem.get("owner", ""), ())
        role, take_id = strip.stem.get("role", ""), strip.stem.get("take", "")
        with_role = [take for take in takes if take.stem(role) is not None]
        references = {_take_key(take): self._stem_reference(take, role) for take in with_role}
        shown = next((_take_key(take) for take in with_role if take.id == take_id), None)
        if shown is not None:
            return references, shown
        return {DEFAULT_MEDIA_KEY: self._file_reference(strip)}, DEFAULT_MEDIA_KEY

    def _stem_reference(self, take: Take, role: str) -> ExternalReference:
        stem = take.stem(role)
        assert stem is not None
        return ExternalReference(
            name=take.label,
            target_url=self._to_url(str(stem.path)),
            available_range=TimeRange(
                RationalTime(0.0, float(stem.sample_rate_hz)),
                RationalTime(float(stem.samples), float(stem.sample_rate_hz)),
            ),
        )

    def _file_reference(self, strip: ExchangedStrip) -> Any:
        numbered = numbered_images(strip.files) if strip.kind == "IMAGE" else None
        if numbered is not None:
            return ImageSequenceReference(
                target_url_base=self._to_url(numbered.folder) + "/",
                name_prefix=numbered.prefix,
                name_suffix=numbered.suffix,
                start_frame=numbered.first,
                frame_step=numbered.step,
                rate=float(self._rate),
                frame_zero_padding=numbered.digits,
                available_range=self._range(0, len(strip.files)),
            )
        path = strip.files[0] if strip.files else ""
        available = None
        if strip.file_rate is not None and strip.file_frames:
            rate = float(strip.file_rate)
            available = TimeRange(RationalTime(0.0, rate), RationalTime(float(strip.file_frames), rate))
        elif strip.content_frames and strip.kind != "IMAGE":
            available = self._range(0, strip.content_frames)
        return ExternalReference(target_url=self._to_url(path) if path else "", available_range=available)

    def _time_effects(self, strip: ExchangedStrip) -> list[Any]:
        metadata = {BLENDER_KEY: {"from": "strip"}}
        scale = self._warped.get(strip.name) or (strip.time_scale if strip.kind != "SPEED" else None)
        if strip.is_frozen:
            return [FreezeFrame(name="", metadata=metadata)]
        return [LinearTimeWarp(name="", metadata=metadata, time_scalar=float(scale))] if scale else []

    # Markers and originals

    def _marker(self, marker: ExchangedMarker, zero_frame: int, item: Item | None = None) -> Marker:
        original = from_plain(dict(marker.original)) if marker.original else None
        written = original if isinstance(original, Marker) else Marker()
        written.name = marker.name
        start = self._time(marker.frame - zero_frame)
        if item is not None and item.source_range is not None:
            # The times of markers on an item are times of its media.
            state = item.metadata[BLENDER_KEY]
            offset = (marker.frame - zero_frame - state.get("lead_in_frames", 0)) / self._rate
            start = rational_time(item.source_range.start_time.to_seconds() + offset, self._rate)
        duration = written.marked_range.duration if original is not None else self._time(_NEW_MARKER_FRAMES)
        written.marked_range = TimeRange(start, duration)
        return written

    def _merge_original(
        self, strip: ExchangedStrip, item: Item, markers: list[Marker], visible: tuple[int, int]
    ) -> OtioObject:
        """Return an item with everything that the original contains beyond it. visible: its lead-in and length."""
        item.markers = list(markers)
        if strip.original is None:
            return item
        base = from_plain(dict(strip.original.item))
        is_unchanged = visible == (strip.original.lead_in_frames, strip.original.frames)
        if isinstance(base, OtherObject):
            return _merge_unknown(base, item, keep_range=is_unchanged)
        if not isinstance(base, Item):
            return item
        if is_unchanged and item.source_range is not None and base.source_range is not None:
            item.source_range = base.source_range
        elif base.source_range is not None:
            item.source_range = self._moved_range(strip, base.source_range, visible)
        if isinstance(base, Clip) and isinstance(item, Clip):
            item = self._merge_media(strip, base, item)
        if any(isinstance(effect, LinearTimeWarp) for effect in base.effects):
            item.effects = []
        return _merge_item(base, item)

    def _moved_range(self, strip: ExchangedStrip, original: TimeRange, visible: tuple[int, int]) -> TimeRange:
        assert strip.original is not None
        moved_s = (visible[0] - strip.original.lead_in_frames) / self._rate
        return TimeRange(
            rational_time(original.start_time.to_seconds() + moved_s, Fraction(original.start_time.rate), self._rate),
            self._time(visible[1]),
        )

    def _merge_media(self, strip: ExchangedStrip, base: Clip, item: Clip) -> Clip:
        """Return the item with the media references of the original. Its file is renewed if it is another one."""
        reference = base.media_reference
        if strip.files[:1] and isinstance(reference, ExternalReference):
            assert strip.original is not None
            path = strip.files[0]
            if path != strip.original.media or not is_absolute_location(reference.target_url):
                reference.target_url = self._to_url(path) if path else reference.target_url
        elif isinstance(reference, ImageSequenceReference) and strip.files:
            if not is_absolute_location(reference.target_url_base):
                reference.target_url_base = self._to_url(str(PurePath(strip.files[0]).parent)) + "/"
        elif strip.files[:1] and strip.files[0]:
            base.media_references[base.active_media_reference_key] = item.media_reference
        item.media_references, item.active_media_reference_key = base.media_references, base.active_media_reference_key
        return item

    def _note(self, what: str, remedy: str) -> None:
        self._notes.append(ExchangeNote(what, remedy))


def sound_offset_s(strip: ExchangedStrip) -> Fraction:
    """Return by how many seconds a sound begins later than its content, which is less than a frame."""
    offset = strip.properties.get("sound_offset", 0)
    is_number = isinstance(offset, int | float) and not isinstance(offset, bool)
    return Fraction(str(offset)) if is_number and abs(offset) < float("inf") else Fraction(0)


def _late_s(strip: ExchangedStrip, start_frame: int) -> Fraction:
    """Return by how many seconds a strip begins after its first frame, because its sound begins between two frames."""
    if strip.kind != SOUND_KIND or start_frame != strip.content_start_frame:
        return Fraction(0)
    return max(sound_offset_s(strip), Fraction(0))


def find_crossings(strips: Sequence[ExchangedStrip]) -> list[_Crossing]:
    """Return the cross effects and wipes that are transitions between two overlapping strips."""
    by_name = {strip.name: strip for strip in strips}
    found: list[_Crossing] = []
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for effect in sorted(strips, key=lambda strip: (strip.start_frame, strip.channel)):
        first, second = (by_name.get(name) for name in effect.inputs) if len(effect.inputs) == 2 else (None, None)
        if effect.kind not in TRANSITION_KINDS or first is None or second is None:
            continue
        spans_overlap = (effect.start_frame, effect.end_frame) == (second.start_frame, first.end_frame)
        is_order = first.start_frame < second.start_frame and first.end_frame < second.end_frame
        are_free = first.name not in ends and second.name not in starts
        is_later = starts.get(first.name, first.start_frame) <= effect.start_frame
        if not (spans_overlap and is_order and are_free and is_later) or _is_transition(first, second):
            continue
        starts[second.name], ends[first.name] = effect.end_frame, effect.start_frame
        cut_frame = effect.start_frame + _frames_before_cut(effect)
        # An item has at least one frame.
        cut_frame = max(cut_frame, first.start_frame + 1)
        found.append(_Crossing(effect, first, second, cut_frame))
    return found


def _frames_before_cut(effect: ExchangedStrip) -> int:
    """Return how many frames of a transition come before its cut: half of them, or as in the original."""
    frames = effect.end_frame - effect.start_frame
    original = from_plain(dict(effect.original.item)) if effect.original is not None else None
    if not isinstance(original, Transition):
        return frames // 2
    in_s, out_s = original.in_offset.to_seconds(), original.out_offset.to_seconds()
    return round(frames * in_s / (in_s + out_s)) if in_s + out_s > 0 else frames // 2


def _is_transition(*strips: ExchangedStrip) -> bool:
    return any(strip.kind in TRANSITION_KINDS or strip.kind == SOUND_KIND for strip in strips)


def is_absolute_location(url: str) -> bool:
    """Return whether a location does not depend on the folder of the timeline."""
    return "://" in url or url.startswith(("/", "\\", "file:")) or url[1:2] == ":"


def _duration_s(item: OtioObject, planned_s: Fraction) -> Fraction:
    source_range = (
        item.other.get("source_range") if isinstance(item, OtherObject) else getattr(item, "source_range", None)
    )
    return source_range.duration.to_seconds() if isinstance(source_range, TimeRange) else planned_s


def _merge_item(base: Item, item: Item) -> Item:
    """Return the item of Blender with the metadata, effects and unknown fields of the original."""
    item.metadata = {**base.metadata, **item.metadata}
    item.effects = [*base.effects, *item.effects]
    item.color = base.color
    item.other = base.other
    return item


def _merge_unknown(base: OtherObject, item: Item, *, keep_range: bool) -> OtherObject:
    base.other["name"] = item.name
    if not keep_range:
        base.other["source_range"] = item.source_range
    metadata = base.other.get("metadata")
    base.other["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), **item.metadata}
    return base


def _kept_transitions(strip: ExchangedStrip) -> tuple[list[Any], list[Any]]:
    if strip.original is None:
        return [], []
    return [from_plain(dict(each)) for each in strip.original.before], [
        from_plain(dict(each)) for each in strip.original.after
    ]


def _channel_values(channels: Iterable[ExchangedChannel]) -> list[dict[str, Any]]:
    return [
        _without_empty({"number": each.number, "name": each.name, "mute": each.is_muted, "lock": each.is_locked})
        for each in channels
    ]


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value or (value == 0 and name == "number")}


def _take_key(take: Take) -> str:
    return f"take {take.number}"


def _shell_key(shell: Track) -> tuple[bool, int, int]:
    state = shell.metadata.get(BLENDER_KEY, {})
    return shell.kind == "Audio", state.get("channel", 0), state.get("lane", 0)


def _is_kept_whole(shell: Any) -> bool:
    return not isinstance(shell, Track) or shell.kind not in ("Video", "Audio")
