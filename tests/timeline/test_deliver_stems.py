"""Stems are delivered according to a profile, and a second delivery writes only what has changed."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from rewas_api.errors import ProblemError
from rewas_engine import Cancelled
from rewas_engine.exact_time import sample_count
from rewas_engine.media.loudness import true_peak_of
from rewas_server.delivery import rendering, stem_names
from rewas_server.delivery.deliver import Delivery, deliver_stems, remove_stale
from rewas_server.delivery.layout import LaidOutStem
from rewas_server.delivery.profiles import Profile, load_profile
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.sound_categories import SoundCategories
from rewas_server.delivery.stem_names import fx_name, long_path_note, name_key, plan_file_names
from rewas_server.delivery.stems import GeneratedStem, TimelineFacts

RATE_HZ = 48_000
FACTS = TimelineFacts("reel 1", Fraction(3600), Fraction(24))
SHARED_CATEGORIES = SoundCategories()
"""Shared, so that the sentence encoder is loaded once."""


class Sounds:
    """Writes generated stems to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def stem(
        self, waveform: np.ndarray | None = None, *, rate_hz: int = RATE_HZ, prompt: str = "rain", **changes: Any
    ) -> GeneratedStem:
        if waveform is None:
            waveform = tone(RATE_HZ)
        number = len(list(self.folder.iterdir()))
        path = self.folder / f"{number}.wav"
        soundfile.write(path, waveform.T, rate_hz, subtype="PCM_24")
        given: dict[str, Any] = {
            "path": path,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "clip_name": "shot.mov",
            "media_name": "shot.mov",
            "clip_number": 1,
            "role": "primary",
            "take_number": 1,
            "position_s": Fraction(0),
            "duration_s": Fraction(waveform.shape[-1], rate_hz),
            "provenance": Provenance(prompt, 7, "starter", "0.1.0", "Apache-2.0"),
        }
        return GeneratedStem(**(given | changes))


@pytest.fixture
def sounds(tmp_path: Path) -> Sounds:
    return Sounds(tmp_path / "generated")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stems"


def tone(samples: int, peak: float = 0.5, channels: int = 1) -> np.ndarray:
    wave = peak * np.sin(np.arange(samples) * 2 * np.pi * 440 / RATE_HZ + 0.3)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


def with_file(**changes: Any) -> Profile:
    profile = load_profile()
    return replace(profile, file=replace(profile.file, **changes))


def deliver(stems: list[GeneratedStem], folder: Path, profile: Profile | None = None, **options: Any) -> Delivery:
    return deliver_stems(stems, profile or load_profile(), options.pop("facts", FACTS), folder, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def samples_of(path: Path) -> np.ndarray:
    waveform, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return waveform.T


def test_a_stem_becomes_a_file_with_its_name_timecode_and_samples(sounds: Sounds, folder: Path) -> None:
    stem = sounds.stem(position_s=Fraction(2))
    (delivered,) = deliver([stem], folder).stems
    assert delivered.path == folder / "001 shot primary take 1 seed 7.wav"
    assert delivered.was_written
    assert delivered.sha256 == hashlib.sha256(delivered.path.read_bytes()).hexdigest()
    info = WavInfoReader(str(delivered.path))
    assert (info.fmt.sample_rate, info.fmt.bits_per_sample, info.fmt.channel_count) == (48_000, 24, 1)
    assert info.bext.time_reference == 3602 * 48_000
    assert delivered.placed.time_reference_samples == 3602 * 48_000
    assert delivered.placed.samples == info.data.frame_count == 48_000
    inner = slice(240, -240)
    assert np.array_equal(samples_of(delivered.path)[:, inner], samples_of(stem.path)[:, inner])
    assert abs(samples_of(delivered.path)[0, 0]) < 0.001
    assert delivered.loudness.integrated_lufs == pytest.approx(-9.7, abs=0.5)


def test_a_repeat_writes_nothing(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem(clip_number=number) for number in (1, 2)]
    first = deliver(stems, folder)
    before = {name: (folder / name).stat().st_mtime_ns for name in names(folder)}
    again = deliver(stems, folder)
    assert [each.was_written for each in again.stems] == [False, False]
    assert [replace(each, was_written=True) for each in again.stems] == list(first.stems)
    assert {name: (folder / name).stat().st_mtime_ns for name in names(folder)} == before
    assert (again.notes, again.stale) == ((), ())


CHANGES: dict[str, Callable[[GeneratedStem, Sounds], GeneratedStem]] = {
    "sound": lambda stem, sounds: replace(sounds.stem(tone(RATE_HZ, 0.2)), clip_number=1),
    "position": lambda stem, sounds: replace(stem, position_s=Fraction(1)),
    "length": lambda stem, sounds: replace(stem, duration_s=Fraction(1, 2), tail_handle_s=Fraction(1, 2)),
    "prompt": lambda stem, sounds: replace(stem, provenance=replace(stem.provenance, prompt="heavy rain")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_changed_stem_is_written_in_place(sounds: Sounds, folder: Path, change: str) -> None:
    stems = [sounds.stem(clip_number=number) for number in (1, 2)]
    deliver(stems, folder)
    changed = [CHANGES[change](stems[0], sounds), stems[1]]
    again = deliver(changed, folder)
    assert [each.was_written for each in again.stems] == [True, False]
    assert len(names(folder)) == 2
    assert [each.was_written for each in deliver(changed, folder).stems] == [False, False]


def test_a_changed_profile_renders_again_and_a_copied_folder_does_not(
    sounds: Sounds, folder: Path, tmp_path: Path
) -> None:
    stems = [sounds.stem()]
    deliver(stems, folder)
    (in_16_bits,) = deliver(stems, folder, with_file(sample_format="pcm_16")).stems
    assert in_16_bits.was_written
    assert WavInfoReader(str(in_16_bits.path)).fmt.bits_per_sample == 16
    folder.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved" / in_16_bits.path.name)
    (kept,) = deliver(stems, tmp_path / "moved", with_file(sample_format="pcm_16")).stems
    assert not kept.was_written
    assert kept.modified_ns == kept.path.stat().st_mtime_ns


def test_a_file_that_somebody_has_changed_is_kept(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem()]
    (first,) = deliver(stems, folder).stems
    first.path.write_bytes(b"edited in another program")
    again = deliver(stems, folder)
    assert names(folder) == ["001 shot primary take 1 seed 7 2.wav", "001 shot primary take 1 seed 7.wav"]
    assert first.path.read_bytes() == b"edited in another program"
    assert "was changed after delivery" in again.notes[0]
    assert not deliver(stems, folder).stems[0].was_written


def test_a_name_in_another_case_is_not_free(sounds: Sounds, folder: Path) -> None:
    folder.mkdir()
    (folder / "001 SHOT primary take 1 SEED 7.wav").write_bytes(b"mine")
    assert deliver([sounds.stem()], folder).stems[0].path.name == "001 shot primary take 1 seed 7 2.wav"


def test_a_full_disk_leaves_finished_files(sounds: Sounds, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stems = [sounds.stem(clip_number=number) for number in (1, 2)]
    deliver(stems[:1], folder)
    with monkeypatch.context() as patched:
        patched.setattr("rewas_server.delivery.deliver.flush_to_disk", fill_the_disk)
        with pytest.raises(OSError, match="No space left") as caught:
            deliver(stems, folder)
    assert caught.value.filename == str(folder / "002 shot primary take 1 seed 7.wav")
    assert names(folder) == ["001 shot primary take 1 seed 7.wav"]
    assert list((folder / ".rewas").glob("*.wav")) == []
    assert [each.was_written for each in deliver(stems, folder).stems] == [False, True]


def fill_the_disk(file: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_from_another_source_is_kept(sounds: Sounds, folder: Path) -> None:
    folder.mkdir()
    other = folder / "001 Shot Primary take 1 seed 7.WAV"
    other.write_bytes(b"mine")
    same = folder / "001 shot primary take 1 seed 7.wav"
    same.write_bytes(b"mine too")
    delivery = deliver([sounds.stem()], folder)
    assert other.read_bytes() + same.read_bytes() == b"minemine too"
    assert list((folder / ".rewas").glob("*.wav")) == []
    assert delivery.stems[0].path.name == "001 shot primary take 1 seed 7 2.wav"
    assert "is not from this timeline" in delivery.notes[0]


def test_timelines_share_a_folder_without_replacing_each_other(sounds: Sounds, folder: Path) -> None:
    other = replace(FACTS, name="reel 2")
    deliver([sounds.stem()], folder)
    second = deliver([sounds.stem(tone(RATE_HZ, 0.1))], folder, facts=other)
    assert len(names(folder)) == 2
    assert second.stale == ()
    assert [each.was_written for each in deliver([sounds.stem()], folder).stems] == [False]


def test_files_that_are_no_longer_needed_are_listed_and_removed_on_request(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem(clip_number=number) for number in (1, 2, 3)]
    delivered = deliver(stems, folder).stems
    delivered[1].path.write_bytes(b"edited")
    delivery = deliver(stems[:1], folder)
    assert delivery.stale == (delivered[2].path,)
    assert len(names(folder)) == 3
    assert remove_stale(folder, [*delivery.stale, delivered[1].path]) == [delivered[2].path]
    assert names(folder) == [delivered[0].path.name, delivered[1].path.name]


def test_a_cancelled_delivery_keeps_finished_files_and_continues(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem(clip_number=number) for number in (1, 2, 3)]
    cancel = threading.Event()
    steps = []

    def on_progress(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 2:
            cancel.set()

    with pytest.raises(Cancelled):
        deliver(stems, folder, on_progress=on_progress, cancel=cancel)
    assert steps == [(1, 3), (2, 3)]
    assert len(names(folder)) == 2
    assert [each.was_written for each in deliver(stems, folder).stems] == [False, False, True]


@pytest.mark.parametrize("step", ["replace", "add"])
def test_a_killed_delivery_recognises_its_own_files(
    sounds: Sounds, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """If it is killed between the record and the new file, or before both, the next one replaces the old file."""
    from rewas_server.delivery.delivery_record import DeliveryRecord

    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    deliver([sounds.stem()], folder)
    changed = [sounds.stem(tone(RATE_HZ, 0.1))]
    with monkeypatch.context() as patched:
        patched.setattr(*((Path, "replace") if step == "replace" else (DeliveryRecord, "add")), kill)
        with pytest.raises(Killed):
            deliver(changed, folder)
    again = deliver(changed, folder)
    assert [each.was_written for each in again.stems] == [True]
    assert (names(folder), again.notes) == ([again.stems[0].path.name], ())


def test_a_damaged_record_is_renamed(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem()]
    (first,) = deliver(stems, folder).stems
    (folder / ".rewas" / "delivered.sqlite").write_bytes(b"no database" * 1000)
    for part in (folder / ".rewas").glob("delivered.sqlite-*"):
        part.unlink()
    again = deliver(stems, folder)
    assert again.notes == ("The record of earlier deliveries was damaged. It was kept, and a new one was started.",)
    assert (folder / ".rewas" / "delivered.sqlite.damaged").exists()
    assert (names(folder), again.stems[0].path) == ([first.path.name], first.path)
    assert not deliver(stems, folder).stems[0].was_written


def test_a_record_of_another_version_is_renamed(sounds: Sounds, folder: Path) -> None:
    stems = [sounds.stem()]
    (first,) = deliver(stems, folder).stems
    path = folder / ".rewas" / "delivered.sqlite"
    with closing(sqlite3.connect(path)) as record:
        record.execute("PRAGMA user_version = 99")
    again = deliver(stems, folder)
    note = "The record of earlier deliveries is from another version of ReWaS. It was kept, and a new one was started."
    assert again.notes == (note,)
    with closing(sqlite3.connect(path.with_name("delivered.sqlite.version-99"))) as kept:
        assert kept.execute("SELECT name FROM files").fetchall() == [(first.path.name,)]
    assert (names(folder), again.stems[0].path) == ([first.path.name], first.path)
    assert not deliver(stems, folder).stems[0].was_written


def test_the_stems_of_a_take_get_the_same_gain(sounds: Sounds, folder: Path) -> None:
    """The true peak of the loudest is within the limit, and their balance and sum do not change."""
    loud, quiet = tone(RATE_HZ, 0.999), tone(RATE_HZ, 0.1)[:, ::-1].copy()
    stems = [
        sounds.stem(loud),
        sounds.stem(quiet, role="wind"),
        sounds.stem(quiet, take_number=2),
    ]
    first, wind, other_take = deliver(stems, folder).stems
    assert first.gain_db == wind.gain_db == pytest.approx(-1.1, abs=0.1)
    assert other_take.gain_db == 0
    assert true_peak_of(samples_of(first.path), RATE_HZ) <= 10 ** (-1 / 20)
    inner = slice(1000, -1000)
    ratio = samples_of(wind.path)[:, inner] / samples_of(stems[1].path)[:, inner]
    assert np.allclose(ratio, 10 ** (first.gain_db / 20), rtol=1e-3)
    assert "with all stems of the take" in WavInfoReader(str(wind.path)).bext.coding_history


def test_handles_are_whole_frames_as_far_as_the_sound_reaches(sounds: Sounds, folder: Path) -> None:
    ramp = np.linspace(0.1, 0.8, 4 * RATE_HZ, dtype=np.float32)[None]
    stem = sounds.stem(
        ramp,
        duration_s=Fraction(2),
        position_s=Fraction(10),
        head_handle_s=Fraction(3, 2),
        tail_handle_s=Fraction(1, 2) - Fraction(1, 1000),
    )
    (delivered,) = deliver([stem], folder, with_file(handle_frames=12)).stems
    placed = delivered.placed
    assert (placed.head_handle_s, placed.tail_handle_s) == (Fraction(1, 2), Fraction(11, 24))
    assert placed.samples == 24_000 + 96_000 + 22_000
    assert placed.time_reference_samples == (3600 + 10) * 48_000 - 24_000
    written = samples_of(delivered.path)
    assert written.shape == (1, placed.samples)
    assert np.array_equal(written[:, 1000:-1000], samples_of(stem.path)[:, 48_000 + 1000 : 48_000 + 142_000 - 1000])


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(50)]),
    frames=st.integers(1, 500),
    head=st.fractions(0, 3, max_denominator=10_000),
    tail=st.fractions(0, 3, max_denominator=10_000),
    wanted=st.integers(0, 48),
    position=st.integers(0, 200_000),
)
def test_a_delivered_range_is_within_the_sound(
    rate: Fraction, frames: int, head: Fraction, tail: Fraction, wanted: int, position: int
) -> None:
    stem = GeneratedStem(
        Path("a.wav"), "0", "shot", 1, "primary", 1, position / rate, frames / rate,
        Provenance("rain", 7, "starter", "0.1.0", "Apache-2.0"), head, tail,
    )  # fmt: skip
    profile, facts = with_file(handle_frames=wanted), replace(FACTS, frame_rate=rate)
    held = rendering.delivered_range(stem, profile, facts)
    assert 0 <= held.head_s <= head
    assert 0 <= held.tail_s <= tail
    assert held.head_s * rate == held.head_frames == min(wanted, int(head * rate))
    generated = sample_count(head + stem.duration_s + tail, RATE_HZ)
    assert sample_count(head - held.head_s, RATE_HZ) + held.samples <= generated + 1
    exact = (facts.start_s + stem.position_s - held.head_s) * RATE_HZ
    assert abs(exact - held.time_reference_samples) <= Fraction(1, 2)


def test_stereo_is_as_loud_as_mono_and_has_no_width(sounds: Sounds, folder: Path, tmp_path: Path) -> None:
    stem = sounds.stem(tone(2 * RATE_HZ))
    (mono,) = deliver([stem], folder).stems
    (stereo,) = deliver([stem], tmp_path / "stereo", load_profile("stereo")).stems
    left, right = samples_of(stereo.path)
    assert np.array_equal(left, right)
    assert stereo.placed.channels == 2
    assert mono.loudness.integrated_lufs is not None
    assert stereo.loudness.integrated_lufs == pytest.approx(mono.loudness.integrated_lufs, abs=0.01)
    assert "mono sound in both channels at -3 dB" in WavInfoReader(str(stereo.path)).bext.coding_history


def test_a_stereo_sound_stays_stereo_or_becomes_its_mean(sounds: Sounds, folder: Path, tmp_path: Path) -> None:
    both = np.concatenate([tone(RATE_HZ, 0.5), tone(RATE_HZ, 0.1)])
    stem = sounds.stem(both)
    (stereo,) = deliver([stem], tmp_path / "stereo", load_profile("stereo")).stems
    inner = slice(240, -240)
    assert np.array_equal(samples_of(stereo.path)[:, inner], samples_of(stem.path)[:, inner])
    (mono,) = deliver([stem], folder).stems
    assert np.allclose(samples_of(mono.path)[0, inner], samples_of(stem.path)[:, inner].mean(axis=0), atol=1e-6)


def test_another_rate_is_resampled_to_the_exact_length(sounds: Sounds, folder: Path) -> None:
    samples = sample_count(25 / Fraction(30000, 1001), 16_000)
    stem = sounds.stem(tone(samples), rate_hz=16_000, duration_s=25 / Fraction(30000, 1001))
    (delivered,) = deliver([stem], folder).stems
    assert samples_of(delivered.path).shape == (1, sample_count(stem.duration_s, 48_000))
    assert "resampled from 16000 Hz" in WavInfoReader(str(delivered.path)).bext.coding_history


def test_a_sound_that_is_too_short_is_refused(sounds: Sounds, folder: Path) -> None:
    with pytest.raises(ProblemError, match=r'clip "shot.mov" is 1\.000 s shorter'):
        deliver([sounds.stem(duration_s=Fraction(2))], folder)
    assert names(folder) == []


def test_silence_is_noted_on_each_delivery(sounds: Sounds, folder: Path) -> None:
    silence = np.zeros((1, RATE_HZ), np.float32)
    stems = [sounds.stem(silence), sounds.stem(silence, take_number=2), sounds.stem(clip_number=2)]
    for _ in range(2):
        assert deliver(stems, folder).notes == ("Silent from beginning to end: 001 shot primary take 1 seed 7.wav.",)


def test_a_profile_without_fades_keeps_the_ends(sounds: Sounds, folder: Path) -> None:
    stem = sounds.stem(np.full((1, RATE_HZ), 0.5, np.float32))
    (delivered,) = deliver([stem], folder, with_file(fade_ms=0.0)).stems
    assert np.array_equal(samples_of(delivered.path), samples_of(stem.path))


def test_a_whole_loop_has_no_fades(sounds: Sounds, folder: Path) -> None:
    loop = sounds.stem(loops=True)
    (delivered,) = deliver([loop], folder).stems
    assert np.array_equal(samples_of(delivered.path), samples_of(loop.path))


def planned_names(stems: list[GeneratedStem], profile: Profile, kinds: dict[str, str] | None = None) -> list[str]:
    laid_out = [LaidOutStem(stem, stem.role, True) for stem in stems]
    return plan_file_names(laid_out, profile, FACTS, SoundCategories(kinds or {}))


def with_names(profile: str = "default", **changes: Any) -> Profile:
    loaded = load_profile(profile)
    return replace(loaded, names=replace(loaded.names, **changes))


def test_names_follow_the_universal_category_system(sounds: Sounds) -> None:
    kinds = {"a wooden door, slams": "door slam", "something-else_here": ""}
    stems = [
        sounds.stem(prompt="a wooden door, slams"),
        sounds.stem(prompt="something-else_here", clip_number=12, take_number=2),
    ]
    assert planned_names(stems, load_profile("post"), kinds) == [
        "DOORWood_Wooden Door 001 primary T1_ReWaS_reel 1",
        "DSGNMisc_Something Else Here 012 primary T2_ReWaS_reel 1",
    ]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a hammer knocking on wood", "Hammer Knocking On Wood"),
        ("the slow, steady rain", "Slow"),
        ("footsteps of a heavy man walking through the deep snow", "Footsteps Of A Heavy Man"),
        ("Ärger im Büro", "Ärger Im Büro"),
        ("雨が降る", "雨が降る"),
        ("x" * 80, "X" + "x" * 24),
    ],
)
def test_fx_names_are_short(prompt: str, name: str) -> None:
    assert fx_name(prompt) == name


def test_all_fields_of_a_template(sounds: Sounds) -> None:
    template = "{number}|{clip}|{timeline}|{track}|{role}|{take}|{seed}|{timecode}|{prompt}|{creator}|{source}|{pack}"
    profile = with_names(template=template.replace("|", ","), creator="EM", source="FILM", max_characters=180)
    assert planned_names([sounds.stem(position_s=Fraction(3, 2))], profile) == [
        "001,shot,reel 1,primary,primary,1,7,01.00.01.12,rain,EM,FILM,starter"
    ]


def test_equal_names_get_a_number_even_if_only_the_case_differs(sounds: Sounds) -> None:
    stems = [sounds.stem(clip_name=name, clip_number=number) for number, name in enumerate(["É", "É", "é"])]
    assert planned_names(stems, with_names(template="{clip}")) == ["É", "É 2", "é 3"]
    ucs = with_names("post", template="{cat_id}_{fx_name}_{creator}_{source}")
    assert planned_names(stems, ucs, {"rain": "rain"})[1] == "RAIN_Rain 2_ReWaS_reel 1"


def test_many_equal_names_are_rendered_about_twice_each(monkeypatch: pytest.MonkeyPatch, sounds: Sounds) -> None:
    stem = sounds.stem()
    rendered = []
    render = stem_names._render
    monkeypatch.setattr(stem_names, "_render", lambda *arguments: rendered.append(1) or render(*arguments))
    found = planned_names([stem] * 500, with_names(template="{clip}"))
    assert found[-1] == "shot 500"
    assert len(rendered) < 1000


def test_long_names_keep_their_distinguishing_fields(sounds: Sounds) -> None:
    stems = [sounds.stem(clip_name="long " * 100, clip_number=number) for number in (1, 2)]
    first, second = planned_names(stems, with_names(max_characters=60))
    assert first.startswith("001 long long")
    assert first.endswith("primary take 1 seed 7")
    assert (len(first), len(second)) <= (60, 60)
    assert second.startswith("002")


@settings(max_examples=100, deadline=None)
@given(
    clips=st.lists(st.text(max_size=80), min_size=1, max_size=8),
    prompt=st.text(min_size=1, max_size=200),
    template=st.sampled_from(["{clip}", "{number} {clip} {role}", "{cat_id}_{fx_name}_{creator}_{source}", "{prompt}"]),
    ucs=st.booleans(),
)
def test_names_are_safe_and_different_for_all_texts(clips: list[str], prompt: str, template: str, ucs: bool) -> None:
    provenance = Provenance(prompt, 7, "starter", "0.1.0", "Apache-2.0")
    stems = [
        GeneratedStem(Path("a"), "0", clip, number, "primary", 1, Fraction(0), Fraction(1), provenance)
        for number, clip in enumerate(clips)
    ]
    found = planned_names(stems, with_names(template=template, ucs=ucs, max_characters=40), {prompt: ""})
    assert len({name_key(name) for name in found}) == len(clips)
    for name in found:
        assert 0 < len(name) <= 40
        assert len(name.encode()) < 240
        assert not set(name) & set('/\\:*?"<>|')
        assert name == name.strip(" .")


def test_paths_that_windows_cannot_open_are_noted(tmp_path: Path) -> None:
    assert long_path_note(Path("/f"), ["a", "b"]) is None
    note = long_path_note(Path("/" + "f" * 200), ["a" * 60])
    assert note is not None
    assert "266 characters" in note


def test_the_kinds_of_prompts_are_remembered(sounds: Sounds, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rewas_engine.matching import sound_kinds

    asked = []
    match = sound_kinds.KindMatch(sound_kinds.SoundKind("rain", "steady"), 0.9)
    monkeypatch.setattr(sound_kinds.SoundKinds, "nearest", lambda self, prompt: asked.append(prompt) or match)
    stem = sounds.stem(tone(4800), prompt="drops fall from the sky")
    for _ in range(2):
        (delivered,) = deliver([stem], folder, load_profile("post")).stems
        assert delivered.placed.track == "AMB"
        assert delivered.path.name.startswith("RAIN_Drops Fall From The Sky")
    assert asked == ["drops fall from the sky"]


def test_a_phrase_of_the_table_needs_no_sentence_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewas_engine.matching import sound_kinds

    monkeypatch.setattr(sound_kinds.SoundKinds, "nearest", None)
    category = SoundCategories().of("A door  SLAMS")
    assert category is not None
    assert (category.cat_id, category.department) == ("DOORWood", "fx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "cat_id", "department"),
    [
        ("heavy boots walk on gravel", "FEETHmn", "foley"),
        ("a thunderstorm far away", "THUN", "fx"),
        ("soft drizzle in the garden", "RAIN", "ambience"),
        ("a piano plays a slow melody", "MUSCKeyd", "music"),
    ],
)
def test_other_words_find_the_nearest_kind(prompt: str, cat_id: str, department: str) -> None:
    category = SHARED_CATEGORIES.of(prompt)
    assert category is not None
    assert (category.cat_id, category.department) == (cat_id, department)
