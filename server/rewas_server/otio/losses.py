"""What a timeline contains, and what it loses in another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_server.otio.clips import constant_speed, timeline_frame_rate, timeline_start_s
from rewas_server.otio.formats import Feature, Placement, TimelineFormat
from rewas_server.otio.frame_timeline import DROP_FRAME_KEY, PlacedItem, is_drop_frame, placed_clips, placed_items
from rewas_server.otio.media_paths import location
from rewas_server.timecode import frames_per_day

_EXACT_FRAMES = Fraction(1, 1000)
"""As a share of a frame. Rounded timecodes shift clips slightly."""
_ONE_SAMPLE_S = Fraction(1, 48000)
_SPEED_TOLERANCE = Fraction(1, 10_000)
"""An EDL has three digits for frames per second at a speed."""
_ONE = {
    Feature.VIDEO_TRACKS: "further video track",
    Feature.AUDIO_TRACKS: "audio track",
    Feature.VIDEO_CLIPS: "video clip",
    Feature.AUDIO_CLIPS: "audio clip",
    Feature.GENERATORS: "generator",
    Feature.STACKS: "nested timeline",
    Feature.TRANSITIONS: "transition",
    Feature.RETIMES: "retimed clip",
    Feature.VARIABLE_SPEEDS: "variable speed",
    Feature.FREEZES: "freeze frame",
    Feature.NESTED_SPEEDS: "speed of a nested timeline",
    Feature.EFFECTS: "effect",
    Feature.MARKERS: "marker",
    Feature.DISABLED: "disabled clip or track",
    Feature.VERSIONS: "further media reference",
    Feature.METADATA: "object with metadata",
    Feature.GAP_METADATA: "gap, stack or transition with metadata",
    Feature.MEDIA: "link to media",
    Feature.START: "start timecode",
    Feature.OTHER: "object of an unknown schema",
}


def count_features(timeline: otio.schema.Timeline) -> Counter[Feature]:
    """Count what a timeline contains."""
    counts: Counter[Feature] = Counter()
    counts[Feature.START] = int(timeline.global_start_time is not None and timeline.global_start_time.value != 0)
    counts[Feature.METADATA] += _has_metadata(timeline)
    _count_stack(timeline.tracks, counts, is_top=True)
    return counts


def predict_losses(timeline: otio.schema.Timeline, target: TimelineFormat) -> list[str]:
    """Return what a timeline will lose in a format, such as "3 markers"."""
    if not target.loses:
        return []
    counts = count_features(timeline)
    found = _phrases({feature: counts[feature] for feature in Feature if feature in target.loses})
    if target.placement is Placement.FRAMES:
        found += _moved_clips(timeline)
    return found + _moved_timecode(timeline, target)


def _moved_timecode(timeline: otio.schema.Timeline, target: TimelineFormat) -> list[str]:
    """Return that the timecode moves by whole days, if the format does not support that of the timeline."""
    rate = timeline_frame_rate(timeline)
    day_s = frames_per_day(rate, is_drop_frame(timeline, rate)) / rate
    start_s = timeline_start_s(timeline)
    first = start_s // day_s
    if target.earliest_day is not None and first < target.earliest_day:
        return [_moved_start((target.earliest_day - first) * day_s)]
    if target.latest_day is None:
        return []
    if first > target.latest_day:
        return [_moved_start((target.latest_day - first) * day_s)]
    end_s = max((placed.start_s + placed.duration_s for placed in _placed(timeline)), default=Fraction(0))
    return ["the timecode after midnight (starts again at 0)"] if (start_s + end_s) > day_s * (first + 1) else []


def _moved_start(by_s: Fraction) -> str:
    hours = round(abs(by_s) / 3600)
    # A day of drop-frame timecode is a little shorter than 24 hours.
    amount = f"{hours} hours" if abs(abs(by_s) - hours * 3600) < 1 and hours else f"{float(abs(by_s)):.6g} s"
    return f"the start timecode (moved {'forward' if by_s > 0 else 'back'} by {amount})"


def _moved_clips(timeline: otio.schema.Timeline) -> list[str]:
    """Return what rounding to whole frames changes."""
    rate = timeline_frame_rate(timeline)
    start_frames = timeline_start_s(timeline) * rate
    errors = []
    for track in timeline.tracks:
        if isinstance(track, otio.schema.Track):
            for placed in placed_items(track):
                exact = start_frames + placed.start_s * rate
                if isinstance(placed.item, otio.schema.Clip):
                    errors.append(abs(exact - round(exact)))
    moved = [error for error in errors if error > _EXACT_FRAMES]
    if not moved:
        return []
    what = "the exact place of 1 clip" if len(moved) == 1 else f"the exact places of {len(moved)} clips"
    return [f"{what} (rounded by up to {float(max(moved)):.2g} frames)"]


def describe_losses(before: otio.schema.Timeline, *after: otio.schema.Timeline) -> list[str]:
    """Return what `before` contains and `after` does not, such as "3 markers" or "the places of 2 clips".

    after: the timelines that were read back from the written files.
    """
    counts: Counter[Feature] = Counter()
    for timeline in after:
        counts += count_features(timeline)
    lost = count_features(before) - counts
    if lost[Feature.NESTED_SPEEDS] and _speeds_are_kept(before, after):
        del lost[Feature.NESTED_SPEEDS]
    return _phrases(lost) + _displaced(before, after)


def _speeds_are_kept(before: otio.schema.Timeline, after: Sequence[otio.schema.Timeline]) -> bool:
    """Return whether the clips now have the speeds of the nested timelines that contained them."""
    found: dict[str, list[Fraction]] = {}
    for timeline in after:
        for placed in _placed(timeline):
            found.setdefault(placed.item.name, []).append(constant_speed(placed.item) or Fraction(0))
    return all(
        any(abs(speed - other) <= _SPEED_TOLERANCE for other in found.get(placed.item.name, ()))
        for placed in _placed(before)
        if placed.item.enabled
        and not isinstance(placed.item.media_reference, otio.schema.GeneratorReference)
        and (speed := constant_speed(placed.item)) is not None
    )


def _displaced(before: otio.schema.Timeline, after: Sequence[otio.schema.Timeline]) -> list[str]:
    """Compare the places of clips of the same name, if both sides have the same clips."""
    expected = _places(before)
    found = [place for timeline in after for place in _places(timeline)]
    expected.sort()
    found.sort()
    if [name for name, _ in expected] != [name for name, _ in found]:
        return []
    offsets = [other - one for (_, one), (_, other) in zip(expected, found, strict=True)]
    errors = [abs(offset) for offset in offsets]
    moved = [error for error in errors if error > _ONE_SAMPLE_S]
    if not moved:
        return []
    if min(errors) >= 1 and max(offsets) - min(offsets) <= _ONE_SAMPLE_S:
        return [_moved_start(offsets[0])]
    what = "the place of 1 clip" if len(moved) == 1 else f"the places of {len(moved)} clips"
    return [f"{what} (moved by up to {float(max(moved)) * 1000:.3g} ms)"]


def _places(timeline: otio.schema.Timeline) -> list[tuple[str, Fraction]]:
    start_s = timeline_start_s(timeline)
    return [(placed.item.name, start_s + placed.start_s) for placed in _placed(timeline)]


def _placed(timeline: otio.schema.Timeline) -> Iterator[PlacedItem]:
    for track in timeline.tracks:
        if isinstance(track, otio.schema.Track):
            yield from placed_clips(track)


def _phrases(counts: Mapping[Feature, int]) -> list[str]:
    return [
        f"1 {_ONE[feature]}" if counts[feature] == 1 else f"{counts[feature]} {feature.value}"
        for feature in Feature
        if counts.get(feature, 0) > 0
    ]


def _count_stack(stack: otio.schema.Stack, counts: Counter[Feature], *, is_top: bool) -> None:
    _count_item(stack, counts)
    # Formats that give the speed of a nested timeline to its clips do not do so with that of the whole timeline.
    _count_speed(stack, counts, Feature.VARIABLE_SPEEDS if is_top else Feature.NESTED_SPEEDS)
    pictures = 0
    for child in stack:
        if is_top and isinstance(child, otio.schema.Track) and len(child):
            if child.kind == otio.schema.TrackKind.Video:
                pictures += 1
            elif child.kind == otio.schema.TrackKind.Audio:
                counts[Feature.AUDIO_TRACKS] += 1
        _count_child(child, counts, "")
    counts[Feature.VIDEO_TRACKS] += max(0, pictures - 1)


def _count_child(child: otio.core.Composable, counts: Counter[Feature], kind: str) -> None:
    if isinstance(child, otio.schema.Transition):
        counts[Feature.TRANSITIONS] += 1
        counts[Feature.GAP_METADATA] += _has_metadata(child)
    elif isinstance(child, otio.schema.Clip):
        _count_item(child, counts)
        _count_clip(child, counts, kind)
    elif isinstance(child, otio.schema.Track):
        _count_item(child, counts)
        _count_speed(child, counts, Feature.NESTED_SPEEDS)
        for item in child:
            _count_child(item, counts, child.kind)
    elif isinstance(child, otio.schema.Stack):
        counts[Feature.STACKS] += 1
        _count_stack(child, counts, is_top=False)
    elif isinstance(child, otio.core.Item):
        _count_item(child, counts)
    else:
        counts[Feature.OTHER] += 1


def _count_item(item: otio.core.Item, counts: Counter[Feature]) -> None:
    for effect in item.effects:
        if isinstance(effect, otio.schema.TimeEffect):
            continue
        counts[Feature.EFFECTS if isinstance(effect, otio.schema.Effect) else Feature.OTHER] += 1
    counts[Feature.MARKERS] += len(item.markers)
    is_named = isinstance(item, otio.schema.Clip | otio.schema.Track)
    counts[Feature.METADATA if is_named else Feature.GAP_METADATA] += _has_metadata(item)
    if isinstance(item, otio.schema.Clip | otio.schema.Track):
        counts[Feature.DISABLED] += not item.enabled


def _count_speed(item: otio.core.Item, counts: Counter[Feature], constant: Feature) -> None:
    """Count the speed of an item. Several speeds of one item count once. constant: the feature of a constant speed."""
    speed = constant_speed(item)
    if speed != 1:
        counts[Feature.VARIABLE_SPEEDS if speed is None else constant if speed else Feature.FREEZES] += 1


def _count_clip(clip: otio.schema.Clip, counts: Counter[Feature], kind: str) -> None:
    _count_speed(clip, counts, Feature.RETIMES)
    reference = clip.media_reference
    if isinstance(reference, otio.schema.GeneratorReference):
        counts[Feature.GENERATORS] += 1
    else:
        counts[Feature.AUDIO_CLIPS if kind == otio.schema.TrackKind.Audio else Feature.VIDEO_CLIPS] += 1
    if isinstance(reference, otio.schema.ExternalReference | otio.schema.ImageSequenceReference):
        counts[Feature.MEDIA] += bool(location(reference))
    elif reference is not None and reference.is_unknown_schema:
        counts[Feature.OTHER] += 1
    active = clip.active_media_reference_key
    others = [other for name, other in clip.media_references().items() if name != active]
    # A reference without a file is not a version that a program could show.
    counts[Feature.VERSIONS] += sum(bool(location(other)) for other in others)


def _has_metadata(item: otio.core.SerializableObjectWithMetadata) -> bool:
    """Whether an object has metadata, apart from that which format readers add."""
    ours = item.metadata.get(METADATA_KEY)
    if hasattr(ours, "items") and set(ours) == {DROP_FRAME_KEY}:
        # Formats state this in their own way.
        return any(key not in _FORMAT_KEYS and key != METADATA_KEY for key in item.metadata)
    return any(key not in _FORMAT_KEYS for key in item.metadata)


_FORMAT_KEYS = frozenset({"fcp_xml", "AAF", "cmx_3600", "reaper"})
