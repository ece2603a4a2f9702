"""A cut that removes nothing leaves no trace in the sound: no fade, no step of the level, no missing sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_engine.exact_time import sample_count
from rewas_server.delivery.continuity import find_runs
from rewas_server.delivery.deliver import Delivery, deliver_stems
from rewas_server.delivery.layout import LaidOutStem
from rewas_server.delivery.profiles import load_profile
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.rendering import delivered_range
from rewas_server.delivery.stems import GeneratedStem, TimelineFacts

RATE_HZ = 48_000
FILM = Fraction(24000, 1001)
NTSC = Fraction(30000, 1001)
FADE_SAMPLES = RATE_HZ * 5 // 1000
Stem = Callable[..., GeneratedStem]


def tone(duration_s: Fraction, rate_hz: int = RATE_HZ, peak: float = 0.5) -> np.ndarray:
    """A tone whose cuts are almost never at a zero crossing."""
    times_s = np.arange(sample_count(duration_s, rate_hz)) / rate_hz
    return (peak * np.cos(2 * np.pi * 441.7 * times_s)).astype(np.float32)


@pytest.fixture
def stem(tmp_path: Path) -> Stem:
    """Returns the part of a sound of four seconds that a clip shows, from frame `first` for `frames`."""

    def cut(
        number: int, first: int, frames: int, position: int, *, rate: Fraction = FILM, rate_hz: int = RATE_HZ,
        waveform: np.ndarray | None = None, **changes: Any,
    ) -> GeneratedStem:  # fmt: skip
        path = tmp_path / f"sound {rate_hz}.wav"
        if not path.exists():
            soundfile.write(path, tone(Fraction(4), rate_hz) if waveform is None else waveform, rate_hz, "FLOAT")
        given = GeneratedStem(
            path, hashlib.sha256(path.read_bytes()).hexdigest(), f"shot {number}", number, "primary", 1,
            position / rate, frames / rate, Provenance("wind", 7, "starter", "0.1.0", "Apache-2.0"),
            head_handle_s=first / rate, tail_handle_s=4 - (first + frames) / rate,
        )  # fmt: skip
        return replace(given, **changes)

    return cut


def deliver(stems: list[GeneratedStem], folder: Path, rate: Fraction = FILM, **file: Any) -> Delivery:
    profile = load_profile()
    profile = replace(profile, file=replace(profile.file, **file))
    return deliver_stems(stems, profile, TimelineFacts("reel", Fraction(3600) * 1001 / 1000, rate), folder)


def mix(delivery: Delivery) -> np.ndarray:
    """The sum of all files at their timecodes, from the first sample of the first file."""
    begin = min(each.placed.time_reference_samples for each in delivery.stems)
    end = max(each.placed.time_reference_samples + each.placed.samples for each in delivery.stems)
    summed = np.zeros(end - begin)
    for each in delivery.stems:
        sound = soundfile.read(each.path, dtype="float64", always_2d=True)[0][:, 0]
        assert len(sound) == each.placed.samples
        at = each.placed.time_reference_samples - begin
        summed[at : at + len(sound)] += sound
    return summed


@pytest.mark.parametrize("rate", [FILM, NTSC, Fraction(25)])
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 16_000])
def test_the_level_stays_the_same_at_the_joints(stem: Stem, tmp_path: Path, rate: Fraction, rate_hz: int) -> None:
    cuts = [0, 7, 8, 31, 50]
    stems = [
        stem(number, 5 + first, end - first, 100 + first, rate=rate, rate_hz=rate_hz)
        for number, (first, end) in enumerate(pairwise(cuts), start=1)
    ]
    parts = mix(deliver(stems, tmp_path / "parts", rate))
    whole = mix(deliver([stem(1, 5, 50, 100, rate=rate, rate_hz=rate_hz)], tmp_path / "whole", rate))
    assert len(parts) == len(whole)
    assert np.abs(parts - whole).max() < 2**-22
    for cut in cuts[1:-1]:
        joint = sample_count(cut / rate, RATE_HZ)
        around = parts[joint - FADE_SAMPLES : joint + FADE_SAMPLES]
        assert 20 * np.log10(np.sqrt(np.mean(around**2)) / np.sqrt(np.mean(parts**2))) == pytest.approx(0, abs=0.5)
    # The run itself begins and ends with a fade.
    assert max(abs(parts[0]), abs(parts[-1])) < 1e-3


@pytest.mark.parametrize(
    ("change", "is_cut"),
    [
        ({}, False),
        ({"sha256": "another sound"}, True),
        ({"position_s": Fraction(130) / FILM}, True),
        ({"head_handle_s": Fraction(18) / FILM}, True),
        ({"track": "FX"}, True),
        ({"role": "ambience"}, True),
        ({"take_number": 2}, True),
    ],
)
def test_a_cut_of_the_sound_is_faded(stem: Stem, tmp_path: Path, change: dict[str, Any], is_cut: bool) -> None:
    delivery = deliver([stem(1, 5, 12, 100), stem(2, 17, 12, 112, **change)], tmp_path / "stems")
    first, second = (soundfile.read(each.path)[0] for each in delivery.stems)
    assert (abs(first[-1]) < 1e-3) == is_cut
    assert (abs(second[0]) < 1e-3) == is_cut


def test_a_joint_that_becomes_a_cut_is_faded_and_back(stem: Stem, tmp_path: Path) -> None:
    joined = [stem(1, 5, 12, 100), stem(2, 17, 12, 112)]
    first = deliver(joined, tmp_path / "stems")
    moved = deliver([joined[0], stem(2, 17, 12, 140)], tmp_path / "stems")
    assert [each.was_written for each in moved.stems] == [True, True]
    assert abs(soundfile.read(moved.stems[0].path)[0][-1]) < 1e-3
    again = deliver(joined, tmp_path / "stems")
    assert [each.sha256 for each in again.stems] == [each.sha256 for each in first.stems]
    assert not any(each.was_written for each in deliver(joined, tmp_path / "stems").stems)


def test_a_loud_part_lowers_the_whole_run(stem: Stem, tmp_path: Path) -> None:
    waveform = tone(Fraction(4))
    waveform[RATE_HZ * 2 :] *= 3
    stems = [stem(1, 0, 40, 0, waveform=waveform), stem(2, 40, 40, 40), stem(3, 10, 10, 200)]
    first, second, alone = deliver(stems, tmp_path / "stems").stems
    assert first.gain_db == second.gain_db < -4
    assert alone.gain_db == 0


def test_files_with_handles_keep_their_fades_outside_the_clip(stem: Stem, tmp_path: Path) -> None:
    stems = [stem(1, 5, 12, 100), stem(2, 17, 12, 112)]
    delivery = deliver(stems, tmp_path / "stems", handle_frames=4)
    assert [(each.placed.head_handle_s * FILM, each.placed.tail_handle_s * FILM) for each in delivery.stems] == [
        (4, 4),
        (4, 4),
    ]
    for each in delivery.stems:
        sound = soundfile.read(each.path)[0]
        assert max(abs(sound[0]), abs(sound[-1])) < 1e-3
    joint = sample_count(112 / FILM + Fraction(3600) * 1001 / 1000, RATE_HZ)
    first, second = (
        soundfile.read(each.path)[0][joint - each.placed.time_reference_samples :][: FADE_SAMPLES * 2]
        for each in delivery.stems
    )
    assert (first == second).all()


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    first=st.integers(0, 30),
    position=st.integers(0, 100_000),
    rate=st.sampled_from([FILM, NTSC, Fraction(25), Fraction(60000, 1001)]),
    rate_hz=st.sampled_from([44_100, 48_000, 96_000]),
    order=st.randoms(use_true_random=False),
)
def test_the_files_of_a_run_join_without_a_gap(
    lengths: list[int], first: int, position: int, rate: Fraction, rate_hz: int, order: Any
) -> None:
    provenance = Provenance("wind", 7, "starter", "0.1.0", "Apache-2.0")
    stems = []
    reached = 0
    for number, frames in enumerate(lengths, start=1):
        stems.append(
            GeneratedStem(
                Path("a.wav"), "0", "shot", number, "primary", 1, (position + reached) / rate, frames / rate,
                provenance, (first + reached) / rate, Fraction(1),
            )
        )  # fmt: skip
        reached += frames
    order.shuffle(stems)
    runs = find_runs([LaidOutStem(each, "FX", True) for each in stems])
    assert len({run.group for run in runs}) == 1
    assert {run.duration_s for run in runs} == {reached / rate}
    profile = load_profile()
    profile = replace(profile, file=replace(profile.file, sample_rate_hz=rate_hz))
    facts = TimelineFacts("reel", Fraction(0), rate)
    found = sorted(
        (delivered_range(each, profile, facts, run) for each, run in zip(stems, runs, strict=True)),
        key=lambda one: one.time_reference_samples,
    )
    for one, following in pairwise(found):
        assert one.time_reference_samples + one.samples == following.time_reference_samples
        assert one.first_sample + one.samples == following.first_sample
        assert not one.fades_out
        assert not following.fades_in
    assert found[0].fades_in
    assert found[-1].fades_out
    for one in found:
        exact = (first / rate + Fraction(one.time_reference_samples, rate_hz) - position / rate) * rate_hz
        assert abs(one.first_sample - exact) <= 1


def test_two_equal_clips_at_the_same_time_continue_different_clips(stem: Stem) -> None:
    stems = [stem(1, 0, 10, 0), stem(2, 0, 10, 0), stem(3, 10, 10, 10), stem(4, 10, 10, 10), stem(5, 10, 10, 10)]
    runs = find_runs([LaidOutStem(each, "FX", True) for each in stems])
    assert [run.first.clip_number for run in runs] == [1, 2, 1, 2, 5]
    assert [run.group for run in runs] == [0, 1, 0, 1, 4]


def test_a_sound_that_has_vanished_is_named_with_a_remedy(stem: Stem, tmp_path: Path) -> None:
    vanished = stem(1, 0, 10, 0)
    vanished.path.unlink()
    with pytest.raises(ProblemError, match=r"no longer exists\. Run the same command again") as raised:
        deliver([vanished], tmp_path / "stems")
    assert str(vanished.path) in raised.value.what
