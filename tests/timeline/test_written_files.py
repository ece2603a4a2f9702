"""The contents of written timelines, read by other libraries than the ones that wrote them."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aaf2
import numpy as np
import opentimelineio as otio
import pytest
import soundfile

from rewas_api.errors import ProblemError
from rewas_server.otio.edl import write_edl
from rewas_server.otio.reading import ReadOptions, open_timeline
from rewas_server.otio.writing import check_output, write_timeline
from rewas_server.timecode import parse_timecode

RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]


def span(start: float, duration: float, rate: Fraction | int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(
        otio.opentime.RationalTime(start, float(rate)), otio.opentime.RationalTime(duration, float(rate))
    )


def reel(folder: Path, rate: Fraction, start_frames: int, *, channels: int = 1) -> otio.schema.Timeline:
    """A picture and a sound of 100 frames."""
    timeline = otio.schema.Timeline("reel", global_start_time=span(start_frames, 0, rate).start_time)
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("FX", kind=otio.schema.TrackKind.Audio)
    timeline.tracks.extend([pictures, sounds])
    media = otio.schema.ExternalReference(str(folder / "a film.mov"), span(0, 1000, rate))
    pictures.append(otio.schema.Clip("shot", media, span(10, 100, rate)))
    samples = round(100 / rate * 48000)
    soundfile.write(folder / "door ü.wav", np.zeros((samples, channels)), 48000, subtype="PCM_24")
    begin = round(start_frames / rate * 48000)
    media = otio.schema.ExternalReference(str(folder / "door ü.wav"), span(begin, samples, 48000))
    sounds.append(otio.schema.Clip("door", media, span(start_frames, 100, rate)))
    return timeline


def label_rate(rate: Fraction) -> int:
    return -(-rate.numerator // rate.denominator)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_an_aaf_has_exact_rates_and_timecode(tmp_path: Path, rate: Fraction) -> None:
    write_timeline(reel(tmp_path, rate, 3600 * label_rate(rate)), tmp_path / "reel.aaf")
    with aaf2.open(str(tmp_path / "reel.aaf")) as file:
        (composition,) = file.content.toplevel()
        slots = {slot.name: slot for slot in composition.slots}
        assert {Fraction(slot.edit_rate) for slot in slots.values()} == {rate}
        timecode = slots["TC"].segment
        assert (timecode.start, timecode.fps) == (3600 * label_rate(rate), label_rate(rate))
        assert timecode.drop == (rate.denominator == 1001 and label_rate(rate) % 30 == 0)
        rates = {
            Fraction(slot.edit_rate)
            for mob in file.content.mobs
            for slot in mob.slots
            if isinstance(slot, aaf2.mobslots.TimelineMobSlot)
        }
        assert rates == {rate}


@pytest.mark.parametrize("channels", [1, 2])
def test_an_aaf_describes_and_links_its_sounds(tmp_path: Path, channels: int) -> None:
    write_timeline(reel(tmp_path, Fraction(25), 0, channels=channels), tmp_path / "reel.aaf")
    with aaf2.open(str(tmp_path / "reel.aaf")) as file:
        descriptors = [mob.descriptor for mob in file.content.sourcemobs()]
        sound = next(one for one in descriptors if isinstance(one, aaf2.essence.PCMDescriptor))
        stated = {
            key: sound[key].value for key in ("Channels", "QuantizationBits", "BlockAlign", "Length", "AverageBPS")
        }
        assert stated == {
            "Channels": channels,
            "QuantizationBits": 24,
            "BlockAlign": 3 * channels,
            "Length": 4 * 48000,
            "AverageBPS": 48000 * 3 * channels,
        }
        assert Fraction(sound["AudioSamplingRate"].value) == 48000
        (locator,) = sound["Locator"].value
        assert locator["URLString"].value == f"file://{tmp_path}/door%20%C3%BC.wav"


def test_the_same_clip_is_the_same_mob_in_every_aaf(tmp_path: Path) -> None:
    identities = []
    for name in ("one.aaf", "two.aaf"):
        write_timeline(reel(tmp_path, Fraction(25), 0), tmp_path / name)
        with aaf2.open(str(tmp_path / name)) as file:
            identities.append({mob.name: str(mob.mob_id) for mob in file.content.mastermobs()})
    assert identities[0] == identities[1]
    assert len(set(identities[0].values())) == 2


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_fcp_xml_has_the_timecode_and_the_format_of_sounds(tmp_path: Path, rate: Fraction) -> None:
    start = {Fraction(30000, 1001): 107892, Fraction(60000, 1001): 215784}.get(rate, 3600 * label_rate(rate))
    write_timeline(reel(tmp_path, rate, start), tmp_path / "reel.xml")
    sequence = ElementTree.parse(tmp_path / "reel.xml").find(".//sequence")
    assert sequence is not None
    is_drop = start != 3600 * label_rate(rate)
    assert text(sequence, "timecode/displayformat") == ("DF" if is_drop else "NDF")
    assert text(sequence, "timecode/frame") == str(start)
    assert text(sequence, "timecode/string") == ("01:00:00;00" if is_drop else "01:00:00:00")
    assert text(sequence, "rate/timebase") == str(label_rate(rate))
    assert text(sequence, "rate/ntsc") == ("TRUE" if rate.denominator == 1001 else "FALSE")
    sound = sequence.find("media/audio/track/clipitem")
    assert sound is not None
    assert text(sound, "file/pathurl") == f"file://localhost{tmp_path}/door%20%C3%BC.wav"
    assert text(sound, "file/media/audio/channelcount") == "1"
    assert text(sound, "file/media/audio/samplecharacteristics/samplerate") == "48000"
    assert text(sound, "file/media/audio/samplecharacteristics/depth") == "24"
    assert [text(sound, name) for name in ("start", "end", "in", "out")] == ["0", "100", "0", "100"]


def text(element: Any, path: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.text


def test_an_edl_has_reels_names_on_one_line_and_hours_of_one_day(tmp_path: Path) -> None:
    timeline = reel(tmp_path, Fraction(25), 24 * 3600 * 25 - 50)
    clip = timeline.tracks[0][0]
    clip.name = "two\nlines\t дождь"
    clip.metadata["cmx_3600"] = {"reel": "TAPE 001/Ü-long"}
    (file,) = write_edl(timeline)
    lines = file.text.splitlines()
    assert lines[3] == "001  TAPE001- V     C        00:00:00:10 00:00:04:10 23:59:58:00 00:00:02:00"
    assert lines[4] == "* FROM CLIP NAME:  two lines дождь"
    assert lines[6] == "* FRAME RATE: 25"


@pytest.mark.parametrize(
    ("rate", "frame"),
    [(Fraction(25), 2_159_950), (Fraction(30000, 1001), 2_589_358), (Fraction(24000, 1001), 2_073_550)],
)
def test_fcp_xml_starts_on_the_day_before_midnight(tmp_path: Path, rate: Fraction, frame: int) -> None:
    write_timeline(reel(tmp_path, rate, -50), tmp_path / "reel.xml")
    found = ElementTree.parse(tmp_path / "reel.xml").getroot()
    assert text(found, ".//sequence/timecode/frame") == str(frame)


@pytest.mark.parametrize(
    ("clip_metadata", "media_metadata", "expected"),
    [
        ({"ALE": {"Tape": "A001C003_0101"}}, {}, "A001C003"),
        ({}, {"fcp_xml": {"timecode": {"reel": {"name": "T-7"}}}}, "T-7     "),
        ({"cmx_3600": {"reel": "R1"}, "ALE": {"Tape": "T1"}}, {}, "R1      "),
        ({"ALE": {"Tape": "  "}}, {"fcp_xml": {"timecode": {"displayformat": "NDF"}}}, "AX      "),
    ],
)
def test_an_edl_has_the_reels_of_other_formats(
    tmp_path: Path, clip_metadata: dict[str, Any], media_metadata: dict[str, Any], expected: str
) -> None:
    timeline = reel(tmp_path, Fraction(25), 0)
    clip = timeline.tracks[0][0]
    clip.metadata.update(clip_metadata)
    clip.media_reference.metadata.update(media_metadata)
    (file,) = write_edl(timeline)
    assert file.text.splitlines()[3].startswith(f"001  {expected} V  ")


def test_an_edl_has_the_reel_of_final_cut_pro_xml(tmp_path: Path) -> None:
    write_timeline(reel(tmp_path, Fraction(25), 0), tmp_path / "reel.xml")
    document = ElementTree.parse(tmp_path / "reel.xml")
    for timecode in document.findall(".//file/timecode"):
        ElementTree.SubElement(ElementTree.SubElement(timecode, "reel"), "name").text = "TAPE4"
    document.write(tmp_path / "with-reel.xml")
    (file,) = write_edl(open_timeline(tmp_path / "with-reel.xml", ReadOptions()).timeline)
    assert file.text.splitlines()[3].startswith("001  TAPE4    V  ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("suffix", [".otio", ".otioz", ".otiod", ".xml", ".aaf", ".edl", ".rpp"])
def test_a_full_disk_leaves_nothing_behind(small_disk: Path, tmp_path: Path, suffix: str) -> None:
    timeline = reel(tmp_path, Fraction(25), 0)
    for number in range(200):
        timeline.tracks[0].append(timeline.tracks[0][0].deepcopy())
        timeline.tracks[0][-1].name = f"shot {number} " + "x" * 400
    with pytest.raises(OSError, match=f"reel{suffix}") as caught:
        write_timeline(timeline, small_disk / f"reel{suffix}")
    assert caught.value.errno == 28
    assert not list(small_disk.iterdir())


def test_a_bundle_larger_than_the_disk_is_refused_before_the_work(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="the disk has"):
        check_output(small_disk / "reel.otioz", timeline=reel(tmp_path, Fraction(25), 0))


def test_fcp_xml_states_each_rate_once_and_the_timecode_of_files_as_drop_frame(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    write_timeline(reel(tmp_path, rate, 107892), tmp_path / "reel.xml")
    text = (tmp_path / "reel.xml").read_text("utf-8")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>\n<xmeml version=')
    document = ElementTree.fromstring(text)
    items = list(document.iter("clipitem"))
    assert [len(item.findall("rate")) for item in items] == [1] * len(items)
    stated = [
        [timecode.findtext(name) for name in ("frame", "string", "displayformat")]
        for timecode in document.iter("timecode")
    ]
    assert ["107892", "01:00:00;00", "DF"] in stated
    assert {one[2] for one in stated} == {"DF"}
    for frames, label, _ in stated:
        assert parse_timecode(label, rate) * rate == int(frames)
