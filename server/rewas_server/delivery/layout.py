"""The track of each stem, the audible takes, and the arrangement of the tracks."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewas_engine.media.stem import MIX, PRIMARY
from rewas_server.delivery.profiles import ProfileTables, TrackRule
from rewas_server.delivery.sound_categories import SoundCategories
from rewas_server.delivery.stems import GeneratedStem, PlacedStem


@dataclass(frozen=True)
class LaidOutStem:
    """A stem with its track.

    track: name of the profile's track; the role if the profile has no tracks. is_audible: whether it is not muted.
    """

    stem: GeneratedStem
    track: str
    is_audible: bool


@dataclass(frozen=True)
class StemTrack:
    """An audio track of the timeline.

    Attributes:
        name: Name as shown in editors.
        track: Name of the profile's track; the role if the profile has no tracks.
        role: The only role on it; "" if there are several.
        take_number: The only take on it; 0 if there are several.
        is_audible: False for a muted track.
        stems: By position, without overlaps.
        further_takes: For each stem, the other takes that become media references of its clip.
    """

    name: str
    track: str
    role: str
    take_number: int
    is_audible: bool
    stems: tuple[PlacedStem, ...]
    further_takes: tuple[tuple[PlacedStem, ...], ...]


def lay_out(stems: Iterable[GeneratedStem], profile: ProfileTables, categories: SoundCategories) -> list[LaidOutStem]:
    """Choose the track of each stem, and the audible take of each clip.

    Stems that the profile does not deliver are left out. The order does not change.
    """
    all_stems = list(stems)
    audible = _audible_takes(all_stems, profile)
    with_mix = {(stem.clip_number, stem.take_number) for stem in all_stems if stem.role == MIX}
    laid_out = []
    for stem in all_stems:
        is_chosen = audible[stem.clip_number] == stem.take_number
        if not is_chosen and profile.layout.further_takes == "none":
            continue
        has_mix = (stem.clip_number, stem.take_number) in with_mix
        sounds = is_chosen and (not has_mix or (stem.role == MIX) == profile.layout.audible_mix)
        laid_out.append(LaidOutStem(stem, track_of(stem, profile, categories), sounds))
    return laid_out


def track_of(stem: GeneratedStem, profile: ProfileTables, categories: SoundCategories) -> str:
    """Return the track of a stem: the one the user chose, or that of its role, of its department, or for all others."""
    rules = profile.tracks
    if stem.track and stem.role == PRIMARY:
        return next((rule.name for rule in rules if rule.name.casefold() == stem.track.casefold()), stem.track)
    if not rules:
        return stem.role
    by_role = next((rule for rule in rules if stem.role in rule.roles), None)
    if by_role is not None:
        return by_role.name
    if stem.role != MIX and any(rule.departments for rule in rules):
        category = categories.of(stem.provenance.prompt)
        for rule in rules:
            if category is not None and category.department in rule.departments:
                return rule.name
    rest: TrackRule | None = next((rule for rule in rules if rule.rest), None)
    return stem.role if rest is None or stem.role == MIX else rest.name


def arrange_tracks(stems: Iterable[PlacedStem], profile: ProfileTables) -> list[StemTrack]:
    """Distribute stems over tracks: first the audible ones, in the order of the profile, then the muted ones.

    Stems that overlap on one track go to further tracks, whose names end with a number.
    """
    layout = profile.layout
    groups: dict[tuple[str, int], list[PlacedStem]] = {}
    references: dict[tuple[int, Fraction, str], list[PlacedStem]] = {}
    all_stems = list(stems)
    sounding = {(stem.clip_number, stem.position_s, stem.role) for stem in all_stems if stem.is_audible}
    for stem in all_stems:
        slot = (stem.clip_number, stem.position_s, stem.role)
        if stem.is_audible:
            groups.setdefault((stem.track, 0), []).append(stem)
        elif layout.further_takes == "references" and slot in sounding:
            references.setdefault(slot, []).append(stem)
        else:
            groups.setdefault((stem.track, stem.take_number), []).append(stem)
    order = {rule.name: number for number, rule in enumerate(profile.tracks)}
    names = list(dict.fromkeys(track for track, _ in groups))
    rank = {name: (order.get(name, len(order)), number) for number, name in enumerate(names)}
    tracks = []
    for track, take_number in sorted(groups, key=lambda group: (group[1] > 0, group[1], rank[group[0]])):
        pattern = layout.take_track_name if take_number else layout.track_name
        name = pattern.replace("{track}", track).replace("{take}", str(take_number))
        for lane_number, lane in enumerate(_lanes(groups[track, take_number]), start=1):
            roles, takes = {stem.role for stem in lane}, {stem.take_number for stem in lane}
            tracks.append(
                StemTrack(
                    name=name if lane_number == 1 else f"{name} ({lane_number})",
                    track=track,
                    role=roles.pop() if len(roles) == 1 else "",
                    take_number=takes.pop() if len(takes) == 1 else 0,
                    is_audible=not take_number,
                    stems=tuple(lane),
                    further_takes=tuple(
                        tuple(references.get((stem.clip_number, stem.position_s, stem.role), ())) for stem in lane
                    ),
                )
            )
    return tracks


def _audible_takes(stems: Sequence[GeneratedStem], profile: ProfileTables) -> dict[int, int]:
    """Return the number of the audible take by the number of the clip."""
    best: dict[int, tuple[bool, float, int]] = {}
    for stem in stems:
        score = stem.score or 0.0 if profile.layout.audible_take == "best" else 0.0
        rank = (stem.has_faults, -score, stem.take_number)
        best[stem.clip_number] = min(rank, best.get(stem.clip_number, rank))
    return {clip: take for clip, (_, _, take) in best.items()}


def _lanes(stems: Sequence[PlacedStem]) -> list[list[PlacedStem]]:
    """Distribute stems over the fewest lanes without overlaps, each stem on the first free lane."""
    lanes: list[list[PlacedStem]] = []
    free: list[int] = []
    busy: list[tuple[Fraction, int]] = []
    for stem in sorted(stems, key=lambda stem: stem.position_s):
        while busy and busy[0][0] <= stem.position_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            number = heapq.heappop(free)
        else:
            number = len(lanes)
            lanes.append([])
        lanes[number].append(stem)
        heapq.heappush(busy, (stem.position_s + stem.duration_s, number))
    return lanes
