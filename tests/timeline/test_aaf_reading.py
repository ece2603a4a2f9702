"""AAF as Avid structures it: time warps, nested scopes, dissolves, several sequences, sounds of several channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import aaf2
import pytest
from aaf2.auid import AUID

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.pictures import Picture, find_pictures
from rewas_server.otio.reading import ReadOptions, open_timeline

RATE = 24
MOTION_CONTROL = AUID("9d2ea893-0968-11d3-8a38-0050040ef7d2")
DISSOLVE = AUID("0c3bea40-fc05-11d2-8a29-0050040ef7d2")
COMBINER = AUID("6b46dd7a-132d-4856-ab15-8b751d8462ec")
SPEED_RATIO = AUID("72559a80-24d7-11d3-8a50-0050040ef7d2")
OFFSET_MAP = AUID("8d56827d-847e-11d5-935a-50f857c10000")
LINEAR = AUID("5b6c85a4-0ede-11d3-80a9-006008143e6f")

Cut = Callable[[int, int], Any]
"""Function from a first frame and a number of frames to the component that shows them."""


def media(file: Any, name: str, kind: str = "picture") -> Cut:
    """Add a file of 1000 frames, and return the function that makes clips of it."""
    source = file.create.SourceMob(name)
    if kind == "picture":
        descriptor, locator = file.create.CDCIDescriptor(), file.create.NetworkLocator()
        facts = {"SampleRate": RATE, "Length": 1000, "ComponentWidth": 8, "HorizontalSubsampling": 2}
        facts |= {"StoredWidth": 64, "StoredHeight": 36, "ImageAspectRatio": "16/9", "FrameLayout": "FullFrame"}
        for key, value in (facts | {"VideoLineMap": [42, 0]}).items():
            descriptor[key].value = value
        locator["URLString"].value = f"file:///media/{name}.mov"
        descriptor["Locator"].append(locator)
    else:
        descriptor = file.create.PCMDescriptor()
        for key, value in {
            "SampleRate": 48_000,
            "AudioSamplingRate": 48_000,
            "Length": 2_000_000,
            "Channels": 2,
        }.items():
            descriptor[key].value = value
        for key, value in {"QuantizationBits": 24, "BlockAlign": 6, "AverageBPS": 288_000}.items():
            descriptor[key].value = value
    source.descriptor = descriptor
    slot = source.create_timeline_slot(RATE)
    slot.segment = file.create.SourceClip(media_kind=kind, length=1000)
    master = file.create.MasterMob(name)
    master_slot = master.create_timeline_slot(RATE)
    master_slot.segment = source.create_source_clip(slot.slot_id, 0, 1000, kind)
    file.content.mobs.extend([source, master])
    return lambda start, length: master.create_source_clip(master_slot.slot_id, start, length, kind)


def operation(
    file: Any, auid: AUID, name: str, *, inputs: int = 1, is_warp: bool = False, kind: str = "picture"
) -> Any:
    made = file.create.OperationDef(auid, name, "")
    made.media_kind = kind
    made["IsTimeWarp"].value, made["NumberInputs"].value = is_warp, inputs
    file.dictionary.register_def(made)
    return made


def parameter(file: Any, auid: AUID, name: str) -> Any:
    made = file.create.ParameterDef(auid, name, "", file.dictionary.lookup_typedef("Rational"))
    file.dictionary.register_def(made)
    return made


def sequence(file: Any, components: Sequence[Any], kind: str = "picture") -> Any:
    made = file.create.Sequence(media_kind=kind)
    made.components.extend(components)
    return made


def composition(file: Any, segment: Any, name: str = "reel", start: int = 86_400) -> Any:
    reel = file.create.CompositionMob(name)
    reel.usage = "Usage_TopLevel"
    picture, count = reel.create_timeline_slot(RATE), reel.create_timeline_slot(RATE)
    picture.segment, count.segment = segment, file.create.Timecode(RATE)
    count.segment.start, count.segment.length, count.segment.drop = start, 1000, False
    picture["PhysicalTrackNumber"].value = count["PhysicalTrackNumber"].value = 1
    file.content.mobs.append(reel)
    return reel


class Warps:
    """Makes time warps as Motion Control effects."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._operation = operation(file, MOTION_CONTROL, "Motion Control", is_warp=True)
        self._ratio = parameter(file, SPEED_RATIO, "SpeedRatio")
        self._map = parameter(file, OFFSET_MAP, "PARAM_SPEED_OFFSET_MAP_U")
        self._linear = file.create.InterpolationDef(LINEAR, "LinearInterp", "")
        file.dictionary.register_def(self._linear)

    def constant(self, ratio: Fraction, length: int, segment: Any) -> Any:
        group = self._file.create.OperationGroup(self._operation, length, media_kind="picture")
        group.parameters.append(self._file.create.ConstantValue(self._ratio, ratio))
        group.segments.append(segment)
        return group

    def mapped(self, points: Sequence[tuple[int, int]], length: int, segment: Any) -> Any:
        """A warp that shows a frame of its input at each of some frames."""
        group = self.constant(Fraction(1), length, segment)
        varying = self._file.create.VaryingValue()
        varying.parameterdef = self._map
        varying["Interpolation"].value = self._linear
        listed = []
        for time, value in points:
            point = self._file.create.ControlPoint()
            point.time, point.value = Fraction(time), Fraction(value)
            listed.append(point)
        varying["PointList"].value = listed
        group.parameters.append(varying)
        return group


def pictures(path: Path, name: str | None = None) -> list[Picture]:
    timeline = open_timeline(path, ReadOptions(timeline_name=name)).timeline
    assert timeline_start_s(timeline) == 3600
    return find_pictures(timeline)


def shown(found: Sequence[Picture]) -> list[tuple[str, Fraction, Fraction, Fraction, Fraction]]:
    """Name, position and duration, and start and speed in the media, in frames."""
    return [
        (each.name, (each.position_s or 0) * RATE, each.duration_s * RATE, source.timecode_s * RATE, source.speed)
        for each in found
        if (source := each.source) is not None
    ]


def test_constant_speeds_backwards_clips_and_freeze_frames_are_read(tmp_path: Path) -> None:
    path = tmp_path / "warps.aaf"
    with aaf2.open(str(path), "w") as file:
        one, warps = media(file, "one"), Warps(file)
        parts = [
            one(10, 24),
            warps.constant(Fraction(1, 2), 24, one(100, 48)),
            warps.constant(Fraction(2, 1), 24, one(200, 12)),
            warps.constant(Fraction(-1, 1), 24, one(300, 24)),
            # The ratio of a freeze frame is its length.
            warps.constant(Fraction(24, 1), 24, one(400, 1)),
            warps.mapped([(0, 0), (24, 72)], 24, one(500, 72)),
            one(700, 24),
        ]
        composition(file, sequence(file, parts))
    assert shown(pictures(path)) == [
        ("one", 0, 24, 10, 1),
        ("one", 24, 24, 100, 2),
        ("one", 48, 24, 200, Fraction(1, 2)),
        ("one", 72, 24, 300, -1),
        ("one", 96, 24, 400, 0),
        ("one", 120, 24, 500, 3),
        ("one", 144, 24, 700, 1),
    ]


def test_a_variable_speed_is_refused_by_the_name_of_its_effect(tmp_path: Path) -> None:
    path = tmp_path / "ramp.aaf"
    with aaf2.open(str(path), "w") as file:
        one, warps = media(file, "one"), Warps(file)
        ramp = warps.mapped([(0, 0), (12, 24), (24, 30)], 24, one(100, 48))
        composition(file, sequence(file, [one(10, 24), ramp, one(200, 24)]))
    first, second, third = pictures(path)
    assert second.problem is not None
    assert 'The clip "one" changes its speed as it plays (Motion Control)' in second.problem.what
    assert shown([first, third]) == [("one", 0, 24, 10, 1), ("one", 48, 24, 200, 1)]


def test_of_a_nested_scope_the_topmost_layer_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "scope.aaf"
    with aaf2.open(str(path), "w") as file:
        one, two = media(file, "one"), media(file, "two")
        scope = file.create.NestedScope(media_kind="picture")
        scope.length = 48
        scope.slots.append(sequence(file, [one(10, 48)]))
        scope.slots.append(sequence(file, [file.create.Filler("picture", 24), two(100, 24)]))
        composition(file, sequence(file, [one(500, 24), scope, two(300, 24)]))
    assert shown(pictures(path)) == [
        ("one", 0, 24, 500, 1),
        ("one", 24, 24, 10, 1),
        ("two", 48, 24, 100, 1),
        ("two", 72, 24, 300, 1),
    ]


def test_a_dissolve_ends_at_its_cut_point(tmp_path: Path) -> None:
    path = tmp_path / "dissolve.aaf"
    with aaf2.open(str(path), "w") as file:
        one, two = media(file, "one"), media(file, "two")
        dissolve = file.create.Transition("picture", 12)
        effect = operation(file, DISSOLVE, "VideoDissolve_2", inputs=2)
        dissolve["OperationGroup"].value = file.create.OperationGroup(effect, 12, media_kind="picture")
        dissolve["CutPoint"].value = 4
        composition(file, sequence(file, [one(10, 54), dissolve, two(100, 54), one(200, 24)]))
    # The clips overlap for 12 frames, and the cut is at the fourth of them.
    assert shown(pictures(path)) == [
        ("one", 0, 46, 10, 1),
        ("two", 46, 50, 104, 1),
        ("one", 96, 24, 200, 1),
    ]


def test_one_of_several_sequences_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "reels.aaf"
    with aaf2.open(str(path), "w") as file:
        one, two = media(file, "one"), media(file, "two")
        composition(file, sequence(file, [one(10, 24)]), "Reel 1")
        composition(file, sequence(file, [two(20, 24)]), "Reel 2")
    with pytest.raises(ProblemError) as caught:
        open_timeline(path)
    assert caught.value.remedy == 'Choose one with --timeline NAME: "Reel 1", "Reel 2".'
    assert shown(pictures(path, "Reel 2")) == [("two", 0, 24, 20, 1)]


def test_sounds_of_several_channels_do_not_disturb_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "channels.aaf"
    with aaf2.open(str(path), "w") as file:
        one, left, right = media(file, "one"), media(file, "left", "sound"), media(file, "right", "sound")
        reel = composition(file, sequence(file, [one(10, 48)]))
        combiner = operation(file, COMBINER, "Audio Channel Combiner", inputs=-1, kind="sound")
        group = file.create.OperationGroup(combiner, 48, media_kind="sound")
        group.segments.append(left(0, 48))
        group.segments.append(right(0, 48))
        stereo = reel.create_timeline_slot(RATE)
        stereo.segment = sequence(file, [group], "sound")
    assert shown(pictures(path)) == [("one", 0, 48, 10, 1)]
