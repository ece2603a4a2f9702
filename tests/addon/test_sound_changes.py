"""The changes of another program to the sounds of a scene are found in the file that it has written."""

from collections.abc import Callable
from dataclasses import astuple, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.exchanged import Curve, ExchangedChannel, ExchangedScene, ExchangedStrip
from rewas_nle.timeline.fades import Fades, Level, fade_curve, level_of
from rewas_nle.timeline.follow import Position
from rewas_nle.timeline.otio_export import build_timeline
from rewas_nle.timeline.otio_import import read_timeline
from rewas_nle.timeline.otio_json import Clip, Gap, OtioObject, Stack, Timeline, Track, from_plain, read_otio, to_plain
from rewas_nle.timeline.otio_sounds import FoundSounds, read_sounds
from rewas_nle.timeline.sound_changes import SoundChange, SoundChanges, UnrelatedError, compare_sounds
from rewas_nle.timeline.takes import Stem, StoredTake

RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]
Edit = Callable[[Timeline], None]


def sound(name: str, content: int, start: int, end: int, **fields: Any) -> ExchangedStrip:
    path = fields.pop("path", f"/film/{name}.wav")
    return ExchangedStrip(name, "SOUND", fields.pop("channel", 1), start, end, content, files=(path,), **fields)


def scene_of(*strips: ExchangedStrip, rate: Fraction = RATES[2], **fields: Any) -> ExchangedScene:
    return ExchangedScene("Scene", rate, 1001, 1500, strips=strips, **fields)


def changes_in(scene: ExchangedScene, *edits: Edit) -> SoundChanges:
    """Export a scene, edit the file, and return the changes."""
    timeline = read_otio(build_timeline(scene, str).timeline.to_json_string())
    for edit in edits:
        edit(timeline)
    return compare_sounds(scene, read_sounds(timeline, str))


def clip_named(timeline: Timeline, name: str) -> tuple[Track, int]:
    return next(
        (track, number)
        for track in timeline.tracks
        for number, child in enumerate(track.children)
        if isinstance(child, Clip) and child.name == name
    )


def move(name: str, frames: Fraction | int) -> Edit:
    """Lengthen the gap before a clip, and shorten the one after it."""

    def edit(timeline: Timeline) -> None:
        track, number = clip_named(timeline, name)
        _lengthen(track.children[number - 1], frames)
        if number + 1 < len(track.children):
            _lengthen(track.children[number + 1], -frames)

    return edit


def trim(name: str, head: int, tail: int) -> Edit:
    """Trim frames off a clip. The clips after it keep their positions."""

    def edit(timeline: Timeline) -> None:
        track, number = clip_named(timeline, name)
        clip = track.children[number]
        clip.source_range.start_time.value += head
        _lengthen(clip, -head - tail)
        _lengthen(track.children[number - 1], head)
        if number + 1 < len(track.children):
            _lengthen(track.children[number + 1], tail)

    return edit


def _lengthen(item: Any, frames: Fraction | int) -> None:
    item.source_range.duration.value += float(frames)


def change(clip: str, **fields: Any) -> Edit:
    def edit(timeline: Timeline) -> None:
        track, number = clip_named(timeline, clip)
        for field, value in fields.items():
            setattr(track.children[number], field, value)

    return edit


def only(changes: SoundChanges) -> SoundChange:
    (found,) = changes.changed
    assert not changes.added
    assert not changes.missing
    assert not changes.notes
    return found


THREE = (sound("door", 1010, 1010, 1030), sound("rain", 1040, 1050, 1100), sound("step", 1110, 1110, 1120))


@pytest.mark.parametrize("rate", RATES)
def test_an_unchanged_file_has_no_changes(rate: Fraction) -> None:
    assert changes_in(scene_of(*THREE, rate=rate)) == SoundChanges((), (), (), ())


@pytest.mark.parametrize("rate", RATES)
def test_handles_move_with_their_sound(rate: Fraction) -> None:
    found = only(changes_in(scene_of(*THREE, rate=rate), move("rain", 7)))
    assert (found.name, found.position) == ("rain", Position(1047, 1057, 1107))
    assert str(found) == 'The sound "rain" is 7 frames later.'


def test_a_sound_between_two_frames_keeps_its_fraction() -> None:
    found = only(changes_in(scene_of(*THREE), move("rain", Fraction(-3, 2))))
    assert found.position == Position(1038, 1048, 1098)
    assert found.offset_s == Fraction(1, 2) / RATES[2]
    assert str(found) == 'The sound "rain" is 1.5 frames earlier.'


def test_a_trimmed_sound_stays_where_it_is() -> None:
    found = only(changes_in(scene_of(*THREE), trim("rain", 5, 10)))
    assert found.position == Position(1040, 1055, 1090)
    assert str(found) == 'The sound "rain" plays frames 15 to 49 of its file.'


def test_mute_and_names_come_back() -> None:
    found = only(changes_in(scene_of(*THREE), change("rain", enabled=False, name="drizzle")))
    assert (found.is_muted, found.new_name, found.position) == (True, "drizzle", None)
    assert str(found) == 'The sound "rain" is now named "drizzle" and is muted.'


def test_a_muted_track_mutes_its_sounds() -> None:
    def mute(timeline: Timeline) -> None:
        clip_named(timeline, "rain")[0].enabled = False

    assert {each.name for each in changes_in(scene_of(*THREE), mute).changed} == {"door", "rain", "step"}
    muted = scene_of(*THREE, channels=(ExchangedChannel(1, "FX", is_muted=True),))
    assert not changes_in(muted).changed


def test_a_deleted_sound_is_missing() -> None:
    def delete(timeline: Timeline) -> None:
        track, number = clip_named(timeline, "rain")
        track.children[number] = Gap(source_range=track.children[number].source_range)

    changes = changes_in(scene_of(*THREE), delete)
    assert (changes.changed, changes.missing) == ((), ("rain",))


def test_the_second_half_of_a_split_sound_is_new() -> None:
    def split(timeline: Timeline) -> None:
        track, number = clip_named(timeline, "rain")
        clip = track.children[number]
        second = from_plain(to_plain_copy(clip))
        _lengthen(clip, -20)
        second.source_range.start_time.value += 30
        _lengthen(second, -30)
        track.children.insert(number + 1, second)

    changes = changes_in(scene_of(*THREE), split)
    assert [(each.name, each.position) for each in changes.changed] == [("rain", Position(1040, 1050, 1080))]
    (added,) = changes.added
    assert (added.found.path, added.position) == ("/film/rain.wav", Position(1040, 1080, 1100))


def to_plain_copy(item: OtioObject) -> Any:
    return to_plain(item)


def test_a_new_sound_is_placed_to_the_sample() -> None:
    def add(timeline: Timeline) -> None:
        new = read_otio(
            '{"OTIO_SCHEMA": "Clip.2", "name": "crash", "source_range": {"OTIO_SCHEMA": "TimeRange.1",'
            '"start_time": {"OTIO_SCHEMA": "RationalTime.1", "value": 0, "rate": 48000},'
            '"duration": {"OTIO_SCHEMA": "RationalTime.1", "value": 48048, "rate": 48000}},'
            '"media_references": {"DEFAULT_MEDIA": {"OTIO_SCHEMA": "ExternalReference.1", "target_url": "/n/c.wav"}}}'
        )
        gap = from_plain(to_plain_copy(new) | {"OTIO_SCHEMA": "Gap.1"})
        gap.source_range.duration.value = 21021.0
        timeline.tracks.append(Track(name="Crashes", kind="Audio", children=[gap, new]))

    changes = changes_in(scene_of(*THREE), add)
    (added,) = changes.added
    # 21021 samples are 10.5 frames; the first sample is not cut off.
    assert (added.position, added.offset_s) == (Position(1011, 1011, 1036), Fraction(1, 2) / RATES[2])
    assert (added.found.track_name, added.found.name) == ("Crashes", "crash")


def test_copies_of_one_file_are_distinguished_by_position() -> None:
    copies = [
        sound(name, 1010 + 100 * n, 1010 + 100 * n, 1030 + 100 * n, path="/film/a.wav")
        for n, name in enumerate(("hit", "hit.001", "hit.002"))
    ]
    found = changes_in(scene_of(*copies), move("hit.001", 5), change("hit.002", enabled=False))
    assert [(each.name, each.position, each.is_muted) for each in found.changed] == [
        ("hit.001", Position(1115, 1115, 1135), None),
        ("hit.002", None, True),
    ]


def test_sounds_inside_meta_strips_are_compared_too() -> None:
    inner = sound("inside", 1090, 1095, 1120)
    meta = ExchangedStrip("meta", "META", 4, 1100, 1150, 1095, content_frames=55, strips=(inner,))
    scene = scene_of(*THREE, meta)
    assert not changes_in(scene).changed

    def edit(timeline: Timeline) -> None:
        stack = next(child for track in timeline.tracks for child in track.children if isinstance(child, Stack))
        stack.children[0].children[0].enabled = False

    assert [(each.name, each.is_muted) for each in changes_in(scene, edit).changed] == [("inside", True)]


def take(number: int) -> StoredTake:
    stems = tuple(Stem(role, Path(f"/film/{role} {number}.wav"), 48000, 1, 48048) for role in ("primary", "ambience"))
    return StoredTake(f"take-{number}", "", number, "", False, stems)


def test_another_take_that_is_unmuted_is_chosen() -> None:
    picture = ExchangedStrip(
        "ball", "MOVIE", 3, 1010, 1034, 1010, rewas={"uid": "abc"}, stored_takes=(take(1), take(2)), files=("/b.mov",)
    )
    link = {"owner": "abc", "role": "primary", "take": "take-1"}
    stem = sound("ball primary", 1010, 1010, 1034, path="/film/primary 1.wav", rewas={"stem": link})
    scene = scene_of(picture, stem)
    takes = [
        clip_at("ball p1", "/film/primary 1.wav", 9, enabled=False, metadata={"rewas": {"role": "primary"}}),
        clip_at("ball p2", "/film/primary 2.wav", 9, metadata={"rewas": {"role": "primary"}}),
        clip_at("ball p3", "/film/primary 9.wav", 9, enabled=False),
    ]
    changed = compare_sounds(scene, file_with(takes))
    assert [(each.name, each.take, each.owner, each.is_muted) for each in changed.changed] == [
        ("ball primary", "take-2", "abc", None)
    ]
    # The muted take is not a new sound, but an unknown muted file is one.
    assert [each.found.path for each in changed.added] == ["/film/primary 9.wav"]
    takes[0].enabled, takes[1].enabled = True, False
    assert not compare_sounds(scene, file_with(takes[:2])).changed
    takes[1].enabled = True
    both = compare_sounds(scene, file_with(takes[:2]))
    assert (both.changed, both.added) == ((), ())
    assert [note.what for note in both.notes] == [
        'The file plays two takes of a strip at the same time, and the sound "ball p2" is one of them.'
    ]
    # The second half of a split take is new.
    assert [each.found.path for each in compare_sounds(scene, file_with([takes[0], takes[0]])).added] == [
        "/film/primary 1.wav"
    ]


def clip_at(name: str, path: str, frames: int, *, enabled: bool = True, metadata: Any = None) -> Track:
    """A track with one clip of 24 frames."""
    rate = float(RATES[2])
    times = {
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": {"OTIO_SCHEMA": "RationalTime.1", "value": 0, "rate": rate},
        "duration": {"OTIO_SCHEMA": "RationalTime.1", "value": 24, "rate": rate},
    }
    gap = from_plain({"OTIO_SCHEMA": "Gap.1", "source_range": times})
    gap.source_range.duration.value = frames
    reference = {"OTIO_SCHEMA": "ExternalReference.1", "target_url": path}
    clip = from_plain(
        {
            "OTIO_SCHEMA": "Clip.2",
            "name": name,
            "source_range": times,
            "metadata": metadata or {},
            "media_references": {"DEFAULT_MEDIA": reference},
        }
    )
    return Track(kind="Audio", children=[gap, clip], enabled=enabled)


def file_with(tracks: list[Track], start: Any = None) -> FoundSounds:
    return read_sounds(Timeline(tracks=Stack(children=list(tracks)), global_start_time=start), str)


def test_a_file_without_a_start_begins_at_the_first_frame() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034))
    assert not compare_sounds(scene, file_with([clip_at("door", "/film/door.wav", 9)])).changed


def test_another_start_timecode_is_noted_and_does_not_move_everything() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034), sound("rain", 1050, 1050, 1074))
    start = from_plain({"OTIO_SCHEMA": "RationalTime.1", "value": 0, "rate": 24})
    tracks = [clip_at("door", "/film/door.wav", 9), clip_at("rain", "/film/rain.wav", 50)]
    changes = compare_sounds(scene, file_with(tracks, start))
    assert [(each.name, str(each)) for each in changes.changed] == [("rain", 'The sound "rain" is 1 frame later.')]
    assert [note.what for note in changes.notes] == ["The start timecode of the file differs from that of the scene."]


def test_media_that_has_moved_is_found_by_its_name() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034))
    changes = compare_sounds(scene, file_with([clip_at("door", r"D:\mix\Door.WAV", 12)]))
    assert only(changes).position == Position(1013, 1013, 1037)


def test_volume_pan_and_fades_of_a_mix_come_back() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034, properties={"volume": 0.5}), sound("rain", 1050, 1050, 1074))
    loud = {"reaper": {"volume": 0.25, "pan": -0.5, "fade_in_s": 0.1}}
    same = {"reaper": {"volume": 1.0, "pan": 0.0, "fade_in_s": 0.01}}
    tracks = [clip_at("door", "/film/door.wav", 9, metadata=loud), clip_at("", "/film/rain.wav", 49, metadata=same)]
    changes = compare_sounds(scene, file_with(tracks))
    assert [str(each) for each in changes.changed] == [
        'The sound "door" has a volume of -12.0 dB, fades in over 2 frames and has a pan of -0.50.'
    ]
    assert changes.changed[0].fades == Fades(in_frames=2)
    assert not changes.notes


def faded(name: str, start: int, end: int, level: Level, **fields: Any) -> ExchangedStrip:
    curve = fade_curve(level, end - start)
    return sound(name, start, start, end, curves=(curve,) if curve else (), **fields)


def test_fades_come_back_when_they_change() -> None:
    scene = scene_of(faded("door", 1010, 1034, Level(0.5, Fades(6, 3))))
    file = {"volume": 0.5, "pan": 0.0, "fade_in_s": 6 / float(RATES[2]), "fade_out_s": 3 / float(RATES[2])}

    def changes(**mixed: float) -> SoundChanges:
        return compare_sounds(
            scene, file_with([clip_at("door", "/film/door.wav", 9, metadata={"reaper": file | mixed})])
        )

    assert changes() == SoundChanges((), (), (), ())
    (none,) = changes(fade_in_s=0.0).changed
    assert (str(none), none.volume, none.fades) == ('The sound "door" no longer fades in.', 0.5, Fades(0, 3))
    (louder,) = changes(volume=1.0).changed
    assert (louder.volume, louder.fades) == (1.0, Fades(6, 3))
    # A fade cannot be longer than the sound.
    (long,) = changes(fade_in_s=10.0).changed
    assert long.fades == Fades(24, 0)


def test_fades_stay_at_the_ends_of_a_sound() -> None:
    scene = scene_of(*THREE[:1], faded("rain", 1050, 1100, Level(1.0, Fades(6, 3))))
    found = only(changes_in(scene, trim("rain", 5, 10)))
    assert (found.position, found.volume, found.fades) == (Position(1050, 1055, 1090), 1.0, Fades(6, 3))
    assert str(found) == 'The sound "rain" plays frames 5 to 39 of its file.'


def test_keyframes_of_a_volume_are_kept() -> None:
    keys = tuple(
        (frame, value, "BEZIER", frame, value, frame, value, "AUTO", "AUTO")
        for frame, value in ((0.0, 1.0), (12.0, 0.25), (20.0, 0.75))
    )
    scene = scene_of(sound("door", 1010, 1010, 1034, curves=(Curve("volume", 0, keys),)))
    neutral = {"volume": 1.0, "pan": 0.0, "fade_in_s": 0.0, "fade_out_s": 0.0}
    assert changes_in(scene) == SoundChanges((), (), (), ())
    for mixed, notes in ((neutral, 0), (neutral | {"volume": 0.5}, 1), (neutral | {"fade_out_s": 0.5}, 1)):
        changes = compare_sounds(scene, file_with([clip_at("door", "/film/door.wav", 9, metadata={"reaper": mixed})]))
        assert (len(changes.changed), len(changes.notes)) == (0, notes)
    assert str(changes.notes[0]) == (
        'The sound "door" is at another level in the file, but keyframes control the volume in Blender. Delete the '
        "keyframes and import again to use the level of the file."
    )


@given(
    frames=st.integers(1, 400),
    volume=st.floats(0.01, 4.0),
    into=st.integers(0, 500),
    out=st.integers(0, 500),
    rate=st.sampled_from(RATES),
)
def test_any_fades_survive_a_file(frames: int, volume: float, into: int, out: int, rate: Fraction) -> None:
    level = Level(volume, Fades(into, out).within(frames))
    strip = faded("door", 1010, 1010 + frames, level, properties={"volume": volume} if level.fades == Fades() else {})
    read = level_of(strip)
    assert read is not None
    assert read.is_same(level)
    scene = scene_of(strip, rate=rate)
    assert changes_in(scene) == SoundChanges((), (), (), ())
    timeline = read_otio(build_timeline(scene, str).timeline.to_json_string())
    (again,) = read_timeline(timeline, str).scene.strips
    assert level_of(again) == read
    assert again.curves == strip.curves
    assert again.original is None
    # Without what only Blender knows, as in a project of another program.
    track, number = clip_named(timeline, "door")
    track.children[number].metadata.pop("blender")
    (foreign,) = read_timeline(timeline, str).scene.strips
    found = level_of(foreign)
    assert found is not None
    assert found.is_same(level if level.fades != Fades() else Level())


@pytest.mark.parametrize("mixed", [{"volume": 0.5}, {"pan": -0.25}, {"envelopes": True}])
def test_what_a_track_does_to_its_sounds_is_noted(mixed: dict[str, Any]) -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034), sound("rain", 1050, 1050, 1074))
    neutral = {"volume": 1.0, "pan": 0.0, "guid": "{A1}"}
    tracks = [clip_at("door", "/film/door.wav", 9), clip_at("rain", "/film/rain.wav", 49)]
    for each in tracks:
        each.name, each.metadata = "FX", {"reaper": neutral | mixed}
    assert [str(note) for note in compare_sounds(scene, file_with(tracks)).notes] == [
        'The track "FX" changes the volume or pan of its sounds in the file. The volume, pan and envelopes of tracks '
        "are not imported. Change the strips instead."
    ]
    tracks[1].metadata["reaper"] = neutral | mixed | {"guid": "{B2}"}
    assert [note.what for note in compare_sounds(scene, file_with(tracks)).notes] == [
        'The track "FX" and 1 more change the volume or pan of their sounds in the file.'
    ]
    for each in tracks:
        each.metadata = {"reaper": neutral}
    assert not compare_sounds(scene, file_with(tracks)).notes


def test_envelopes_of_sounds_are_noted() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034), sound("rain", 1050, 1050, 1074))
    mixed = {"reaper": {"volume": 1.0, "pan": 0.0, "envelopes": True}}
    tracks = [
        clip_at("door", "/film/door.wav", 9, metadata=mixed),
        clip_at("rain", "/film/rain.wav", 49, metadata=mixed),
    ]
    assert [str(note) for note in compare_sounds(scene, file_with(tracks)).notes] == [
        'The sound "door" and 1 more are changed by envelopes in the file. Envelopes are not imported. Animate the '
        "volume and pan of the strip instead."
    ]


@pytest.mark.parametrize("name", ["door.wav", "door", "", "door.001"])
def test_names_that_programs_choose_are_not_new(name: str) -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034))
    assert not compare_sounds(scene, file_with([clip_at(name, "/film/door.wav", 9)])).changed


def test_names_of_a_batch_are_not_new() -> None:
    scene = scene_of(sound("ball (primary)", 1010, 1010, 1034, path="/film/x.wav"))
    clip = clip_at("0001 ball take 1", "/film/x.wav", 9, metadata={"rewas": {"role": "primary", "take": 1}})
    assert not compare_sounds(scene, file_with([clip])).changed


PLACES = (("door", 9), ("rain", 49))


def test_another_speed_is_noted() -> None:
    scene = scene_of(sound("door", 1010, 1010, 1034), sound("rain", 1050, 1050, 1074))
    fast = clip_at("door", "/film/door.wav", 9)
    fast.children[1].effects = [from_plain({"OTIO_SCHEMA": "LinearTimeWarp.1", "time_scalar": 2.0})]
    changes = compare_sounds(scene, file_with([fast, clip_at("rain", "/film/rain.wav", 49)]))
    # A sound that the file plays in another way must not count as deleted.
    assert (changes.changed, changes.added, changes.missing) == ((), (), ())
    assert [str(note) for note in changes.notes] == [
        'The sound "door" is unchanged in Blender, because the file sets another speed. Render to a new file '
        "there, because an add-on cannot change the speed of a sound."
    ]
    new = clip_at("crash", "/film/crash.wav", 9)
    new.children[1].effects = fast.children[1].effects
    changes = compare_sounds(scene, file_with([*(clip_at(n, f"/film/{n}.wav", at) for n, at in PLACES), new]))
    assert (changes.changed, changes.added, changes.missing) == ((), (), ())
    assert [note.what for note in changes.notes] == [
        'The new sound "crash" is played at another speed in the file, so it was not added.'
    ]


def test_a_file_of_another_film_is_refused() -> None:
    with pytest.raises(UnrelatedError):
        compare_sounds(scene_of(*THREE), file_with([clip_at("x", "/other/x.wav", 9)]))


@st.composite
def scenes(draw: st.DrawFn) -> ExchangedScene:
    strips = []
    at = 1001
    for number in range(draw(st.integers(1, 8))):
        at += draw(st.integers(1, 40))
        frames, lead_in = draw(st.integers(1, 50)), draw(st.integers(0, 30))
        path = draw(st.sampled_from(["/film/a.wav", "/film/b.wav"]))
        strips.append(sound(f"sound {number}", at - lead_in, at, at + frames, path=path, is_muted=draw(st.booleans())))
        at += frames
    return replace(scene_of(*strips), rate=draw(st.sampled_from(RATES)))


def places(strips: list[tuple[ExchangedStrip, Position, bool]]) -> list[Any]:
    """The audible result: where each file plays, and whether it is muted."""
    return sorted((strip.files[0], astuple(position), muted) for strip, position, muted in strips)


@given(scenes(), st.data())
def test_any_edit_is_found(scene: ExchangedScene, data: st.DataObject) -> None:
    first, frames = data.draw(st.integers(0, len(scene.strips) - 1)), data.draw(st.integers(0, 200))
    muted = data.draw(st.lists(st.booleans(), min_size=len(scene.strips), max_size=len(scene.strips)))

    def edit(timeline: Timeline) -> None:
        """Mute some sounds, and move the last ones together."""
        for strip, is_muted in zip(scene.strips, muted, strict=True):
            track, number = clip_named(timeline, strip.name)
            track.children[number].enabled = not is_muted
        track, number = clip_named(timeline, scene.strips[first].name)
        _lengthen(track.children[number - 1], frames)

    changes = changes_in(scene, edit)
    old = {each.name: Position(each.content_start_frame, each.start_frame, each.end_frame) for each in scene.strips}
    changed = {each.name: each for each in changes.changed}
    expected, applied = [], []
    for number, (strip, is_muted) in enumerate(zip(scene.strips, muted, strict=True)):
        expected.append((strip, old[strip.name].moved(frames if number >= first else 0), is_muted))
        found = changed.get(strip.name, SoundChange(strip.name))
        now_muted = strip.is_muted if found.is_muted is None else found.is_muted
        applied.append((strip, found.position or old[strip.name], now_muted))
    # Sounds with the same file may be confused with each other, but the audible result is the same.
    assert places(applied) == places(expected)
    assert not changes.added
    assert not changes.missing


@pytest.mark.parametrize("lead_in", [0, 7])
@pytest.mark.parametrize("offset_s", [0.0125, -0.0125])
def test_a_sound_that_begins_between_two_frames_is_exported_there(lead_in: int, offset_s: float) -> None:
    strip = sound("door", 1010 - lead_in, 1010, 1034, properties={"sound_offset": offset_s})
    scene = scene_of(strip, sound("rain", 1050, 1050, 1074))
    timeline = read_otio(build_timeline(scene, str).timeline.to_json_string())
    (door, rain) = read_sounds(timeline, str).sounds
    assert float(door.media_begin_s) == pytest.approx(float((9 - lead_in) / RATES[2]) + offset_s, abs=1e-9)
    assert float(door.begin_s) == pytest.approx(
        float(9 / RATES[2]) + (offset_s if lead_in == 0 and offset_s > 0 else 0), abs=1e-9
    )
    assert float(door.end_s) == pytest.approx(float(33 / RATES[2]), abs=1e-9)
    assert rain.begin_s == 49 / RATES[2]
    assert not changes_in(scene).changed
    found = only(changes_in(scene, move("door", 3)))
    assert (found.position, found.offset_s) == (Position(1013 - lead_in, 1013, 1037), 0)


def test_a_volume_that_is_no_number_is_not_a_level_and_comes_back() -> None:
    strip = sound("a", 1, 1, 11, properties={"volume": [0.0]})
    assert level_of(strip) is None
    timeline = read_otio(build_timeline(scene_of(strip), str).timeline.to_json_string())
    (found,) = read_timeline(timeline, str).scene.strips
    assert found.properties == strip.properties


@pytest.mark.parametrize("pan", [[0.0], None, "left"])
def test_a_pan_that_is_no_number_comes_back(pan: object) -> None:
    strip = faded("a", 1, 11, Level(0.5, Fades(2, 0)), properties={"pan": pan})
    timeline = read_otio(build_timeline(scene_of(strip), str).timeline.to_json_string())
    (found,) = read_timeline(timeline, str).scene.strips
    assert found.properties["pan"] == pan
    assert not compare_sounds(scene_of(strip), read_sounds(timeline, str)).changed
