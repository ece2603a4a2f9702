"""`rewas batch` with all kinds of media: other speeds, stills, image sequences, timecode, lost files."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from rewas_command import Rewas, write_clip

from rewas_cli.reports import shown_range

RATE = 24


def span(start: int, frames: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(frames, RATE))


def shot(name: str, reference: otio.core.MediaReference, start: int = 0, frames: int = 6) -> otio.schema.Clip:
    return otio.schema.Clip(name, reference, span(start, frames), {"rewas": {"prompt": "a door"}})


def write_pictures(folder: Path, numbers: range) -> None:
    folder.mkdir()
    for number in numbers:
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 96, 64, "rgb24", Fraction(1, RATE)
        image = np.full((64, 96, 3), 40, np.uint8)
        image[:, number * 3 % 90 :][:, :6] = 220
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = 0
        packets = [*encoder.encode(frame), *encoder.encode(None)]
        (folder / f"s.{number:04d}.png").write_bytes(b"".join(bytes(packet) for packet in packets))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A timeline of a reversed clip, a freeze frame, a still, an image sequence, a moved file and a lost one."""
    film = write_clip(tmp_path / "ball.mp4", frames=48, rate=Fraction(RATE))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "moved.mp4").write_bytes(film.read_bytes())
    write_pictures(tmp_path / "renders", range(1001, 1025))
    ball = otio.schema.ExternalReference("ball.mp4")
    reversed_clip, frozen = shot("reversed", ball.clone(), 12), shot("frozen", ball.clone(), 24)
    reversed_clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=-2))
    frozen.effects.append(otio.schema.FreezeFrame())
    sequence = otio.schema.ImageSequenceReference(
        "renders/", "s.", ".png", start_frame=1001, rate=RATE, frame_zero_padding=4, available_range=span(0, 24)
    )
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    track.extend(
        [
            reversed_clip,
            frozen,
            shot("still", otio.schema.ExternalReference("renders/s.1001.png"), 86_400),
            shot("sequence", sequence, 6),
            shot("moved", otio.schema.ExternalReference("X:\\Films\\moved.mp4"), 3),
            shot("lost", otio.schema.ExternalReference("/gone/lost.mov")),
        ]
    )
    timeline = otio.schema.Timeline("film")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(tmp_path / "film.otio"))
    return tmp_path / "film.otio"


def batch(rewas: Rewas, film: Path, *options: object) -> tuple[int, dict[str, Any]]:
    result = rewas(
        "batch", film, "-o", film.parent / "out.otio", "--stems", film.parent / "stems", "--steps", 1, "--json",
        "--search-folder", film.parent / "elsewhere", *options,
    )  # fmt: skip
    assert result.output, result.errors
    return result.code, json.loads(result.output)


@pytest.mark.parametrize(
    ("start_s", "speed", "text"),
    [
        (1, 1, "1 s to 3 s"),
        (5, -1, "5 s to 3 s at -100 % speed"),
        (1, 2.5, "1 s to 6 s at 250 % speed"),
        (1, 0, "a still picture for 2 s"),
    ],
)
def test_a_clip_is_described_as_it_is_shown(start_s: float, speed: float, text: str) -> None:
    assert shown_range({"start_s": start_s, "duration_s": 2, "speed": speed}) == text


@pytest.mark.parametrize("where", ["here", pytest.param("server", marks=pytest.mark.slow)])
def test_every_kind_of_picture_gets_its_sound(
    where: str, film: Path, rewas: Rewas, request: pytest.FixtureRequest
) -> None:
    options = ["--server", request.getfixturevalue("server")] if where == "server" else []
    code, report = batch(rewas, film, *options)
    assert code == 1
    clips = {clip["clip"]["name"] if clip.get("clip") else clip["name"]: clip for clip in report["clips"]}
    lost = clips.pop("lost")
    assert lost["problem"]["what"] == 'The clip "lost": The media file /gone/lost.mov does not exist.'
    for name, clip in clips.items():
        assert clip["problem"] is None, name
        sound, rate_hz = soundfile.read(clip["takes"][0]["stems"]["primary"]["path"])
        assert len(sound) == rate_hz // 4, name
    assert {name: clip["clip"]["speed"] for name, clip in clips.items()} == {
        "reversed": -2, "frozen": 0, "still": 0, "sequence": 1, "moved": 1,
    }  # fmt: skip
    written = otio.adapters.read_from_file(str(film.parent / "out.otio")).tracks[0]
    urls = {clip.name: getattr(clip.media_reference, "target_url", "") for clip in written}
    assert urls["moved"].endswith("elsewhere/moved.mp4")
    assert urls["reversed"] == "ball.mp4"
    assert urls["lost"] == "/gone/lost.mov"
    _, again = batch(rewas, film, *options)
    assert {clip["origin"] for clip in again["clips"] if not clip["problem"]} == {"kept"}
    if where == "here":
        # A picture of the sequence is rendered again: its clip gets a new sound, and the others keep theirs.
        write_pictures(film.parent / "new", range(1002, 1003))
        (film.parent / "new" / "s.1002.png").replace(film.parent / "renders" / "s.1012.png")
        _, changed = batch(rewas, film)
        assert [clip["origin"] for clip in changed["clips"]].count("generated") == 1
