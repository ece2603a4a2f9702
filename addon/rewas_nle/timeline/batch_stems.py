# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the stems that `rewas batch` has added to a timeline into takes of their strips.

A further take is a clip on a muted track, or another media reference of the audible clip. If files have handles, stems
begin before their clips.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from .exchange_values import PathConversion
from .exchanged import BLENDER_KEY, REWAS_KEY, SOUND_KIND, ExchangedChannel, ExchangedStrip, ExchangeNote
from .otio_json import Clip, ExternalReference, TimeRange, Track
from .placement import MAX_CHANNEL
from .rates import written_rate
from .selection import PICTURE_KINDS
from .takes import MIX_ROLE, PRIMARY_ROLE, Stem, StemPack, Take, UsedRecording, number_takes

Span = tuple[int, int]
"""First frame, and frame after the last one."""


@dataclass(frozen=True)
class BatchStem:
    """A stem of a batch.

    Attributes:
        name: Name of its clip.
        role, take_number: Its role and the number of its take.
        span: Frames of its clip in the scene.
        path: Path of its file.
        track_name: Name of its track.
        is_audible: Whether it is not muted.
        head_frames: Frames of its file before the clip.
        frames: Length of its file.
        sample_rate_hz, samples: Those of its file; 0 if the timeline does not state them.
        origin: How it was generated, as ReWaS metadata.
    """

    name: str
    role: str
    take_number: int
    span: Span
    path: str
    track_name: str
    is_audible: bool
    head_frames: int
    frames: int
    sample_rate_hz: int
    samples: int
    origin: Mapping[str, Any]

    @property
    def clip_name(self) -> str:
        """Name of the clip that it is for."""
        return self.name.removesuffix(f" {self.role}")


def is_batch_track(track: Track) -> bool:
    """Return whether a batch has added a track."""
    origin = track.metadata.get(REWAS_KEY)
    return BLENDER_KEY not in track.metadata and isinstance(origin, dict) and "role" in origin and "take" in origin


def read_stems(item: Any, track: Track, span: Span, rate: Fraction, to_path: PathConversion) -> tuple[BatchStem, ...]:
    """Return the stems of an item on a track: none if the item is not from a batch.

    span: its frames in the scene. rate: that of the scene. to_path: returns the path of a location.
    """
    if not isinstance(item, Clip) or BLENDER_KEY in item.metadata:
        return ()
    active = item.active_media_reference_key
    found = []
    for key, reference in sorted(item.media_references.items(), key=lambda each: each[0] != active):
        holder = item if key == active else reference
        origin = holder.metadata.get(REWAS_KEY) if isinstance(reference, ExternalReference) else None
        if not isinstance(origin, dict) or not isinstance(origin.get("role"), str):
            continue
        take_number = _integer(origin.get("take"))
        if take_number is None:
            continue
        available = reference.available_range
        head_frames, frames = _extent(item.source_range, available, span, rate)
        file_rate = written_rate(available.duration.rate) if available is not None else None
        found.append(
            BatchStem(
                name=item.name,
                role=origin["role"],
                take_number=take_number,
                span=span,
                path=to_path(reference.target_url),
                track_name=track.name,
                is_audible=key == active and item.enabled and track.enabled,
                head_frames=head_frames,
                frames=frames,
                sample_rate_hz=round(file_rate or 0),
                samples=round(available.duration.value) if available is not None else 0,
                origin=origin,
            )
        )
    return tuple(found)


def _extent(shown: TimeRange | None, available: TimeRange | None, span: Span, rate: Fraction) -> tuple[int, int]:
    """Return how many frames of a file are before its clip, and how many it has in total."""
    if shown is None or available is None:
        return 0, span[1] - span[0]
    head_s = shown.start_time.to_seconds() - available.start_time.to_seconds()
    return max(_round(head_s * rate), 0), max(_round(available.duration.to_seconds() * rate), 1)


class StemMatcher:
    """Assigns the stems of a batch to their strips.

    Args:
        stems: All stems of the timeline.
        rate: Frame rate of the scene.
    """

    def __init__(self, stems: Sequence[BatchStem], rate: Fraction) -> None:
        self._rate = rate
        self._by_span: dict[Span, list[BatchStem]] = defaultdict(list)
        for stem in stems:
            self._by_span[stem.span].append(stem)

    def give(self, strip: ExchangedStrip, span: Span | None) -> ExchangedStrip:
        """Return a strip with the takes that a batch has generated for exactly these frames.

        span: frames of its clip on its track.
        """
        if span is None or strip.kind not in PICTURE_KINDS or span not in self._by_span:
            return strip
        chosen = self._stems_for(strip, self._by_span[span])
        self._by_span[span] = [stem for stem in self._by_span[span] if stem not in chosen]
        takes = self._takes(strip, span, chosen)
        known = {tuple(str(stem.path) for stem in take.stems) for take in strip.takes}
        new = [take for take, _ in takes if tuple(str(stem.path) for stem in take.stems) not in known]
        if not new:
            return strip
        audible = {take.id: count for take, count in takes}
        numbered = number_takes(new, strip.last_take_number)
        active = max(numbered, key=lambda take: audible[take.id])
        prompt = strip.settings.get("prompt") or active.prompt
        return replace(
            strip,
            takes=(*strip.takes, *numbered),
            last_take_number=numbered[-1].number,
            active_take=active.id,
            has_new_takes=True,
            settings={**strip.settings, "prompt": prompt} if prompt else strip.settings,
        )

    def left(self) -> list[BatchStem]:
        """Return the stems that belong to no strip."""
        return [stem for stems in self._by_span.values() for stem in stems]

    def _stems_for(self, strip: ExchangedStrip, stems: Sequence[BatchStem]) -> list[BatchStem]:
        """Return the stems for a strip. They are named after the clip.

        Two clips may have the same range. If a clip was renamed since, its stems are found by the prompt.
        """
        names = dict.fromkeys(stem.clip_name for stem in stems)
        if strip.name not in names:
            prompt = strip.settings.get("prompt")
            prompted = (
                stem.clip_name
                for stem in stems
                if prompt and stem.role == PRIMARY_ROLE and stem.origin.get("prompt") == prompt
            )
            name = next(prompted, None)
            return [stem for stem in stems if stem.clip_name == name]
        return [stem for stem in stems if stem.clip_name == strip.name]

    def _takes(self, strip: ExchangedStrip, span: Span, stems: Sequence[BatchStem]) -> list[tuple[Take, int]]:
        """Return the takes by number, each with the number of its audible stems."""
        sounding = {stem.role for stem in stems if stem.is_audible}
        by_number: dict[int, dict[str, BatchStem]] = defaultdict(dict)
        for stem in stems:
            # A strip plays all sounds of its take, so a mix must not be added to the stems that it consists of.
            if not sounding or stem.role in sounding:
                by_number[stem.take_number].setdefault(stem.role, stem)
        return [
            (self._take(strip, span, list(found.values())), sum(stem.is_audible for stem in found.values()))
            for _, found in sorted(by_number.items())
        ]

    def _take(self, strip: ExchangedStrip, span: Span, stems: Sequence[BatchStem]) -> Take:
        main = next((stem for stem in stems if stem.role == PRIMARY_ROLE), stems[0])
        # A mix repeats what the other stems contain.
        parts = [stem for stem in stems if stem.role != MIX_ROLE] or stems
        packs = map(_pack, parts)
        key = "\0".join([strip.name, *(stem.path for stem in stems), *map(str, span)])
        return Take(
            id=hashlib.blake2b(key.encode(), digest_size=16).hexdigest(),
            scene_rate=self._rate,
            lead_in_frames=span[0] - strip.content_start_frame - main.head_frames,
            frames=main.frames,
            stems=tuple(_stem(stem) for stem in sorted(stems, key=lambda stem: stem.role != PRIMARY_ROLE)),
            media=strip.files[0] if strip.files else "",
            source_duration_s=(span[1] - span[0]) / self._rate,
            prompt=str(main.origin.get("prompt", "")),
            seed=_integer(main.origin.get("seed")) or 0,
            pack=str(main.origin.get("pack", "")),
            pack_version=str(main.origin.get("pack_version", "")),
            licence=str(main.origin.get("licence", "")),
            recordings=tuple(used for stem in parts for used in _recordings(stem)),
            layer_packs=tuple(pack for pack in packs if pack.name != main.origin.get("pack", "")),
        )


def as_strips(
    stems: Sequence[BatchStem], others: Sequence[ExchangedStrip], known: Sequence[ExchangedChannel]
) -> tuple[list[ExchangedStrip], list[ExchangedChannel], list[ExchangeNote]]:
    """Return stems without a strip as sound strips, with new channels and notes.

    They go to channels with the names of their tracks. others, known: the other strips and their channels.
    """
    strips: list[ExchangedStrip] = []
    notes: list[ExchangeNote] = []
    channels = list(known)
    reached: dict[int, int] = defaultdict(int)
    for strip in others:
        reached[strip.channel] = max(reached[strip.channel], strip.end_frame)
    for channel in known:
        reached.setdefault(channel.number, 0)
    for stem in sorted(stems, key=lambda stem: stem.span):
        frames = f"frames {stem.span[0]} to {stem.span[1] - 1}"
        number = next(
            (each.number for each in channels if each.name == stem.track_name and reached[each.number] <= stem.span[0]),
            max(reached, default=0) + 1,
        )
        if not stem.is_audible or number > MAX_CHANNEL:
            notes.append(
                ExchangeNote(
                    f'The stem "{stem.name}" (take {stem.take_number}) is for {frames}, but no clip has exactly these '
                    "frames.",
                    f"To use it, add its file yourself: {stem.path}",
                )
            )
            continue
        if number not in reached:
            channels.append(ExchangedChannel(number, stem.track_name))
        reached[number] = stem.span[1]
        notes.append(
            ExchangeNote(
                f'The stem "{stem.name}" is for {frames}, but no clip has exactly these frames, so it is a separate '
                "sound strip.",
                "Move it yourself when you move its clip.",
            )
        )
        strips.append(
            ExchangedStrip(
                name=stem.name,
                kind=SOUND_KIND,
                channel=number,
                start_frame=stem.span[0],
                end_frame=stem.span[1],
                content_start_frame=stem.span[0] - stem.head_frames,
                files=(stem.path,),
                settings=stem.origin,
            )
        )
    return strips, channels[len(known) :], notes


def _pack(stem: BatchStem) -> StemPack:
    origin = stem.origin
    return StemPack(stem.role, *(str(origin.get(name, "")) for name in ("pack", "pack_version", "licence")))


def _recordings(stem: BatchStem) -> Iterator[UsedRecording]:
    """Yield the recordings in a stem."""
    found = stem.origin.get("recordings")
    for each in found if isinstance(found, list) else ():
        if isinstance(each, Mapping):
            names = ("name", "words", "licence", "credit", "content_sha256")
            yield UsedRecording(stem.role, *(str(each.get(name, "")) for name in names))


def _stem(stem: BatchStem) -> Stem:
    # The number of channels is in the file.
    return Stem(stem.role, Path(stem.path), stem.sample_rate_hz, 0, stem.samples)


def _round(frames: Fraction) -> int:
    return floor(frames + Fraction(1, 2))


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
