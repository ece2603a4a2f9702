"""What a batch keeps: keys of sounds, the record, and what is left after a kill at any point."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError
from rewas_api.layer_settings import LayerSettings
from rewas_api.performance_settings import PerformanceSettings
from rewas_api.v1 import rewas_pb2
from rewas_server.batch.content_key import SoundIdentity, SoundRange, content_key
from rewas_server.batch.plan import BatchPlan, absolute_location, handles
from rewas_server.batch.record import BatchRecord, KeptSound
from rewas_server.otio.clips import ClipSource, PromptedClip

IDENTITY = SoundIdentity("a" * 64, Fraction(1), None, ClipSettings(prompt="a door"), "b" * 64)
RANGE = SoundRange(Fraction(1, 3), Fraction(2))
KEY = content_key(IDENTITY.family, RANGE, 7)


def source(start_s: Fraction, duration_s: Fraction, speed: Fraction = Fraction(1), url: str = "/a.mov") -> ClipSource:
    return ClipSource("clip", url, start_s, duration_s, Fraction(24), Fraction(0), speed, Fraction(100))


def prompted(
    start_s: Fraction, duration_s: Fraction, speed: Fraction = Fraction(1), **settings: object
) -> PromptedClip:
    held = ClipSettings(prompt="a door", **settings)  # type: ignore[arg-type]
    return PromptedClip(source(start_s, duration_s, speed), held, Fraction(0), duration_s, Fraction(24))


def keep_sound(record: BatchRecord) -> KeptSound:
    with record.making(KEY) as folder:
        (folder / "door.wav").write_bytes(b"sound")
        stem = rewas_pb2.Stem(role="primary", artifact=rewas_pb2.Artifact(name="door.wav", size_bytes=5))
        result = rewas_pb2.SoundResult(takes=[rewas_pb2.Take(seed=7, stems=[stem])])
        return record.keep(KeptSound(KEY, IDENTITY.family, RANGE, 7, folder), result)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("rain.wav", "/film/rain.wav"),
        ("/sounds/rain.wav", "/sounds/rain.wav"),
        ("~nobody-of-this-name/rain.wav", "/film/~nobody-of-this-name/rain.wav"),
        ("C:/sounds/rain.wav", "C:/sounds/rain.wav"),
        ("file:///sounds/rain.wav", "file:///sounds/rain.wav"),
    ],
)
def test_references_are_read_from_the_folder_of_the_timeline(location: str, expected: str) -> None:
    assert absolute_location(location, Path("/film")) == expected


def test_equivalent_values_give_the_same_sound() -> None:
    explicit = replace(
        IDENTITY,
        settings=ClipSettings(prompt="a door", pack="starter", takes=1, sample_rate_hz=48000, loop=False, gain_db=0.0),
    )
    assert explicit.family == IDENTITY.family


@pytest.mark.parametrize(
    "changed",
    [
        {"media_sha256": "c" * 64},
        {"speed": Fraction(2)},
        {"freeze_s": Fraction(1)},
        {"pack_content_sha256": "d" * 64},
        {"settings": ClipSettings(prompt="a gate")},
        {"settings": ClipSettings(prompt="a door", seed=0)},
        {"settings": ClipSettings(prompt="a door", num_inference_steps=5)},
        {"settings": ClipSettings(prompt="a door", layers=(LayerSettings("ambience", "wind"),))},
    ],
)
def test_what_changes_a_sound_changes_its_family(changed: dict[str, object]) -> None:
    assert replace(IDENTITY, **changed).family != IDENTITY.family  # type: ignore[arg-type]


def with_layer(**layer: object) -> SoundIdentity:
    settings = ClipSettings(prompt="a door", layers=(LayerSettings("ambience", "wind", **layer),))  # type: ignore[arg-type]
    return replace(IDENTITY, settings=settings, layer_pack_sha256={"foley": "c" * 64, "same": "b" * 64})


def test_the_pack_of_a_layer_is_known_by_its_content() -> None:
    foley = with_layer(pack="foley")
    assert foley.family != with_layer().family
    assert with_layer(pack="same").family == with_layer().family
    assert replace(foley, layer_pack_sha256={"foley": "d" * 64}).family != foley.family


def test_a_performance_counts_only_for_a_library() -> None:
    performed = replace(IDENTITY, settings=ClipSettings(prompt="a door", performance=PerformanceSettings(place=1)))
    assert performed.family == IDENTITY.family
    library = replace(IDENTITY, libraries=frozenset({""}))
    assert replace(performed, libraries=library.libraries).family != library.family
    default = ClipSettings(prompt="a door", performance=PerformanceSettings(place=0, tail="curve", room="in"))
    assert replace(library, settings=default).family == library.family
    sampled = ClipSettings(prompt="a door", num_inference_steps=5, guidance_scale=2.0, control_strength=0.5)
    assert replace(library, settings=sampled).family == library.family
    layer = with_layer(pack="foley", performance=PerformanceSettings(place=1))
    assert layer.family == with_layer(pack="foley").family
    assert replace(layer, libraries=frozenset({"foley"})).family != replace(
        with_layer(pack="foley"), libraries=frozenset({"foley"})
    ).family  # fmt: skip


def test_a_derived_seed_changes_with_picture_and_prompts_and_not_with_other_settings() -> None:
    seed = IDENTITY.derive_seed(RANGE, 0)
    compared = replace(IDENTITY, settings=replace(IDENTITY.settings, guidance_scale=2.0, takes=3))
    assert compared.derive_seed(RANGE, 0) == seed
    assert IDENTITY.derive_seed(RANGE, 1) != seed
    assert IDENTITY.derive_seed(SoundRange(Fraction(0), Fraction(2)), 0) != seed
    assert replace(IDENTITY, settings=ClipSettings(prompt="a gate")).derive_seed(RANGE, 0) != seed


fractions_s = st.fractions(0, 20, max_denominator=24)
lengths_s = st.fractions(Fraction(1, 24), 10, max_denominator=24)
speeds = st.sampled_from([Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(0)])


@given(st.lists(st.tuples(fractions_s, lengths_s, speeds), min_size=1, max_size=8))
def test_a_clip_is_cut_from_another_one_only_if_that_shows_all_of_it(
    shots: list[tuple[Fraction, Fraction, Fraction]],
) -> None:
    clips = {number: prompted(*shot) for number, shot in enumerate(shots, start=1)}
    plan = BatchPlan(clips, BatchRecord(Path("unused")), lambda pack: "", lambda source: Path("unused"))
    shown = {
        number: (clip.source.speed, SoundRange.of(clip.source.start_s, clip.duration_s, clip.source.speed))
        for number, clip in clips.items()
    }
    longer = plan.find_longer_clips()
    for number, other in longer.items():
        assert other not in longer  # or nothing would be generated
        assert shown[number][0] == shown[other][0]
        assert shown[other][1].contains(shown[number][1])
        if shown[number][0] == 0:
            assert clips[number].source.start_s == clips[other].source.start_s


@given(fractions_s, lengths_s, speeds.filter(bool), st.fractions(0, 50, max_denominator=24))
def test_handles_stay_within_the_media(
    start_s: Fraction, duration_s: Fraction, speed: Fraction, wanted_s: Fraction
) -> None:
    clip = source(start_s + 30, duration_s, speed)
    head_s, tail_s = handles(clip, wanted_s)
    begin_s, end_s = clip.part(-head_s, head_s + duration_s + tail_s).covered_s
    assert begin_s >= 0
    assert end_s <= 100
    assert max(head_s, tail_s) <= wanted_s


def test_a_clip_that_was_cut_before_it_had_a_sound_gets_one_for_each_part(tmp_path: Path) -> None:
    media = tmp_path / "a.mov"
    media.write_bytes(b"film")
    clips = {1: prompted(Fraction(0), Fraction(2)), 2: prompted(Fraction(2), Fraction(2))}
    with BatchRecord(tmp_path / "stems") as record:
        plan = BatchPlan(clips, record, lambda pack: "b" * 64, lambda source: media)
        first, second = plan.want(1), plan.want(2)
        assert plan.find_longer_clips() == {}
    assert first.shown.end_s == second.shown.start_s
    assert first.family == second.family
    assert first.seed != second.seed


def test_a_loop_is_never_cut() -> None:
    clips = {1: prompted(Fraction(0), Fraction(4), loop=True), 2: prompted(Fraction(1), Fraction(1), loop=True)}
    plan = BatchPlan(clips, BatchRecord(Path("unused")), lambda pack: "", lambda source: Path("unused"))
    assert plan.find_longer_clips() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_kill_at_any_point_leaves_a_whole_sound_or_none(tmp_path: Path) -> None:
    """A child keeps a sound and ends without cleaning up before its n-th access to files, for each n."""
    step, code = 0, 9
    found = set()
    while code == 9:
        folder = tmp_path / str(step)
        with BatchRecord(folder) as record:
            keep_sound_of_another_clip(record)
        child = os.fork()
        if child == 0:
            keep_and_die(folder, step)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with BatchRecord(folder) as record:
            kept = record.find(KEY)
            found.add(kept is not None)
            assert kept is None or (kept.folder / "door.wav").read_bytes() == b"sound"
            assert record.find("0" * 64) is not None
            assert not list(folder.rglob("*making/*"))
            assert (keep_sound(record).folder / "door.wav").read_bytes() == b"sound"
        step += 1
    assert code == 0
    assert found == {False, True}
    assert step > 10


def keep_sound_of_another_clip(record: BatchRecord) -> None:
    with record.making("0" * 64) as folder:
        record.keep(KeptSound("0" * 64, "family", RANGE, 1, folder), rewas_pb2.SoundResult())


def keep_and_die(folder: Path, step: int) -> None:
    reached = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal reached
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "sqlite3.connect"):
            if reached == step:
                os._exit(9)
            reached += 1

    try:
        sys.addaudithook(count)
        with BatchRecord(folder) as record:
            keep_sound(record)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_sound_with_a_missing_or_short_stem_is_not_used(tmp_path: Path) -> None:
    with BatchRecord(tmp_path) as record:
        kept = keep_sound(record)
        assert record.find(KEY) == kept
        (kept.folder / "door.wav").write_bytes(b"soun")
        assert record.find(KEY) is None
        (kept.folder / "door.wav").unlink()
        assert record.find(KEY) is None


def test_a_folder_without_any_finished_sound_is_left_unchanged(tmp_path: Path) -> None:
    with BatchRecord(tmp_path / "new" / "stems"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_gives_a_problem(tmp_path: Path) -> None:
    with BatchRecord(tmp_path) as record:
        keep_sound(record)
        # SQLite reports a full disk when no further page may be added.
        assert record._connection is not None
        pages = record._connection.execute("PRAGMA page_count").fetchone()[0]
        record._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ProblemError, match=r"The record .* cannot be written \(database or disk is full\)"):
            record.set_wanted("film", [f"{number:0100d}" for number in range(1000)])
        assert record.find(KEY) is not None
