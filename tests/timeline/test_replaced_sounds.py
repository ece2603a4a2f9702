"""A sound that the add-on has generated for a clip never plays together with that of a batch for the same clip."""

from __future__ import annotations

from typing import Any

import opentimelineio as otio
import pytest

from rewas_server.otio.replaced_sounds import mute_replaced_sounds, unmute_replaced_sounds


def clip(name: str, **rewas: Any) -> otio.schema.Clip:
    found = otio.schema.Clip(
        name,
        source_range=otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(6, 24)),
    )
    found.metadata["blender"] = {"type": "SOUND", "rewas": rewas}
    return found


def sound(name: str, owner: str) -> otio.schema.Clip:
    return clip(name, uid="", stem={"owner": owner, "role": "primary", "take": "1"})


@pytest.fixture
def timeline() -> otio.schema.Timeline:
    """Two pictures with their sounds, one of them in a nested stack, and production sound."""
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    pictures.extend([clip("a", uid="1"), clip("b", uid="2"), clip("none", uid="")])
    nested = otio.schema.Track("A", kind=otio.schema.TrackKind.Audio)
    nested.append(sound("a nested", "1"))
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    muted = sound("a muted", "1")
    muted.enabled = False
    odd = clip("odd")
    odd.metadata["blender"] = "1"
    sounds.extend([sound("a", "1"), sound("b", "2"), muted, sound("nobody's", ""), otio.schema.Clip("production"), odd])
    sounds.append(otio.schema.Stack("meta", children=[nested]))
    found = otio.schema.Timeline("film")
    found.tracks.extend([pictures, sounds])
    return found


def enabled(timeline: otio.schema.Timeline) -> list[str]:
    return [each.name for each in timeline.tracks[1].find_clips() if each.enabled]


def test_only_the_sounds_of_these_pictures_are_muted_and_come_back(timeline: otio.schema.Timeline) -> None:
    before = timeline.to_json_string()
    assert mute_replaced_sounds(timeline, [timeline.tracks[0][0], timeline.tracks[0][2]]) == 2
    assert enabled(timeline) == ["b", "nobody's", "production", "odd"]
    assert mute_replaced_sounds(timeline, [timeline.tracks[0][0]]) == 0
    unmute_replaced_sounds(timeline)
    # A sound that the editor has muted stays muted.
    assert timeline.to_json_string() == before


def test_without_sounds_of_the_add_on_nothing_changes(timeline: otio.schema.Timeline) -> None:
    before = timeline.to_json_string()
    assert mute_replaced_sounds(timeline, []) == 0
    assert mute_replaced_sounds(timeline, [otio.schema.Clip("a"), timeline.tracks[0][2]]) == 0
    unmute_replaced_sounds(timeline)
    assert timeline.to_json_string() == before
