"""Sounds embedded in an AAF file are bit-identical to those of their files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import aaf2
import numpy as np
import opentimelineio as otio
import pytest
import soundfile

from rewas_api.errors import ProblemError
from rewas_server.otio import aaf
from rewas_server.otio.reading import ReadOptions, open_timeline
from rewas_server.otio.writing import check_output, write_timeline

RATE = 25


def span(start: float, duration: float, rate: float = RATE) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(duration, rate))


def make_reel(folder: Path, subtypes: list[str], channels: int = 1) -> otio.schema.Timeline:
    """A timeline with a picture, and a different sound of one second for each subtype."""
    reel = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(90000, RATE))
    film = otio.schema.ExternalReference(str(folder / "film.mov"), span(0, 1000))
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    pictures.append(otio.schema.Clip("shot", film, span(10, 25 * len(subtypes))))
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    reel.tracks.extend([pictures, sounds])
    for number, subtype in enumerate(subtypes):
        path = folder / f"sound {number}.wav"
        values = np.random.default_rng(number).integers(-(2**31), 2**31, (48000, channels), np.int64).astype(np.int32)
        soundfile.write(path, values, 48000, subtype)
        begin = 90000 + 25 * number
        media = otio.schema.ExternalReference(path.name, span(begin * 1920, 48000, 48000))
        sounds.append(otio.schema.Clip(f"sound {number}", media, span(begin, 25)))
    return reel


def embedded(path: Path) -> dict[str, tuple[int, int, np.ndarray]]:
    """Channels, bits and samples of each sound in a file, by the name of its clip."""
    found = {}
    with aaf2.open(str(path)) as file:
        for master in file.content.mastermobs():
            for slot in master.slots:
                mob = slot.segment.mob
                if not isinstance(mob.descriptor, aaf2.essence.PCMDescriptor) or mob.essence is None:
                    continue
                bits, channels = mob.descriptor["QuantizationBits"].value, mob.descriptor["Channels"].value
                data = np.frombuffer(mob.essence.open("r").read(), np.uint8).reshape(-1, bits // 8)
                words = np.zeros((len(data), 4), np.uint8)
                words[:, 4 - bits // 8 :] = data
                found[master.name] = (channels, bits, words.view("<i4").reshape(-1, channels))
                assert not list(mob.descriptor["Locator"].value or [])
    return found


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_embedded_sounds_have_the_samples_of_their_files(tmp_path: Path, channels: int) -> None:
    reel = make_reel(tmp_path, ["PCM_16", "PCM_24", "PCM_32"], channels)
    output = tmp_path / "out" / "reel.aaf"
    output.parent.mkdir()
    assert check_output(output, media_paths="embedded", timeline=reel, source_folder=tmp_path) == []
    write_timeline(reel, output, media_paths="embedded", source_folder=tmp_path)
    found = embedded(output)
    assert {name: (one[0], one[1]) for name, one in found.items()} == {
        "sound 0": (channels, 16),
        "sound 1": (channels, 24),
        "sound 2": (channels, 32),
    }
    for name, (_, _, samples) in found.items():
        expected = soundfile.read(tmp_path / f"{name}.wav", dtype="int32", always_2d=True)[0]
        np.testing.assert_array_equal(samples, expected)
    # The timeline does not change, and reads back with all positions.
    assert reel.tracks[1][0].media_reference.target_url == "sound 0.wav"
    back = open_timeline(output, ReadOptions()).timeline
    assert [clip.name for clip in back.find_clips()] == ["shot", "sound 0", "sound 1", "sound 2"]
    assert [clip.source_range.duration.value for clip in back.tracks[1]] == [25, 25, 25]


def test_a_sound_that_several_clips_show_is_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reel = make_reel(tmp_path, ["PCM_24"])
    track = reel.tracks[1]
    track.extend([track[0].clone(), track[0].clone()])
    output = tmp_path / "reel.aaf"
    # The samples take 144 000 bytes.
    monkeypatch.setattr(aaf.shutil, "disk_usage", lambda folder: SimpleNamespace(free=200_000))
    assert check_output(output, media_paths="embedded", timeline=reel, source_folder=tmp_path) == []
    write_timeline(reel, output, media_paths="embedded", source_folder=tmp_path)
    with aaf2.open(str(output)) as file:
        assert len(list(file.content.essencedata)) == 1
    assert embedded(output)["sound 0"][:2] == (1, 24)


def test_other_sounds_stay_links_and_are_reported(tmp_path: Path) -> None:
    reel = make_reel(tmp_path, ["PCM_24", "FLOAT", "PCM_24"])
    (tmp_path / "sound 2.wav").unlink()
    output = tmp_path / "reel.aaf"
    said = check_output(output, media_paths="embedded", timeline=reel)
    assert said == ["2 embedded sounds (they are missing or not PCM)"]
    write_timeline(reel, output, media_paths="embedded")
    assert set(embedded(output)) == {"sound 0"}
    back = open_timeline(output, ReadOptions()).timeline
    assert back.tracks[1][1].media_reference.target_url == (tmp_path / "sound 1.wav").as_uri()


def test_sounds_that_do_not_fit_on_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reel = make_reel(tmp_path, ["PCM_24"])

    def nearly_full(_path: Path) -> object:
        return type("Usage", (), {"free": 1000})()

    monkeypatch.setattr(aaf.shutil, "disk_usage", nearly_full)
    with pytest.raises(ProblemError, match=r"The sounds of reel\.aaf need .*, but the disk has"):
        check_output(tmp_path / "reel.aaf", media_paths="embedded", timeline=reel)
    check_output(tmp_path / "reel.aaf", timeline=reel)


@pytest.mark.parametrize("suffix", [".otio", ".xml", ".edl", ".rpp"])
def test_no_other_format_embeds_sounds(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ProblemError, match="does not support embedded media paths"):
        check_output(tmp_path / f"reel{suffix}", media_paths="embedded")


def test_the_rate_of_embedded_sounds_is_exact(tmp_path: Path) -> None:
    reel = make_reel(tmp_path, ["PCM_24"])
    write_timeline(reel, tmp_path / "reel.aaf", media_paths="embedded")
    with aaf2.open(str(tmp_path / "reel.aaf")) as file:
        rates = {slot.edit_rate for mob in file.content.mobs for slot in mob.slots if hasattr(slot, "edit_rate")}
        (descriptor,) = (
            mob.descriptor
            for mob in file.content.sourcemobs()
            if isinstance(mob.descriptor, aaf2.essence.PCMDescriptor)
        )
        assert rates == {Fraction(RATE)}
        assert (descriptor["SampleRate"].value, descriptor.length) == (48000, 48000)
